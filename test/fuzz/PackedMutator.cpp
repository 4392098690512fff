//===- PackedMutator.cpp - changes to a packed file that keep most of it readable --------===//
//
// A few bytes of the trailer, of the header, or of a section that is interpreted (the weights are not); seldom anything
// else.
//
//===-----------------------------------------------------------------------------------===//

#include "runtime/abi.h"
#include <algorithm>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  std::minstd_rand random(seed);
  sluice_trailer trailer;
  sluice_header header;
  if (size < sizeof trailer || random() % 8 == 0)
    return LLVMFuzzerMutate(data, size, maxSize);
  const size_t end = size - sizeof trailer;
  std::memcpy(&trailer, data + end, sizeof trailer);
  if (trailer.header_offset > end || end - trailer.header_offset < sizeof header)
    return LLVMFuzzerMutate(data, size, maxSize);
  std::memcpy(&header, data + trailer.header_offset, sizeof header);
  std::vector<std::pair<size_t, size_t>> places = {{end, sizeof trailer}, {trailer.header_offset, sizeof header}};
  for (size_t i = 0; i < SLUICE_SECTION_COUNT; ++i) {
    const auto [offset, bytes, checksum] = header.sections[i];
    if (i != SLUICE_SECTION_WEIGHTS && bytes && offset <= size && bytes <= size - offset)
      places.push_back({offset, bytes});
  }
  const auto [offset, bytes] = places[random() % places.size()];
  const size_t length = std::min<size_t>(bytes, size_t(4) << random() % 4);
  const size_t at = offset + (random() % 2 ? random() % (bytes - length + 1) : random() % (bytes / length) * length);
  std::vector<uint8_t> changed(data + at, data + at + length);
  LLVMFuzzerMutate(changed.data(), length, length); // may make it shorter: the rest stays
  std::memcpy(data + at, changed.data(), length);
  return size;
}
