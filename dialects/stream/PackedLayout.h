//===- PackedLayout.h - where the bytes of a packed weight lie ---------------------===//
//
// A weight is packed tile by tile: `tileRows` rows (the last tile padded with zeros), and within a tile record by
// record along K. A record holds `recordK` columns of every row of the tile:
//   integer formats: codes [recordK of one plane / 4][tileRows][4 bytes], then scales f16 [blocks][tileRows], then mins
//   likewise.
//     8 bits: a byte is a code (unsigned: zero point added), one block of 32 columns.
//     4 bits: two blocks of 32 columns in one byte, the first low and the second high; a missing last block has scale
//     0.
//   float formats: [tileRows][columns] elements, of one column or, bf16, of two; a missing last one is 0.
// So a kernel reads addresses in increasing order only, and one vector load brings the next weights of all lanes.
// Vectors (norm weights) are f32 [cols], padded with zeros to 64 bytes.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_DIALECTS_STREAM_PACKEDLAYOUT_H
#define SLUICE_DIALECTS_STREAM_PACKEDLAYOUT_H

#include "dialects/stream/Stream.h"

namespace sluice::stream {

struct PackedLayout {
  const llama::FormatInfo *format;
  int64_t rows, cols;
  int64_t tileRows;
  int64_t tiles;          // ceil(rows / tileRows)
  int64_t recordK;        // columns of a record
  int64_t recordBlocks;   // blocks (of 32 columns) of a record, 1 for float formats
  int64_t recordsPerTile; // ceil(cols / recordK)
  int64_t scalesAt;       // byte offset in a record, integer formats
  int64_t minsAt;         // byte offset in a record, formats with a min
  int64_t recordBytes;
  int64_t tileBytes; // recordsPerTile * recordBytes rounded up to 64
  int64_t totalBytes() const { return tiles * tileBytes; }

  static PackedLayout get(llama::WeightType type, int64_t tileRows);
};

// The form in which activations meet weights of a format.
inline OperandKind operandKindOf(const llama::FormatInfo &format) {
  return !format.isFloat ? OperandKind::Int8 : format.inPairs ? OperandKind::BFloat16 : OperandKind::Float;
}

inline int64_t packedVectorBytes(int64_t cols) { return (cols * 4 + 63) / 64 * 64; }

} // namespace sluice::stream
#endif
