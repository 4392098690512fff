//===- Generator.cpp - from a prompt to an answer, token by token --------------------===//

#include "runtime/Generator.h"
#include "runtime/Error.h"
#include "runtime/Utf8.h"
#include <chrono>
#include <cstdio>
#include <unistd.h>

using namespace sluice::runtime;
using Clock = std::chrono::steady_clock;

static double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Says on a terminal's standard error how far a long prompt is read; leaves nothing there.
namespace {
class PromptProgress {
public:
  explicit PromptProgress(size_t tokens) : tokens(tokens), start(Clock::now()) {}
  ~PromptProgress() {
    if (shown)
      fputs("\r\033[K", stderr);
  }
  void show(size_t done) {
    shown = shown || (isatty(STDERR_FILENO) && secondsSince(start) > 1);
    if (shown)
      fprintf(stderr, "\rreading the prompt: %zu of %zu tokens", done, tokens);
  }

private:
  size_t tokens;
  Clock::time_point start;
  bool shown = false;
};
} // namespace

bool Generator::readPrompt(std::span<const int32_t> ids, const volatile std::sig_atomic_t *interrupted) {
  if (ids.size() == 1) {
    session.decode(ids[0]);
    return true;
  }
  PromptProgress progress(ids.size());
  const size_t all = ids.size(), piece = session.chunkTokens();
  for (; ids.size() > piece; ids = ids.subspan(piece)) {
    session.prefill(ids.first(piece), Logits::None);
    if (interrupted && *interrupted)
      return false;
    progress.show(all - ids.size() + piece);
  }
  return session.prefill(ids, Logits::Last);
}

bool Generator::shift(int32_t id) {
  if (!keptTokens || *keptTokens + 2 > session.position())
    return false;
  const std::span<const int32_t> all = session.tokens();
  const uint64_t forgotten = (all.size() - *keptTokens + 1) / 2;
  std::vector<int32_t> rest(all.begin() + ptrdiff_t(*keptTokens + forgotten), all.end());
  rest.push_back(id);
  // Keys in the cache were turned by their old positions: evaluating them anew is exact, turning them further is not.
  session.truncate(*keptTokens);
  return session.prefill(rest, Logits::Last);
}

Answer Generator::generate(std::span<const int32_t> prompt, int64_t limit,
                           const std::function<void(std::string_view)> &emit,
                           const volatile std::sig_atomic_t *interrupted) {
  if (prompt.empty())
    throw Error("the prompt is empty: there is nothing to continue");
  if (prompt.size() > session.context())
    throw Error("the prompt has " + std::to_string(prompt.size()) + " tokens and the context holds " +
                std::to_string(session.context()) + "; " + session.remedy());
  auto stopped = [&] { return interrupted && *interrupted; };
  session.stopWhen(interrupted);

  // The last token is always evaluated: its logits are what is wanted.
  std::span<const int32_t> cached = session.tokens();
  uint64_t common = 0;
  while (common < std::min(cached.size(), prompt.size() - 1) && cached[common] == prompt[common])
    ++common;
  session.truncate(common);

  Answer answer;
  answer.promptTokens = prompt.size() - common;
  Clock::time_point start = Clock::now();
  std::span<const int32_t> rest = prompt.subspan(common);
  const bool read = readPrompt(rest, interrupted);
  session.finish();
  answer.promptSeconds = secondsSince(start);

  start = Clock::now();
  Utf8Stream text;
  for (;;) {
    if (!read || stopped())
      answer.ending = Ending::Interrupted;
    else if (limit >= 0 && answer.generatedTokens == uint64_t(limit))
      answer.ending = Ending::Limit;
    else {
      int32_t id = session.choose(sampler);
      if (!tokenizer.isEndOfGeneration(id)) {
        ++answer.generatedTokens;
        if (std::string piece = text.push(tokenizer.decode(id, false)); !piece.empty())
          emit(piece);
        if (session.position() < session.context()) {
          if (limit < 0 || answer.generatedTokens < uint64_t(limit))
            session.decode(id);
          continue;
        }
        if (limit >= 0 && answer.generatedTokens == uint64_t(limit))
          answer.ending = Ending::Limit;
        else if (shift(id))
          continue;
        else
          answer.ending = stopped() ? Ending::Interrupted : Ending::ContextFull;
      } else {
        answer.ending = Ending::EndOfGeneration;
      }
    }
    break;
  }
  if (std::string piece = text.finish(); !piece.empty())
    emit(piece);
  answer.generateSeconds = secondsSince(start);
  return answer;
}
