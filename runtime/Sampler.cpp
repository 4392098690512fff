//===- Sampler.cpp - which token comes next -----------------------------------------===//

#include "runtime/Sampler.h"
#include "runtime/Error.h"
#include <algorithm>
#include <cmath>

using namespace sluice::runtime;

uint64_t Random::next() {
  uint64_t z = state += 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

Sampler::Sampler(const SamplingOptions &options, SoftmaxFunction softmax, std::vector<bool> banned)
    : options(options), softmax(std::move(softmax)), banned(std::move(banned)), random(options.seed) {}

void Sampler::collect(std::span<const float> logits, std::span<const int32_t> recent) {
  candidates.resize(logits.size());
  for (size_t id = 0; id < logits.size(); ++id) {
    bool out = (id < banned.size() && banned[id]) || std::isnan(logits[id]);
    candidates[id] = {int32_t(id), out ? -INFINITY : logits[id]};
  }
  if (options.repeatPenalty == 1)
    return;
  std::span<const int32_t> window = recent.last(std::min(recent.size(), SamplingOptions::recentTokens));
  std::vector<int32_t> ids(window.begin(), window.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (int32_t id : ids)
    candidates[id].logit *= candidates[id].logit > 0 ? 1 / options.repeatPenalty : options.repeatPenalty;
}

int32_t Sampler::mostLikely() const {
  return std::max_element(candidates.begin(), candidates.end(),
                          [](const Candidate &a, const Candidate &b) { return a.logit < b.logit; })
      ->id;
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> recent) {
  collect(logits, recent);
  if (std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isnan(logit); }))
    throw NotANumber();
  if (isGreedy())
    return mostLikely();

  // Ties go to the lower id, so that the order is one and the same everywhere.
  auto before = [](const Candidate &a, const Candidate &b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  };
  size_t keep = options.topK > 0 ? std::min<size_t>(options.topK, candidates.size()) : candidates.size();
  std::partial_sort(candidates.begin(), candidates.begin() + keep, candidates.end(), before);

  auto probabilities = [&](float scale) {
    values.resize(keep);
    for (size_t i = 0; i < keep; ++i)
      values[i] = candidates[i].logit;
    return softmax(values, scale);
  };
  if (options.topP < 1 || options.minP > 0) {
    std::span<const float> p = probabilities(1);
    size_t kept = 0;
    for (double sum = 0; kept < keep && (kept == 0 || (sum < options.topP && p[kept] >= options.minP * p[0])); ++kept)
      sum += p[kept];
    keep = kept;
  }
  std::span<const float> p = probabilities(1 / options.temperature);
  double sum = 0;
  for (float each : p)
    sum += each;
  double left = random.uniform() * sum;
  size_t chosen = 0;
  while (chosen + 1 < keep && (left -= p[chosen]) >= 0)
    ++chosen;
  return candidates[chosen].id;
}
