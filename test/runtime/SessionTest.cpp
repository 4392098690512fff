//===- SessionTest.cpp - programs run right, however tokens are grouped and units shared -===//

#include "runtime/Session.h"
#include "runtime/Error.h"
#include "test/runtime/ModelImage.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace sluice::runtime;
using namespace sluice::test;

namespace {
class SessionTest : public testing::TestWithParam<unsigned> {
protected:
  SessionTest() : path(writeTemporary(toyFile(), "session")), model(path.c_str()), team(GetParam()) {
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
  Workers team;
  std::vector<int32_t> ids;
};
} // namespace

TEST_P(SessionTest, DecodesTokenByToken) {
  Session session(model, toyVariant, team, 100);
  for (uint64_t i = 0; i < ids.size(); ++i)
    check(session.decode(ids[i]), i + 1);
}

TEST_P(SessionTest, PrefillsInChunksFromAnyPosition) {
  for (uint64_t before : {0, 1, 15, 16, 17, 64, 99}) {
    Session session(model, toyVariant, team, 100);
    std::span<const int32_t> all(ids);
    EXPECT_EQ(session.prefill(all.first(before), Logits::None), nullptr);
    check(session.prefill(all.subspan(before), Logits::Last), 100);
    EXPECT_EQ(session.position(), 100u);
  }
}

TEST_P(SessionTest, GivesAllLogitsInOrder) {
  Session session(model, toyVariant, team, 100);
  uint64_t next = 0;
  session.prefill(ids, Logits::All, [&](uint64_t index, const float *logits) {
    EXPECT_EQ(index, next++);
    check(logits, index + 1);
  });
  EXPECT_EQ(next, 100u);
}

TEST_P(SessionTest, ComputesNoLogitsThatNobodyWants) {
  Session session(model, toyVariant, team, 100);
  session.prefill(ids, Logits::Last);
  session.truncate(0);
  std::fill_n(session.prefillProgram().output(), toyChunk * toyPadded, -1.0f);
  session.prefill(std::span<const int32_t>(ids).first(16), Logits::None);
  EXPECT_EQ(session.prefillProgram().output()[15 * toyPadded], -1);
  session.truncate(0);
  session.prefill(std::span<const int32_t>(ids).first(16), Logits::Last);
  EXPECT_EQ(session.prefillProgram().output()[14 * toyPadded], -1);
  EXPECT_NE(session.prefillProgram().output()[15 * toyPadded], -1);
}

TEST_P(SessionTest, ContinuesAfterTruncation) {
  Session session(model, toyVariant, team, 100);
  session.prefill(ids, Logits::None);
  session.truncate(40);
  EXPECT_EQ(session.tokens().size(), 40u);
  check(session.decode(ids[40]), 41);
  check(session.prefill(std::span<const int32_t>(ids).subspan(41, 20), Logits::Last), 61);
}

TEST_P(SessionTest, RefusesWhatDoesNotFit) {
  Session session(model, toyVariant, team, 99);
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
  Session session(model, toyVariant, team, 100);
  volatile std::sig_atomic_t stop = 0;
  session.stopWhen(&stop);
  check(session.prefill(ids, Logits::Last), 100);
  session.truncate(0);
  stop = 1;
  EXPECT_EQ(session.prefill(ids, Logits::Last), nullptr);
  EXPECT_EQ(session.position(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Threads, SessionTest, testing::Values(1, 2, 3, 8));

TEST(SoftmaxProgram, GivesProbabilitiesAndTheLogOfTheSum) {
  const std::string path = writeTemporary(toyFile(), "softmax");
  Model model(path.c_str());
  std::remove(path.c_str());
  Softmax softmax(model, toyVariant);
  for (int i = 0; i < 3; ++i)
    softmax.input()[i] = float(i);
  std::span<const float> p = softmax(3, 2);
  const double sum = 1 + std::exp(2.0) + std::exp(4.0);
  ASSERT_EQ(p.size(), 3u);
  EXPECT_NEAR(p[2], std::exp(4.0) / sum, 1e-6);
  EXPECT_NEAR(softmax.logSum(), std::log(sum), 1e-5);
}

TEST(Profile, AddsTheTimeOfEveryStep) {
  const std::string path = writeTemporary(toyFile(), "profile");
  Model model(path.c_str());
  std::remove(path.c_str());
  Workers team(2);
  Session session(model, toyVariant, team, 100);
  session.decode(1);
  session.decodeProgram().startProfile();
  session.decode(1);
  ASSERT_EQ(session.decodeProgram().steps().size(), 8u);
  for (size_t step = 0; step < 8; ++step) {
    const Program::StepTime time = session.decodeProgram().timeOf(step);
    EXPECT_GT(time.waiting, 0);
    EXPECT_GT(time.nanoseconds, time.waiting);
  }
}
