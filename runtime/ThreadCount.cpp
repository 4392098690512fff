//===- ThreadCount.cpp - how many threads help on this machine ---------------------===//

#include "runtime/ThreadCount.h"
#include <algorithm>
#include <fstream>
#include <sched.h>
#include <set>

using namespace sluice::runtime;

std::vector<unsigned> sluice::runtime::allowedProcessors() {
  std::vector<unsigned> processors;
  for (unsigned capacity = 1024; capacity <= 1u << 20; capacity *= 2) {
    cpu_set_t *set = CPU_ALLOC(capacity);
    size_t bytes = CPU_ALLOC_SIZE(capacity);
    bool known = sched_getaffinity(0, bytes, set) == 0;
    for (unsigned i = 0; known && i < capacity; ++i)
      if (CPU_ISSET_S(i, bytes, set))
        processors.push_back(i);
    CPU_FREE(set);
    if (known)
      break;
  }
  if (processors.empty())
    processors.push_back(0);
  return processors;
}

unsigned sluice::runtime::physicalCores(const std::vector<unsigned> &processors, const std::string &root) {
  std::set<std::string> cores;
  for (unsigned processor : processors) {
    std::ifstream file(root + "/sys/devices/system/cpu/cpu" + std::to_string(processor) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings))
      siblings = "alone " + std::to_string(processor);
    cores.insert(siblings);
  }
  return std::max<size_t>(cores.size(), 1);
}

namespace {
// The tightest quota of a control group and of those around it.
struct Quota {
  double processors;

  void take(double quota, double period) {
    if (quota > 0 && period > 0)
      processors = std::min(processors, quota / period);
  }

  void readVersion2(const std::string &folder) {
    std::ifstream file(folder + "/cpu.max");
    std::string quota;
    double period;
    if (file >> quota >> period && quota != "max")
      take(std::atof(quota.c_str()), period);
  }

  void readVersion1(const std::string &folder) {
    std::ifstream quotaFile(folder + "/cpu.cfs_quota_us"), periodFile(folder + "/cpu.cfs_period_us");
    double quota, period;
    if (quotaFile >> quota && periodFile >> period)
      take(quota, period);
  }
};
} // namespace

unsigned sluice::runtime::quotaProcessors(unsigned unlimited, const std::string &root) {
  Quota quota{double(unlimited)};
  std::ifstream groups(root + "/proc/self/cgroup");
  // A line: number:controllers:path. Inside a container the path may be one of the host's, unknown here; then the root
  // of the mounted hierarchy is the container's own.
  for (std::string line; std::getline(groups, line);) {
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos)
      continue;
    std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    bool version2 = controllers.empty();
    if (!version2 && ("," + controllers + ",").find(",cpu,") == std::string::npos)
      continue;
    for (;;) {
      if (path == "/")
        path.clear();
      if (version2) {
        quota.readVersion2(root + "/sys/fs/cgroup" + path);
        quota.readVersion2(root + "/sys/fs/cgroup/unified" + path);
      } else {
        quota.readVersion1(root + "/sys/fs/cgroup/cpu" + path);
        quota.readVersion1(root + "/sys/fs/cgroup/" + controllers + path);
      }
      if (path.empty())
        break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return std::max(1u, unsigned(quota.processors));
}

unsigned sluice::runtime::defaultThreadCount() {
  std::vector<unsigned> processors = allowedProcessors();
  return quotaProcessors(physicalCores(processors));
}
