//===- PackedLayout.h - where the bytes of a packed weight lie ---------------------===//
//
// A weight is packed tile by tile: `tileRows` rows (the last tile padded with zeros), and within a tile record by
// record along K. A record holds `recordK` columns of every row of the tile, in words: [tileRows][4 bytes], the next
// four columns of all rows side by side. So a kernel reads addresses in increasing order only, and one vector load
// brings the next weights of all lanes.
//
// Integer formats: a byte of a word holds codes of `runBlocks` blocks of 32 columns, which make a run; PackedBits says
// in which bits. A record is a number of runs and the scales and mins that belong to them:
//   without sub-scales: one run, then scales [runBlocks][tileRows], then mins likewise, as the checkpoint has them
//     (f16, or bytes of an exponent); a missing last block has scale 0;
//   with sub-scales: scales f16 [tileRows], mins f16 [tileRows], sub-scales, then the runs. Sub-scales are packed like
//     codes, four of a row to a word, each run's scales in the order of columns and then its mins.
// Codes and sub-scales are unsigned, those of two's complement flipped; mins have the sign with which they are added.
//
// Float formats: [tileRows][columns] elements, of one column or, bf16, of two; a missing last one is 0.
// Vectors (norm weights) are f32 [cols], padded with zeros to 64 bytes.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_DIALECTS_STREAM_PACKEDLAYOUT_H
#define SLUICE_DIALECTS_STREAM_PACKEDLAYOUT_H

#include "dialects/stream/Stream.h"

namespace sluice::stream {

// Numbers of 2, 3, 4, 5, 6 or 8 bits, four of a row to a step, one step after another. Their lower bits (2, 4 or 8) and
// their upper ones, if there are any (1 or 2), fill words of their own: all words of upper bits come first. A byte is
// filled from its lowest bits on.
struct PackedBits {
  int lowBits, highBits, steps;

  struct Place {
    int64_t word;  // from the first word on
    int64_t shift; // of the bits in each byte
  };
  Place low(int64_t step) const {
    const int64_t perByte = 8 / lowBits;
    return {highWords() + step / perByte, step % perByte * lowBits};
  }
  // If highBits.
  Place high(int64_t step) const {
    const int64_t perByte = 8 / highBits;
    return {step / perByte, step % perByte * highBits};
  }
  int64_t highWords() const { return (steps * highBits + 7) / 8; }
  int64_t words() const { return highWords() + (steps * lowBits + 7) / 8; }

  static PackedBits get(int bits, int steps);
};

struct PackedLayout {
  static constexpr int64_t blockColumns = 32, blockGroups = blockColumns / 4;

  const llama::FormatInfo *format;
  int64_t rows, cols;
  int64_t tileRows;
  int64_t tiles;          // ceil(rows / tileRows)
  int64_t recordK;        // columns of a record
  int64_t recordsPerTile; // ceil(cols / recordK)
  int64_t recordBytes;
  int64_t tileBytes; // recordsPerTile * recordBytes rounded up to 64
  int64_t totalBytes() const { return tiles * tileBytes; }

  // Integer formats; byte offsets are from the record's begin.
  int64_t runs, runBlocks;
  PackedBits codes; // of a run: step group * runBlocks + block is a group of four columns of a block
  int64_t codesAt;  // of the first run
  int64_t scalesAt, minsAt, subScalesAt;
  PackedBits subScales; // of a record: number 4 * step + i is byte i

  int64_t wordBytes() const { return tileRows * 4; }
  int64_t runBytes() const { return codes.words() * wordBytes(); }
  int64_t recordBlocks() const { return runs * runBlocks; } // of 32 columns
  int64_t codeStep(int64_t block, int64_t group) const { return group * runBlocks + block; }
  int64_t scaleBytes() const { return format->scaleKind == llama::ScaleKind::Half ? 2 : 1; }
  // Numbers of sub-scales in a record, of a part of a run's columns; those of mins likewise.
  int64_t partsOfRun() const { return runBlocks * blockColumns / format->scaleElements; }
  int64_t subScaleOf(int64_t run, int64_t part) const { return run * partsOfRun() * kinds() + part; }
  int64_t subMinOf(int64_t run, int64_t part) const { return subScaleOf(run, partsOfRun() + part); }

  static PackedLayout get(llama::WeightType type, int64_t tileRows);

private:
  int64_t kinds() const { return format->hasMin() ? 2 : 1; }
};

// The form in which activations meet weights of a format.
inline OperandKind operandKindOf(const llama::FormatInfo &format) {
  return !format.isFloat ? OperandKind::Int8 : format.inPairs ? OperandKind::BFloat16 : OperandKind::Float;
}

inline int64_t packedVectorBytes(int64_t cols) { return (cols * 4 + 63) / 64 * 64; }

} // namespace sluice::stream
#endif
