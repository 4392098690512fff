//===- Traffic.h - what a token moves and computes, from the IR alone --------------===//
//
// The one cost model: bytes read and operations of every phase of a scheduled model. `sluice explain` prints it; the
// packed file reports the same bytes, and the running model measures against them.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_PASSES_TRAFFIC_H
#define SLUICE_PASSES_TRAFFIC_H

#include "dialects/stream/Schedule.h"
#include "llvm/Support/raw_ostream.h"

namespace sluice {

// One phase of a program, for one token. Numbers are those of one run.
struct PhaseTraffic {
  stream::PhaseOp phase;
  int64_t runs;            // layers that run it, 1 outside the layers
  int64_t streamedBytes;   // of packed weights, padding included, read from begin to end
  int64_t lookedUpBytes;   // of the rows that a token looks up
  int64_t cacheBytes;      // of the KV cache, for each position up to the token's
  int64_t operations;      // multiplications and additions of the matrix products
  int64_t cacheOperations; // of attention, for each position up to the token's
};

struct Traffic {
  std::vector<PhaseTraffic> phases; // in order
  // Over all phases and their runs.
  int64_t streamedBytes = 0, lookedUpBytes = 0, cacheBytes = 0, operations = 0, cacheOperations = 0;

  static Traffic get(stream::ProgramOp program);
};

// What printTraffic counts: one token, or a prompt.
struct Workload {
  int64_t depth = 0;  // positions in the KV cache before it
  int64_t prompt = 0; // tokens of the prompt, in chunks of @prefill; 0: a token, by @decode
};

// A line per phase, and what follows for the speed.
void printTraffic(llama::ModelOp model, llvm::raw_ostream &out, Workload workload = {});

} // namespace sluice
#endif
