//===- HuggingFaceTokenizer.h - tokenizer and chat template of a Hugging Face folder --------===//
#ifndef SLUICE_COMPILER_TEXT_HUGGINGFACETOKENIZER_H
#define SLUICE_COMPILER_TEXT_HUGGINGFACETOKENIZER_H

#include "compiler/text/TokenizerModel.h"

namespace sluice {

// Reads tokenizer.json, or tokenizer.model where there is none; the special tokens and ends of tokenizer_config.json,
// special_tokens_map.json, generation_config.json and config.json. Errors name the file and what is not supported.
llvm::Expected<TokenizerModel> readHuggingFaceTokenizer(llvm::StringRef folder);

// The Jinja source in chat_template.jinja, chat_template.json or tokenizer_config.json, if there is one.
llvm::Expected<std::optional<std::string>> readHuggingFaceTemplate(llvm::StringRef folder);

} // namespace sluice
#endif
