//===- ThreadCount.h - how many threads help on this machine -----------------------===//
#ifndef SLUICE_RUNTIME_THREADCOUNT_H
#define SLUICE_RUNTIME_THREADCOUNT_H

#include <string>
#include <vector>

namespace sluice::runtime {

// The logical processors that this process may run on.
std::vector<unsigned> allowedProcessors();

// Distinct physical cores among `processors`. Files are read below `root` ("" but in tests).
unsigned physicalCores(const std::vector<unsigned> &processors, const std::string &root = "");

// Whole processors that control groups (version 2 or 1) grant this process, at least 1; `unlimited` if they do not say.
unsigned quotaProcessors(unsigned unlimited, const std::string &root = "");

// The least of allowed processors, quota and physical cores.
unsigned defaultThreadCount();

} // namespace sluice::runtime
#endif
