//===- CudaCode.h - the file's device code, chosen for a chip and loaded -------------===//
#ifndef SLUICE_RUNTIME_CUDACODE_H
#define SLUICE_RUNTIME_CUDACODE_H

#include "runtime/Cuda.h"
#include "runtime/abi.h"
#include <span>

namespace sluice::runtime {

// A kernel that can be launched; null where there is none.
struct CudaKernel {
  CUfunction function = nullptr;
  unsigned blocks = 0, threads = 0, sharedBytes = 0;

  explicit operator bool() const { return function != nullptr; }
  void launch(sluice_device_args args, CUstream stream) const;
};

class CudaCode {
public:
  struct Step {
    CudaKernel prologue, run;
  };
  // Loads the images of `variant` in the current context of `device`. Throws Error when the driver takes none of them,
  // or when the device holds fewer blocks of a kernel at once than wait for each other.
  CudaCode(const sluice_device_variant &variant, const CudaDeviceInfo &device);

  std::vector<Step> steps; // by sluice_step.kernel
  CudaKernel token, choose;
  unsigned mostBlocks = 1; // of a grid

private:
  CudaKernel load(const sluice_device_kernel &kernel, const CudaDeviceInfo &device);

  CudaModule module;
};

// The most shared memory that a block of its kernels has.
uint32_t sharedBytesOf(const sluice_device_variant &variant);
// Whether `device` can run some image of `variant`.
bool runsOn(const sluice_device_variant &variant, const CudaDeviceInfo &device);
// The variant for `device`, or null if it can run none.
const sluice_device_variant *chooseVariant(std::span<const sluice_device_variant *const> variants,
                                           const CudaDeviceInfo &device);

} // namespace sluice::runtime
#endif
