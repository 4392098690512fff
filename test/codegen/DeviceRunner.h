//===- DeviceRunner.h - kernels for a device, run as the runtime would ------------------===//
//
// Through the CUDA driver's API: tools/ptx-vm's, which executes PTX on the processor, or what $SLUICE_CUDA_LIBRARY names.
//
//===------------------------------------------------------------------------------------===//
#ifndef SLUICE_TEST_CODEGEN_DEVICERUNNER_H
#define SLUICE_TEST_CODEGEN_DEVICERUNNER_H

#include "codegen/Target.h"
#include "codegen/nvptx/Device.h"
#include "runtime/CudaDriver.h"
#include <memory>
#include <string>
#include <vector>

namespace sluice::test {

// Memory of the device that is a copy of the host's.
class DeviceMemory {
public:
  DeviceMemory(const void *host, size_t bytes); // null: zeros
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory &) = delete;
  uint64_t address() const { return pointer; }
  void copyTo(void *host, size_t bytes) const;
  void copyFrom(const void *host, size_t bytes);

private:
  CUdeviceptr pointer = 0;
};

class DeviceRunner {
public:
  // Lowers and emits a copy of `configured`. Null if there is no device for the target in this process.
  static std::unique_ptr<DeviceRunner> load(mlir::ModuleOp configured, const codegen::Target &target);
  ~DeviceRunner();

  const codegen::DeviceKernels &kernels() const { return table; }
  unsigned blocks() const { return multiprocessors; }
  // Nothing if the kernel has no name.
  void launch(const codegen::DeviceKernel &kernel, const sluice_device_args &args);

private:
  DeviceRunner() = default;
  codegen::DeviceKernels table;
  std::string ptx;
  CUmodule module = nullptr;
  unsigned multiprocessors = 0;
};

} // namespace sluice::test
#endif
