//===- TextSteps.h - the steps of a tokenizer that rewrite text ---------------------------===//
#ifndef SLUICE_RUNTIME_TEXTSTEPS_H
#define SLUICE_RUNTIME_TEXTSTEPS_H

#include "runtime/TokenizerTables.h"
#include <string>

namespace sluice {

// Matches of the pattern become `replacement`. Throws Error if that makes more than `most` bytes.
std::string replaceMatches(const Pattern &pattern, std::string_view text, std::string_view replacement, size_t most);

// A Unicode normalisation form (Unicode Standard Annex 15). Bytes that are not UTF-8 stay.
std::string normalized(const Normalization &form, std::string_view text);

// SentencePiece's character map: a Darts double array whose values are offsets of texts that end with a zero byte. The
// longest key at each position is replaced. Throws Error if that makes more than `most` bytes.
std::string mapCharacters(std::span<const uint8_t> map, std::string_view text, size_t most);

std::string collapseSpaces(std::string_view text);

std::string_view stripped(std::string_view text, bool left, bool right); // of white space

// How many bytes of white space `text` ends with, and begins with.
size_t trailingSpace(std::string_view text);
size_t leadingSpace(std::string_view text);

} // namespace sluice
#endif
