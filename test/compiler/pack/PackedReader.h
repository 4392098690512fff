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
    planes = format.isFloat ? 1 : 8 / format.codeBits;
    width = !format.isFloat ? planes * 32 : format.inPairs ? 2 : 1;
    recordBytes = format.isFloat ? tileRows * width * format.codeBits / 8
                                 : tileRows * 32 + planes * tileRows * (format.minAt >= 0 ? 4 : 2);
    tileBytes = ((cols + width - 1) / width * recordBytes + 63) / 64 * 64;
    tileStride = stride ? stride : tileBytes;
  }
  int64_t totalBytes(int64_t rows) const { return (rows + tileRows - 1) / tileRows * tileBytes; }
  int64_t bytesOfTile() const { return tileBytes; }

  float at(int64_t row, int64_t col) const {
    const uint8_t *record = bytes + row / tileRows * tileStride + col / width * recordBytes;
    int64_t lane = row % tileRows, plane = col % width / 32, k = col % 32;
    if (format.isFloat) {
      const uint8_t *element = record + (lane * width + col % width) * format.codeBits / 8;
      return format.codeBits == 32  ? load<float>(element)
             : format.name == "f16" ? float(load<_Float16>(element))
                                    : std::bit_cast<float>(uint32_t(load<uint16_t>(element)) << 16);
    }
    int byte = record[(k / 4 * tileRows + lane) * 4 + k % 4];
    int code = planes == 1 ? byte : plane == 0 ? byte % 16 : byte / 16;
    const uint8_t *scale = record + 32 * tileRows + (plane * tileRows + lane) * 2;
    float value = float(load<_Float16>(scale)) * float(code - int(format.zeroPoint));
    return format.minAt < 0 ? value : value + float(load<_Float16>(scale + planes * tileRows * 2));
  }

private:
  template <typename T> static T load(const uint8_t *from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  const llama::FormatInfo &format;
  int64_t tileRows, planes, width, recordBytes, tileBytes, tileStride;
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
