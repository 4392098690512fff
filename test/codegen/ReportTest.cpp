//===- ReportTest.cpp - what is predicted for GPUs, against what was published and what we aim at ---===//
//
// Large models, of which only the shapes are needed.
//
//===------------------------------------------------------------------------------------------------===//

#include "codegen/nvptx/Report.h"
#include "codegen/Target.h"
#include "codegen/nvptx/LoopCount.h"
#include "codegen/nvptx/Plan.h"
#include "codegen/nvptx/Ptxas.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"
#include "test/codegen/ModelSource.h"
#include "gtest/gtest.h"
#include <iostream>

using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::test;

namespace {

Shape llama8B(const std::string &format) {
  return {4096, 32, 8, 128, 14336, 128256, 32, format, format, format, format, format};
}
Shape llama1B(const std::string &format) {
  return {2048, 32, 8, 64, 8192, 128256, 16, format, format, format, format, format};
}

struct Configured {
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

Configured configure(const Shape &shape, llvm::StringRef target) {
  Configured result;
  mlir::DialectRegistry registry;
  registry.insert<llama::LlamaDialect, stream::StreamDialect>();
  registerCodegenDialects(registry);
  result.context = std::make_unique<mlir::MLIRContext>(registry, mlir::MLIRContext::Threading::DISABLED);
  result.module = mlir::parseSourceString<mlir::ModuleOp>(modelSource(shape), result.context.get());
  mlir::PassManager manager(result.context.get());
  addSchedulePasses(manager);
  lookupTarget(target)->addConfigurePasses(manager);
  EXPECT_TRUE(mlir::succeeded(manager.run(*result.module)));
  return result;
}

TokenReport reportOf(const Shape &shape, llvm::StringRef target) {
  Configured model = configure(shape, target);
  return llvm::cantFail(reportToken(*model.module, *findGpu(target), {}));
}
} // namespace

// One stream of Llama-3-8B on an RTX 4090, by an engine that has a barrier of the grid after each phase: bits a weight
// and tokens a second, as its author published them.
TEST(Report, TheModelOfTimeFitsWhatWasPublished) {
  const double weights = 32.0 * (4096.0 * (4096 + 1024 + 1024 + 4096) + 3.0 * 4096 * 14336) + 4096.0 * 128256;
  const double phases = 32 * 5 + 2;
  for (auto [bits, published] : {std::pair(16.0, 61.0), {8.0, 120.0}, {4.0, 225.0}}) {
    const double predicted =
        1e6 / predictedMicroseconds(*findGpu("sm_89"), weights * bits / 8, phases, Following::GridBarrier);
    EXPECT_NEAR(predicted / published, 1, 0.023) << bits << " bits";
  }
}

// Models of random weights by our own code, tokens a second as `bench` gave them (docs/notes/devices.md).
TEST(Report, TheModelOfTimeFitsWhatWasMeasured) {
  struct Measured {
    double megabytes, phases, inOneLaunch, byGraph;
  };
  for (const Measured &m : {Measured{4226.6, 32 * 5 + 2, 528.2, 478.0},
                            {2472.8, 16 * 5 + 2, 957.9, 881.6},
                            {1314.3, 16 * 5 + 2, 1467.9, 1328.0},
                            {602.7, 22 * 5 + 2, 1646.3, 1464.3}})
    for (auto [following, measured] : {std::pair(Following::Token, m.inOneLaunch), {Following::Graph, m.byGraph}}) {
      const double predicted = 1e6 / predictedMicroseconds(*findGpu("sm_90"), m.megabytes * 1e6, m.phases, following);
      EXPECT_NEAR(predicted / measured, 1, 0.07) << m.megabytes << " MB";
    }
}

TEST(Report, FactsMatchWhatFollowsFromThem) {
  // KiB in flight; instructions of a thread for a weight of 16 bits.
  for (auto [name, kib, budget] : {std::tuple("sm_80", 12.9, 19.1), {"sm_90", 17.3, 17.7}, {"sm_100", 37.0, 8.8}}) {
    EXPECT_NEAR(findGpu(name)->bytesInFlight() / 1024, kib, 0.1) << name;
    EXPECT_NEAR(findGpu(name)->instructionsPerByte() * 2, budget, 0.1) << name;
  }
  EXPECT_NEAR(findGpu("sm_89")->bytesInFlight() / 1024, 5.4, 0.05);
}

TEST(Report, LargeModelsKeepTheMemoryBusy) {
  const bool assembles = !findCudaTool("ptxas").empty();
  std::cout << (assembles ? "" : "skipped: registers and spills, ptxas was not found\n")
            << (findCudaTool("nvdisasm").empty() ? "skipped: machine code, nvdisasm was not found\n" : "");
  for (const char *target : {"sm_90", "sm_100", "sm_89"})
    for (const Shape &shape :
         {llama8B("f16"), llama8B("q8_0"), llama8B("q4_0"), llama1B("f16"), llama1B("q8_0"), llama1B("q4_0")}) {
      const GpuFacts &facts = *findGpu(target);
      TokenReport report = reportOf(shape, target);
      const std::string what = std::string(target) + " " + shape.attention + " " + std::to_string(shape.width);
      int64_t inLayer = 0;
      double bytes = 0, tail = 0, needed = 0, issue = 0;
      for (const PhaseReport &phase : report.phases) {
        inLayer += phase.runs == shape.layers;
        if (!phase.hasWeights())
          continue;
        const std::string where = what + " " + phase.name;
        EXPECT_GE(phase.bytesAhead, 2 * facts.bytesInFlight()) << where;
        EXPECT_EQ(phase.wideLoads, 1) << where;
        EXPECT_GT(phase.instructionsPerWeight, 0.1) << where;
        // The assembler makes one instruction of some two of PTX.
        EXPECT_LE(phase.instructionsPerWeight, (report.disassembled ? 0.6 : 0.65) * phase.budget) << where;
        issue = std::max(issue, phase.instructionsPerWeight / phase.budget);
        EXPECT_EQ(phase.spillBytes, 0u) << where;
        bytes += double(phase.runs * phase.weightBytes);
        tail += double(phase.runs * phase.weightBytes) * phase.tail;
        const double bits = shape.attention == "f16" ? 16 : shape.attention == "q8_0" ? 8.5 : 4.5;
        needed += double(phase.runs * phase.weights) * bits / 8;
      }
      EXPECT_LE(inLayer, 5) << what;
      EXPECT_LE(bytes, 1.02 * needed) << what;
      EXPECT_LE(tail / bytes, 0.03) << what;
      EXPECT_EQ(report.tokenSpillBytes, 0u) << what;
      EXPECT_EQ(report.assembled, assembles);
      std::cout << what << ": " << 1e6 / report.microseconds << " tokens/s, "
                << 100 * double(report.bytes) / report.microseconds / 1e3 / facts.gigabytesPerSecond
                << " % of the bandwidth"
                << "; instructions " << 100 * issue << " % of what there is time for\n";
    }
}

static void expectOneLoop(llvm::ArrayRef<LoopCount> loops, unsigned inner, unsigned outer) {
  ASSERT_EQ(loops.size(), 1u);
  EXPECT_EQ(loops[0].inner, inner);
  EXPECT_EQ(loops[0].outer, outer);
  EXPECT_EQ(loops[0].marked, 1u);
}

TEST(Report, LoopsAreCounted) {
  const char *ptx =
      ".visible .entry k(\n)\n{\n.reg .b32 %r<3>;\n\tmov.u32 %r1, 0;\n$L__BB0_1:\n\tadd.s32 %r1, %r1, 1;\n"
      "$L__BB0_2:\n\tcp.async.cg.shared.global [%r1], [%r2], 16;\n\tadd.s32 %r2, %r2, 1;\n"
      "\t@%p1 bra \t$L__BB0_2;\n\t@%p2 bra \t$L__BB0_1;\n\tret;\n}\n";
  expectOneLoop(loopsAround(ptxFunctions(ptx).lookup("k"), "cp.async.cg"), 3, 5);
}

// Machine code that comes back from behind the function into a loop, after warps diverged, is no loop.
TEST(Report, CodeOutOfLineIsNoLoop) {
  const char *sass = "\n.text.k:\n        /*0000*/  MOV R1, RZ ;\n.L_x_1:\n        /*0010*/  BRA.DIV UR7, `(.L_x_3) ;\n"
                     ".L_x_2:\n        /*0020*/  @!P0 LDGSTS.E.BYPASS.128 [R41], desc[UR8][R38.64] ;\n"
                     "        /*0030*/  FADD R1, R1, R2 ;\n        /*0040*/  @!P0 BRA `(.L_x_1) ;\n"
                     "        /*0050*/  EXIT ;\n.L_x_3:\n        /*0060*/  MOV R3, RZ ;\n"
                     "        /*0070*/  BRA `(.L_x_2) ;\n.L_x_4:\n        /*0080*/  BRA `(.L_x_4);\n";
  expectOneLoop(loopsAround(sassFunctions(sass).lookup("k"), "LDGSTS"), 4, 0);
}

// All formats, one token and many. The kernel of a whole token for every chip; the others, whose code differs less, for
// one each.
TEST(Report, KernelsAreAssembledNearlyWithoutSpills) {
  const std::string ptxas = findCudaTool("ptxas");
  if (ptxas.empty())
    GTEST_SKIP() << "ptxas was not found";
  const Shape shapes[] = {
      {576, 9, 3, 64, 1536, 500, 2, "q4_1", "q8_0", "f16", "bf16", "q4_0"},
      {512, 8, 2, 64, 1024, 500, 2, "q4_k", "q6_k", "q5_k", "q3_k", "iq4_xs"},
      {512, 8, 2, 64, 1024, 500, 2, "q2_k", "iq4_nl", "mxfp4", "q5_1", "q5_0"},
  };
  for (auto [i, facts] : llvm::enumerate(allGpus())) {
    Configured model = configure(shapes[i % std::size(shapes)], facts.name);
    const Target &target = *lookupTarget(facts.name);
    mlir::PassManager manager(model.context.get());
    target.addLowerPasses(manager);
    llvm::SmallString<0> ptx;
    llvm::raw_svector_ostream out(ptx);
    ASSERT_TRUE(mlir::succeeded(manager.run(*model.module)) &&
                mlir::succeeded(target.emit(*model.module, EmitKind::Assembly, out)));
    std::vector<std::string> names, chosen{"token"};
    for (const auto &function : ptxFunctions(ptx))
      names.push_back(function.first().str());
    EXPECT_GT(names.size(), 15u);
    llvm::sort(names);
    for (auto [number, name] : llvm::enumerate(names))
      if (name != "token" && number % 2 == i / std::size(shapes))
        chosen.push_back(name);
    llvm::Expected<Assembled> assembled = assemble(ptxas, ptx, facts.name, chosen);
    ASSERT_TRUE(bool(assembled)) << toString(assembled.takeError());
    EXPECT_EQ(assembled->kernels.size(), chosen.size());
    for (const auto &kernel : assembled->kernels)
      // Many tokens of gate and up in K-quants spill two registers on sm_100.
      EXPECT_LE(kernel.second.spillStores + kernel.second.spillLoads, kernel.first().starts_with("prefill") ? 8u : 0u)
          << facts.name << " " << kernel.first().str();
  }
}
