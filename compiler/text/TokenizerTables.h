//===- TokenizerTables.h - a checkpoint's tokenizer as tables -------------------------------===//
#ifndef SLUICE_COMPILER_TEXT_TOKENIZERTABLES_H
#define SLUICE_COMPILER_TEXT_TOKENIZERTABLES_H

#include "compiler/import/Checkpoint.h"

namespace sluice {

// The section that runtime/TokenizerFormat.h describes. Reads the `tokenizer.ggml.*` keys; errors name the key and what
// to do.
llvm::Expected<std::vector<uint8_t>> buildTokenizer(const Checkpoint &checkpoint);

} // namespace sluice
#endif
