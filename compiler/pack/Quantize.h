//===- Quantize.h - numbers to blocks of a format --------------------------------------===//
#ifndef SLUICE_COMPILER_PACK_QUANTIZE_H
#define SLUICE_COMPILER_PACK_QUANTIZE_H

#include "dialects/llama/Formats.h"

namespace sluice {

// Whether encodeRow knows the format.
bool canEncode(const llama::FormatInfo &format);
// "f32, f16, bf16, q8_0, ...".
std::string encodableFormats();
// Writes whole blocks. False if a number is not finite and the format cannot hold it: then the block is zeros.
bool encodeRow(const llama::FormatInfo &format, llvm::ArrayRef<float> numbers, uint8_t *out);

} // namespace sluice
#endif
