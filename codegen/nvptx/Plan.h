//===- Plan.h - who works on what, and where it lies: decided before code is made -----===//
//
// K of a weight is cut into slices. A slice is one warp's work: it runs through the slice's records alone, a lane a
// row, and leaves a sum for each of the tile's rows; the slices' sums are added in order. Which warp of which block
// takes a slice is of no consequence for the bits, so a phase's slices are shared out evenly over all blocks, whatever
// their number, and only what a tile's last part begins with comes from another block.
//
// A warp brings its slices from memory in chunks, through a ring of its own in shared memory. Rings lie at the same
// place in every kernel, so that copies for the next phase can be under way while the blocks meet.
//
//===----------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_NVPTX_PLAN_H
#define SLUICE_CODEGEN_NVPTX_PLAN_H

#include "codegen/nvptx/GpuFacts.h"
#include "dialects/stream/Schedule.h"
#include "runtime/abi.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

namespace sluice::codegen {

// How K of a weight is cut. It depends on the weight alone, not on the chip: every chip gives the same bits.
struct SlicePlan {
  int64_t sliceRecords, slices; // the last slice may be shorter
  static SlicePlan get(const stream::PackedLayout &layout);
};

// One weight of a group of tiles.
struct WeightPlan {
  stream::PackedLayout layout;
  mlir::Value operand; // !stream.operand
  SlicePlan k;
  int64_t chunkRecords; // divides sliceRecords
  // Or a large record is cut into so many chunks, which share its runs; the first one has what lies before them, too.
  int64_t recordChunks = 1;
  int64_t chunkRuns() const { return layout.runs / recordChunks; }
  int64_t laterChunkBytes() const { return recordChunks == 1 ? chunkBytes() : chunkRuns() * layout.runBytes(); }
  int64_t chunkBytes() const { // of the first one of a record, which is the longest
    return recordChunks == 1 ? chunkRecords * layout.recordBytes : layout.codesAt + laterChunkBytes();
  }
  int64_t chunkColumns() const { return chunkRecords * layout.recordK / recordChunks; }
  int64_t sliceColumns() const { return k.sliceRecords * layout.recordK; }
  int64_t sliceBytes() const { return k.sliceRecords * layout.recordBytes; }
  int64_t chunksOfSlice() const { return k.sliceRecords / chunkRecords * recordChunks; }
  int64_t chunksOfLastSlice() const {
    return llvm::divideCeil(layout.recordsPerTile - (k.slices - 1) * k.sliceRecords, chunkRecords) * recordChunks;
  }
  bool operator==(const WeightPlan &other) const;
};

// Consecutive stream.tiles of a phase that one loop runs through: several with one weight each of equal shape (Q, K and
// V), or one.
struct TileGroup {
  llvm::SmallVector<stream::TilesOp> ops;
  llvm::SmallVector<int64_t> firstTile; // of each op
  llvm::SmallVector<WeightPlan> weights;
  int64_t tiles = 0;
  int64_t offset = 0; // in the phase's stream
  int64_t tileBytes = 0;
  int64_t chunkStride = 0;    // of the ring
  int64_t stages = 0;         // chunks of the ring
  int64_t tileSlices() const; // of all weights
  int64_t slices() const { return tiles * tileSlices(); }
  // Tiles whose sums are joined together.
  int64_t batchTiles() const;
  int64_t sumsBytes() const { return batchTiles() * tileSlices() * 32 * 4; }
  int64_t ringBytes() const { return stages * chunkStride; } // of a warp
  // Copies before the first slice are begun in parts, a chunk and a chunk and the rest, since whatever is read after
  // them waits for them: when the blocks have arrived at the meeting before; when the prologue's loads are on their
  // way; after the prologue.
  static constexpr unsigned copyParts = 3;
  int64_t partBegin(unsigned part) const { // its first stage; of the one past the last, past the last
    return std::min<int64_t>(part < copyParts ? part : stages, stages - 1);
  }
};

// Groups of a configured phase, in order.
std::vector<TileGroup> groupsOf(stream::PhaseOp phase);

// Prepared activations of one token. A block is 32 channels; a pair of blocks shares a scale. From `codesAt` codes, one
// byte a channel; from `highsAt` high bytes likewise (all of them, or only those of peaks, see `sparse`); from
// `pairsAt` for every pair words: scale and 0; each of `sums`, for all parts of both blocks; for every sparse peak
// twice: four high bytes, 128 * group. f32 and bf16: f32 from `codesAt`.
struct OperandPlan {
  stream::OperandKind kind;
  int64_t width, columns; // `columns`: with zeros after the width, as far as chunks reach
  int64_t peaks;
  bool sparse; // peaks as words, not as high bytes
  // Over so many columns each, 32 or 16: of the codes, times minus a zero point; or, for the zero point 0, of what the
  // codes stand for.
  struct Sum {
    int64_t zeroPoint, columns;
    bool operator==(const Sum &) const = default;
    int64_t parts() const { return block / columns; }
  };
  mlir::SmallVector<Sum> sums = {};

  static constexpr int64_t block = 32, groups = block / 4, highShift = 4;
  int64_t pairs() const { return columns / (2 * block); }
  bool hasHighs() const { return peaks == groups || (peaks && !sparse); }
  int64_t sparsePeaks() const { return hasHighs() ? 0 : peaks; }
  int64_t codesAt() const { return 0; }
  int64_t highsAt() const { return columns; }
  int64_t pairsAt() const { return columns * (hasHighs() ? 2 : 1); }
  // Of a sum, which may be one of `sums`: parts of the first block, then those of the second.
  int64_t sumAt(Sum sum) const {
    int64_t at = 8;
    for (const Sum *each = sums.begin(); each != sums.end() && *each != sum; ++each)
      at += 2 * each->parts() * 4;
    return at;
  }
  int64_t peakAt(int64_t peak) const { return sumAt({-1, block}) + 16 * peak; }
  int64_t pairBytes() const { return peakAt(sparsePeaks()); }
  int64_t bytes() const {
    const int64_t used = kind == stream::OperandKind::Int8 ? pairsAt() + pairs() * pairBytes() : columns * 4;
    return llvm::alignTo(used, 128);
  }
};

// Attention works on a few rows (a row is a query head of a token) of one KV head and a segment of SLUICE_KV_SEGMENT
// positions at a time. Shared memory, in floats: scaled queries [row][channel], probabilities [row][position], of each
// row the largest score and the sum, the result [row][channel], and what warps add up: scores [part][row][position],
// then outputs [part][row][channel].
struct AttentionPlan {
  int64_t group, headDim;                                     // query heads of a KV head
  int64_t heads;                                              // of them, worked on together; divides group
  int64_t tokens;                                             // likewise
  static constexpr int64_t mostRows = 4, scoreParts = 4;      // of channels, for scores
  static constexpr int64_t outputParts = GpuFacts::warps / 2; // each of two warps
  int64_t rows() const { return heads * tokens; }
  int64_t queriesAt() const { return 0; }
  int64_t probabilitiesAt() const { return queriesAt() + rows() * headDim * 4; }
  int64_t maximaAt() const { return probabilitiesAt() + rows() * SLUICE_KV_SEGMENT * 4; }
  int64_t sumsAt() const { return maximaAt() + rows() * 4; }
  int64_t outputsAt() const { return llvm::alignTo(sumsAt() + rows() * 4, 16); }
  int64_t partsAt() const { return outputsAt() + rows() * headDim * 4; }
  int64_t flagAt() const {
    return partsAt() + rows() * 4 * std::max<int64_t>(scoreParts * SLUICE_KV_SEGMENT, outputParts * headDim);
  }
  int64_t bytes() const { return flagAt() + 4; }
  static AttentionPlan get(stream::AttentionOp op);
};

// Places of a phase: in shared memory behind the rings, and in the buffer for prepared activations.
class PhasePlan {
public:
  PhasePlan(stream::PhaseOp phase, const GpuFacts &facts);

  stream::PhaseOp phase;
  stream::PhaseStream weights;
  std::vector<TileGroup> groups;
  int64_t maxTokens;
  std::map<std::string, int64_t> buffers;

  const OperandPlan &operand(mlir::Value prepared) const { return operands.at(prepared).plan; }
  int64_t operandAt(mlir::Value prepared) const { return operands.at(prepared).at; }
  int64_t reduceAt() const { return 0; } // a word for each warp, twice
  int64_t sumsAt = 0, attentionAt = 0;
  int64_t sharedBytes = 0;   // of one token's kernels, without the rings
  int64_t preparedBytes = 0; // of all tokens: many

private:
  struct Place {
    OperandPlan plan;
    int64_t at;
  };
  llvm::DenseMap<mlir::Value, Place> operands;
};

// Of all phases of a program for one token: bytes of a warp's ring.
int64_t ringBytes(stream::ProgramOp program);

} // namespace sluice::codegen
#endif
