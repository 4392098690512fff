//===- Cuda.cpp - the driver's functions, its errors, and what must be given back ----===//

#include "runtime/Cuda.h"
#include <dlfcn.h>

using namespace sluice::runtime;

namespace {
struct Driver {
  CudaFunctions functions;

  Driver() {
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
      throw NoDevice("no NVIDIA driver: " + std::string(dlerror()));
#define X(NAME, PARAMETERS) functions.NAME = reinterpret_cast<CUresult(*) PARAMETERS>(dlsym(library, #NAME));
    SLUICE_CUDA_FUNCTIONS(X)
#undef X
    if (!functions.cuInit || !functions.cuGetErrorName)
      throw NoDevice("no NVIDIA driver: libcuda.so.1 is something else");
    if (CUresult result = functions.cuInit(0); result != CUDA_SUCCESS) {
      const char *name = nullptr, *text = nullptr;
      functions.cuGetErrorName(result, &name);
      functions.cuGetErrorString(result, &text);
      throw NoDevice("the NVIDIA driver does not start: cuInit: " + std::string(text ? text : "unknown error") + " (" +
                     (name ? name : std::to_string(result)) + ")");
    }
  }
};
} // namespace

const CudaFunctions &sluice::runtime::cudaDriver() {
  static const Driver driver; // never unloaded: its threads may still run
  return driver.functions;
}

void sluice::runtime::checkCuda(CUresult result, const char *function) {
  if (result == CUDA_SUCCESS)
    return;
  const char *name = nullptr, *text = nullptr;
  cudaDriver().cuGetErrorName(result, &name);
  if (cudaDriver().cuGetErrorString)
    cudaDriver().cuGetErrorString(result, &text);
  throw Error(std::string("the NVIDIA driver: ") + function + ": " + (text ? text : "unknown error") + " (" +
              (name ? name : std::to_string(result)) + ")");
}

static int attribute(CUdevice_attribute which, CUdevice device) {
  int value = 0;
  SLUICE_CUDA(cuDeviceGetAttribute, &value, which, device);
  return value;
}

std::vector<CudaDeviceInfo> sluice::runtime::listCudaDevices() {
  int count = 0;
  SLUICE_CUDA(cuDeviceGetCount, &count);
  if (count == 0)
    throw NoDevice("no NVIDIA device: the driver lists none (CUDA_VISIBLE_DEVICES may hide them)");
  std::vector<CudaDeviceInfo> devices;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    CUdevice device;
    char name[256] = {};
    size_t memory = 0;
    SLUICE_CUDA(cuDeviceGet, &device, ordinal);
    SLUICE_CUDA(cuDeviceGetName, name, int(sizeof name - 1), device);
    SLUICE_CUDA(cuDeviceTotalMem_v2, &memory, device);
    const double kilohertz = attribute(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, device);
    const double bits = attribute(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, device);
    devices.push_back({ordinal, name,
                       10 * attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device) +
                           attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device),
                       attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device),
                       unsigned(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, device)), memory,
                       2 * kilohertz * 1e3 * bits / 8});
  }
  return devices;
}

CudaStream sluice::runtime::makeCudaStream() {
  CUstream stream = nullptr;
  SLUICE_CUDA(cuStreamCreate, &stream, unsigned(CU_STREAM_NON_BLOCKING));
  return CudaStream(stream);
}

CudaEvent sluice::runtime::makeCudaEvent(bool timed) {
  CUevent event = nullptr;
  SLUICE_CUDA(cuEventCreate, &event, unsigned(timed ? CU_EVENT_DEFAULT : CU_EVENT_DISABLE_TIMING));
  return CudaEvent(event);
}

CudaMemory sluice::runtime::allocateCuda(uint64_t bytes, const char *purpose, bool zeroed) {
  CUdeviceptr pointer = 0;
  bytes = bytes ? bytes : 1;
  CUresult result = cudaDriver().cuMemAlloc_v2(&pointer, bytes);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    size_t free = 0, total = 0;
    SLUICE_CUDA(cuMemGetInfo_v2, &free, &total);
    throw Error("no memory on the device for " + std::string(purpose) + ": " + std::to_string((bytes + 1048575) >> 20) +
                " MiB needed, " + std::to_string(free >> 20) + " MiB available");
  }
  checkCuda(result, "cuMemAlloc_v2");
  CudaMemory memory(pointer);
  if (zeroed) { // in the default stream, for which neither the host nor our streams wait
    SLUICE_CUDA(cuMemsetD8_v2, pointer, static_cast<unsigned char>(0), size_t(bytes));
    SLUICE_CUDA(cuStreamSynchronize, CUstream(nullptr));
  }
  return memory;
}

CudaHostMemory sluice::runtime::allocatePinned(uint64_t bytes) {
  void *pointer = nullptr;
  SLUICE_CUDA(cuMemHostAlloc, &pointer, size_t(bytes), 0u);
  return CudaHostMemory(pointer);
}
