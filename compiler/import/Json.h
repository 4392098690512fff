//===- Json.h - the JSON files of a Hugging Face folder --------------------------------===//
#ifndef SLUICE_COMPILER_IMPORT_JSON_H
#define SLUICE_COMPILER_IMPORT_JSON_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <nlohmann/json.hpp>

namespace sluice {

using Json = nlohmann::json;

// An error if a parser of this text would have to go too deep, or would take memory out of proportion: a value of two
// characters is a hundred bytes, an object of llvm::json four thousand. Of what we know the tokenizer of Gemma 3 has
// most values, two million.
llvm::Error expectModestJson(llvm::StringRef text, int mostObjects = 1 << 20);

// The error that a text is no JSON, as a parser found when it had read so many bytes.
llvm::Error noJson(llvm::StringRef text, size_t read);

// An object; an error that says what is wrong if the text is no JSON object, has a key twice, or is beyond reason.
llvm::Expected<Json> parseJsonObject(llvm::StringRef text);

} // namespace sluice
#endif
