//===- Commands.h - what a compiled model can be asked to do -------------------------===//
//
// Each command prints its result to standard output and throws Error when it cannot. It first opens what it was given,
// then confines itself.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_COMMANDS_H
#define SLUICE_RUNTIME_COMMANDS_H

#include "runtime/Engine.h"
#include "runtime/Options.h"
#include "runtime/Sandbox.h"
#include <memory>

namespace sluice::runtime {

// The model and the code that came with it.
struct Executable {
  const Model &model;
  std::span<const sluice_variant> variants; // may be empty in a file for devices

  // The code that this processor can run. Throws Error naming what it lacks, or if the code is not the model's.
  const sluice_variant &variant() const;
  // What runs the model, as the options say: a device that the file has code for, or this processor. For a sequence of
  // `context` tokens; with `orFewer`, of as many as a device has memory for.
  std::unique_ptr<Engine> engine(const Options &options, uint64_t context, bool orFewer = false) const;
  // Options' context, or `otherwise`, at most what the model was trained for. Throws UsageError beyond that.
  uint64_t context(const Options &options, uint64_t otherwise) const;
  // From here on the command can do no more than it needs; unless options say otherwise.
  void confine(const Options &options, SandboxNeeds needs = {}) const;
};

void generate(const Executable &executable, const Options &options); // one answer, or a chat
void tokenize(const Executable &executable, const Options &options);
void detokenize(const Executable &executable, const Options &options);
void renderTemplate(const Executable &executable, const Options &options);
void evaluate(const Executable &executable, const Options &options);
void perplexity(const Executable &executable, const Options &options);
void bench(const Executable &executable, const Options &options);
void info(const Executable &executable, const Options &options);
void verify(const Executable &executable, const Options &options);

// Numbers separated by white space or commas. Throws Error, naming `source`, on anything else.
std::vector<int32_t> parseTokenIds(const std::string &text, const std::string &source);

// 1536 MiB as "1.5 GiB".
std::string readableBytes(uint64_t bytes);

} // namespace sluice::runtime
#endif
