//===- AvailableMemory.cpp - how much memory this process may still take -------------===//

#include "runtime/AvailableMemory.h"
#include "runtime/ControlGroups.h"
#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

using namespace sluice::runtime;

static int openFile(const std::string &path) { return open(path.c_str(), O_RDONLY | O_CLOEXEC); }

static std::string contents(int descriptor) {
  char text[16384];
  ssize_t size = descriptor < 0 ? 0 : pread(descriptor, text, sizeof text, 0);
  return {text, size_t(std::max<ssize_t>(size, 0))};
}

// The number behind `name` at the beginning of a line; 0 if there is none.
static uint64_t field(const std::string &text, const std::string &name) {
  size_t at = ("\n" + text).find("\n" + name);
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + name.size(), nullptr, 10);
}

AvailableMemory::AvailableMemory(const std::string &root) : meminfo(openFile(root + "/proc/meminfo")) {
  for (const ControlGroup &group : controlGroups("memory", root))
    addGroup(group.folder, group.version2);
}

void AvailableMemory::addGroup(const std::string &folder, bool version2) {
  Group group = {openFile(folder + (version2 ? "/memory.max" : "/memory.limit_in_bytes")),
                 openFile(folder + (version2 ? "/memory.current" : "/memory.usage_in_bytes")),
                 openFile(folder + "/memory.stat")};
  groups.push_back(group);
  if (group.limit < 0 || group.usage < 0) {
    for (int descriptor : {group.limit, group.usage, group.statistics})
      if (descriptor >= 0)
        close(descriptor);
    groups.pop_back();
  }
}

AvailableMemory::~AvailableMemory() {
  for (const Group &group : groups)
    for (int descriptor : {group.limit, group.usage, group.statistics})
      if (descriptor >= 0)
        close(descriptor);
  if (meminfo >= 0)
    close(meminfo);
}

uint64_t AvailableMemory::bytes() const {
  const std::string machine = contents(meminfo);
  const uint64_t left = field(machine, "MemAvailable:") + field(machine, "SwapFree:");
  uint64_t least = left ? left * 1024 : UINT64_MAX;
  for (const Group &group : groups) {
    const std::string limit = contents(group.limit), statistics = contents(group.statistics);
    if (limit.empty() || limit[0] < '0' || limit[0] > '9') // "max"
      continue;
    const uint64_t most = std::strtoull(limit.c_str(), nullptr, 10);
    const uint64_t used = std::strtoull(contents(group.usage).c_str(), nullptr, 10);
    // Version 1 counts a group's own pages apart from those of the groups in it.
    const bool total = field(statistics, "total_inactive_file ");
    const uint64_t files = total
                               ? field(statistics, "total_inactive_file ") + field(statistics, "total_active_file ")
                               : field(statistics, "inactive_file ") + field(statistics, "active_file ");
    least = std::min(least, most - std::min(most, used - std::min(used, files)));
  }
  return least;
}

const AvailableMemory &sluice::runtime::availableMemory() {
  static const AvailableMemory memory;
  return memory;
}
