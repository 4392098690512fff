//===- Session.h - one sequence of tokens and what the model makes of it -----------===//
//
// A sequence grows by prefill (many tokens) and decode (one), and can be cut back to any length. Both give the same
// logits for the same sequence.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_SESSION_H
#define SLUICE_RUNTIME_SESSION_H

#include "runtime/Engine.h"
#include <csignal>
#include <functional>

namespace sluice::runtime {

enum class Logits { None, Last, All };

class Session {
public:
  Session(const Model &model, Engine &engine);

  uint64_t context() const { return engine.context(); }
  // What to do when a text is too long for it.
  std::string remedy() const;
  uint64_t position() const { return ids.size(); }
  std::span<const int32_t> tokens() const { return ids; } // [position()]
  void truncate(uint64_t length) { ids.resize(length); }  // length <= position()
  uint32_t vocabulary() const { return model.description().vocabulary; }
  uint64_t chunkTokens() const { return engine.chunkTokens(); } // prefill works in chunks of so many

  // Appends one token; its logits can be had afterwards. Throws Error on an id that the model does not have or when the
  // context is full; so does prefill.
  void decode(int32_t id);

  // Appends tokens, in chunks. With Logits::All calls row(i, logits) for the i-th of `newIds` in turn; else, with
  // Logits::Last, the last one's logits can be had afterwards. False if it was stopped; see stopWhen.
  using Row = std::function<void(uint64_t index, const float *logits)>;
  bool prefill(std::span<const int32_t> newIds, Logits wanted, const Row &row = {});

  // Of the last token that decode or prefill appended: [vocabulary()], valid until the next call of those.
  const float *logits() { return engine.logits(lastToken); }
  // The token that `sampler` takes from them, which cannot be had afterwards.
  int32_t choose(Sampler &sampler) { return engine.choose(sampler, ids); }

  // Returns when all of that is done: a device works while the host goes on.
  void finish() { engine.finish(); }

  // prefill() returns false between two chunks, having appended some, once *flag is nonzero.
  void stopWhen(const volatile std::sig_atomic_t *flag) { stop = flag; }

private:
  void check(std::span<const int32_t> newIds) const;

  const Model &model;
  Engine &engine;
  std::vector<int32_t> ids; // what the cache holds
  uint64_t lastToken = 0;   // of the last run
  const volatile std::sig_atomic_t *stop = nullptr;
};

} // namespace sluice::runtime
#endif
