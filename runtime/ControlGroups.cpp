//===- ControlGroups.cpp - the control groups that a process is in -------------------===//

#include "runtime/ControlGroups.h"
#include <fstream>

using namespace sluice::runtime;

std::vector<ControlGroup> sluice::runtime::controlGroups(const std::string &controller, const std::string &root) {
  std::vector<ControlGroup> result;
  std::ifstream groups(root + "/proc/self/cgroup");
  // A line: number:controllers:path. Inside a container the path may be one of the host's, unknown here; then the root
  // of the mounted hierarchy is the container's own.
  for (std::string line; std::getline(groups, line);) {
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos)
      continue;
    std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    const bool version2 = controllers.empty();
    if (!version2 && ("," + controllers + ",").find("," + controller + ",") == std::string::npos)
      continue;
    for (;;) {
      if (path == "/")
        path.clear();
      for (const std::string &mount : version2 ? std::vector<std::string>{"", "/unified"}
                                               : std::vector<std::string>{"/" + controller, "/" + controllers})
        result.push_back({root + "/sys/fs/cgroup" + mount + path, version2});
      if (path.empty())
        break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return result;
}
