//===- TrafficTest.cpp - the cost model counts what the file holds -----------------===//

#include "passes/Traffic.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace sluice;

namespace {
struct TrafficTest : testing::Test {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  llama::ModelOp model;

  void SetUp() override {
    context.loadDialect<llama::LlamaDialect, stream::StreamDialect>();
    module = mlir::parseSourceFile<mlir::ModuleOp>(STREAM_PROGRAM, &context);
    ASSERT_TRUE(module);
    model = *module->getOps<llama::ModelOp>().begin();
  }
};

TEST_F(TrafficTest, BytesAreThoseOfTheSchedule) {
  auto schedule = stream::Schedule::get(model);
  Traffic traffic = Traffic::get(schedule.programs()[0]);
  // This model's decode reads the whole file once: everything is streamed, the embedding as output too.
  EXPECT_EQ(traffic.streamedBytes, schedule.weightBytes());
}

TEST_F(TrafficTest, NumbersOfEachPhase) {
  Traffic traffic = Traffic::get(*model.getOps<stream::ProgramOp>().begin());
  ASSERT_EQ(traffic.phases.size(), 7u);
  const PhaseTraffic &embed = traffic.phases[0], &in = traffic.phases[1], &attention = traffic.phases[2];
  EXPECT_EQ(embed.lookedUpBytes, 64 / 32 * 34);
  EXPECT_EQ(embed.streamedBytes, 0);
  EXPECT_EQ(in.runs, 2);
  EXPECT_EQ(in.streamedBytes, 64 * 4 + (64 + 32 + 32) * (64 / 32 * 20)) << "a norm in f32, then blocks of 20 bytes";
  EXPECT_EQ(in.operations, 2 * 128 * 64);
  EXPECT_EQ(attention.cacheBytes, 2 * 2 * 16 * 2);
  EXPECT_EQ(attention.cacheOperations, 4 * 4 * 16);
  EXPECT_EQ(attention.cacheTokens, 1);
  EXPECT_EQ(in.cacheTokens, 0);
  EXPECT_EQ(traffic.cacheBytes, 2 * attention.cacheBytes);
  EXPECT_EQ(traffic.phases[6].operations, 2 * 100 * 64) << "padding rows are not counted as work";
}

TEST_F(TrafficTest, PositionsSeen) {
  for (uint64_t window : {0, 1, 2, 7, 100})
    for (uint64_t depth : {0, 1, 6, 7, 50})
      for (uint64_t tokens : {1, 2, 9, 60}) {
        uint64_t expected = 0;
        for (uint64_t t = 0; t < tokens; ++t)
          expected += window ? std::min(depth + t, window - 1) : depth + t;
        EXPECT_EQ(sluice_positions_seen(depth, tokens, window), expected) << depth << ' ' << tokens << ' ' << window;
      }
}

TEST_F(TrafficTest, WindowsLimitWhatIsRead) {
  auto explained = [&](int64_t depth) {
    std::string text;
    llvm::raw_string_ostream out(text);
    printTraffic(model, out, "none", [](stream::PhaseOp) { return PhaseCost{}; }, {.depth = depth});
    return text;
  };
  model.walk([](stream::AttentionOp attention) { attention.setWindow(5); });
  const Traffic traffic = Traffic::get(*model.getOps<stream::ProgramOp>().begin());
  EXPECT_EQ(traffic.phases[2].window, 5);
  // Two layers, four positions before the token's own.
  const std::string line = std::to_string(2 * 4 * traffic.phases[2].cacheBytes);
  for (int64_t depth : {4, 7, 40})
    EXPECT_NE(explained(depth).find(" " + line + " "), std::string::npos) << explained(depth);
  EXPECT_NE(explained(3).find(" " + std::to_string(2 * 3 * traffic.phases[2].cacheBytes) + " "), std::string::npos);
  EXPECT_NE(explained(4).find("for the last 4 positions only"), std::string::npos) << explained(4);
}

TEST_F(TrafficTest, TextHasALineForEveryPhase) {
  std::string text;
  llvm::raw_string_ostream out(text);
  printTraffic(model, out, "none", [](stream::PhaseOp) { return PhaseCost{}; });
  for (auto phase : (*model.getOps<stream::ProgramOp>().begin()).getOps<stream::PhaseOp>())
    EXPECT_NE(text.find("\n" + phase.getName().str() + " "), std::string::npos) << text;
  EXPECT_NE(text.find("100.00 %"), std::string::npos) << text;
}
} // namespace
