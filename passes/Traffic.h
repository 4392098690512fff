//===- Traffic.h - what a token moves and computes, from the IR alone --------------===//
//
// Bytes read and operations of every phase of a scheduled model. `sluice explain` prints them, and how long a target's
// code takes for them by its own estimate (Target::cost); the
// packed file reports the same bytes, and the running model measures against them.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_PASSES_TRAFFIC_H
#define SLUICE_PASSES_TRAFFIC_H

#include "dialects/stream/Schedule.h"
#include "runtime/abi.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/raw_ostream.h"

namespace sluice {

// One phase of a program, for one token. Numbers are those of one run; sluice_step has them too.
struct PhaseTraffic {
  stream::PhaseOp phase;
  int64_t runs;                // layers that run it, 1 outside the layers
  int64_t streamedBytes = 0;   // of packed weights, padding included, read from begin to end
  int64_t lookedUpBytes = 0;   // of the rows that a token looks up
  int64_t cacheBytes = 0;      // of the KV cache, for each position before the token, in `cacheType`
  int64_t operations = 0;      // multiplications and additions of the matrix products
  int64_t cacheOperations = 0; // of attention, for each position before the token
  int64_t window = 0;          // how many positions, its own among them, a token sees; 0: all
  int64_t cacheTokens = 0;     // tokens of a chunk for which attention reads the cache once; 0: it reads none

  static PhaseTraffic get(stream::PhaseOp phase, int64_t runs = 1, uint32_t cacheType = SLUICE_CACHE_F16);
};

// What a target's code for a phase takes where memory is no limit: as long as so many operations of 8-bit dot products
// at the target's best.
struct PhaseCost {
  double run = 0;      // for a token
  double cache = 0;    // for a token, for each position before it
  double prologue = 0; // for a token; where workers do not share the prologue, each of them takes it
};
using PhaseCosts = llvm::function_ref<PhaseCost(stream::PhaseOp)>;

struct Traffic {
  std::vector<PhaseTraffic> phases; // in order
  // Over all phases and their runs.
  int64_t streamedBytes = 0, lookedUpBytes = 0, cacheBytes = 0, operations = 0, cacheOperations = 0;

  static Traffic get(stream::ProgramOp program, uint32_t cacheType = SLUICE_CACHE_F16);
};

// What printTraffic counts: one token, or a prompt.
struct Workload {
  int64_t depth = 0;  // positions in the KV cache before it
  int64_t prompt = 0; // tokens of the prompt, in chunks of @prefill; 0: a token, by @decode
  uint32_t cacheType = SLUICE_CACHE_F16;
  // Positions before a token that it sees through `window`, summed over the tokens.
  int64_t positions(int64_t window) const { return sluice_positions_seen(depth, std::max<int64_t>(prompt, 1), window); }
};

// What it is predicted for; a compiled model's `bench --profile` measures both. Default: about one core of a server of
// 2023.
struct Machine {
  double gigabytesPerSecond = 0;      // read from memory; 0: by the target
  double gigaoperationsPerSecond = 0; // multiplications and additions of 8-bit dot products; 0: by the target
};

// A line per phase with the time that it takes one worker: the longer of reading its bytes and of `costs`. Then the
// least that the roofline allows, and what follows for the speed.
void printTraffic(llama::ModelOp model, llvm::raw_ostream &out, llvm::StringRef target, PhaseCosts costs,
                  Workload workload = {}, Machine machine = {});

} // namespace sluice
#endif
