//===- Integrity.cpp - whether a compiled model's file is as it was written ----------===//

#include "runtime/Integrity.h"
#include "runtime/Utf8.h"
#include <algorithm>
#include <xxhash.h>

using namespace sluice::runtime;

static bool intact(std::span<const uint8_t> bytes, uint64_t checksum) {
  return XXH3_64bits(bytes.data(), bytes.size()) == checksum;
}

static std::vector<std::string> damagedTensors(const Model &model) {
  std::vector<std::string> names;
  for (const sluice_tensor &tensor : model.tensors())
    if (!intact(model.section(SLUICE_SECTION_WEIGHTS).subspan(tensor.offset, tensor.size), tensor.checksum))
      names.push_back("tensor " + printable(model.string(tensor.name)));
  return names;
}

// Between the parts of a file there are zeros, to align the next one.
static void checkGaps(const Model &model, std::vector<std::string> &damaged) {
  std::vector<std::pair<uint64_t, uint64_t>> parts{{model.headerOffset(), 0}}; // begin, size
  for (const sluice_section &part : model.parts())
    parts.push_back({part.offset, part.size});
  std::sort(parts.begin(), parts.end());
  uint64_t at = 0;
  for (auto [begin, size] : parts) {
    for (; at < begin; ++at)
      if (model.file()[at]) {
        damaged.push_back("byte " + std::to_string(at) + ", between two parts");
        break;
      }
    at = std::max(at, begin + size);
  }
}

std::vector<std::string> sluice::runtime::findDamage(const Model &model) {
  std::vector<std::string> damaged;
  for (size_t i = 0; i < model.parts().size(); ++i) {
    const sluice_section &part = model.parts()[i];
    if (intact(model.file().subspan(part.offset, part.size), part.checksum))
      continue;
    const std::vector<std::string> tensors =
        i == SLUICE_SECTION_WEIGHTS ? damagedTensors(model) : std::vector<std::string>();
    if (tensors.empty())
      damaged.push_back(Model::partName(i));
    damaged.insert(damaged.end(), tensors.begin(), tensors.end());
  }
  checkGaps(model, damaged);
  return damaged;
}
