//===- ModelImage.h - a file with a toy model, made by hand, and its kernels ----------===//
//
// The toy's logit v after tokens t0..tn is sum((i + 1) * ti) + v * weight, computed by way of arena, scratch and cache,
// so that every argument of a kernel matters.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_TEST_RUNTIME_MODELIMAGE_H
#define SLUICE_TEST_RUNTIME_MODELIMAGE_H

#include "runtime/abi.h"
#include <cstdint>
#include <string>
#include <vector>

namespace sluice::test {

constexpr uint32_t toyVocabulary = 50, toyPadded = 64, toyContext = 300, toyChunk = 16, toyLayers = 2, toyHeads = 3;
constexpr uint64_t toyWeight = 7;
extern const sluice_variant toyVariant;

std::vector<uint8_t> toyFile();
// Writes `bytes` to a new file below the tests' temporary folder and returns its path.
std::string writeTemporary(const std::vector<uint8_t> &bytes, const std::string &name);
// After the file was changed: makes the checksums of header and sections right again.
void fixChecksums(std::vector<uint8_t> &file);
sluice_header *headerOf(std::vector<uint8_t> &file);
sluice_trailer trailerOf(const std::vector<uint8_t> &file);

} // namespace sluice::test
#endif
