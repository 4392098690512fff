//===- DriverDevice.cpp - initialisation, devices, contexts, names of errors -----------------------------------===//

#include "tools/ptx-vm/Driver.h"
#include <cstring>

namespace ptxvm {

static std::atomic<bool> initialized = false;
bool isInitialized() { return initialized; }
void setInitialized() { initialized = true; }
thread_local CUcontext currentContext = nullptr;

Driver &Driver::get() {
  static Driver *driver = [] {
    Driver *d = new Driver; // its threads live as long as the process
    d->chip = chipOfEnvironment();
    d->memory = std::make_unique<DeviceMemory>(d->chip ? d->chip->memory : 0);
    d->legacy.isLegacy = true;
    return d;
  }();
  return *driver;
}

CUresult ready() {
  if (!isInitialized())
    return CUDA_ERROR_NOT_INITIALIZED;
  if (!currentContext)
    return CUDA_ERROR_INVALID_CONTEXT;
  return Driver::get().sticky;
}

static CUresult deviceReady(CUdevice device) {
  if (!isInitialized())
    return CUDA_ERROR_NOT_INITIALIZED;
  return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

} // namespace ptxvm

using namespace ptxvm;

#define RETURN_IF_ERROR(call)                                                                                          \
  if (CUresult result = (call); result != CUDA_SUCCESS)                                                                \
  return result
#define NEED(pointer)                                                                                                  \
  if (!(pointer))                                                                                                      \
  return CUDA_ERROR_INVALID_VALUE

CUresult cuInit(unsigned int flags) {
  if (flags)
    return CUDA_ERROR_INVALID_VALUE;
  if (!Driver::get().chip)
    return CUDA_ERROR_NO_DEVICE;
  setInitialized();
  return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int *version) {
  NEED(version);
  *version = kDriverVersion;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count) {
  if (!isInitialized())
    return CUDA_ERROR_NOT_INITIALIZED;
  NEED(count);
  *count = 1;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  RETURN_IF_ERROR(deviceReady(ordinal));
  NEED(device);
  *device = 0;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
  RETURN_IF_ERROR(deviceReady(device));
  NEED(name && length > 0);
  std::strncpy(name, Driver::get().chip->product, length);
  name[length - 1] = 0;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
  RETURN_IF_ERROR(deviceReady(device));
  NEED(uuid);
  std::memset(uuid->bytes, 0, sizeof uuid->bytes);
  std::memcpy(uuid->bytes, Driver::get().chip->name, std::strlen(Driver::get().chip->name));
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  RETURN_IF_ERROR(deviceReady(device));
  NEED(bytes);
  *bytes = Driver::get().memory->total;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  RETURN_IF_ERROR(deviceReady(device));
  NEED(value);
  const Chip &chip = *Driver::get().chip;
  auto give = [&](int v) {
    *value = v;
    return CUDA_SUCCESS;
  };
  switch (attribute) {
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
    return give(1024);
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
    return give(64);
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
    return give(0x7fffffff);
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
    return give(65535);
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
    return give(48 * 1024);
  case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY:
    return give(64 * 1024);
  case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
    return give(kLanes);
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
    return give(65536);
  case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
    return give(chip.clockKHz);
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
    return give(chip.processors);
  case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
  case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
  case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
  case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
  case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH:
  case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
    return give(1);
  case CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT:
  case CU_DEVICE_ATTRIBUTE_INTEGRATED:
  case CU_DEVICE_ATTRIBUTE_COMPUTE_MODE:
  case CU_DEVICE_ATTRIBUTE_ECC_ENABLED:
  case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
  case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID:
  case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID:
  case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
  case CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH:
    return give(0);
  case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
    return give(chip.memoryClockKHz);
  case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
    return give(chip.busBits);
  case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
    return give(chip.l2Bytes);
  case CU_DEVICE_ATTRIBUTE_MAX_PERSISTING_L2_CACHE_SIZE:
    return give(chip.l2Bytes / 2);
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
    return give(chip.threadsPerProcessor);
  case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
    return give(2);
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
    return give(chip.major);
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
    return give(chip.minor);
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
    return give(chip.sharedPerProcessor);
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
    return give(chip.sharedPerBlockOptIn);
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR:
    return give(chip.blocksPerProcessor);
  case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK:
    return give(kSharedBase);
  }
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  RETURN_IF_ERROR(deviceReady(device));
  NEED(context);
  Driver &d = Driver::get();
  std::lock_guard lock(d.mutex);
  ++d.retained;
  *context = &d.context;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  RETURN_IF_ERROR(deviceReady(device));
  Driver &d = Driver::get();
  {
    std::lock_guard lock(d.mutex);
    if (d.retained == 0)
      return CUDA_ERROR_INVALID_CONTEXT;
    if (--d.retained)
      return CUDA_SUCCESS;
  }
  synchronizeAll();
  return CUDA_SUCCESS;
}

/// The context begins anew: modules and memory of its users are theirs to drop, the error is forgotten.
CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
  RETURN_IF_ERROR(deviceReady(device));
  synchronizeAll();
  Driver::get().sticky = CUDA_SUCCESS;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned int flags) {
  RETURN_IF_ERROR(deviceReady(device));
  Driver::get().context.flags = flags;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active) {
  RETURN_IF_ERROR(deviceReady(device));
  NEED(flags && active);
  *flags = Driver::get().context.flags;
  *active = Driver::get().retained > 0;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
  if (!isInitialized())
    return CUDA_ERROR_NOT_INITIALIZED;
  if (context && context != &Driver::get().context)
    return CUDA_ERROR_INVALID_CONTEXT;
  currentContext = context;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context) {
  if (!isInitialized())
    return CUDA_ERROR_NOT_INITIALIZED;
  NEED(context);
  *context = currentContext;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device) {
  RETURN_IF_ERROR(ready());
  NEED(device);
  *device = 0;
  return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void) {
  RETURN_IF_ERROR(ready());
  return synchronizeAll();
}

// --- errors ---

#define ERRORS(X)                                                                                                      \
  X(CUDA_SUCCESS, "no error")                                                                                          \
  X(CUDA_ERROR_INVALID_VALUE, "invalid argument")                                                                      \
  X(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")                                                                         \
  X(CUDA_ERROR_NOT_INITIALIZED, "initialization error")                                                                \
  X(CUDA_ERROR_DEINITIALIZED, "driver shutting down")                                                                  \
  X(CUDA_ERROR_STUB_LIBRARY, "CUDA driver is a stub library")                                                          \
  X(CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER, "API call is not supported in the installed CUDA driver")                   \
  X(CUDA_ERROR_DEVICE_UNAVAILABLE, "CUDA-capable device(s) is/are busy or unavailable")                                \
  X(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected")                                                        \
  X(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal")                                                               \
  X(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid")                                                        \
  X(CUDA_ERROR_INVALID_CONTEXT, "invalid device context")                                                              \
  X(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device")                          \
  X(CUDA_ERROR_INVALID_PTX, "a PTX JIT compilation failed")                                                            \
  X(CUDA_ERROR_JIT_COMPILER_NOT_FOUND, "PTX JIT compiler library not found")                                           \
  X(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "the provided PTX was compiled with an unsupported toolchain.")                \
  X(CUDA_ERROR_INVALID_SOURCE, "device kernel image is invalid")                                                       \
  X(CUDA_ERROR_FILE_NOT_FOUND, "file not found")                                                                       \
  X(CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND, "shared object symbol not found")                                       \
  X(CUDA_ERROR_OPERATING_SYSTEM, "OS call failed or operation not supported on this OS")                               \
  X(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle")                                                              \
  X(CUDA_ERROR_ILLEGAL_STATE, "the operation cannot be performed in the present state")                                \
  X(CUDA_ERROR_NOT_FOUND, "named symbol not found")                                                                    \
  X(CUDA_ERROR_NOT_READY, "device not ready")                                                                          \
  X(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered")                                            \
  X(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch")                                     \
  X(CUDA_ERROR_LAUNCH_TIMEOUT, "the launch timed out and was terminated")                                              \
  X(CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, "cannot set while device is active in this process")                            \
  X(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed")                                                           \
  X(CUDA_ERROR_ASSERT, "device-side assert triggered")                                                                 \
  X(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "part or all of the requested memory range is already mapped")          \
  X(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "pointer does not correspond to a registered memory region")                \
  X(CUDA_ERROR_HARDWARE_STACK_ERROR, "hardware stack error")                                                           \
  X(CUDA_ERROR_ILLEGAL_INSTRUCTION, "an illegal instruction was encountered")                                          \
  X(CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address")                                                               \
  X(CUDA_ERROR_INVALID_ADDRESS_SPACE, "operation not supported on global/shared address space")                        \
  X(CUDA_ERROR_INVALID_PC, "invalid program counter")                                                                  \
  X(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure")                                                            \
  X(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "too many blocks in cooperative launch")                                  \
  X(CUDA_ERROR_NOT_PERMITTED, "operation not permitted")                                                               \
  X(CUDA_ERROR_NOT_SUPPORTED, "operation not supported")                                                               \
  X(CUDA_ERROR_SYSTEM_NOT_READY, "system not yet initialized")                                                         \
  X(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "system has unsupported display driver / cuda driver combination")              \
  X(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing")                         \
  X(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture")                  \
  X(CUDA_ERROR_STREAM_CAPTURE_MERGE, "operation would result in a merge of separate capture sequences")                \
  X(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not ended in the same stream as it began")                       \
  X(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work")                                          \
  X(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "dependency created on uncaptured work in another stream")                    \
  X(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,                                                                                \
    "operation would make the legacy stream depend on a capturing blocking stream")                                    \
  X(CUDA_ERROR_CAPTURED_EVENT, "operation not permitted on an event last recorded in a capturing stream")              \
  X(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,                                                                            \
    "attempt to terminate a thread-local capture sequence from another thread")                                        \
  X(CUDA_ERROR_TIMEOUT, "wait operation timed out")                                                                    \
  X(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE,                                                                              \
    "the graph update was not performed because it included changes which violated constraints")                       \
  X(CUDA_ERROR_INVALID_CLUSTER_SIZE, "invalid cluster size")                                                           \
  X(CUDA_ERROR_UNKNOWN, "unknown error")

CUresult cuGetErrorName(CUresult error, const char **name) {
  NEED(name);
  *name = nullptr;
#define NAME(code, text)                                                                                               \
  if (error == code)                                                                                                   \
    *name = #code;
  ERRORS(NAME)
  return *name ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult error, const char **string) {
  NEED(string);
  *string = nullptr;
#define TEXT(code, text)                                                                                               \
  if (error == code)                                                                                                   \
    *string = text;
  ERRORS(TEXT)
  return *string ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetProcAddress_v2(const char *symbol, void **function, int cudaVersion, uint64_t flags,
                             CUdriverProcAddressQueryResult *status) {
  NEED(symbol && function);
  static const std::pair<const char *, void *> functions[] = {
#define ENTRY(name, parameters) {#name, reinterpret_cast<void *>(name)},
      SLUICE_CUDA_FUNCTIONS(ENTRY)};
  *function = nullptr;
  for (auto [name, address] : functions) {
    std::string_view base = name;
    if (base.size() > 3 && base[base.size() - 3] == '_' && base[base.size() - 2] == 'v')
      base.remove_suffix(3);
    if (base == symbol || std::string_view(symbol) == name ||
        (base == "cuGraphInstantiateWithFlags" && std::string_view(symbol) == "cuGraphInstantiate"))
      *function = address;
  }
  if (status)
    *status = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
