//===- SessionTest.cpp - programs run right, however tokens are grouped and units shared -===//

#include "runtime/Session.h"
#include "runtime/CpuEngine.h"
#include "runtime/Error.h"
#include "test/runtime/ModelImage.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace sluice::runtime;
using namespace sluice::test;

namespace {
class SessionTest : public testing::TestWithParam<unsigned> {
protected:
  SessionTest()
      : path(writeTemporary(toyFile(), "session")), model(path.c_str()), engine(model, toyVariant, GetParam(), 100) {
    std::remove(path.c_str());
    for (int i = 0; i < 100; ++i)
      ids.push_back((i * 7 + 3) % int(toyVocabulary));
  }
  // The toy's logits after the first `count` ids.
  float expected(uint64_t count, uint32_t v) const {
    double sum = 0;
    for (uint64_t i = 0; i < count; ++i)
      sum += float(i + 1) * float(ids[i]);
    return float(sum) + float(v * toyWeight);
  }
  void check(const float *logits, uint64_t count) const {
    ASSERT_NE(logits, nullptr);
    for (uint32_t v = 0; v < toyVocabulary; ++v)
      ASSERT_NEAR(logits[v], expected(count, v), 0.25) << count << " tokens, logit " << v;
  }

  std::string path;
  Model model;
  CpuEngine engine;
  std::vector<int32_t> ids;
};
} // namespace

TEST_P(SessionTest, DecodesTokenByToken) {
  Session session(model, engine);
  for (uint64_t i = 0; i < ids.size(); ++i) {
    session.decode(ids[i]);
    check(session.logits(), i + 1);
  }
}

TEST_P(SessionTest, PrefillsInChunksFromAnyPosition) {
  for (uint64_t before : {0, 1, 15, 16, 17, 64, 99}) {
    Session session(model, engine);
    std::span<const int32_t> all(ids);
    EXPECT_TRUE(session.prefill(all.first(before), Logits::None));
    EXPECT_TRUE(session.prefill(all.subspan(before), Logits::Last));
    check(session.logits(), 100);
    EXPECT_EQ(session.position(), 100u);
  }
}

TEST_P(SessionTest, GivesAllLogitsInOrder) {
  Session session(model, engine);
  uint64_t next = 0;
  session.prefill(ids, Logits::All, [&](uint64_t index, const float *logits) {
    EXPECT_EQ(index, next++);
    check(logits, index + 1);
  });
  EXPECT_EQ(next, 100u);
}

TEST_P(SessionTest, ComputesNoLogitsThatNobodyWants) {
  Session session(model, engine);
  session.prefill(ids, Logits::Last);
  session.truncate(0);
  auto logit = [&](uint64_t token) -> float & { return const_cast<float *>(engine.logits(token))[0]; };
  logit(14) = logit(15) = -1;
  session.prefill(std::span<const int32_t>(ids).first(16), Logits::None);
  EXPECT_EQ(logit(15), -1);
  session.truncate(0);
  session.prefill(std::span<const int32_t>(ids).first(16), Logits::Last);
  EXPECT_EQ(logit(14), -1);
  EXPECT_NE(logit(15), -1);
}

TEST_P(SessionTest, ContinuesAfterTruncation) {
  Session session(model, engine);
  session.prefill(ids, Logits::None);
  session.truncate(40);
  EXPECT_EQ(session.tokens().size(), 40u);
  session.decode(ids[40]);
  check(session.logits(), 41);
  session.prefill(std::span<const int32_t>(ids).subspan(41, 20), Logits::Last);
  check(session.logits(), 61);
}

TEST_P(SessionTest, RefusesWhatDoesNotFit) {
  CpuEngine small(model, toyVariant, 1, 99);
  Session session(model, small);
  EXPECT_THROW(session.prefill(ids, Logits::None), Error);
  EXPECT_EQ(session.position(), 0u);
  session.prefill(std::span<const int32_t>(ids).first(99), Logits::None);
  EXPECT_THROW(session.decode(1), Error);
  session.truncate(0);
  EXPECT_THROW(session.decode(-1), Error);
  EXPECT_THROW(session.decode(toyVocabulary), Error);
  EXPECT_NO_THROW(session.decode(toyVocabulary - 1));
}

TEST_P(SessionTest, StopsBetweenChunks) {
  Session session(model, engine);
  volatile std::sig_atomic_t stop = 0;
  session.stopWhen(&stop);
  EXPECT_TRUE(session.prefill(ids, Logits::Last));
  check(session.logits(), 100);
  session.truncate(0);
  stop = 1;
  EXPECT_FALSE(session.prefill(ids, Logits::Last));
  EXPECT_EQ(session.position(), 0u);
}

TEST_P(SessionTest, SoftmaxGivesProbabilitiesAndTheLogOfTheSum) {
  const float values[] = {0, 1, 2};
  std::span<const float> p = engine.softmax(values, 2);
  const double sum = 1 + std::exp(2.0) + std::exp(4.0);
  ASSERT_EQ(p.size(), 3u);
  EXPECT_NEAR(p[2], std::exp(4.0) / sum, 1e-6);
  EXPECT_NEAR(engine.logSum(), std::log(sum), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Threads, SessionTest, testing::Values(1, 2, 3, 8));

TEST(Profile, AddsTheTimeOfEveryStep) {
  const std::string path = writeTemporary(toyFile(), "profile");
  Model model(path.c_str());
  std::remove(path.c_str());
  CpuEngine engine(model, toyVariant, 2, 100);
  Session session(model, engine);
  session.decode(1);
  engine.startProfile(SLUICE_PROGRAM_DECODE);
  session.decode(1);
  ASSERT_EQ(model.program(SLUICE_PROGRAM_DECODE).step_count, 8u);
  for (size_t step = 0; step < 8; ++step) {
    const StepTime time = engine.timeOf(SLUICE_PROGRAM_DECODE, step);
    EXPECT_GT(time.waiting, 0);
    EXPECT_GT(time.nanoseconds, time.waiting);
  }
}
