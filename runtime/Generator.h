//===- Generator.h - from a prompt to an answer, token by token ----------------------===//
#ifndef SLUICE_RUNTIME_GENERATOR_H
#define SLUICE_RUNTIME_GENERATOR_H

#include "runtime/Sampler.h"
#include "runtime/Session.h"
#include "runtime/Tokenizer.h"
#include <csignal>
#include <string_view>

namespace sluice::runtime {

enum class Ending { EndOfGeneration, Limit, ContextFull, Interrupted };

struct Answer {
  Ending ending = Ending::Limit;
  uint64_t promptTokens = 0;    // evaluated now; those that the cache held already are not counted
  uint64_t generatedTokens = 0; // an end-of-generation token not counted
  double promptSeconds = 0, generateSeconds = 0;
};

class Generator {
public:
  Generator(Session &session, const Tokenizer &tokenizer, Sampler &sampler)
      : session(session), tokenizer(tokenizer), sampler(sampler) {}

  // Puts `prompt`, not empty, into the session, whose cache is kept as far as it begins alike, and generates up to
  // `limit` tokens (-1: no limit). emit(text) gets whole UTF-8 sequences. *interrupted, where not null, ends it early.
  // Throws Error if the prompt does not fit the context.
  Answer generate(std::span<const int32_t> prompt, int64_t limit, const std::function<void(std::string_view)> &emit,
                  const volatile std::sig_atomic_t *interrupted = nullptr);

private:
  // Puts the prompt's tokens into the session; false if interrupted.
  bool readPrompt(std::span<const int32_t> ids, const volatile std::sig_atomic_t *interrupted);

  Session &session;
  const Tokenizer &tokenizer;
  Sampler &sampler;
};

} // namespace sluice::runtime
#endif
