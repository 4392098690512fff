//===- Json.h - the JSON files of a Hugging Face folder --------------------------------===//
#ifndef SLUICE_COMPILER_IMPORT_JSON_H
#define SLUICE_COMPILER_IMPORT_JSON_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <nlohmann/json.hpp>

namespace sluice {

using Json = nlohmann::ordered_json;

// An object; an error that says what is wrong if the text is no JSON object, has a key twice, or is nested beyond
// reason.
llvm::Expected<Json> parseJsonObject(llvm::StringRef text);

} // namespace sluice
#endif
