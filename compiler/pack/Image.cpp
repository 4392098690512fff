//===- Image.cpp - everything after the ELF: weights, sections, header, trailer ----===//

#include "compiler/pack/Image.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace sluice;

template <typename T> static llvm::ArrayRef<uint8_t> bytesOfArray(llvm::ArrayRef<T> array) {
  return {reinterpret_cast<const uint8_t *>(array.data()), array.size() * sizeof(T)};
}
template <typename T> static llvm::ArrayRef<uint8_t> bytesOfOne(const T &value) {
  return bytesOfArray(llvm::ArrayRef<T>(value));
}

// The sections after the weights, in the order of the file and of their numbers.
static std::array<llvm::ArrayRef<uint8_t>, SLUICE_SECTION_COUNT> sectionsOf(const Image &image) {
  std::array<llvm::ArrayRef<uint8_t>, SLUICE_SECTION_COUNT> sections;
  sections[SLUICE_SECTION_MODEL] = bytesOfOne(image.tables.model);
  sections[SLUICE_SECTION_PROGRAMS] = bytesOfArray<sluice_program>(image.tables.programs);
  sections[SLUICE_SECTION_STEPS] = bytesOfArray<sluice_step>(image.tables.steps);
  sections[SLUICE_SECTION_TENSORS] = bytesOfArray<sluice_tensor>(image.tables.tensors);
  sections[SLUICE_SECTION_STRINGS] = image.tables.strings.bytes();
  sections[SLUICE_SECTION_TOKENIZER] = image.tokenizer;
  sections[SLUICE_SECTION_TEMPLATE] = image.chatTemplate;
  return sections;
}

static constexpr uint64_t sectionAlignment = 64;

uint64_t sluice::fileBytes(const Image &image, uint64_t elfBytes) {
  uint64_t bytes = llvm::alignTo(elfBytes, SLUICE_PAGE) + image.schedule.weightBytes();
  for (llvm::ArrayRef<uint8_t> section : sectionsOf(image))
    bytes = llvm::alignTo(bytes, sectionAlignment) + section.size();
  return llvm::alignTo(bytes, sectionAlignment) + sizeof(sluice_header) + sizeof(sluice_trailer);
}

llvm::Error sluice::appendImage(OutputFile &file, Image &image, TensorBytes bytesOf, BytesDone done,
                                PackedSoFar packedSoFar) {
  uint64_t totalBytes = fileBytes(image, file.size());
  sluice_header header{};
  if (llvm::Error error = file.padTo(SLUICE_PAGE))
    return error;
  auto code = llvm::MemoryBuffer::getFile(file.temporaryPath(), /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!code)
    return llvm::createStringError(code.getError(), file.temporaryPath() + ": cannot read: " + code.getError().message());
  header.code = {0, file.size(), XXH3_64bits((*code)->getBufferStart(), file.size())};
  sluice_section &weights = header.sections[SLUICE_SECTION_WEIGHTS];
  weights.offset = file.size();
  weights.size = image.schedule.weightBytes();
  auto sink = [&](llvm::ArrayRef<uint8_t> bytes) -> llvm::Error {
    if (llvm::Error error = file.append(bytes))
      return error;
    return packedSoFar(file.size() - weights.offset);
  };
  llvm::Expected<uint64_t> checksum = packWeights(image.schedule, bytesOf, done, sink, image.tensors);
  if (!checksum)
    return checksum.takeError();
  weights.checksum = *checksum;
  for (auto [entry, tensor] : llvm::zip_equal(image.tables.tensors, image.tensors))
    entry.checksum = tensor.checksum;

  llvm::Expected<std::string> hash = image.sourceHash();
  if (!hash)
    return hash.takeError();
  image.tables.strings.replace(image.tables.model.source_hash, *hash);
  for (auto [number, bytes] : llvm::enumerate(sectionsOf(image))) {
    if (number == SLUICE_SECTION_WEIGHTS)
      continue;
    if (llvm::Error error = file.padTo(sectionAlignment))
      return error;
    header.sections[number] = {file.size(), bytes.size(), XXH3_64bits(bytes.data(), bytes.size())};
    if (llvm::Error error = file.append(bytes))
      return error;
  }

  if (llvm::Error error = file.padTo(sectionAlignment))
    return error;
  sluice_trailer trailer{};
  trailer.file_bytes = totalBytes;
  trailer.header_offset = file.size();
  trailer.header_checksum = XXH3_64bits(&header, sizeof header);
  trailer.abi_version = SLUICE_ABI_VERSION;
  trailer.magic = SLUICE_MAGIC;
  if (llvm::Error error = file.append(bytesOfOne(header)))
    return error;
  if (llvm::Error error = file.append(bytesOfOne(trailer)))
    return error;
  assert(file.size() == totalBytes);
  return llvm::Error::success();
}
