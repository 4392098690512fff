//===- Options.h - what a user asks of a compiled model ------------------------------===//
#ifndef SLUICE_RUNTIME_OPTIONS_H
#define SLUICE_RUNTIME_OPTIONS_H

#include "runtime/Device.h"
#include "runtime/Sampler.h"
#include "runtime/abi.h"
#include <optional>
#include <string>
#include <vector>

namespace sluice::runtime {

struct Options {
  enum class Command { Generate, Tokenize, Detokenize, Template, Eval, Perplexity, Bench, Info, Verify };
  Command command = Command::Generate;

  // Generate
  std::optional<std::string> prompt; // absent: from promptFile, if that is not empty, else from standard input
  std::string promptFile;
  std::string systemPrompt;
  bool raw = false;
  bool ignoreEnd = false;
  bool verbose = false;
  bool contextShift = false;
  int64_t tokens = -1; // the most to generate; below 0: until the end
  int64_t seed = -1;   // -1: a new one each time
  SamplingOptions sampling;

  // Shared
  std::string file;     // the command's input; "-": standard input
  unsigned threads = 0; // 0: as many as help
  int device = -1;      // number of a device; -1: the first that the file has code for
  bool onProcessor = false;
  Launch launch = Launch::Best;
  bool listDevices = false;
  uint64_t context = 0; // tokens; 0: what the command takes by default
  uint32_t cacheType = SLUICE_CACHE_F16;
  bool json = false;
  bool noSandbox = false;

  bool parseSpecial = true;     // Tokenize
  bool generationPrompt = true; // Template
  std::string logits;           // Eval: file to write
  bool step = false;            // Eval
  int64_t chunks = -1;          // Perplexity; below 1: all

  // Bench: every combination is measured.
  std::vector<uint64_t> benchPrompts{256}, benchTokens{64}, benchDepths{0};
  std::vector<unsigned> benchThreads;
  unsigned repetitions = 5;
  std::string format = "md";
  bool profile = false;
};

// Parses a command line (without the program's name). Where there is nothing left to do but to end (help, version, a
// usage error, which are printed here), returns nothing and sets `status`.
std::optional<Options> parseOptions(std::vector<std::string> arguments, const std::string &program,
                                    const std::string &version, int &status, const SamplingOptions &defaults = {});

} // namespace sluice::runtime
#endif
