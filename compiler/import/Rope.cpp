//===- Rope.cpp - how far the pairs of a head turn -------------------------------------===//
//
// Linear: Chen et al., Extending Context Window via Positional Interpolation, 2023. Yarn: Peng et al., 2023. Llama 3:
// as Hugging Face publishes it.
//
//===------------------------------------------------------------------------------------===//

#include "compiler/import/Rope.h"
#include <algorithm>
#include <cmath>

using namespace sluice;

// The share of a pair's turn that is kept; the rest is divided by the factor.
static double keptByYarn(const RopeScaling &scaling, double base, double rotated, double pair) {
  auto pairOf = [&](double rotations) { // that turns so often in the original context
    return rotated * std::log(scaling.originalContext / (rotations * 2 * M_PI)) / (2 * std::log(base));
  };
  double low = pairOf(scaling.betaFast), high = pairOf(scaling.betaSlow);
  if (scaling.truncates)
    low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, rotated - 1);
  if (low == high)
    high += 0.001;
  return 1 - std::clamp((pair - low) / (high - low), 0.0, 1.0);
}

// The same by wavelength, in positions.
static double keptByLlama3(const RopeScaling &scaling, double wavelength) {
  const double rotations = scaling.originalContext / wavelength;
  return std::clamp(
      (rotations - scaling.lowFrequencyFactor) / (scaling.highFrequencyFactor - scaling.lowFrequencyFactor), 0.0, 1.0);
}

Rope sluice::makeRope(double base, int64_t rotated, const RopeScaling &scaling, const std::vector<double> &divisors) {
  Rope rope;
  for (int64_t i = 0; i < rotated / 2; ++i) {
    double turn = std::pow(base, -2.0 * double(i) / double(rotated)) / (2 * M_PI), kept = 1;
    if (scaling.kind == RopeScaling::Linear)
      kept = 0;
    else if (scaling.kind == RopeScaling::Yarn)
      kept = keptByYarn(scaling, base, double(rotated), double(i));
    else if (scaling.kind == RopeScaling::Llama3)
      kept = keptByLlama3(scaling, 1 / turn);
    turn = kept == 1 ? turn : turn * kept + turn / scaling.factor * (1 - kept);
    rope.turns.push_back(divisors.empty() ? turn : turn / divisors[i]);
  }
  if (scaling.magnitude > 0)
    rope.magnitude = scaling.magnitude;
  else if (scaling.kind == RopeScaling::Yarn && scaling.factor > 1)
    rope.magnitude = 0.1 * std::log(scaling.factor) + 1;
  return rope;
}
