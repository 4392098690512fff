//===- Cpu.h - what this machine's processor can run -------------------------------===//
#ifndef SLUICE_RUNTIME_CPU_H
#define SLUICE_RUNTIME_CPU_H

#include "runtime/abi.h"
#include <span>
#include <string>

namespace sluice::runtime {

// Bit set of SLUICE_CPU_*: what processor and operating system offer together.
uint64_t cpuFeatures();

// Names of the bits of `features`, separated by ", ".
std::string featureNames(uint64_t features);

// The first of `variants`, which are sorted by preference, that a processor with `available` can run. Throws Error
// naming the features that the least demanding variant misses.
const sluice_variant &chooseVariant(std::span<const sluice_variant> variants, uint64_t available);

} // namespace sluice::runtime
#endif
