//===- PatternParser.h - a regular expression as a tree -------------------------------------===//
#ifndef SLUICE_COMPILER_TEXT_PATTERNPARSER_H
#define SLUICE_COMPILER_TEXT_PATTERNPARSER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <unicode/uniset.h>
#include <vector>

namespace sluice {

struct PatternNode {
  enum Kind {
    Characters,   // one character of the set
    LookAhead,    // the next character is of the set, or there is none and `atEnd`
    Sequence,     // children in order
    Alternatives, // children, the first that leads to a match
    Repeat,       // child, least to most times
  } kind;
  icu::UnicodeSet set = {};
  bool atEnd = false;
  std::vector<std::unique_ptr<PatternNode>> children = {};
  unsigned least = 0, most = 0; // most: unlimited if UINT_MAX
  bool lazy = false;
};

llvm::Expected<std::unique_ptr<PatternNode>> parsePattern(llvm::StringRef pattern);

} // namespace sluice
#endif
