//===- Tokenizer.h - text to token ids and back -------------------------------------------===//
//
// Runs a text through the steps of TokenizerFormat.h: split at added tokens, rewritten, split by the model's own
// patterns; the pieces go to the model. Bytes that are not UTF-8 match no pattern.
//
//===------------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_TOKENIZER_H
#define SLUICE_RUNTIME_TOKENIZER_H

#include "runtime/TokenizerTables.h"
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

class Tokenizer {
public:
  // `section` must outlive the tokenizer. Throws std::runtime_error if it is damaged.
  explicit Tokenizer(std::span<const uint8_t> section) : tables(section) {}

  // `parseSpecial`: texts of control tokens in `text` become those tokens. `addPrefix`: begins with what the model puts
  // before a text (BOS, where it has one), unless the text begins with it.
  std::vector<int32_t> encode(std::string_view text, bool parseSpecial, bool addPrefix) const;
  // The bytes of one token; "" for an id outside the vocabulary and, unless `special`, for control tokens.
  std::string decode(int32_t id, bool special) const;
  // The text of many: without the space that `encode` puts before a text.
  std::string decode(std::span<const int32_t> ids, bool special) const;

  bool isEndOfGeneration(int32_t id) const;
  int32_t bos() const { return int32_t(tables.header->bos); } // -1: none
  int32_t eos() const { return int32_t(tables.header->eos); } // -1: none
  std::span<const uint32_t> prefix() const { return tables.prefix; }
  std::span<const uint32_t> suffix() const { return tables.suffix; } // what the model puts behind a whole text
  bool addsBos() const { return !tables.prefix.empty(); }
  uint32_t vocabulary() const { return tables.header->vocabulary; }

private:
  TokenizerTables tables;
};

} // namespace sluice
#endif
