//===- EvalCommands.cpp - eval and perplexity ----------------------------------------===//

#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/Npy.h"
#include "runtime/Session.h"
#include "runtime/Streams.h"
#include "runtime/Tokenizer.h"
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

using namespace sluice::runtime;

void sluice::runtime::evaluate(const Executable &executable, const Options &options) {
  const Model &model = executable.model;
  const std::string text = readFile(options.file);
  NpyWriter out(options.logits);
  executable.confine(options, {.threads = true, .child = true});
  const std::vector<int32_t> ids = parseTokenIds(text, options.file);
  const uint64_t context = executable.context(options, model.description().context_length);
  if (ids.empty())
    throw Error(options.file + ": expected token ids, got none");
  const std::unique_ptr<Engine> engine = executable.engine(options, context, options.context == 0);
  Session session(model, *engine);
  if (ids.size() > session.context())
    throw Error(options.file + ": " + std::to_string(ids.size()) + " tokens do not fit the context of " +
                std::to_string(session.context()) + "; " + session.remedy());
  out.begin(ids.size(), session.vocabulary());
  if (options.step)
    for (int32_t id : ids) {
      session.decode(id);
      out.append({session.logits(), session.vocabulary()});
    }
  else
    session.prefill(ids, Logits::All, [&](uint64_t, const float *logits) {
      out.append({logits, session.vocabulary()});
    });
  out.finish();
}

namespace {
// Mean and spread of the negative log likelihood of tokens.
struct Score {
  double sum = 0, squares = 0;
  uint64_t count = 0;

  void add(double value) {
    sum += value;
    squares += value * value;
    ++count;
  }
  double mean() const { return sum / double(count); }
  double perplexity() const { return std::exp(mean()); }
  // Of perplexity(): the standard error of the mean, times the derivative.
  double error() const {
    double variance = squares / double(count) - mean() * mean();
    return count > 1 && variance > 0 ? std::sqrt(variance / double(count - 1)) * perplexity() : 0;
  }
};
} // namespace

void sluice::runtime::perplexity(const Executable &executable, const Options &options) {
  const Model &model = executable.model;
  const uint64_t context = executable.context(options, 512);
  if (context < 4)
    throw UsageError("expected a context (-c) of at least 4 tokens, got " + std::to_string(context));
  const std::string text = readFile(options.file);
  executable.confine(options, {.threads = true});
  const Tokenizer tokenizer(model.section(SLUICE_SECTION_TOKENIZER));
  const bool bos = tokenizer.addsBos() && tokenizer.bos() >= 0;
  std::vector<int32_t> ids = tokenizer.encode(text, false, bos);
  uint64_t chunks = ids.size() / context;
  if (chunks == 0)
    throw Error(options.file + ": expected at least " + std::to_string(context) + " tokens, got " +
                std::to_string(ids.size()) + "; lower -c or give a longer text");
  if (options.chunks > 0)
    chunks = std::min(chunks, uint64_t(options.chunks));

  const std::unique_ptr<Engine> engine = executable.engine(options, context);
  Session session(model, *engine);
  Score score;
  const auto start = std::chrono::steady_clock::now();
  for (uint64_t chunk = 0; chunk < chunks; ++chunk) {
    // llama.cpp's definition: only tokens that have half a chunk before them are scored.
    std::span<int32_t> part(ids.data() + chunk * context, context);
    if (bos)
      part[0] = tokenizer.bos();
    const uint64_t first = context / 2;
    session.truncate(0);
    session.prefill(part.first(first), Logits::None);
    session.prefill(part.subspan(first, context - 1 - first), Logits::All, [&](uint64_t index, const float *logits) {
      engine->softmax({logits, session.vocabulary()}, 1);
      score.add(double(engine->logSum()) - double(logits[part[first + index + 1]]));
    });
    if (std::isnan(score.mean()))
      throw NotANumber();
    if (!options.json)
      note("[" + std::to_string(chunk + 1) + "/" + std::to_string(chunks) + "] " + std::to_string(score.perplexity()));
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  if (options.json) {
    nlohmann::ordered_json result = {
        {"perplexity", score.perplexity()}, {"stderr", score.error()}, {"nll", score.mean()},
        {"scored_tokens", score.count},     {"chunks", chunks},        {"n_ctx", context},
        {"workers", engine->workers()},     {"seconds", seconds}};
    writeOut(result.dump() + "\n");
    return;
  }
  char line[160];
  snprintf(line, sizeof line, "perplexity %.4f +/- %.4f (%llu tokens scored, %llu chunks of %llu)\n",
           score.perplexity(), score.error(), (unsigned long long)score.count, (unsigned long long)chunks,
           (unsigned long long)context);
  writeOut(line);
}
