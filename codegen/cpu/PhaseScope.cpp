//===- PhaseScope.cpp - what the lowering of one phase knows -------------------------===//

#include "codegen/cpu/PhaseScope.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

int64_t OperandLayout::tokenBlockBytes() const {
  if (kind == OperandKind::Int8)
    return llvm::alignTo(blocks() * blockBytes(), 64);
  const int64_t padded = llvm::alignTo(width, kind == OperandKind::BFloat16 ? 2 : 1);
  return llvm::alignTo((inPairs ? padded / 2 : padded) * tokens * 4, 64);
}

AttentionScratch AttentionScratch::get(AttentionOp op) {
  auto cache = cast<llama::CacheType>(op.getCache());
  // Enough rows for multiplications, not loads and conversions of the cache, to take the time.
  constexpr int64_t rows = 16;
  int64_t group = static_cast<int64_t>(op.getHeads()) / cache.getKvHeads();
  int64_t tokens =
      std::min<int64_t>(op.getTokenBlock().value_or(1), llvm::bit_floor<uint64_t>(std::max<int64_t>(1, rows / group)));
  return {group, cache.getHeadDim(), tokens};
}

PhaseScope::PhaseScope(PhaseOp phase, const CpuFacts &facts)
    : phase(phase), facts(facts), weights(PhaseStream::get(phase)) {
  auto program = phase->getParentOfType<ProgramOp>();
  maxTokens = program.getMaxTokens();
  buffers = bufferOffsets(program);
  auto reserve = [](int64_t &total, int64_t bytes) { return std::exchange(total, total + llvm::alignTo(bytes, 64)); };
  for (Operation &op : phase.getBody().front()) {
    if (auto norm = dyn_cast<RmsNormOp>(op)) {
      scratchOffsets[&op] = reserve(memory.scratch, paddedWidth(norm.getInput().getType().getWidth()) * 4);
    } else if (auto sum = dyn_cast<SumOp>(op)) {
      scratchOffsets[&op] = reserve(memory.scratch, paddedWidth(sum.getResult().getType().getWidth()) * 4);
    } else if (auto append = dyn_cast<AppendOp>(op); append && HeadSteps::of(append).any()) {
      scratchOffsets[&op] =
          reserve(memory.scratch, paddedWidth(cast<llama::CacheType>(append.getCache()).getHeadDim()) * 4);
    } else if (auto prepare = dyn_cast<PrepareOp>(op)) {
      OperandType type = prepare.getResult().getType();
      OperandLayout layout{.kind = type.getKind(), .width = type.getWidth(), .peaks = int64_t(prepare.getPeaks())};
      layout.inPairs = layout.kind == OperandKind::BFloat16 && facts.hasBFloat16;
      for (OpOperand &use : prepare.getResult().getUses()) {
        auto tiles = cast<TilesOp>(use.getOwner());
        auto weight = cast<FlatSymbolRefAttr>(tiles.getWeights()[use.getOperandNumber()]);
        const llama::FormatInfo &format =
            llama::formatInfo(llama::lookupWeight(tiles, weight).getWeightType().getFormat());
        layout.tokens = tiles.getTokenBlock().value_or(1);
        auto add = [&](ActivationSum sum) {
          if (!llvm::is_contained(layout.sums, sum))
            layout.sums.push_back(sum);
        };
        if (format.zeroPoint)
          add({format.zeroPoint, format.scaleElements});
        if (format.hasMin())
          add({.columns = format.scaleElements});
        if (!format.isFloat && !llvm::is_contained(layout.partColumns, format.scaleElements))
          layout.partColumns.push_back(format.scaleElements);
      }
      layout.preparedAt =
          reserve(memory.prepared, llvm::divideCeil(maxTokens, layout.tokens) * layout.tokenBlockBytes());
      operands.insert({prepare.getResult(), layout});
    } else if (auto attention = dyn_cast<AttentionOp>(op)) {
      scratchOffsets[&op] = reserve(memory.scratch, AttentionScratch::get(attention).bytes());
    } else if (auto merge = dyn_cast<MergeOp>(op)) {
      scratchOffsets[&op] =
          reserve(memory.scratch, (paddedWidth(merge.getResult().getType().getWidth()) + 2 * merge.getHeads()) * 4);
    }
  }
}

int64_t PhaseScope::tokenBlock() {
  int64_t tokens = 1;
  for (auto tiles : phase.getBody().getOps<TilesOp>())
    tokens = std::max<int64_t>(tokens, tiles.getTokenBlock().value_or(1));
  return tokens;
}

Value PhaseScope::bufferRow(Lanes &l, Value args, FlatSymbolRefAttr symbol, Value token) const {
  BufferOp buffer = lookupBuffer(phase, symbol);
  Value base = l.at(l.argPointer(args, ArenaArg), buffers.at(symbol.getValue().str()));
  return maxTokens == 1 ? base : l.at(base, l.mul(token, paddedWidth(buffer.getWidth()) * 4));
}
