//===- Device.h - what the runtime must know of the kernels of a module ----------------===//
//
// Between lowering and emission it is an attribute of the module, so that the IR of a phase says all there is.
//
//===-----------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_NVPTX_DEVICE_H
#define SLUICE_CODEGEN_NVPTX_DEVICE_H

#include "mlir/IR/BuiltinOps.h"
#include "runtime/abi.h"
#include "llvm/Support/raw_ostream.h"

namespace sluice::codegen {

// See sluice_device_kernel.
struct DeviceKernel {
  std::string name; // empty: there is none
  uint32_t threads = 0, sharedBytes = 0, blocksPerSm = 0;
};
struct DeviceStep {
  DeviceKernel prologue, run;
  int64_t preparedBytes = 0;
};
struct DeviceKernels {
  std::vector<DeviceStep> steps;
  DeviceKernel token, choose;
  int64_t preparedBytes = 0, syncBytes = 0, syncBlockBytes = 0;

  void write(mlir::ModuleOp module) const;
  static mlir::FailureOr<DeviceKernels> read(mlir::ModuleOp module);
};

} // namespace sluice::codegen
#endif
