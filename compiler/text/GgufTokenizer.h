//===- GgufTokenizer.h - the tokenizer in a GGUF file's metadata ----------------------------===//
#ifndef SLUICE_COMPILER_TEXT_GGUFTOKENIZER_H
#define SLUICE_COMPILER_TEXT_GGUFTOKENIZER_H

#include "compiler/import/Checkpoint.h"
#include "compiler/text/TokenizerModel.h"

namespace sluice {

// Reads the `tokenizer.ggml.*` keys; errors name the key and what to do.
llvm::Expected<TokenizerModel> readGgufTokenizer(const Checkpoint &checkpoint);

} // namespace sluice
#endif
