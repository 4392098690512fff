//===- Session.h - one sequence of tokens and what the model makes of it -----------===//
//
// Holds the KV cache and the programs' memory. A sequence grows by prefill (many tokens) and decode (one), and can be
// cut back to any length. Both programs give the same logits for the same sequence.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_SESSION_H
#define SLUICE_RUNTIME_SESSION_H

#include "runtime/Program.h"
#include <csignal>

namespace sluice::runtime {

enum class Logits { None, Last, All };

class Session {
public:
  // `context`: the most tokens that the sequence can have; `cacheType`: SLUICE_CACHE_*. Throws Error when there is no
  // memory for it.
  Session(const Model &model, const sluice_variant &variant, Workers &team, uint64_t context,
          uint32_t cacheType = SLUICE_CACHE_F16);

  uint64_t context() const { return capacity; }
  // What to do when a text is too long for it.
  std::string remedy() const;
  uint64_t position() const { return ids.size(); }
  std::span<const int32_t> tokens() const { return ids; } // [position()]
  void truncate(uint64_t length) { ids.resize(length); }  // length <= position()
  uint32_t vocabulary() const { return model.description().vocabulary; }

  // Appends one token and returns the logits after it, [vocabulary()], valid until the next call. Throws Error on an id
  // that the model does not have or when the context is full; so does prefill.
  const float *decode(int32_t id);

  // Appends tokens, in chunks. With Logits::Last returns the last token's logits. With Logits::All calls
  // row(i, logits) for the i-th of `newIds` in turn.
  using Row = std::function<void(uint64_t index, const float *logits)>;
  const float *prefill(std::span<const int32_t> newIds, Logits wanted, const Row &row = {});

  // prefill() returns null between two chunks, having appended some, once *flag is nonzero.
  void stopWhen(const volatile std::sig_atomic_t *flag) { stop = flag; }

  Program &decodeProgram() { return decoder; }
  Program &prefillProgram() { return prefiller; }

private:
  void check(std::span<const int32_t> newIds) const;
  Chunk chunkOf(std::span<const int32_t> newIds) const;

  const Model &model;
  const uint64_t capacity;
  const uint32_t cacheType;
  const uint64_t headStride, layerStride; // bytes
  Memory cache;
  Program decoder, prefiller;
  std::vector<int32_t> ids; // what the cache holds
  const volatile std::sig_atomic_t *stop = nullptr;
};

// The generated softmax.
class Softmax {
public:
  Softmax(const Model &model, const sluice_variant &variant)
      : program(model, variant, SLUICE_PROGRAM_SOFTMAX, nullptr), vocabulary(model.description().vocabulary) {}
  // Where to put logits; vocabulary() floats.
  float *input() const { return program.input(); }
  // Probabilities of exp(scale * logit) for the first `count` inputs; valid until the next call.
  std::span<const float> operator()(uint32_t count, float scale) {
    Chunk chunk;
    chunk.tokens = 1;
    chunk.count = count;
    chunk.parameter = scale;
    program.run(chunk);
    return {program.output(), count};
  }
  // After a call: log(sum(exp(scale * logit))).
  float logSum() const { return program.output()[vocabulary]; }

private:
  Program program;
  uint32_t vocabulary;
};

} // namespace sluice::runtime
#endif
