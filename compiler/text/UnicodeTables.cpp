//===- UnicodeTables.cpp - a Unicode normalisation form as tables ---------------------------===//

#include "compiler/text/UnicodeTables.h"
#include "llvm/Support/ErrorHandling.h"
#include <algorithm>
#include <map>
#include <set>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>

using namespace sluice;

static const icu::Normalizer2 &normalizer(bool compatibility) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2 *found =
      compatibility ? icu::Normalizer2::getNFKDInstance(status) : icu::Normalizer2::getNFDInstance(status);
  if (U_FAILURE(status))
    llvm::report_fatal_error("ICU has no normalisation data");
  return *found;
}
static const icu::Normalizer2 &composer() {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2 *found = icu::Normalizer2::getNFCInstance(status);
  if (U_FAILURE(status))
    llvm::report_fatal_error("ICU has no normalisation data");
  return *found;
}

static bool isHangul(UChar32 point) { return point >= 0xAC00 && point <= 0xD7A3; }
static bool isJoiningJamo(UChar32 point) {
  return (point >= 0x1161 && point <= 0x1175) || (point >= 0x11A8 && point <= 0x11C2);
}

NormalFormTables sluice::normalFormTables(NormalForm form) {
  const bool composes = form == NormalForm::NFC || form == NormalForm::NFKC;
  const icu::Normalizer2 &decomposer = normalizer(form == NormalForm::NFKC || form == NormalForm::NFKD);
  NormalFormTables tables;
  std::set<UChar32> seconds; // join to the character before
  for (UChar32 point = 0; composes && point < 0x110000; ++point) {
    icu::UnicodeString raw;
    if (isHangul(point) || !composer().getRawDecomposition(point, raw) || raw.countChar32() != 2)
      continue;
    UChar32 first = raw.char32At(0), second = raw.char32At(raw.moveIndex32(0, 1));
    if (composer().composePair(first, second) != point)
      continue;
    tables.pairs.push_back({uint32_t(first), uint32_t(second), uint32_t(point)});
    seconds.insert(second);
  }
  std::ranges::sort(tables.pairs, {}, [](const CompositionPair &pair) { return std::pair(pair.first, pair.second); });

  tables.entries.push_back({});
  std::map<std::pair<std::vector<uint32_t>, uint8_t>, uint16_t> entries;
  std::vector<uint16_t> all(0x110000);
  for (UChar32 point = 0; point < 0x110000; ++point) {
    std::vector<uint32_t> decomposition;
    icu::UnicodeString text;
    if (!isHangul(point) && decomposer.getDecomposition(point, text))
      for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1))
        decomposition.push_back(uint32_t(text.char32At(i)));
    uint8_t combiningClass = u_getCombiningClass(point);
    bool inert = decomposition.empty() && !combiningClass &&
                 !(composes && (seconds.contains(point) || isJoiningJamo(point))) && (composes || !isHangul(point));
    if (inert)
      continue;
    auto [found, isNew] = entries.try_emplace({decomposition, combiningClass}, uint16_t(tables.entries.size()));
    if (isNew) {
      tables.entries.push_back(
          {uint32_t(tables.decompositions.size()), uint8_t(decomposition.size()), combiningClass, {}});
      tables.decompositions.insert(tables.decompositions.end(), decomposition.begin(), decomposition.end());
    }
    all[size_t(point)] = found->second;
  }
  std::map<std::vector<uint16_t>, uint16_t> blocks;
  for (size_t block = 0; block < 0x1100; ++block) {
    std::vector<uint16_t> part(all.begin() + block * 256, all.begin() + block * 256 + 256);
    auto [found, isNew] = blocks.try_emplace(part, uint16_t(blocks.size()));
    if (isNew)
      tables.indices.insert(tables.indices.end(), part.begin(), part.end());
    tables.blocks.push_back(found->second);
  }
  return tables;
}
