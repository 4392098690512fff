//===- PatternCompiler.h - a regular expression as an automaton -----------------------------===//
//
// The patterns that split text into words, with Oniguruma's meaning: leftmost, alternatives in order, greedy unless
// said otherwise. What it reads: literals, classes ([...] with ranges, negation, nested classes and &&), \s \d \w and
// their negations, \p{...}, groups, (?i:...), alternatives, * + ? {n,m}, lazy ones, and looking ahead at one character.
//
//===----------------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_TEXT_PATTERNCOMPILER_H
#define SLUICE_COMPILER_TEXT_PATTERNCOMPILER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

// The tables of runtime/TokenizerFormat.h's PatternTable.
struct PatternAutomaton {
  uint32_t classCount = 0, stateCount = 0, endClass = 0;
  std::vector<uint16_t> blocks;
  std::vector<uint8_t> classes;
  std::array<uint8_t, 256> standIns;
  std::vector<uint16_t> transitions;
};

// Errors quote the pattern and say what in it is not supported.
llvm::Expected<PatternAutomaton> compilePattern(llvm::StringRef pattern);

// A character of a word as Rust's expressions see it, which `tokenizers` uses beside Oniguruma's; to be put in a class.
constexpr llvm::StringLiteral rustWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200C\\u200D";

// A pattern that matches exactly `text`.
std::string literalPattern(llvm::StringRef text);

} // namespace sluice
#endif
