//===- Cost.cpp - what the code for a phase takes, from its instructions -------------===//
//
// Counts the vector instructions of the innermost loops, as the lowerings write them, by what executes them: dots and
// multiplications go where dots go, two others pass for one of these, and loads have a rate of their own. What is
// waited for (the reductions of quantisation and softmax) is counted at a rate that was measured.
//
//===----------------------------------------------------------------------------------===//

#include "codegen/cpu/PhaseScope.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;
using llama::FormatInfo;

namespace {

// Vector instructions, in units of one.
struct Instructions {
  double dots = 0, multiplies = 0, others = 0, loads = 0;

  Instructions &operator+=(const Instructions &x) {
    dots += x.dots;
    multiplies += x.multiplies;
    others += x.others;
    loads += x.loads;
    return *this;
  }
  Instructions operator*(double by) const { return {dots * by, multiplies * by, others * by, loads * by}; }

  // As many dots of four-bit codes, which the peak is measured with, take as long.
  double asDots(const CpuFacts &facts, unsigned maxCode = 15) const {
    return std::max((dots * dotSlots(facts, maxCode) + multiplies + others / 2) / dotSlots(facts, 15),
                    loads * facts.dotsPerCycle / facts.loadsPerCycle);
  }

  // Multiplications that a dot takes as long as: of these and others it consists where it is no instruction, see
  // Lanes::dot4.
  static double dotSlots(const CpuFacts &facts, unsigned maxCode) {
    constexpr double viaBytes = 2 + 0.5, viaWords = 2 + 6 * 0.5;
    if (facts.dot == DotKind::Vpdpbusd)
      return 1;
    return facts.dot == DotKind::Maddubs && maxCode <= Lanes::maddubsMost ? viaBytes : viaWords;
  }
};

class PhaseCounter {
public:
  PhaseCounter(PhaseOp phase, const CpuFacts &facts) : scope(phase, facts), facts(facts) {}

  PhaseCost cost() {
    PhaseCost cost;
    for (auto [index, tiles] : llvm::enumerate(scope.phase.getBody().getOps<TilesOp>()))
      for (auto [layout, operand] : llvm::zip_equal(scope.weights.tiles(index).layouts, tiles.getOperands()))
        cost.run += operations(tile(tiles, layout, scope.operand(operand)).asDots(facts, layout.format->maxCode()) *
                               layout.tiles);
    for (Operation &op : scope.phase.getBody().front()) {
      if (auto attention = dyn_cast<AttentionOp>(op)) {
        cost.cache += operations(position(attention).asDots(facts));
        cost.run += cost.cache * SLUICE_KV_BLOCK / 2; // on average so many of a token's last block are masked
      } else if (auto norm = dyn_cast<RmsNormOp>(op)) {
        // Without tiles nothing is a prologue.
        (scope.phase.getBody().getOps<TilesOp>().empty() ? cost.run : cost.prologue) +=
            operations(Instructions{0, 4, 0, 5}.asDots(facts) * vectors(norm.getInput().getType().getWidth()));
      } else if (auto prepare = dyn_cast<PrepareOp>(op)) {
        cost.prologue += operations(cyclesOf(prepare) * facts.dotsPerCycle);
      }
    }
    return cost;
  }

private:
  double operations(double dots) const { return dots * 4 * 2 * facts.lanes(); }
  double vectors(int64_t width) const { return double(llvm::divideCeil(width, facts.lanes())); }

  // Of one tile of a weight and one token.
  Instructions tile(TilesOp op, const PackedLayout &layout, const OperandLayout &operand) const {
    const FormatInfo &format = *layout.format;
    const double lanes = double(op.getLanes().value_or(facts.lanes())), tokens = double(op.getTokenBlock().value_or(1));
    const double rowVectors = double(op.getRowBlock().value_or(op.getTileRows())) / lanes;
    const double planes = double(layout.recordBlocks()), vectorsOfTile = double(op.getTileRows()) / lanes;
    if (format.isFloat) { // a record: widening shared by the tokens, activations shared by the rows
      const double products = operand.inPairs ? 1 : double(layout.recordK);
      const double widenings = format.codeBits == 16 && !operand.inPairs ? products / tokens : 0;
      return Instructions{0, products, widenings, products / rowVectors + 1 / tokens} *
             (vectorsOfTile * double(layout.recordsPerTile));
    }
    const double groups = double(OperandLayout::groups), peaks = operand.allHigh() ? groups : double(operand.peaks);
    Instructions record;
    // A peak meets each part of its block, with zeros where it is not.
    const double parts = planes * double(PackedLayout::blockColumns) / format.scaleElements;
    record.dots = planes * groups + (operand.allHigh() ? planes : parts) * peaks;
    record.loads = (record.dots + parts) / rowVectors + planes * groups / tokens;
    // Codes: a mask, a shift where they lie in higher bits and cannot be used there; upper bits likewise, and joined.
    double unpacking = 0;
    if (layout.codes.lowBits < 8) {
      const bool inPlace = tokens == 1 && !layout.codes.highBits && format.table.empty();
      const double shifted = inPlace ? 0 : 1 - layout.codes.lowBits / 8.0;
      unpacking = 1 + shifted + (layout.codes.highBits ? 2.5 : 0) + !format.table.empty();
    }
    record.others += planes * groups * unpacking / tokens;
    if (!operand.allHigh()) { // the codes of a peak's group; the high byte counts 16
      const bool inPlace = format.table.empty() && format.maxCode() << OperandLayout::highShift <= 255;
      record.loads += peaks * planes * (1 + 1 / rowVectors);
      record.others += peaks * (planes * unpacking + (inPlace ? 0 : 2 * parts));
    }
    // Parts to floats, times their scale; the sum of a pair of blocks times the activation's.
    record.others += parts * (1 + 1 / tokens);
    record.multiplies += parts + std::ceil(planes / 2) + (format.hasMin() ? parts : 0);
    if (format.hasSubScales()) { // each from its bits, to a float, times the block's, and stored
      const double numbers = parts * (format.hasMin() ? 2 : 1);
      record.others += 4 * numbers / tokens;
      record.multiplies += numbers / tokens;
    }
    return record * (vectorsOfTile * double(layout.recordsPerTile));
  }

  // Attention to one position: a product of each head with a key and a value, whose elements are widened for the rows
  // that share them; an exponential and what surrounds it for a vector of positions.
  Instructions position(AttentionOp op) const {
    const AttentionScratch shape = AttentionScratch::get(op);
    const double products = 2 * vectors(shape.headDim), rows = double(shape.rows());
    const double shared = std::max<double>(facts.vectorsPerLoad(), 8 / rows);
    Instructions head{0, products, products / rows, products * (1 / rows + 1 / shared)};
    constexpr Instructions softmax{0, 12, 40, 4}; // of a vector of positions: mask, maximum, Lanes::exp, sum
    head += softmax * (1.0 / facts.lanes());
    return head * double(op.getHeads());
  }

  // Of quantising one token: short reductions for a pair of blocks, and more for each peak (docs/notes/zen5.md).
  double cyclesOf(PrepareOp op) const {
    const OperandLayout &layout = scope.operand(op);
    if (layout.kind != OperandKind::Int8) // for many tokens, a store for each channel
      return layout.tokens == 1 ? vectors(layout.width) : double(layout.width) / (layout.inPairs ? 2 : 1);
    constexpr double pair = 45, perPeak = 50, lanes = 16; // cycles, measured with vectors of so many lanes
    const double peaks = layout.allHigh() ? 0 : double(layout.peaks);
    return (pair + perPeak * peaks) * lanes / facts.lanes() * double(layout.blocks() / 2);
  }

  PhaseScope scope;
  const CpuFacts &facts;
};
} // namespace

PhaseCost sluice::codegen::phaseCost(PhaseOp phase, const CpuFacts &facts) { return PhaseCounter(phase, facts).cost(); }

double sluice::codegen::peakPerCycle(const CpuFacts &facts) {
  constexpr double multipliesPerCycle = 2; // of what an emulated dot consists of
  const bool emulated = facts.dot != DotKind::Vpdpbusd;
  const double dots = emulated ? multipliesPerCycle / Instructions::dotSlots(facts, 15) : facts.dotsPerCycle;
  return 4 * 2 * facts.lanes() * dots;
}
