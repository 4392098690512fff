//===- Program.h - the steps of one program, run by all workers --------------------===//
#ifndef SLUICE_RUNTIME_PROGRAM_H
#define SLUICE_RUNTIME_PROGRAM_H

#include "runtime/Engine.h"
#include "runtime/Memory.h"
#include "runtime/Workers.h"
#include <vector>

namespace sluice::runtime {

// What a run is about; fields as in sluice_args.
struct Chunk {
  const int32_t *ids = nullptr; // [tokens]
  uint64_t tokens = 0;          // at most maxTokens()
  uint64_t headBegin = 0;       // logits are computed for tokens [headBegin, tokens); `tokens` for none
  uint64_t position = 0;
  uint8_t *kv = nullptr;
  uint64_t kvHeadStride = 0, kvLayerStride = 0;
  uint32_t cacheType = SLUICE_CACHE_F16;
  float parameter = 0;
  uint32_t count = 0;
};

class Program {
public:
  // `team` null: everything runs on the caller.
  Program(const Model &model, const sluice_variant &variant, uint32_t kind, Workers *team);

  void run(const Chunk &chunk);

  uint64_t maxTokens() const { return program.max_tokens; }
  float *input() const { return reinterpret_cast<float *>(arena.data() + program.input_offset); }
  float *output() const { return reinterpret_cast<float *>(arena.data() + program.output_offset); }
  std::span<const sluice_step> steps() const { return stepList; }

  void startProfile();
  StepTime timeOf(size_t step) const;

private:
  void runSteps(const Chunk &chunk, unsigned worker);
  void sharePrologue(const sluice_step &step, const sluice_kernel &kernel, const sluice_args &all, unsigned worker);

  const Model &model;
  const sluice_variant &variant;
  const sluice_program &program;
  std::span<const sluice_step> stepList;
  Workers *team;
  uint64_t scratchStride, preparedStride;
  Memory arena, scratch, prepared;
  std::vector<std::vector<StepTime>> times; // [worker][step]; empty: no profile
};

} // namespace sluice::runtime
#endif
