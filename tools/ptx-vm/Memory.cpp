//===- Memory.cpp - allocations -------------------------------------------------------------------------===//

#include "tools/ptx-vm/Memory.h"
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

namespace ptxvm {

static uint64_t pages(uint64_t bytes) { return (bytes + 4095) / 4096 * 4096; }

/// Each allocation is a mapping of its own behind which nothing is mapped, filled with ones (a NaN in every format) so
/// that a read of what was never written shows; large ones are left to the kernel's zeros, since they would cost
/// memory.
uint64_t DeviceMemory::allocate(uint64_t bytes, MemoryKind kind) {
  const bool counts = kind != MemoryKind::Pinned;
  if (counts && bytes > total - used)
    return 0;
  void *at =
      mmap(nullptr, pages(bytes) + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    return 0;
  mprotect(static_cast<char *>(at) + pages(bytes), 4096, PROT_NONE);
  if (bytes <= (16u << 20) && kind == MemoryKind::Device)
    std::memset(at, 0xff, bytes);
  const uint64_t base = reinterpret_cast<uint64_t>(at);
  std::unique_lock lock(mutex);
  allocations[base] = {base, base + bytes, kind};
  if (counts)
    used += bytes;
  return base;
}

bool DeviceMemory::release(uint64_t base, MemoryKind kind) {
  std::unique_lock lock(mutex);
  auto it = allocations.find(base);
  if (it == allocations.end() || it->second.kind != kind)
    return false;
  const uint64_t bytes = it->second.end - base;
  if (kind != MemoryKind::Registered)
    munmap(reinterpret_cast<void *>(base), pages(bytes) + 4096);
  if (kind != MemoryKind::Pinned && kind != MemoryKind::Registered)
    used -= bytes;
  allocations.erase(it);
  return true;
}

bool DeviceMemory::add(uint64_t base, uint64_t bytes, MemoryKind kind) {
  std::unique_lock lock(mutex);
  auto next = allocations.lower_bound(base);
  if (next != allocations.end() && next->first < base + bytes)
    return false;
  if (next != allocations.begin() && std::prev(next)->second.end > base)
    return false;
  allocations[base] = {base, base + bytes, kind};
  return true;
}

std::optional<Allocation> DeviceMemory::before(uint64_t address) const {
  std::shared_lock lock(mutex);
  auto next = allocations.upper_bound(address);
  return next == allocations.begin() ? std::nullopt : std::optional(std::prev(next)->second);
}

std::optional<Allocation> DeviceMemory::find(uint64_t address) const {
  auto a = before(address);
  return a && address < a->end ? a : std::nullopt;
}

bool DeviceMemory::covers(uint64_t address, uint64_t bytes) const {
  auto a = find(address);
  return bytes == 0 || (a && bytes <= a->end - address);
}

} // namespace ptxvm
