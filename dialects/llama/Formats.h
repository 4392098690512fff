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
#include <cstdint>

#include "dialects/llama/LlamaEnums.h.inc"

namespace sluice::llama {

// An integer format stores blocks of `blockElements` codes along a row. The value of code c is
//   scale * (u - zeroPoint) + min,  u = c for unsigned codes, c + zeroPoint for two's complement ones.
// A float format stores one element a block.
struct FormatInfo {
  Format format;
  llvm::StringRef name; // spelling in the IR and in messages
  uint32_t ggufType;    // type id in a GGUF file
  bool isFloat;
  unsigned codeBits;      // bits of a code: 4 or 8; float: 16 or 32
  unsigned blockElements; // elements of a block
  unsigned blockBytes;    // bytes of a block in a checkpoint
  bool inPairs; // bf16: two columns of a row are packed side by side, as vdpbf16ps takes them, and activations
                // are rounded to bf16 too
  // Integer formats only:
  unsigned zeroPoint; // unsigned code that means zero; 0 or a power of two
  bool signedCodes;   // codes are two's complement in the checkpoint
  int scaleAt;        // byte offset of the block's f16 scale
  int minAt;          // byte offset of the block's f16 min, -1 if none
  int codesAt;        // byte offset of the codes. 4-bit: byte i holds element i low and i + blockElements/2 high

  bool hasMin() const { return minAt >= 0; }
};

llvm::ArrayRef<FormatInfo> allFormats();
const FormatInfo &formatInfo(Format format);
// Null if `type` is not one we read.
const FormatInfo *formatOfGgufType(uint32_t type);

// One element of a block as stored in a checkpoint: the reference decoding. `index` < blockElements.
float decodeElement(const FormatInfo &info, const uint8_t *block, unsigned index);

} // namespace sluice::llama
#endif
