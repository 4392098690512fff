//===- PackTile.cpp - one tile of a weight, from checkpoint order to packed order --===//
//
// Knows formats by their FormatInfo only. The loops go over a group of records (or columns) that fits the first-level
// cache, and inside it row by row: a row's part of the group is one contiguous piece of the checkpoint.
//
//===------------------------------------------------------------------------------===//

#include "compiler/pack/PackTile.h"
#include <algorithm>
#include <cstring>

using namespace sluice;
using namespace sluice::stream;
using llama::FormatInfo;

// The widest block that the code buffers below hold.
static constexpr unsigned maxBlock = 256;

// The codes of a block as unsigned numbers, one a byte. `flip` turns two's complement into unsigned: adding half the
// range is flipping the top bit.
static void unpackCodes(const FormatInfo &format, const uint8_t *block, uint8_t *codes) {
  const uint8_t *bytes = block + format.codesAt;
  uint8_t flip = format.signedCodes ? format.zeroPoint : 0;
  if (format.codeBits == 8) {
    for (unsigned i = 0; i < format.blockElements; ++i)
      codes[i] = bytes[i] ^ flip;
    return;
  }
  unsigned half = format.blockElements / 2;
  for (unsigned i = 0; i < half; ++i) {
    codes[i] = (bytes[i] & 15) ^ flip;
    codes[half + i] = (bytes[i] >> 4) ^ flip;
  }
}

// One row's part of one record.
static void packRecordRow(const PackedLayout &layout, const uint8_t *blocks, int64_t blockCount, int64_t row,
                          uint8_t *record) {
  const FormatInfo &format = *layout.format;
  uint8_t codes[maxBlock], high[maxBlock];
  unpackCodes(format, blocks, codes);
  if (blockCount > 1) {
    unpackCodes(format, blocks + format.blockBytes, high);
    for (unsigned i = 0; i < format.blockElements; ++i)
      codes[i] |= high[i] << 4;
  }
  uint8_t *out = record + row * 4;
  for (unsigned i = 0; i < format.blockElements; i += 4, out += layout.tileRows * 4)
    std::memcpy(out, codes + i, 4);
  for (int64_t b = 0; b < blockCount; ++b) {
    const uint8_t *block = blocks + b * format.blockBytes;
    int64_t at = (b * layout.tileRows + row) * 2;
    std::memcpy(record + layout.scalesAt + at, block + format.scaleAt, 2);
    if (format.hasMin())
      std::memcpy(record + layout.minsAt + at, block + format.minAt, 2);
  }
}

static void packInteger(const PackedLayout &layout, const uint8_t *rows, int64_t rowCount, uint8_t *out) {
  int64_t blocks = layout.cols / layout.format->blockElements, rowBytes = blocks * layout.format->blockBytes;
  constexpr int64_t group = 8;
  for (int64_t first = 0; first < layout.recordsPerTile; first += group) {
    int64_t last = std::min(first + group, layout.recordsPerTile);
    for (int64_t row = 0; row < rowCount; ++row)
      for (int64_t record = first; record < last; ++record) {
        int64_t block = record * layout.recordBlocks;
        packRecordRow(layout, rows + row * rowBytes + block * layout.format->blockBytes,
                      std::min(layout.recordBlocks, blocks - block), row, out + record * layout.recordBytes);
      }
  }
}

template <typename Element>
static void packFloat(const PackedLayout &layout, const uint8_t *rows, int64_t rowCount, uint8_t *out) {
  constexpr int64_t group = 64;
  for (int64_t first = 0; first < layout.cols; first += group) {
    int64_t last = std::min(first + group, layout.cols);
    for (int64_t row = 0; row < rowCount; ++row)
      for (int64_t col = first; col < last; ++col)
        std::memcpy(out + ((col / layout.recordK * layout.tileRows + row) * layout.recordK + col % layout.recordK) *
                              sizeof(Element),
                    rows + (row * layout.cols + col) * sizeof(Element), sizeof(Element));
  }
}

void sluice::packTile(const PackedLayout &layout, const uint8_t *matrix, int64_t tile, uint8_t *out) {
  const FormatInfo &format = *layout.format;
  assert(format.blockElements <= maxBlock && layout.recordBlocks <= 2);
  int64_t firstRow = tile * layout.tileRows, rowCount = std::min(layout.tileRows, layout.rows - firstRow);
  const uint8_t *rows = matrix + firstRow * (layout.cols / format.blockElements * format.blockBytes);
  // Rows past the last, missing blocks and the end of the tile.
  int64_t used = layout.recordsPerTile * layout.recordBytes;
  bool whole = rowCount == layout.tileRows && layout.cols == layout.recordsPerTile * layout.recordK;
  std::memset(out + (whole ? used : 0), 0, layout.tileBytes - (whole ? used : 0));
  if (!format.isFloat)
    packInteger(layout, rows, rowCount, out);
  else if (format.codeBits == 32)
    packFloat<uint32_t>(layout, rows, rowCount, out);
  else
    packFloat<uint16_t>(layout, rows, rowCount, out);
}

void sluice::packVector(const FormatInfo &format, const uint8_t *vector, int64_t cols, uint8_t *out) {
  std::memset(out, 0, packedVectorBytes(cols));
  for (int64_t i = 0; i < cols; ++i) {
    float value =
        llama::decodeElement(format, vector + i / format.blockElements * format.blockBytes, i % format.blockElements);
    std::memcpy(out + i * 4, &value, 4);
  }
}
