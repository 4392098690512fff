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

// The most columns of a record.
static constexpr unsigned maxRecord = 256;

// Four numbers of a step, as bytes, into the words of one row: `row` is its first word's.
static void packStep(const PackedBits &bits, int64_t step, const uint8_t *numbers, int64_t wordBytes, uint8_t *row) {
  uint32_t four;
  std::memcpy(&four, numbers, 4);
  auto add = [&](PackedBits::Place place, uint32_t part) {
    uint8_t *at = row + place.word * wordBytes;
    uint32_t word = part << place.shift;
    if (place.shift) {
      uint32_t before;
      std::memcpy(&before, at, 4);
      word |= before;
    }
    std::memcpy(at, &word, 4);
  };
  constexpr uint32_t everyByte = 0x01010101;
  add(bits.low(step), four & ((1u << bits.lowBits) - 1) * everyByte);
  if (bits.highBits)
    add(bits.high(step), four >> bits.lowBits & ((1u << bits.highBits) - 1) * everyByte);
}

// One row's part of one record, of which `blockCount` blocks of the checkpoint are there.
static void packRecordRow(const PackedLayout &layout, const uint8_t *blocks, int64_t blockCount, int64_t row,
                          uint8_t *record) {
  const FormatInfo &format = *layout.format;
  uint8_t codes[maxRecord] = {};
  for (int64_t b = 0; b < blockCount; ++b)
    llama::unpackCodes(format, blocks + b * format.blockBytes, codes + b * format.blockElements);
  for (int64_t run = 0; run < layout.runs; ++run)
    for (int64_t group = 0; group < PackedLayout::blockGroups; ++group)
      for (int64_t block = 0; block < layout.runBlocks; ++block)
        packStep(layout.codes, layout.codeStep(block, group),
                 codes + (run * layout.runBlocks + block) * PackedLayout::blockColumns + group * 4, layout.wordBytes(),
                 record + layout.codesAt + run * layout.runBytes() + row * 4);

  // With sub-scales a record is one block.
  const int64_t scaleBytes = layout.scaleBytes();
  for (int64_t b = 0; b < blockCount; ++b) {
    const uint8_t *block = blocks + b * format.blockBytes;
    const int64_t at = b * layout.tileRows + row;
    std::memcpy(record + layout.scalesAt + at * scaleBytes, block + format.scaleAt, scaleBytes);
    if (format.hasMin()) {
      const uint16_t min = llama::minBits(format, block);
      std::memcpy(record + layout.minsAt + at * 2, &min, 2);
    }
  }
  if (!format.hasSubScales())
    return;
  uint8_t numbers[llama::SubScales::most] = {};
  const int64_t parts = layout.partsOfRun();
  for (int64_t run = 0; run < layout.runs; ++run)
    for (int64_t part = 0; part < parts; ++part) {
      const unsigned index = run * parts + part;
      numbers[layout.subScaleOf(run, part)] = llama::subScale(format, blocks, index);
      if (format.hasMin())
        numbers[layout.subMinOf(run, part)] = llama::subScale(format, blocks, format.scalesOfBlock() + index);
    }
  for (int64_t step = 0; step < layout.subScales.steps; ++step)
    packStep(layout.subScales, step, numbers + step * 4, layout.wordBytes(), record + layout.subScalesAt + row * 4);
}

static void packInteger(const PackedLayout &layout, const uint8_t *rows, int64_t rowCount, uint8_t *out) {
  const FormatInfo &format = *layout.format;
  int64_t blocks = layout.cols / format.blockElements, rowBytes = blocks * format.blockBytes;
  int64_t recordBlocks = layout.recordK / format.blockElements; // of the checkpoint
  const int64_t group = std::max<int64_t>(1, 8 * 64 / layout.recordK);
  for (int64_t first = 0; first < layout.recordsPerTile; first += group) {
    int64_t last = std::min(first + group, layout.recordsPerTile);
    for (int64_t row = 0; row < rowCount; ++row)
      for (int64_t record = first; record < last; ++record) {
        int64_t block = record * recordBlocks;
        packRecordRow(layout, rows + row * rowBytes + block * format.blockBytes, std::min(recordBlocks, blocks - block),
                      row, out + record * layout.recordBytes);
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
  assert(format.isFloat || layout.recordK <= maxRecord);
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
