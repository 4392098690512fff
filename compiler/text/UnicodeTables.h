//===- UnicodeTables.h - a Unicode normalisation form as tables -----------------------------===//
#ifndef SLUICE_COMPILER_TEXT_UNICODETABLES_H
#define SLUICE_COMPILER_TEXT_UNICODETABLES_H

#include "compiler/text/TokenizerModel.h"

namespace sluice {

// The tables of runtime/TokenizerFormat.h's NormalizationTable. The data are ICU's.
struct NormalFormTables {
  std::vector<uint16_t> blocks, indices;
  std::vector<NormalizationEntry> entries;
  std::vector<uint32_t> decompositions;
  std::vector<CompositionPair> pairs;
};

NormalFormTables normalFormTables(NormalForm form);

} // namespace sluice
#endif
