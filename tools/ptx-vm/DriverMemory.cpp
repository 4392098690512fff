//===- DriverMemory.cpp - allocations, copies, fills
//----------------------------------------------------------------===//

#include "tools/ptx-vm/Driver.h"
#include <cstring>

using namespace ptxvm;

#define RETURN_IF_ERROR(call)                                                                                          \
  if (CUresult result = (call); result != CUDA_SUCCESS)                                                                \
  return result
#define NEED(pointer)                                                                                                  \
  if (!(pointer))                                                                                                      \
  return CUDA_ERROR_INVALID_VALUE

static DeviceMemory &memory() { return *Driver::get().memory; }

namespace ptxvm {

bool isPinned(const void *pointer, size_t bytes) {
  auto a = memory().find(reinterpret_cast<uint64_t>(pointer));
  return a && (a->kind == MemoryKind::Pinned || a->kind == MemoryKind::Registered) &&
         bytes <= a->end - reinterpret_cast<uint64_t>(pointer);
}

} // namespace ptxvm

CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
  RETURN_IF_ERROR(ready());
  NEED(free && total);
  *free = memory().freeBytes();
  *total = memory().total;
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes) {
  RETURN_IF_ERROR(ready());
  NEED(pointer && bytes);
  const uint64_t at = memory().allocate(bytes, MemoryKind::Device);
  if (!at)
    return CUDA_ERROR_OUT_OF_MEMORY;
  *pointer = at;
  return CUDA_SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr pointer) {
  RETURN_IF_ERROR(ready());
  if (!pointer)
    return CUDA_SUCCESS;
  RETURN_IF_ERROR(synchronizeAll());
  return memory().release(pointer, MemoryKind::Device) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr pointer) {
  RETURN_IF_ERROR(ready());
  auto a = memory().find(pointer);
  if (!a)
    return CUDA_ERROR_NOT_FOUND;
  if (base)
    *base = a->base;
  if (bytes)
    *bytes = a->end - a->base;
  return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned int flags) {
  RETURN_IF_ERROR(ready());
  NEED(pointer && bytes && !(flags & ~7u));
  const uint64_t at = memory().allocate(bytes, MemoryKind::Pinned);
  if (!at)
    return CUDA_ERROR_OUT_OF_MEMORY;
  *pointer = reinterpret_cast<void *>(at);
  return CUDA_SUCCESS;
}

CUresult cuMemAllocHost_v2(void **pointer, size_t bytes) { return cuMemHostAlloc(pointer, bytes, 0); }

CUresult cuMemFreeHost(void *pointer) {
  RETURN_IF_ERROR(ready());
  if (!pointer)
    return CUDA_SUCCESS;
  RETURN_IF_ERROR(synchronizeAll());
  return memory().release(reinterpret_cast<uint64_t>(pointer), MemoryKind::Pinned) ? CUDA_SUCCESS
                                                                                   : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *device, void *host, unsigned int flags) {
  RETURN_IF_ERROR(ready());
  NEED(device && !flags);
  if (!isPinned(host, 1))
    return CUDA_ERROR_INVALID_VALUE;
  *device = reinterpret_cast<CUdeviceptr>(host);
  return CUDA_SUCCESS;
}

CUresult cuMemHostRegister_v2(void *pointer, size_t bytes, unsigned int flags) {
  RETURN_IF_ERROR(ready());
  NEED(pointer && bytes && !(flags & ~15u));
  return memory().add(reinterpret_cast<uint64_t>(pointer), bytes, MemoryKind::Registered)
             ? CUDA_SUCCESS
             : CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
}

CUresult cuMemHostUnregister(void *pointer) {
  RETURN_IF_ERROR(ready());
  RETURN_IF_ERROR(synchronizeAll());
  return memory().release(reinterpret_cast<uint64_t>(pointer), MemoryKind::Registered)
             ? CUDA_SUCCESS
             : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

namespace {

enum class Direction { ToDevice, ToHost, OnDevice };

CUresult copy(void *to, const void *from, size_t bytes, Direction direction, CUstream stream, bool wait) {
  RETURN_IF_ERROR(ready());
  if (!bytes)
    return CUDA_SUCCESS;
  NEED(to && from);
  auto isDevice = [&](const void *p) { return memory().covers(reinterpret_cast<uint64_t>(p), bytes); };
  if ((direction != Direction::ToHost && !isDevice(to)) || (direction != Direction::ToDevice && !isDevice(from)))
    return CUDA_ERROR_INVALID_VALUE;
  // As on hardware, memory that is not pinned is staged: the call returns when the source has been read, or the target
  // written.
  std::shared_ptr<std::vector<uint8_t>> staged;
  const bool capturing = streamOf(stream)->capture;
  if (direction == Direction::ToDevice && !wait && !capturing && !isPinned(from, bytes)) {
    staged = std::make_shared<std::vector<uint8_t>>(static_cast<const uint8_t *>(from),
                                                    static_cast<const uint8_t *>(from) + bytes);
    from = staged->data();
  }
  if (direction == Direction::ToHost && !capturing && !isPinned(to, bytes))
    wait = true;
  if (wait && capturing)
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  std::shared_ptr<Operation> operation;
  RETURN_IF_ERROR(enqueue(
      stream,
      [=, keep = staged] {
        std::memmove(to, from, bytes);
        return CUDA_SUCCESS;
      },
      &operation));
  if (wait) {
    operation->wait();
    return Driver::get().sticky;
  }
  return CUDA_SUCCESS;
}

// Fills are not waited for, by default stream or not; those of the default stream, which non-blocking streams do not
// wait for either, are done as late as they may be.
template <typename T> CUresult fill(CUdeviceptr to, T value, size_t count, CUstream stream) {
  RETURN_IF_ERROR(ready());
  if (!count)
    return CUDA_SUCCESS;
  if (to % sizeof(T) || !memory().covers(to, count * sizeof(T)))
    return CUDA_ERROR_INVALID_VALUE;
  auto run = [=] {
    std::fill_n(reinterpret_cast<T *>(to), count, value);
    return CUDA_SUCCESS;
  };
  return enqueue(stream, run, nullptr, {}, streamOf(stream)->isLegacy);
}

void *host(CUdeviceptr p) { return reinterpret_cast<void *>(p); }

} // namespace

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
  return copy(host(to), from, bytes, Direction::ToDevice, nullptr, true);
}
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
  return copy(to, host(from), bytes, Direction::ToHost, nullptr, true);
}
CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return copy(host(to), host(from), bytes, Direction::OnDevice, nullptr, false);
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  return copy(host(to), from, bytes, Direction::ToDevice, stream, false);
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy(to, host(from), bytes, Direction::ToHost, stream, false);
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return copy(host(to), host(from), bytes, Direction::OnDevice, stream, false);
}
CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) { return fill(to, value, count, nullptr); }
CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count) { return fill(to, value, count, nullptr); }
CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned int value, size_t count) { return fill(to, value, count, nullptr); }
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  return fill(to, value, count, stream);
}
CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
  return fill(to, value, count, stream);
}
CUresult cuMemsetD32Async(CUdeviceptr to, unsigned int value, size_t count, CUstream stream) {
  return fill(to, value, count, stream);
}
