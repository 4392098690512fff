//===- PhaseScope.h - what the lowering of one phase knows ---------------------------===//
//
// Places that codegen alone decides (a worker's scratch), beside those that the stream dialect decides (packed weights,
// buffers). One PhaseScope serves both functions of a phase: its prologue and its run.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_CPU_PHASESCOPE_H
#define SLUICE_CODEGEN_CPU_PHASESCOPE_H

#include "codegen/Target.h"
#include "codegen/cpu/Lanes.h"
#include "dialects/stream/Schedule.h"
#include "llvm/ADT/DenseMap.h"

namespace sluice::codegen {

// Activations as dots read them, in blocks of `tokens` tokens:
//   f32: [width][tokens] f32. bf16: the same, rounded, with a zero after an odd width; where pairs are multiplied,
//     [width / 2][tokens] of them.
//   i8: for every 32 channels (an even number of times, the last zero if it pads), each field for all tokens:
//     [tokens][32] i8 low bytes; if all groups of four channels are peaks, as many high bytes
//     [tokens] f32 scale, the same for two such blocks
//     for each sum that weights ask for, and each part of the block, [tokens] of it: i32 minus a zero point times the
//       sum of the codes, or f32, for mins, the sum of what the codes stand for
//     for each peak, unless all groups are: [tokens] i32 group, in groupUnits, and for each width of parts that weights
//       have, for each part of the block, [tokens] four i8 high bytes, zeros where the group is in another part
//   A code is low + 16 high.
// A sum over each `columns` channels that weights ask for: of codes times minus a zero point, or of values if that is
// 0.
struct ActivationSum {
  int64_t zeroPoint = 0, columns;
  bool operator==(const ActivationSum &) const = default;
};

struct OperandLayout {
  stream::OperandKind kind;
  int64_t width;
  int64_t tokens = 1;
  int64_t peaks;
  mlir::SmallVector<ActivationSum> sums = {};
  mlir::SmallVector<int64_t> partColumns = {}; // widths of the parts that weights have
  bool inPairs = false;                        // bf16
  int64_t preparedAt = 0;                      // of the first block of tokens

  static constexpr int64_t channels = 32, groups = channels / 4; // of one quantised block
  static constexpr int64_t highShift = 4;                        // a high byte counts 16 low ones
  static constexpr int64_t groupUnit =
      16; // groups are stored as multiples, which an address can scale to bytes of a tile
  int64_t blocks() const { return (width / channels + 1) / 2 * 2; }
  // Every group is a peak: the high bytes lie like the low ones, after those of all tokens.
  bool allHigh() const { return peaks == groups; }
  int64_t codesAt(int64_t token) const { return token * channels; }
  int64_t highCodesAt(int64_t token) const { return (tokens + token) * channels; }
  int64_t scaleAt(int64_t token) const { return wordAt(0, token); }
  // Of part `part` of the block; `sum` is one of `sums`.
  int64_t sumAt(ActivationSum sum, int64_t part, int64_t token) const {
    return wordAt(wordsBefore(llvm::find(sums, sum) - sums.begin()) + part, token);
  }
  int64_t groupAt(int64_t peak, int64_t token) const {
    return wordAt(wordsBefore(sums.size()) + peak * (1 + highWordsBefore(partColumns.size())), token);
  }
  // Of the group in part `part` of a block with parts of `columns`, one of partColumns.
  int64_t highAt(int64_t peak, int64_t columns, int64_t part, int64_t token) const {
    const int64_t before = highWordsBefore(llvm::find(partColumns, columns) - partColumns.begin());
    return groupAt(peak, token) + (1 + before + part) * tokens * 4;
  }
  int64_t blockBytes() const { return groupAt(allHigh() ? 0 : peaks, 0); }
  int64_t tokenBlockBytes() const; // multiple of 64

private:
  // Words before those of sum `index`.
  int64_t wordsBefore(size_t index) const {
    int64_t words = 1; // the scale
    for (size_t i = 0; i < index; ++i)
      words += channels / sums[i].columns;
    return words;
  }
  // Of a peak, words before those for the parts of width `index`.
  int64_t highWordsBefore(size_t index) const {
    int64_t words = 0;
    for (size_t i = 0; i < index; ++i)
      words += channels / partColumns[i];
    return words;
  }
  // Word `index` of those that every token has in a block.
  int64_t wordAt(int64_t index, int64_t token) const {
    return highCodesAt(allHigh() ? tokens : 0) + (index * tokens + token) * 4;
  }
};

class PhaseScope {
public:
  PhaseScope(stream::PhaseOp phase, const CpuFacts &facts);

  stream::PhaseOp phase;
  const CpuFacts &facts;
  stream::PhaseStream weights;
  int64_t maxTokens;
  WorkerMemory memory;

  // Tokens that tiles work on at least; 1 in a phase without tiles.
  int64_t tokenBlock();

  const OperandLayout &operand(Value prepared) const { return operands.at(prepared); }
  // Scratch of `bytes` reserved for an operation (a norm's result, attention's state).
  int64_t scratchAt(mlir::Operation *op) const { return scratchOffsets.lookup(op); }
  // Offset in the stream of the vector that an operation reads.
  int64_t vectorAt(mlir::Operation *reader) const { return weights.vectorAt(reader); }

  // Address of token `token` of a buffer.
  Value bufferRow(Lanes &l, Value args, mlir::FlatSymbolRefAttr buffer, Value token) const;

private:
  std::map<std::string, int64_t> buffers;
  llvm::DenseMap<Value, OperandLayout> operands;
  llvm::DenseMap<mlir::Operation *, int64_t> scratchOffsets;
};

// The attention's working set in scratch, in floats: scaled queries, scores of a block, the running outputs, maxima and
// sums of a segment, and those of all segments before.
struct AttentionScratch {
  int64_t group, headDim;
  int64_t tokens; // whose rows are worked on together
  int64_t rows() const { return tokens * group; }
  int64_t queriesAt() const { return 0; }
  int64_t outputsAt() const { return rows() * headDim * 4; }
  int64_t mergedAt() const { return 2 * outputsAt(); }
  int64_t scoresAt() const { return 3 * outputsAt(); }
  int64_t maximaAt() const { return scoresAt() + rows() * SLUICE_KV_BLOCK * 4; }
  int64_t sumsAt() const { return maximaAt() + rows() * 4; }
  int64_t mergedMaximaAt() const { return sumsAt() + rows() * 4; }
  int64_t mergedSumsAt() const { return mergedMaximaAt() + rows() * 4; }
  // Scores times the scales of values, for each of those that share a head's positions.
  int64_t scaledAt() const { return mergedSumsAt() + rows() * 4; }
  int64_t scaledStride() const { return rows() * SLUICE_KV_BLOCK * 4; }
  int64_t bytes() const {
    return scaledAt() + (headDim + SLUICE_CACHE_SCALED - 1) / SLUICE_CACHE_SCALED * scaledStride();
  }
  static AttentionScratch get(stream::AttentionOp op);
};

// Addresses of what attention over some positions gives, before it is divided by the sum: the largest score, the sum of
// exp(score - largest), and the values' sum with these factors.
struct AttentionPart {
  Value maximum, sum, output;
};
// Row `row` of the parts that a split attention writes.
AttentionPart storedPart(Lanes &l, Value parts, Value row, int64_t channels);
// For a row of `channels` outputs: merged = nothing; merged += part; output = merged / its sum.
void clearAttention(Lanes &l, int64_t channels, AttentionPart merged);
void mergeAttention(Lanes &l, int64_t channels, AttentionPart part, AttentionPart merged);
void divideAttention(Lanes &l, int64_t channels, AttentionPart merged, Value output);

// What `append` or `attention` does to each head of its keys or queries.
struct HeadSteps {
  mlir::Operation *op;
  mlir::FlatSymbolRefAttr norm, rope; // null: not
  double eps;
  template <typename Op> static HeadSteps of(Op op) {
    return {op, op.getNormAttr(), op.getRopeAttr(), op.getEps() ? op.getEps()->convertToDouble() : 0};
  }
  bool any() const { return norm || rope; }
};
// output = those steps on the channels at `input` of a head of token `token`, times `scale`. They may be the same.
void lowerHead(PhaseScope &scope, const HeadSteps &steps, Lanes &l, Value args, Value token, int64_t channels,
               double scale, Value input, Value output);

// The first position that a token at `position` sees.
Value firstSeen(Lanes &l, std::optional<int64_t> window, Value position);

// Multiplications and additions a cycle of dots on data at hand.
double peakPerCycle(const CpuFacts &facts);
// What the code for a phase takes, estimated from its instructions.
PhaseCost phaseCost(stream::PhaseOp phase, const CpuFacts &facts);

// Each emits the body of one function at the builder's insertion point.
void lowerPrologue(PhaseScope &scope, Lanes &l, Value args);
// What a phase without tiles writes for units [begin, end), each a token.
void lowerWrites(PhaseScope &scope, Lanes &l, Value args, Value begin, Value end);
// Where the prologue is every worker's own: the writes of the one who runs unit 0.
void lowerWritesOfFirst(PhaseScope &scope, Lanes &l, Value args, Value begin, Value end);
void lowerTiles(PhaseScope &scope, Lanes &l, Value args, Value begin, Value end);
// Where `append` is a prologue: tokens [token_begin, token_end) of a chunk. Otherwise attention does it.
void lowerAppends(PhaseScope &scope, stream::AppendOp op, Lanes &l, Value args);
void lowerAttention(PhaseScope &scope, stream::AttentionOp op, Lanes &l, Value args, Value begin, Value end);
void lowerEmbed(PhaseScope &scope, stream::EmbedOp op, Lanes &l, Value args, Value begin, Value end);
void lowerRopeTable(PhaseScope &scope, stream::RopeTableOp op, Lanes &l, Value args, Value begin, Value end);
void lowerSoftmax(PhaseScope &scope, stream::SoftmaxOp op, Lanes &l, Value args);
void lowerPeak(PhaseScope &scope, stream::PeakOp op, Lanes &l, Value args, Value begin, Value end);

} // namespace sluice::codegen
#endif
