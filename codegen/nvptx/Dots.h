//===- Dots.h - the lane program: dot products of a chunk of packed weights -----------===//
#ifndef SLUICE_CODEGEN_NVPTX_DOTS_H
#define SLUICE_CODEGEN_NVPTX_DOTS_H

#include "codegen/nvptx/PackedRecord.h"
#include "codegen/nvptx/Scope.h"

namespace sluice::codegen {

// A warp's sums over a slice, while it runs through the slice's chunks. Integer formats: a lane is a row. Float
// formats: a lane takes 16 bytes at a time, a few rows of one record, and lanes join their sums when the slice is done.
class Dots {
public:
  Dots(Threads &t, const WeightPlan &weight, const OperandPlan &operand)
      : t(t), weight(weight), layout(weight.layout), format(*weight.layout.format), operand(operand) {}

  Values zero();
  // sums + those of a chunk; `packed`: the chunk; `activations`: the operand; `column`: the chunk's first column.
  // Chunks of a record come in order; `part`: number of this one.
  Values add(mlir::ValueRange sums, Value packed, Value activations, Value column, int64_t part);
  // Float formats, several tokens: [token]{sums}. Of the chunk, `left` bytes may be read.
  Values addTokens(mlir::ValueRange sums, Value packed, llvm::ArrayRef<Value> activations, Value column, Value left);
  // The sum of the tile's row that has this lane's number.
  Value finish(mlir::ValueRange sums);

private:
  Values addInteger(Value sum, Value packed, Value activations, Value column, int64_t part);
  Value addRun(Value sum, int64_t run);
  Values partSums(int64_t block);
  Value pairWords(int64_t block) { return t.at(words, (firstBlock + block) / 2 * operand.pairBytes()); }
  Value wordOf(OperandPlan::Sum kind, int64_t block, int64_t part, Type type);
  Values floatsOf(Value words); // 16 bytes: [row][column of the record]
  int64_t lanesPerRecord() const { return layout.recordBytes / 16; }
  int64_t rowsPerLane() const { return layout.tileRows / lanesPerRecord(); }

  Threads &t;
  const WeightPlan &weight;
  const stream::PackedLayout &layout;
  const llama::FormatInfo &format;
  const OperandPlan &operand;

  // Integer formats: the record at hand, number of its first block in the chunk, and what the chunk meets.
  std::optional<PackedRecord> record;
  int64_t firstBlock = 0;
  Value codes, words;
};

} // namespace sluice::codegen
#endif
