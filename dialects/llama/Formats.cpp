//===- Formats.cpp - the table of weight formats -----------------------------------===//

#include "dialects/llama/Formats.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <cstring>

#include "dialects/llama/LlamaEnums.cpp.inc"

using namespace sluice::llama;

//===-- The table -------------------------------------------------------------------------===//

using BitOffsets = std::array<uint16_t, SubScales::most>;

static constexpr BitOffsets offsets(BlockBits bits, unsigned count) {
  BitOffsets result = {};
  for (unsigned i = 0; i < count; ++i)
    result[i] = bits.bitAt(i);
  return result;
}

// Of Q4_K and Q5_K, in bytes 4 to 15: the first four scales and mins have six bits of a byte each; of the last four
// the upper two bits lie above these, the lower four in a nibble each.
static constexpr BitOffsets kLow = {32, 40, 48, 56, 96, 104, 112, 120, 64, 72, 80, 88, 100, 108, 116, 124};
static constexpr BitOffsets kHigh = {36, 44, 52, 60, 38, 46, 54, 62, 68, 76, 84, 92, 70, 78, 86, 94};
static constexpr SubScales kScales = {.bits = 6, .lowAt = kLow, .highAt = kHigh};

static constexpr int8_t iq4Values[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// Twice the values of e2m1, whose scales are halved.
static constexpr int8_t mxfp4Values[] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static constexpr FormatInfo formats[] = {
    {.format = Format::F32,
     .name = "f32",
     .ggufType = 0,
     .codeBits = 32,
     .blockElements = 1,
     .blockBytes = 4,
     .isFloat = true},
    {.format = Format::F16,
     .name = "f16",
     .ggufType = 1,
     .codeBits = 16,
     .blockElements = 1,
     .blockBytes = 2,
     .isFloat = true},
    {.format = Format::BF16,
     .name = "bf16",
     .ggufType = 30,
     .codeBits = 16,
     .blockElements = 1,
     .blockBytes = 2,
     .isFloat = true,
     .inPairs = true},
    {.format = Format::Q8_0,
     .name = "q8_0",
     .ggufType = 8,
     .codeBits = 8,
     .blockElements = 32,
     .blockBytes = 34,
     .zeroPoint = 128,
     .signedCodes = true,
     .low = {8, 2}},
    {.format = Format::Q4_0,
     .name = "q4_0",
     .ggufType = 2,
     .codeBits = 4,
     .blockElements = 32,
     .blockBytes = 18,
     .zeroPoint = 8,
     .low = {4, 2, 16}},
    {.format = Format::Q4_1,
     .name = "q4_1",
     .ggufType = 3,
     .codeBits = 4,
     .blockElements = 32,
     .blockBytes = 20,
     .low = {4, 4, 16},
     .minAt = 2},
    {.format = Format::Q5_0,
     .name = "q5_0",
     .ggufType = 6,
     .codeBits = 5,
     .blockElements = 32,
     .blockBytes = 22,
     .zeroPoint = 16,
     .low = {4, 6, 16},
     .high = {1, 2}},
    {.format = Format::Q5_1,
     .name = "q5_1",
     .ggufType = 7,
     .codeBits = 5,
     .blockElements = 32,
     .blockBytes = 24,
     .low = {4, 8, 16},
     .high = {1, 4},
     .minAt = 2},
    {.format = Format::Q2_K,
     .name = "q2_k",
     .ggufType = 10,
     .codeBits = 2,
     .blockElements = 256,
     .blockBytes = 84,
     .low = {2, 16, 32},
     .scaleAt = 80,
     .minAt = 82,
     .subtractsMin = true,
     .scaleElements = 16,
     .sub = {.bits = 4, .lowAt = offsets({4, 0, 16}, 32)}},
    {.format = Format::Q3_K,
     .name = "q3_k",
     .ggufType = 11,
     .codeBits = 3,
     .blockElements = 256,
     .blockBytes = 110,
     .zeroPoint = 4,
     .low = {2, 32, 32},
     .high = {1, 0, 32},
     .scaleAt = 108,
     .scaleElements = 16,
     .sub = {.bits = 6, .zero = 32, .lowAt = offsets({4, 96, 8}, 16), .highAt = offsets({2, 104, 4}, 16)}},
    {.format = Format::Q4_K,
     .name = "q4_k",
     .ggufType = 12,
     .codeBits = 4,
     .blockElements = 256,
     .blockBytes = 144,
     .low = {4, 16, 32},
     .minAt = 2,
     .subtractsMin = true,
     .sub = kScales},
    {.format = Format::Q5_K,
     .name = "q5_k",
     .ggufType = 13,
     .codeBits = 5,
     .blockElements = 256,
     .blockBytes = 176,
     .low = {4, 48, 32},
     .high = {1, 16, 32},
     .minAt = 2,
     .subtractsMin = true,
     .sub = kScales},
    {.format = Format::Q6_K,
     .name = "q6_k",
     .ggufType = 14,
     .codeBits = 6,
     .blockElements = 256,
     .blockBytes = 210,
     .zeroPoint = 32,
     .low = {4, 0, 64},
     .high = {2, 128, 32},
     .scaleAt = 208,
     .scaleElements = 16,
     .sub = {.bits = 8, .zero = 128, .isSigned = true, .lowAt = offsets({8, 192}, 16)}},
    {.format = Format::IQ4_NL,
     .name = "iq4_nl",
     .ggufType = 20,
     .codeBits = 4,
     .blockElements = 32,
     .blockBytes = 18,
     .zeroPoint = 128,
     .table = iq4Values,
     .low = {4, 2, 16}},
    {.format = Format::IQ4_XS,
     .name = "iq4_xs",
     .ggufType = 23,
     .codeBits = 4,
     .blockElements = 256,
     .blockBytes = 136,
     .zeroPoint = 128,
     .table = iq4Values,
     .low = {4, 8, 16},
     .sub = {.bits = 6, .zero = 32, .lowAt = offsets({4, 4}, 8), .highAt = offsets({2, 2}, 8)}},
    {.format = Format::MXFP4,
     .name = "mxfp4",
     .ggufType = 39,
     .codeBits = 4,
     .blockElements = 32,
     .blockBytes = 17,
     .zeroPoint = 12,
     .table = mxfp4Values,
     .low = {4, 1, 16},
     .scaleKind = ScaleKind::Exponent8},
};

llvm::ArrayRef<FormatInfo> sluice::llama::allFormats() { return formats; }

const FormatInfo &sluice::llama::formatInfo(Format format) {
  for (const FormatInfo &info : formats)
    if (info.format == format)
      return info;
  llvm_unreachable("every enumerator of Format has a row");
}

const FormatInfo *sluice::llama::formatOfGgufType(uint32_t type) {
  for (const FormatInfo &info : formats)
    if (info.ggufType == type)
      return &info;
  return nullptr;
}

unsigned FormatInfo::maxCode() const {
  return table.empty() ? (1u << codeBits) - 1 : unsigned(*llvm::max_element(table) + int(zeroPoint));
}

//===-- Decoding --------------------------------------------------------------------------===//

void sluice::llama::unpackCodes(const FormatInfo &info, const uint8_t *block, uint8_t *codes) {
  auto add = [&](const BlockBits &from, unsigned shift) {
    const unsigned perByte = 8 / from.bits, mask = (1u << from.bits) - 1;
    const uint8_t *bytes = block + from.at;
    for (unsigned first = 0; first < info.blockElements; first += from.stride * perByte, bytes += from.stride)
      for (unsigned field = 0; field < perByte; ++field) {
        uint8_t *to = codes + first + field * from.stride;
        for (unsigned i = 0; i < from.stride; ++i)
          to[i] |= uint8_t((bytes[i] >> (field * from.bits) & mask) << shift);
      }
  };
  std::memset(codes, 0, info.blockElements);
  add(info.low, 0);
  if (info.high.bits)
    add(info.high, info.low.bits);
  if (info.signedCodes) // adding half the range is flipping the top bit
    for (unsigned i = 0; i < info.blockElements; ++i)
      codes[i] ^= uint8_t(info.zeroPoint);
}

static unsigned bitsAt(const uint8_t *block, unsigned at, unsigned bits) {
  return block[at / 8] >> at % 8 & ((1u << bits) - 1);
}

unsigned sluice::llama::subScale(const FormatInfo &info, const uint8_t *block, unsigned index) {
  const SubScales &sub = info.sub;
  const unsigned lowBits = sub.bits == 6 ? 4 : sub.bits;
  unsigned value = bitsAt(block, sub.lowAt[index], lowBits);
  if (lowBits < sub.bits)
    value |= bitsAt(block, sub.highAt[index], sub.bits - lowBits) << lowBits;
  return sub.isSigned ? value ^ sub.zero : value;
}

static uint16_t loadHalf(const uint8_t *bytes) { return uint16_t(bytes[0] | bytes[1] << 8); }

uint16_t sluice::llama::minBits(const FormatInfo &info, const uint8_t *block) {
  return loadHalf(block + info.minAt) ^ (info.subtractsMin ? 0x8000 : 0);
}

static float halfToFloat(uint16_t half) {
  uint32_t bits, sign = uint32_t(half & 0x8000) << 16, exponent = (half >> 10) & 31, mantissa = half & 0x3ff;
  if (exponent == 31)
    bits = sign | 0x7f800000 | (mantissa << 13);
  else if (exponent)
    bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
  else // zero and subnormals: mantissa * 2^-24, exact in f32
    bits = sign | llvm::bit_cast<uint32_t>(float(mantissa) * 0x1p-24f);
  return llvm::bit_cast<float>(bits);
}

static float loadFloat(const uint8_t *bytes, Format format) {
  if (format == Format::F16)
    return halfToFloat(loadHalf(bytes));
  uint32_t bits = uint32_t(loadHalf(bytes)) << 16;
  if (format == Format::F32)
    std::memcpy(&bits, bytes, 4);
  return llvm::bit_cast<float>(bits);
}

static float scaleOf(const FormatInfo &info, const uint8_t *block) {
  const uint8_t *at = block + info.scaleAt;
  return info.scaleKind == ScaleKind::Exponent8 ? std::ldexp(1.0f, int(*at) - 128) : halfToFloat(loadHalf(at));
}

float sluice::llama::decodeElement(const FormatInfo &info, const uint8_t *block, unsigned index) {
  if (info.isFloat)
    return loadFloat(block, info.format);
  unsigned code = bitsAt(block, info.low.bitAt(index), info.low.bits);
  if (info.high.bits)
    code |= bitsAt(block, info.high.bitAt(index), info.high.bits) << info.low.bits;
  const int value = !info.table.empty() ? info.table[code]
                    : info.signedCodes  ? int8_t(code)
                                        : int(code) - int(info.zeroPoint);
  float scale = scaleOf(info, block), min = info.hasMin() ? halfToFloat(minBits(info, block)) : 0.0f;
  if (info.hasSubScales()) {
    const unsigned part = index / info.scaleElements;
    scale *= float(int(subScale(info, block, part)) - int(info.sub.zero));
    if (info.hasMin())
      min *= float(subScale(info, block, info.scalesOfBlock() + part));
  }
  const float product = scale * float(value);
  return info.hasMin() ? product + min : product;
}
