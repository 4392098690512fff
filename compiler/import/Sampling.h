//===- Sampling.h - how a model's makers choose the next token -------------------------===//
#ifndef SLUICE_COMPILER_IMPORT_SAMPLING_H
#define SLUICE_COMPILER_IMPORT_SAMPLING_H

#include "compiler/import/Checkpoint.h"

namespace sluice {

// What a checkpoint says; the runtime's own defaults for the rest.
struct SamplingDefaults {
  std::optional<double> temperature, topK, topP, minP, repeatPenalty;
};

// From generation_config.json, or GGUF's keys `general.sampling.*`. Errors name the key.
llvm::Expected<SamplingDefaults> readSampling(const Checkpoint &checkpoint);

} // namespace sluice
#endif
