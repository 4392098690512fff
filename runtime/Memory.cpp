//===- Memory.cpp - zeroed memory that exists only where it is touched -------------===//

#include "runtime/Memory.h"
#include "runtime/Error.h"
#include <string>
#include <sys/mman.h>
#include <utility>

using namespace sluice::runtime;

Memory::Memory(uint64_t bytes, bool hugePages, const char *purpose) : size(bytes ? bytes : 1) {
  void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    throw Error("no memory for " + std::string(purpose) + ": " + std::to_string((size + 1048575) / 1048576) +
                " MiB needed; lower -c or -t");
  if (hugePages)
    madvise(memory, size, MADV_HUGEPAGE);
  start = static_cast<uint8_t *>(memory);
}

Memory::Memory(Memory &&other) noexcept { *this = std::move(other); }

Memory &Memory::operator=(Memory &&other) noexcept {
  std::swap(start, other.start);
  std::swap(size, other.size);
  return *this;
}

Memory::~Memory() {
  if (start)
    munmap(start, size);
}
