//===- PhaseRunner.h - single phases on made-up data --------------------------------===//
//
// For measurements: weights, activations and cache are bytes that are a moderate number in every format, the weights
// those of another layer each time, as in a model. One thread.
//
//===--------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_TUNE_PHASERUNNER_H
#define SLUICE_COMPILER_TUNE_PHASERUNNER_H

#include "codegen/Target.h"
#include "passes/Traffic.h"
#include "runtime/abi.h"
#include <functional>

namespace sluice {

class PhaseRunner {
public:
  // For phases of `model`, which is configured for `target`, and of copies of it configured otherwise; `position`
  // tokens lie in the cache. `weightBytes` of weights, or as many as a phase has, are read one after another.
  static constexpr int64_t moreThanCachesHold = 256 << 20;
  PhaseRunner(llama::ModelOp model, const codegen::HostTarget &target, int64_t position,
              int64_t weightBytes = moreThanCachesHold);

  // What runs `kernel`, which is `phase` compiled, for as many tokens as its program takes.
  std::function<void()> bind(stream::PhaseOp phase, const sluice_kernel &kernel);

  // Of a run: what it reads, and its multiplications and additions.
  int64_t bytesOf(stream::PhaseOp phase) const;
  int64_t operationsOf(stream::PhaseOp phase) const;

private:
  struct Deleter {
    void operator()(uint8_t *memory) const { std::free(memory); }
  };
  using Memory = std::unique_ptr<uint8_t, Deleter>;
  static Memory allocate(int64_t bytes);

  const codegen::HostTarget &target;
  int64_t position, weightBytes, kvHeadStride, weightsAt = 0;
  codegen::WorkerMemory worker; // of scratch and prepared
  Memory weights, arena, scratch, prepared, kv;
  std::vector<int32_t> ids;
};

} // namespace sluice
#endif
