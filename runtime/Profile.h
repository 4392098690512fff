//===- Profile.h - what a test moves and computes, and how long its phases took ------===//
#ifndef SLUICE_RUNTIME_PROFILE_H
#define SLUICE_RUNTIME_PROFILE_H

#include "runtime/Engine.h"
#include <string>

namespace sluice::runtime {

// `prompt` tokens at once or, where that is 0, `tokens` one by one, after `depth` tokens of context.
struct Workload {
  uint64_t prompt, tokens, depth;
  uint32_t cacheType;

  std::string name() const;
  uint64_t count() const { return prompt ? prompt : tokens; }
  uint32_t program() const { return prompt ? SLUICE_PROGRAM_PREFILL : SLUICE_PROGRAM_DECODE; }
};

// What has to be read and computed: the same as `sluice explain` says. The costs are the compiler's estimate of what
// its code takes, in operations at the peak: see sluice_kernel.
struct Work {
  double weightBytes = 0, cacheBytes = 0, operations = 0;
  double cost = 0, prologueCost = 0; // the latter is of all workers together, shared or not

  double bytes() const { return weightBytes + cacheBytes; }
  Work &operator+=(const Work &other);
  Work operator/(double by) const {
    return {weightBytes / by, cacheBytes / by, operations / by, cost / by, prologueCost / by};
  }
};

// Of a step of the workload's program, in all chunks of a prompt or for all tokens.
Work workOf(const sluice_step &step, const Model &model, const Engine &engine, const Workload &workload,
            unsigned workers);

struct Machine : Capability {
  // The least time in seconds for `work`: the roofline.
  double least(const Work &work) const { return std::max(work.bytes() / bandwidth, work.operations / peak); }
  // What the compiler expects.
  double predicted(const Work &work) const {
    return std::max(work.bytes() / bandwidth, work.cost / peak) + work.prologueCost / peak;
  }
};

// A table with a line per phase: for a prompt, or for a token on average. `engine` has run the workload `runs` times
// since startProfile().
std::string profileTable(const Model &model, const Engine &engine, const Workload &workload, uint64_t runs,
                         const Machine &machine);

} // namespace sluice::runtime
#endif
