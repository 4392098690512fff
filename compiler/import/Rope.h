//===- Rope.h - how far the pairs of a head turn ---------------------------------------===//
#ifndef SLUICE_COMPILER_IMPORT_ROPE_H
#define SLUICE_COMPILER_IMPORT_ROPE_H

#include <cstdint>
#include <vector>

namespace sluice {

struct RopeScaling {
  enum Kind { None, Linear, Yarn, Llama3 } kind = None;
  double factor = 1;
  double originalContext = 0;                             // yarn, llama3
  double betaFast = 32, betaSlow = 1;                     // yarn
  bool truncates = true;                                  // yarn: the bounds of the ramp to whole pairs
  double lowFrequencyFactor = 1, highFrequencyFactor = 4; // llama3
  // What rotated channels are multiplied by; 0: what yarn says, or 1.
  double magnitude = 0;
};

// See llama.rope.
struct Rope {
  std::vector<double> turns;
  double magnitude = 1;
  bool operator==(const Rope &) const = default;
};

// `rotated` channels of a head turn. `divisors`, empty or one a pair, divide the turns.
Rope makeRope(double base, int64_t rotated, const RopeScaling &scaling, const std::vector<double> &divisors);

} // namespace sluice
#endif
