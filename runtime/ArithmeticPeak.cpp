//===- ArithmeticPeak.cpp - how many operations this machine can do ------------------===//

#include "runtime/ArithmeticPeak.h"
#include "runtime/Program.h"
#include <chrono>

using namespace sluice::runtime;

double sluice::runtime::arithmeticPeak(Workers &team, const Model &model, const sluice_variant &variant) {
  std::vector<Program> own; // a program each: nothing is shared
  for (unsigned worker = 0; worker < team.count(); ++worker)
    own.emplace_back(model, variant, SLUICE_PROGRAM_PEAK, nullptr);
  Chunk chunk;
  chunk.tokens = 1;
  chunk.count = 50'000;
  const double operations = double(chunk.count) * SLUICE_PEAK_OPERATIONS * team.count();
  using Clock = std::chrono::steady_clock;
  double best = 0;
  // The first passes only warm up.
  for (int pass = 0; pass < 12; ++pass) {
    Clock::time_point start = Clock::now();
    team.run([&](unsigned worker) { own[worker].run(chunk); });
    double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (pass >= 2)
      best = std::max(best, operations / seconds);
  }
  return best;
}
