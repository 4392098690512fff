//===- Cuda.h - the driver's functions, its errors, and what must be given back ------===//
//
// The driver is loaded when it is first needed, by name, so that a file for a device starts on machines without one.
// Every call goes through SLUICE_CUDA, which throws an Error that names the function and what the driver said.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_CUDA_H
#define SLUICE_RUNTIME_CUDA_H

#include "runtime/CudaDriver.h"
#include "runtime/Device.h"
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sluice::runtime {

// Null where the driver has no such function.
struct CudaFunctions {
#define X(NAME, PARAMETERS) CUresult(*NAME) PARAMETERS = nullptr;
  SLUICE_CUDA_FUNCTIONS(X)
#undef X
};

// Loaded and initialised. Throws NoDevice.
const CudaFunctions &cudaDriver();
// Throws Error unless `result` is success.
void checkCuda(CUresult result, const char *function);

template <typename Function, typename... Arguments>
void callCuda(Function *function, const char *name, Arguments... arguments) {
  if (!function)
    throw Error(std::string("the NVIDIA driver has no ") + name + ": it is too old; install one for CUDA 12 or newer");
  checkCuda(function(arguments...), name);
}
#define SLUICE_CUDA(FUNCTION, ...)                                                                                     \
  ::sluice::runtime::callCuda(::sluice::runtime::cudaDriver().FUNCTION, #FUNCTION __VA_OPT__(, ) __VA_ARGS__)

struct CudaDeviceInfo {
  int ordinal;
  std::string name;
  int architecture; // 90 for sm_90
  int multiprocessors;
  unsigned sharedBytes; // the most that a block can have
  uint64_t memory;      // bytes
  double bandwidth;     // bytes a second, by its memory's clock and width; 0 if the driver does not say
};
// All devices. Throws NoDevice if there is none.
std::vector<CudaDeviceInfo> listCudaDevices();

// What a driver's handle is destroyed by. Errors then are of no interest: the process or the context goes away.
template <typename Handle, auto Destroy> class CudaHandle {
public:
  CudaHandle() = default;
  explicit CudaHandle(Handle handle) : handle(handle) {}
  CudaHandle(CudaHandle &&other) noexcept : handle(std::exchange(other.handle, Handle())) {}
  CudaHandle &operator=(CudaHandle &&other) noexcept {
    std::swap(handle, other.handle);
    return *this;
  }
  ~CudaHandle() {
    if (handle)
      (cudaDriver().*Destroy)(handle);
  }
  operator Handle() const { return handle; }

private:
  Handle handle = Handle();
};
using CudaStream = CudaHandle<CUstream, &CudaFunctions::cuStreamDestroy_v2>;
using CudaEvent = CudaHandle<CUevent, &CudaFunctions::cuEventDestroy_v2>;
using CudaModule = CudaHandle<CUmodule, &CudaFunctions::cuModuleUnload>;
using CudaGraph = CudaHandle<CUgraph, &CudaFunctions::cuGraphDestroy>;
using CudaGraphExec = CudaHandle<CUgraphExec, &CudaFunctions::cuGraphExecDestroy>;
using CudaMemory = CudaHandle<CUdeviceptr, &CudaFunctions::cuMemFree_v2>;
using CudaHostMemory = CudaHandle<void *, &CudaFunctions::cuMemFreeHost>; // pinned

CudaStream makeCudaStream();
CudaEvent makeCudaEvent(bool timed);
// `purpose` is for the message when there is no memory.
CudaMemory allocateCuda(uint64_t bytes, const char *purpose, bool zeroed);
CudaHostMemory allocatePinned(uint64_t bytes);

} // namespace sluice::runtime
#endif
