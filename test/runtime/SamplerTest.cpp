//===- SamplerTest.cpp - the filters keep what they say, draws follow the probabilities --===//

#include "runtime/Error.h"
#include "runtime/Sampler.h"
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <map>

using namespace sluice::runtime;

// Stands for the generated softmax.
static Sampler::SoftmaxFunction exactSoftmax() {
  return [p = std::vector<float>()](std::span<const float> values, float scale) mutable -> std::span<const float> {
    p.assign(values.size(), 0);
    double sum = 0, most = -INFINITY;
    for (float value : values)
      most = std::max<double>(most, value);
    for (float value : values)
      sum += std::exp((value - most) * scale);
    for (size_t i = 0; i < p.size(); ++i)
      p[i] = float(std::exp((values[i] - most) * scale) / sum);
    return p;
  };
}

static SamplingOptions plain() {
  SamplingOptions options;
  options.temperature = 1;
  options.topK = 0;
  options.topP = 1;
  options.minP = 0;
  options.seed = 123;
  return options;
}

static std::vector<float> logitsOf(std::initializer_list<double> probabilities) {
  std::vector<float> logits;
  for (double p : probabilities)
    logits.push_back(float(std::log(p)));
  return logits;
}

// How often each token comes in `draws`.
static std::map<int, double> frequencies(const SamplingOptions &options, const std::vector<float> &logits,
                                         int draws = 20000, std::vector<bool> banned = {},
                                         std::vector<int32_t> recent = {}) {
  Sampler sampler(options, exactSoftmax(), std::move(banned));
  std::map<int, double> counts;
  for (int i = 0; i < draws; ++i)
    counts[sampler.sample(logits, recent)] += 1.0 / draws;
  return counts;
}

TEST(Sampler, DefaultsAreLlamaCpps) {
  SamplingOptions options;
  EXPECT_FLOAT_EQ(options.temperature, 0.8f);
  EXPECT_EQ(options.topK, 40);
  EXPECT_FLOAT_EQ(options.topP, 0.95f);
  EXPECT_FLOAT_EQ(options.minP, 0.05f);
  EXPECT_FLOAT_EQ(options.repeatPenalty, 1);
}

TEST(Sampler, FollowsTheDistribution) {
  auto f = frequencies(plain(), logitsOf({0.5, 0.2, 0.25, 0.05}));
  EXPECT_NEAR(f[0], 0.5, 0.02);
  EXPECT_NEAR(f[1], 0.2, 0.02);
  EXPECT_NEAR(f[2], 0.25, 0.02);
  EXPECT_NEAR(f[3], 0.05, 0.01);
}

TEST(Sampler, TemperatureSharpens) {
  SamplingOptions options = plain();
  options.temperature = 0.5f; // probabilities are squared
  auto f = frequencies(options, logitsOf({0.6, 0.4}));
  EXPECT_NEAR(f[0], 0.36 / 0.52, 0.02);
}

TEST(Sampler, GreedyTakesTheMostLikelyAndTheFirstOfEquals) {
  SamplingOptions options = plain();
  options.temperature = 0;
  Sampler sampler(options, exactSoftmax());
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 5, 2, 5}, {}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{NAN, -3, -2}, {}), 2);
  EXPECT_THROW(sampler.sample(std::vector<float>{NAN, NAN, NAN}, {}), Error);
}

TEST(Sampler, TopKKeepsTheKMostLikely) {
  SamplingOptions options = plain();
  options.topK = 2;
  auto f = frequencies(options, logitsOf({0.1, 0.4, 0.2, 0.3}), 2000);
  EXPECT_EQ(f.size(), 2u);
  EXPECT_NEAR(f[1], 4.0 / 7, 0.05);
  EXPECT_GT(f[3], 0);
}

TEST(Sampler, TopPKeepsTheFewestThatReachP) {
  SamplingOptions options = plain();
  options.topP = 0.65f;
  EXPECT_EQ(frequencies(options, logitsOf({0.1, 0.4, 0.2, 0.3}), 2000).size(), 2u);
  options.topP = 0.75f;
  EXPECT_EQ(frequencies(options, logitsOf({0.1, 0.4, 0.2, 0.3}), 2000).size(), 3u);
  options.topP = 0;
  EXPECT_EQ(frequencies(options, logitsOf({0.1, 0.4, 0.2, 0.3}), 200).size(), 1u);
}

TEST(Sampler, MinPDropsWhatIsFarBelowTheGreatest) {
  SamplingOptions options = plain();
  options.minP = 0.45f;
  auto f = frequencies(options, logitsOf({0.1, 0.4, 0.2, 0.3}), 2000);
  EXPECT_EQ(f.size(), 3u);
  EXPECT_EQ(f.count(0), 0u);
}

TEST(Sampler, RepeatPenaltyLooksBack64Tokens) {
  SamplingOptions options = plain();
  options.temperature = 0;
  options.repeatPenalty = 2;
  Sampler sampler(options, exactSoftmax());
  const std::vector<float> logits{3, 2, -1};
  EXPECT_EQ(sampler.sample(logits, std::vector<int32_t>{0, 0}), 1); // 1.5 against 2: once, however often it came
  std::vector<int32_t> longAgo(65, 2);
  longAgo[0] = 0;
  EXPECT_EQ(sampler.sample(logits, longAgo), 0);
  longAgo[1] = 0;
  EXPECT_EQ(sampler.sample(logits, longAgo), 1);
  const std::vector<float> negative{-3, -2};
  EXPECT_EQ(sampler.sample(negative, std::vector<int32_t>{1}), 0); // -4
}

TEST(Sampler, NeverTakesABannedToken) {
  auto f = frequencies(plain(), logitsOf({0.9, 0.05, 0.05}), 2000, {true, false, false});
  EXPECT_EQ(f.count(0), 0u);
  EXPECT_EQ(f.size(), 2u);
}

TEST(Sampler, SameSeedSameTokens) {
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = float(i % 37) / 10;
  auto draw = [&](uint64_t seed) {
    SamplingOptions options;
    options.seed = seed;
    Sampler sampler(options, exactSoftmax());
    std::vector<int32_t> ids;
    for (int i = 0; i < 100; ++i)
      ids.push_back(sampler.sample(logits, ids));
    return ids;
  };
  EXPECT_EQ(draw(7), draw(7));
  EXPECT_NE(draw(7), draw(8));
}

TEST(Random, IsSplitMix64) {
  Random random(1234567); // the first outputs that its authors publish for this seed
  EXPECT_EQ(random.next(), 6457827717110365317u);
  EXPECT_EQ(random.next(), 3203168211198807973u);
  EXPECT_EQ(random.next(), 9817491932198370423u);
  for (int i = 0; i < 1000; ++i) {
    double u = random.uniform();
    EXPECT_TRUE(u >= 0 && u < 1);
  }
}
