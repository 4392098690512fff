//===- Quantize.cpp - numbers to blocks of a format ------------------------------------===//
//
// A block's scale (and min) is chosen among a few around the one that the extremes suggest, by the sum of squared
// errors with scale and min as they are stored.
//
//===------------------------------------------------------------------------------------===//

#include "compiler/pack/Quantize.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/bit.h"
#include <algorithm>
#include <cmath>
#include <cstring>

using namespace sluice;
using namespace sluice::llama;

// To nearest, ties to even; what is too large becomes infinite.
static uint16_t toHalf(float value) {
  const uint32_t bits = llvm::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x7f800000)
    return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00);
  if (magnitude >= 0x477ff000)
    return sign | 0x7c00;
  if (magnitude < 0x38800000) // below the normal numbers: multiples of 2^-24
    return sign | uint16_t(std::nearbyint(llvm::bit_cast<float>(magnitude) * 0x1p24f));
  return sign | uint16_t((magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13);
}
static float fromHalf(uint16_t half) {
  uint8_t bytes[2] = {uint8_t(half), uint8_t(half >> 8)};
  return decodeElement(formatInfo(Format::F16), bytes, 0);
}
static uint16_t toBFloat16(float value) {
  const uint32_t bits = llvm::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static bool hasPlainBlocks(const FormatInfo &format) {
  return !format.isFloat && (format.codeBits == 4 || format.codeBits == 8);
}

bool sluice::canEncode(const FormatInfo &format) { return format.isFloat || hasPlainBlocks(format); }

std::string sluice::encodableFormats() {
  std::string list;
  for (const FormatInfo &format : allFormats())
    if (canEncode(format))
      list += (list.empty() ? "" : ", ") + format.name.str();
  return list;
}

namespace {
// A block with its scale, its min and its codes.
struct Block {
  float scale = 0, min = 0;
  uint16_t scaleBits = 0, minBits = 0;
  double error = INFINITY;
  uint8_t codes[256] = {};
};
} // namespace

// Codes for a scale and a min as they are stored.
static Block tryScale(const FormatInfo &format, llvm::ArrayRef<float> numbers, float scale, float min) {
  Block block;
  block.scaleBits = toHalf(scale), block.minBits = toHalf(min);
  block.scale = fromHalf(block.scaleBits), block.min = fromHalf(block.minBits);
  const float inverse = block.scale ? 1 / block.scale : 0, zero = float(format.zeroPoint);
  const float most = float((1u << format.codeBits) - 1), least = format.signedCodes ? 1 : 0; // -128 is not used
  block.error = 0;
  for (auto [i, number] : llvm::enumerate(numbers)) {
    const float code = std::clamp(std::floor((number - block.min) * inverse + zero + 0.5f), least, most);
    block.codes[i] = uint8_t(code);
    const double difference = double(block.scale) * (code - zero) + block.min - number;
    block.error += difference * difference;
  }
  return std::isfinite(block.scale) && std::isfinite(block.min) ? block : Block();
}

static Block chooseBlock(const FormatInfo &format, llvm::ArrayRef<float> numbers) {
  const auto [low, high] = std::minmax_element(numbers.begin(), numbers.end());
  const float extreme = -*low > *high ? *low : *high; // the largest magnitude, with its sign
  Block best;
  auto consider = [&](float scale, float min) {
    Block block = tryScale(format, numbers, scale, min);
    if (block.error < best.error)
      best = block;
  };
  const float most = float((1u << format.codeBits) - 1);
  if (format.hasMin()) {
    for (float shrink : {1.0f, 0.97f, 0.94f, 0.91f, 0.88f}) {
      const float middle = (*low + *high) / 2, half = (*high - *low) / 2 * shrink;
      consider(2 * half / most, middle - half);
    }
  } else if (format.signedCodes) {
    for (float stretch : {1.0f, 0.998f, 0.996f})
      consider(std::fabs(extreme) / (most - float(format.zeroPoint)) * stretch, 0);
  } else {
    // The side with one code more takes the extreme.
    for (float stretch : {1.0f, 1.06f, 0.96f, 0.92f, 0.88f, 0.84f})
      consider(-extreme / float(format.zeroPoint) * stretch, 0);
  }
  return best;
}

static void write(const FormatInfo &format, const Block &block, uint8_t *out) {
  std::memset(out, 0, format.blockBytes);
  std::memcpy(out + format.scaleAt, &block.scaleBits, 2);
  if (format.hasMin())
    std::memcpy(out + format.minAt, &block.minBits, 2);
  const unsigned half = format.blockElements / 2;
  for (unsigned i = 0; i < format.blockElements; ++i)
    if (format.codeBits == 8)
      out[format.codesAt + i] = block.codes[i] ^ (format.signedCodes ? format.zeroPoint : 0);
    else
      out[format.codesAt + i % half] |= block.codes[i] << (i < half ? 0 : 4);
}

bool sluice::encodeRow(const FormatInfo &format, llvm::ArrayRef<float> numbers, uint8_t *out) {
  if (format.format == Format::F32) {
    std::memcpy(out, numbers.data(), numbers.size() * sizeof(float));
    return true;
  }
  if (format.isFloat) {
    for (auto [i, number] : llvm::enumerate(numbers)) {
      const uint16_t bits = format.format == Format::F16 ? toHalf(number) : toBFloat16(number);
      std::memcpy(out + 2 * i, &bits, 2);
    }
    return true;
  }
  bool isFinite = true;
  for (; !numbers.empty(); numbers = numbers.drop_front(format.blockElements), out += format.blockBytes) {
    llvm::ArrayRef<float> block = numbers.take_front(format.blockElements);
    const bool finite = llvm::all_of(block, [](float number) { return std::isfinite(number); });
    isFinite &= finite;
    if (finite)
      write(format, chooseBlock(format, block), out);
    else
      std::memset(out, 0, format.blockBytes);
  }
  return isFinite;
}
