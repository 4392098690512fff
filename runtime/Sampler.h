//===- Sampler.h - which token comes next -------------------------------------------===//
//
// In llama.cpp's order: repeat penalty, top-k, top-p, min-p, temperature. Probabilities come from the generated
// softmax.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_SAMPLER_H
#define SLUICE_RUNTIME_SAMPLER_H

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace sluice::runtime {

struct SamplingOptions {
  float temperature = 0.8f; // 0: the most likely token, always
  int topK = 40;            // keep the k most likely; 0: all
  float topP = 0.95f;       // keep the fewest whose probabilities reach p; 1: all
  float minP = 0.05f;       // keep those with at least this share of the greatest probability; 0: all
  float repeatPenalty = 1;  // divides (multiplies) positive (negative) logits of recent tokens; 1: none
  uint64_t seed = 0;
  static constexpr size_t recentTokens = 64; // how far back the penalty looks
};

// SplitMix64 (Steele, Lea, Flood 2014): the state advances by a constant; an output is a mix of the state.
class Random {
public:
  explicit Random(uint64_t seed) : state(seed) {}
  uint64_t next();
  double uniform() { return (next() >> 11) * 0x1p-53; } // in [0, 1)
  uint64_t current() const { return state; }

private:
  uint64_t state;
};

class Sampler {
public:
  // softmax(values, scale) returns the probabilities of exp(scale * value), as many, valid until its next call.
  using SoftmaxFunction = std::function<std::span<const float>(std::span<const float> values, float scale)>;
  // `banned`: tokens that are never chosen, or empty; else [vocabulary].
  Sampler(const SamplingOptions &options, SoftmaxFunction softmax, std::vector<bool> banned = {});

  // `recent`: the sequence so far. One call draws at most one random number.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> recent);

  // For who chooses in its stead, in the same way:
  const SamplingOptions &settings() const { return options; }
  const std::vector<bool> &bannedTokens() const { return banned; }
  bool isGreedy() const { return options.temperature <= 0 || options.topK == 1; } // draws nothing
  const Random &randomness() const { return random; }
  Random &randomness() { return random; }

private:
  void collect(std::span<const float> logits, std::span<const int32_t> recent);
  int32_t mostLikely() const;

  SamplingOptions options;
  SoftmaxFunction softmax;
  std::vector<bool> banned;
  Random random;
  struct Candidate {
    int32_t id;
    float logit;
  };
  std::vector<Candidate> candidates;
  std::vector<float> values;
};

} // namespace sluice::runtime
#endif
