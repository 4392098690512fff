//===- Memory.h - zeroed memory that exists only where it is touched ---------------===//
#ifndef SLUICE_RUNTIME_MEMORY_H
#define SLUICE_RUNTIME_MEMORY_H

#include <cstddef>
#include <cstdint>

namespace sluice::runtime {

class Memory {
public:
  Memory() = default;
  // Throws Error, with `purpose` and a remedy in it, when the address space has no room. `hugePages` asks for large
  // pages: right for what is read from end to end, wasteful for what is touched here and there.
  Memory(uint64_t bytes, bool hugePages, const char *purpose);
  Memory(Memory &&other) noexcept;
  Memory &operator=(Memory &&other) noexcept;
  ~Memory();
  uint8_t *data() const { return start; } // page aligned

private:
  uint8_t *start = nullptr;
  uint64_t size = 0;
};

} // namespace sluice::runtime
#endif
