//===- Image.h - everything after the ELF: weights, sections, header, trailer ------===//
#ifndef SLUICE_COMPILER_PACK_IMAGE_H
#define SLUICE_COMPILER_PACK_IMAGE_H

#include "compiler/pack/OutputFile.h"
#include "compiler/pack/Tables.h"
#include <functional>

namespace sluice {

struct Image {
  const stream::Schedule &schedule;
  std::vector<PackedTensor> tensors; // of `schedule`
  Tables tables;
  std::vector<uint8_t> tokenizer, chatTemplate; // SLUICE_SECTION_TOKENIZER and _TEMPLATE
  // The source's hash, as long as the stand-in that `tables` was built with. Asked for when the weights are written, so
  // that it can be computed meanwhile.
  std::function<llvm::Expected<std::string>()> sourceHash;
};

// Called after every piece with the packed bytes so far. An error ends the packing.
using PackedSoFar = llvm::function_ref<llvm::Error(uint64_t packed)>;

// The file's size when `image` follows an ELF of `elfBytes`.
uint64_t fileBytes(const Image &image, uint64_t elfBytes);

// Appends `image` to the ELF that `file` holds. Fills the hash and the checksums in `image`.
llvm::Error appendImage(OutputFile &file, Image &image, TensorBytes bytesOf, BytesDone done, PackedSoFar packedSoFar);

} // namespace sluice
#endif
