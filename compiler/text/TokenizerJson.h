//===- TokenizerJson.h - the file tokenizer.json --------------------------------------------===//
#ifndef SLUICE_COMPILER_TEXT_TOKENIZERJSON_H
#define SLUICE_COMPILER_TEXT_TOKENIZERJSON_H

#include "compiler/text/TokenizerModel.h"
#include "llvm/Support/JSON.h"

namespace sluice {

// What PyPI's `tokenizers` saves: normalizer, pre-tokenizer, model, post-processor, decoder and added tokens. Errors
// say which part is not supported, without the file's name.
llvm::Expected<TokenizerModel> readTokenizerJson(const llvm::json::Object &file);

} // namespace sluice
#endif
