//===- ThreadCount.cpp - how many threads help on this machine ---------------------===//

#include "runtime/ThreadCount.h"
#include "runtime/ControlGroups.h"
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
  for (const ControlGroup &group : controlGroups("cpu", root))
    if (group.version2)
      quota.readVersion2(group.folder);
    else
      quota.readVersion1(group.folder);
  return std::max(1u, unsigned(quota.processors));
}

unsigned sluice::runtime::defaultThreadCount() {
  static const unsigned count = [] { // once: the sandbox lets no file be opened
    std::vector<unsigned> processors = allowedProcessors();
    return quotaProcessors(physicalCores(processors));
  }();
  return count;
}
