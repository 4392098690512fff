//===- ControlGroups.h - the control groups that a process is in ---------------------===//
#ifndef SLUICE_RUNTIME_CONTROLGROUPS_H
#define SLUICE_RUNTIME_CONTROLGROUPS_H

#include <string>
#include <vector>

namespace sluice::runtime {

// A folder that may hold a group's files: innermost first, with those around it.
struct ControlGroup {
  std::string folder;
  bool version2;
};

// Where `controller` ("cpu", "memory") may limit this process; folders need not exist. `root` is where /proc and /sys
// are.
std::vector<ControlGroup> controlGroups(const std::string &controller, const std::string &root);

} // namespace sluice::runtime
#endif
