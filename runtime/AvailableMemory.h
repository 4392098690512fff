//===- AvailableMemory.h - how much memory this process may still take ---------------===//
#ifndef SLUICE_RUNTIME_AVAILABLEMEMORY_H
#define SLUICE_RUNTIME_AVAILABLEMEMORY_H

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::runtime {

// The least of what the machine has left and what the control groups of this process have, files that need not stay in
// memory counted as free. Beyond it the kernel would end the process without a word. Opens what it reads once, so that
// it can be asked inside the sandbox.
class AvailableMemory {
public:
  explicit AvailableMemory(const std::string &root = ""); // where /proc and /sys are
  AvailableMemory(const AvailableMemory &) = delete;
  ~AvailableMemory();
  uint64_t bytes() const; // UINT64_MAX: not known

private:
  struct Group {
    int limit, usage, statistics; // descriptors
  };
  void addGroup(const std::string &folder, bool version2);
  int meminfo;
  std::vector<Group> groups;
};

// This process'; opened by the first call.
const AvailableMemory &availableMemory();

} // namespace sluice::runtime
#endif
