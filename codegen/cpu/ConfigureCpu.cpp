//===- ConfigureCpu.cpp - rows, lanes and tokens held in registers ---------------------===//
//
// Choosing is apart from obeying: this pass only writes attributes. One token: as many rows as there are registers for
// their sums, so that a tile is read in one pass of strictly increasing addresses. Many tokens: few rows, unpacked once
// for as many tokens as there are registers for. Measured: fewer sums in memory are worth more than fewer unpackings.
//
//===------------------------------------------------------------------------------===//

#include "codegen/cpu/CpuFacts.h"
#include "codegen/cpu/Passes.h"
#include "dialects/stream/PackedLayout.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/STLExtras.h"
#include <numeric>

namespace sluice::codegen {
#define GEN_PASS_DEF_CONFIGURECPU
#include "codegen/cpu/Passes.h.inc"
} // namespace sluice::codegen

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

// Sums that one row vector of one token needs: an f32, and for one token an i32 for each block that shares a byte, for
// many one, and an f32 for a pair of blocks.
int64_t sumsPerVector(TilesOp op) {
  const bool one = op->getParentOfType<ProgramOp>().getMaxTokens() == 1;
  int64_t most = 1;
  for (auto symbol : op.getWeights().getAsRange<FlatSymbolRefAttr>()) {
    const PackedLayout layout = PackedLayout::get(llama::lookupWeight(op, symbol).getWeightType(), op.getTileRows());
    if (!layout.format->isFloat)
      most = std::max(most, 1 + (one ? layout.runBlocks : std::min<int64_t>(layout.runBlocks, 2)));
  }
  return most;
}

struct ConfigureCpu : codegen::impl::ConfigureCpuBase<ConfigureCpu> {
  using ConfigureCpuBase::ConfigureCpuBase;

  void runOnOperation() override {
    const CpuFacts *facts = findCpu(cpu);
    if (!facts) {
      getOperation().emitError("unknown cpu '") << cpu << "'";
      return signalPassFailure();
    }
    getOperation().walk([&](PhaseOp phase) {
      // Operands are shared by the tiles of a phase, so their token blocks are equal: the smallest that fits all.
      int64_t tokens = maxTokensOf(phase);
      for (auto op : phase.getBody().getOps<TilesOp>())
        tokens = std::min(tokens, op.getTokenBlock() ? int64_t(*op.getTokenBlock()) : tokensFor(op, *facts));
      for (auto op : phase.getBody().getOps<TilesOp>())
        configure(op, *facts, tokens);
      for (auto op : phase.getBody().getOps<AttentionOp>())
        if (!op.getPrefetch())
          op.setPrefetch(facts->prefetch);
    });
  }

  static int64_t maxTokensOf(Operation *op) { return op->getParentOfType<ProgramOp>().getMaxTokens(); }

  // Registers left for sums: some hold weights, a mask, activations.
  static int64_t budget(const CpuFacts &facts) { return facts.vectorRegisters - facts.vectorRegisters / 8 - 2; }

  // As many tokens as have their sums with the vectors of rows that share a load in registers. Of a prompt only the
  // last token's logits are wanted: a head takes few.
  static int64_t tokensFor(TilesOp op, const CpuFacts &facts) {
    int64_t tokens = llvm::bit_floor(uint64_t(budget(facts) / (sumsPerVector(op) * facts.vectorsPerLoad())));
    if (op->getParentOfType<PhaseOp>().getHead())
      tokens = std::min<int64_t>(tokens, 4);
    // Workers prepare activations for each other in whole blocks of tokens.
    tokens = std::gcd(tokens, int64_t(op->getParentOfType<PhaseOp>().getPrologueTokens().value_or(0)));
    return std::gcd(tokens, maxTokensOf(op));
  }

  // Of all its weights.
  static int64_t tileBytes(TilesOp op) {
    int64_t bytes = 0;
    for (auto symbol : op.getWeights().getAsRange<FlatSymbolRefAttr>())
      bytes += stream::PackedLayout::get(llama::lookupWeight(op, symbol).getWeightType(), op.getTileRows()).tileBytes;
    return bytes;
  }

  static int64_t prefetchFor(TilesOp op, const CpuFacts &facts) {
    if (maxTokensOf(op) > 1)
      return tileBytes(op);
    return op.getWeights().size() > 1 ? facts.alternatingPrefetch : facts.prefetch;
  }

  void configure(TilesOp op, const CpuFacts &facts, int64_t tokens) {
    int64_t lanes = op.getLanes() ? int64_t(*op.getLanes()) : facts.lanes();
    int64_t rows = lanes, sums = tokens * sumsPerVector(op);
    while (rows * 2 <= int64_t(op.getTileRows()) && rows * 2 / lanes * sums <= budget(facts))
      rows *= 2;
    if (!op.getLanes())
      op.setLanes(lanes);
    if (!op.getRowBlock())
      op.setRowBlock(rows);
    if (!op.getTokenBlock())
      op.setTokenBlock(tokens);
    if (!op.getPrefetch())
      op.setPrefetch(prefetchFor(op, facts));
    remark::passed(op.getLoc(), remark::RemarkOpts::name("ConfigureCpu").category("configure"))
        << "holds " << std::to_string(*op.getRowBlock()) << " rows in vectors of " << std::to_string(*op.getLanes())
        << " for " << std::to_string(*op.getTokenBlock()) << " tokens, prefetches " << std::to_string(*op.getPrefetch())
        << " bytes ahead";
  }
};
} // namespace
