//===- Options.h - what a user asks of the compiler --------------------------------===//
#ifndef SLUICE_COMPILER_OPTIONS_H
#define SLUICE_COMPILER_OPTIONS_H

#include "passes/Traffic.h"
#include <csignal>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sluice {

struct Options {
  std::string model;                        // path of the checkpoint
  std::string output;                       // path of the executable, or of what `emit` prints (then "" is stdout)
  std::vector<std::string> targets{"host"}; // code for each; the executable takes the best that its machine can run
  std::string emit;                         // stop after the phase of this name and print what it made
  std::string dumpPhases;                   // folder to write what every phase made to, "" for none
  std::string remarks;                      // print the passes' remarks of the categories this expression matches
  std::vector<std::string> passPlugins;     // shared libraries with further passes
  std::vector<std::pair<std::string, std::string>> extraPasses; // (phase, pass pipeline to run after it)
  double outliers = 4;                                          // see the pass schedule-phases
  std::string tuning;            // file with a configuration of tiles, "" for none; see the pass apply-tuning
  std::string cacheType = "f16"; // explain: of SLUICE_CACHE_NAMES
  int64_t depth = 0;             // explain: positions in the KV cache before what is counted
  Machine machine;               // explain: what is predicted for
  int64_t prompt = 0;            // explain: tokens of a prompt to count, 0 for one token of the answer
  bool quiet = false;            // no progress and no summary
  const volatile std::sig_atomic_t *interrupted = nullptr; // compilation ends cleanly soon after this becomes nonzero
};

} // namespace sluice
#endif
