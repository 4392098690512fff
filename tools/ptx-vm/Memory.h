// Device memory: host memory at the same addresses, with exact bounds. Pinned host memory and the variables of modules
// are in the same map, since kernels may touch them too.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>

namespace ptxvm {

enum class MemoryKind : uint8_t { Device, Pinned, Registered, Variable, Constant };

struct Allocation {
  uint64_t base, end;
  MemoryKind kind;
};

class DeviceMemory {
public:
  explicit DeviceMemory(uint64_t total) : total(total) {}
  /// Zero if there is not as much left.
  uint64_t allocate(uint64_t bytes, MemoryKind kind);
  bool release(uint64_t base, MemoryKind kind);
  bool add(uint64_t base, uint64_t bytes, MemoryKind kind); // memory that is the caller's
  std::optional<Allocation> find(uint64_t address) const;
  /// The last allocation that begins at or before the address.
  std::optional<Allocation> before(uint64_t address) const;
  /// Whether [address, address + bytes) lies in one allocation.
  bool covers(uint64_t address, uint64_t bytes) const;
  uint64_t freeBytes() const { return total - used; }
  const uint64_t total;

private:
  mutable std::shared_mutex mutex;
  std::map<uint64_t, Allocation> allocations;
  std::atomic<uint64_t> used = 0;
};

} // namespace ptxvm
