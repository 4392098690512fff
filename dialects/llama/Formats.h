//===- Formats.h - every weight format, described once -----------------------------===//
//
// The one place that knows how a quantisation format stores numbers. The importer sizes tensors with it, the packer
// re-lays blocks with it, codegen unpacks by it, and tests decode with it. Adding a format is adding a row.
// Source: the GGUF specification and the block structs that ggml documents (little-endian).
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_DIALECTS_LLAMA_FORMATS_H
#define SLUICE_DIALECTS_LLAMA_FORMATS_H

#include "mlir/IR/OpImplementation.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/StringSwitch.h"
#include <array>
#include <cstdint>

#include "dialects/llama/LlamaEnums.h.inc"

namespace sluice::llama {

// Where a block of a checkpoint holds numbers of `bits` bits: `stride` of them in consecutive bytes from `at`, the next
// `stride` in the next bits of the same bytes, and when those are full, in the bytes after.
struct BlockBits {
  unsigned bits = 0; // 1, 2, 4 or 8; 0: there are no such numbers
  unsigned at = 0;
  unsigned stride = 1;

  constexpr unsigned bitAt(unsigned index) const {
    const unsigned run = stride * (8 / bits);
    return (at + index / run * stride + index % stride) * 8 + index % run / stride * bits;
  }
};

// Integers that multiply a block's scale, one for each `FormatInfo::scaleElements` elements, then those that multiply
// its min, if it has one. Bit offsets in a block of the lower bits of each, up to four, and of the upper ones.
struct SubScales {
  static constexpr unsigned most = 32;
  unsigned bits = 0;     // 4, 6 or 8; 0: the format has none
  unsigned zero = 0;     // the unsigned integer that means zero
  bool isSigned = false; // two's complement in the checkpoint
  std::array<uint16_t, most> lowAt = {}, highAt = {};
};

enum class ScaleKind {
  Half,      // f16
  Exponent8, // a byte e that means 2^(e - 128)
};

// An integer format stores blocks of `blockElements` codes along a row. The value of code c is
//   scale * (u - zeroPoint) + min,
// where u is c; or c + zeroPoint for two's complement codes; or table[c] + zeroPoint. With sub-scales,
//   (scale * (s - sub.zero)) * (u - zeroPoint) + min * m
// of the integers s and m of the element's part of the block. A float format stores one element a block.
struct FormatInfo {
  Format format;
  llvm::StringRef name;               // spelling in the IR and in messages
  uint32_t ggufType;                  // type id in a GGUF file
  unsigned codeBits;                  // bits of a code: 2, 3, 4, 5, 6 or 8; float: 16 or 32
  unsigned blockElements, blockBytes; // of a block in a checkpoint
  bool isFloat = false;
  bool inPairs = false; // bf16: two columns of a row are packed side by side, as vdpbf16ps takes them, and activations
                        // are rounded to bf16 too
  // Integer formats only:
  unsigned zeroPoint = 0;            // unsigned code that means zero
  bool signedCodes = false;          // codes are two's complement in the checkpoint
  llvm::ArrayRef<int8_t> table = {}; // what each code stands for, in place of the code
  BlockBits low, high = {};          // the lower bits of the codes, and the upper ones where they lie apart
  ScaleKind scaleKind = ScaleKind::Half;
  int scaleAt = 0;             // byte offset of the block's scale
  int minAt = -1;              // byte offset of the block's min, an f16; -1 if none
  bool subtractsMin = false;   // the checkpoint has minus the min
  unsigned scaleElements = 32; // that share a scale (or, with sub-scales, a sub-scale) and a min: 16 or 32
  SubScales sub = {};

  bool hasMin() const { return minAt >= 0; }
  bool hasSubScales() const { return sub.bits != 0; }
  unsigned scalesOfBlock() const { return blockElements / scaleElements; }
  // The largest u.
  unsigned maxCode() const;
};

llvm::ArrayRef<FormatInfo> allFormats();
const FormatInfo &formatInfo(Format format);
// Null if `type` is not one we read.
const FormatInfo *formatOfGgufType(uint32_t type);

// The codes of a block (`blockElements`) as unsigned numbers, one a byte; indices where the format has a table.
void unpackCodes(const FormatInfo &info, const uint8_t *block, uint8_t *codes);
// Sub-scale `index` of a block, as an unsigned number; those of mins come after all of scales.
unsigned subScale(const FormatInfo &info, const uint8_t *block, unsigned index);
// Bits of the f16 min of a block, its sign as in FormatInfo's formula.
uint16_t minBits(const FormatInfo &info, const uint8_t *block);

// One element of a block as stored in a checkpoint: the reference decoding. `index` < blockElements.
float decodeElement(const FormatInfo &info, const uint8_t *block, unsigned index);

} // namespace sluice::llama
#endif
