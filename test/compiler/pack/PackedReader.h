//===- PackedReader.h - reads packed weights as PackedLayout.h describes them ------===//
#ifndef SLUICE_TEST_COMPILER_PACK_PACKEDREADER_H
#define SLUICE_TEST_COMPILER_PACK_PACKEDREADER_H

#include "dialects/llama/Formats.h"
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace sluice {

// What the header says of the layout, written down a second time: arithmetic on the format's facts alone.
class PackedReader {
public:
  // `stride`: bytes from one tile of this weight to its next one, 0 where it does not alternate with another.
  PackedReader(const llama::FormatInfo &format, int64_t cols, int64_t tileRows, const uint8_t *bytes,
               int64_t stride = 0)
      : format(format), tileRows(tileRows), bytes(bytes) {
    if (format.isFloat) {
      width = format.inPairs ? 2 : 1;
      recordBytes = tileRows * width * format.codeBits / 8;
    } else {
      low = lowBitsOf(format.codeBits);
      blocks = 8 / low;
      runs = format.sub.bits ? 256 / (32 * blocks) : 1;
      width = runs * blocks * 32;
      runBytes = 32 * blocks * tileRows * format.codeBits / 8;
      halves = format.minAt >= 0 ? 2 : 1;
      scaleBytes = format.scaleKind == llama::ScaleKind::Exponent8 ? 1 : 2;
      if (format.sub.bits) {
        numbers = 256 / int(format.scaleElements) * halves;
        codesAt = tileRows * 2 * halves + wordsOf(format.sub.bits, numbers) * tileRows * 4;
        recordBytes = codesAt + runs * runBytes;
      } else {
        recordBytes = runBytes + blocks * tileRows * (scaleBytes + (halves - 1) * 2);
      }
    }
    tileBytes = ((cols + width - 1) / width * recordBytes + 63) / 64 * 64;
    tileStride = stride ? stride : tileBytes;
  }
  int64_t totalBytes(int64_t rows) const { return (rows + tileRows - 1) / tileRows * tileBytes; }
  int64_t bytesOfTile() const { return tileBytes; }

  float at(int64_t row, int64_t col) const {
    const uint8_t *record = bytes + row / tileRows * tileStride + col / width * recordBytes;
    int64_t lane = row % tileRows, k = col % width;
    if (format.isFloat) {
      const uint8_t *element = record + (lane * width + k) * format.codeBits / 8;
      return format.codeBits == 32  ? load<float>(element)
             : format.name == "f16" ? float(load<_Float16>(element))
                                    : std::bit_cast<float>(uint32_t(load<uint16_t>(element)) << 16);
    }
    int64_t run = k / (32 * blocks), block = k / 32 % blocks, group = k % 32 / 4;
    int code =
        number(record + codesAt + run * runBytes, format.codeBits, 8 * blocks, group * blocks + block, k % 4, lane);
    code = format.table.empty() ? code - int(format.zeroPoint) : format.table[code];
    if (!format.sub.bits) {
      const uint8_t *scales = record + runBytes;
      float scale = scaleBytes == 1 ? std::ldexp(1.0f, scales[block * tileRows + lane] - 128)
                                    : half(scales + (block * tileRows + lane) * 2);
      float value = scale * float(code);
      return halves == 1 ? value : value + half(scales + ((blocks + block) * tileRows + lane) * 2);
    }
    int64_t parts = 32 * blocks / format.scaleElements, part = k % (32 * blocks) / format.scaleElements;
    auto sub = [&](int64_t index) {
      return number(record + tileRows * 2 * halves, format.sub.bits, numbers / 4, index / 4, index % 4, lane);
    };
    float scale = half(record + lane * 2) * float(sub(run * parts * halves + part) - int(format.sub.zero));
    float value = scale * float(code);
    return halves == 1 ? value
                       : value + half(record + (tileRows + lane) * 2) * float(sub((run * halves + 1) * parts + part));
  }

private:
  static int64_t lowBitsOf(int64_t bits) { return bits < 4 ? 2 : bits < 8 ? 4 : 8; }
  // Words of [tileRows][4 bytes] that `count` numbers of a row take.
  static int64_t wordsOf(int64_t bits, int64_t count) {
    int64_t lowBits = lowBitsOf(bits);
    return (count * lowBits + 31) / 32 + (count * (bits - lowBits) + 31) / 32;
  }
  // Byte `byte` of step `step`.
  int number(const uint8_t *words, int64_t bits, int64_t steps, int64_t step, int64_t byte, int64_t lane) const {
    auto part = [&](int64_t firstWord, int64_t width) {
      int64_t bit = step * width;
      return words[((firstWord + bit / 8) * tileRows + lane) * 4 + byte] >> bit % 8 & ((1 << width) - 1);
    };
    int64_t lowBits = lowBitsOf(bits), highBits = bits - lowBits, highWords = (steps * highBits + 7) / 8;
    return part(highWords, lowBits) + (highBits ? part(0, highBits) << lowBits : 0);
  }
  template <typename T> static T load(const uint8_t *from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  static float half(const uint8_t *from) { return float(load<_Float16>(from)); }
  const llama::FormatInfo &format;
  int64_t tileRows, width, recordBytes, tileBytes, tileStride;
  int64_t low = 0, blocks = 1, runs = 1, runBytes = 0, codesAt = 0, halves = 1, scaleBytes = 2, numbers = 0;
  const uint8_t *bytes;
};

inline std::vector<uint8_t> randomTensor(const llama::FormatInfo &format, int64_t rows, int64_t cols,
                                         std::mt19937 &random) {
  std::vector<uint8_t> tensor(rows * cols / format.blockElements * format.blockBytes);
  for (uint8_t &byte : tensor)
    byte = random();
  return tensor;
}

// Equal, or both not a number: random bytes are NaN and infinity now and then, and must arrive as such.
inline bool sameValue(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

} // namespace sluice
#endif
