//===- PreTokenizers.h - the patterns behind the names of `tokenizer.ggml.pre` --------------===//
#ifndef SLUICE_COMPILER_TEXT_PRETOKENIZERS_H
#define SLUICE_COMPILER_TEXT_PRETOKENIZERS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace sluice {

struct PreTokenizer {
  llvm::StringLiteral name;
  llvm::ArrayRef<const char *>
      patterns;               // each splits what the former left; matches and what lies between them are pieces
  bool wholeWords = false;    // a piece that is a token is taken as it is
  bool beginsWithBos = false; // where the file does not say
  bool composes = false;      // to NFC first
};

const PreTokenizer *findPreTokenizer(llvm::StringRef name);
std::string preTokenizerNames(); // all, with commas between

// GPT-2's pattern, which the tokenizers library calls ByteLevel.
extern const char *const byteLevelPattern;

} // namespace sluice
#endif
