//===- Formats.cpp - the table of weight formats -----------------------------------===//

#include "dialects/llama/Formats.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>

#include "dialects/llama/LlamaEnums.cpp.inc"

using namespace sluice::llama;

static constexpr FormatInfo formats[] = {
    // format        name    gguf float  bits elems bytes pairs zero signed scale min codes
    {Format::F32, "f32", 0, true, 32, 1, 4, false, 0, false, -1, -1, 0},
    {Format::F16, "f16", 1, true, 16, 1, 2, false, 0, false, -1, -1, 0},
    {Format::BF16, "bf16", 30, true, 16, 1, 2, true, 0, false, -1, -1, 0},
    {Format::Q8_0, "q8_0", 8, false, 8, 32, 34, false, 128, true, 0, -1, 2},
    {Format::Q4_0, "q4_0", 2, false, 4, 32, 18, false, 8, false, 0, -1, 2},
    {Format::Q4_1, "q4_1", 3, false, 4, 32, 20, false, 0, false, 0, 2, 4},
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

static float loadFloat(const uint8_t *bytes, Format format) {
  uint32_t bits = 0;
  if (format == Format::F32) {
    std::memcpy(&bits, bytes, 4);
    return llvm::bit_cast<float>(bits);
  }
  uint16_t half;
  std::memcpy(&half, bytes, 2);
  if (format == Format::BF16)
    return llvm::bit_cast<float>(uint32_t(half) << 16);
  uint32_t sign = uint32_t(half & 0x8000) << 16, exponent = (half >> 10) & 31, mantissa = half & 0x3ff;
  if (exponent == 31)
    bits = sign | 0x7f800000 | (mantissa << 13);
  else if (exponent)
    bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
  else // zero and subnormals: mantissa * 2^-24, exact in f32
    bits = sign | llvm::bit_cast<uint32_t>(float(mantissa) * 0x1p-24f);
  return llvm::bit_cast<float>(bits);
}

float sluice::llama::decodeElement(const FormatInfo &info, const uint8_t *block, unsigned index) {
  if (info.isFloat)
    return loadFloat(block, info.format);
  int code;
  if (info.codeBits == 8) {
    code = block[info.codesAt + index];
    if (info.signedCodes)
      code = int8_t(code) + int(info.zeroPoint);
  } else {
    unsigned half = info.blockElements / 2;
    uint8_t byte = block[info.codesAt + index % half];
    code = index < half ? byte & 15 : byte >> 4;
  }
  float value = loadFloat(block + info.scaleAt, Format::F16) * float(code - int(info.zeroPoint));
  return info.hasMin() ? value + loadFloat(block + info.minAt, Format::F16) : value;
}
