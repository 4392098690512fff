//===- Tokenizer.h - text to token ids and back -------------------------------------------===//
//
// Byte-level byte-pair encoding (Sennrich et al., 2016; GPT-2) over the tables of TokenizerFormat.h. Text is split at
// special tokens, then by the model's own patterns; bytes that are not UTF-8 match no pattern and become pieces of
// their own.
//
//===------------------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_TOKENIZER_H
#define SLUICE_RUNTIME_TOKENIZER_H

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

struct TokenizerSection;

class Tokenizer {
public:
  // `section` must outlive the tokenizer. Throws std::runtime_error if it is damaged.
  explicit Tokenizer(std::span<const uint8_t> section);
  ~Tokenizer();

  // `parseSpecial`: texts of control tokens in `text` become those tokens. `addBos`: begins with the BOS token, if the
  // model has one and the text does not begin with it.
  std::vector<int32_t> encode(std::string_view text, bool parseSpecial, bool addBos) const;
  // The bytes of one token; "" for an id outside the vocabulary and, unless `special`, for control tokens.
  std::string decode(int32_t id, bool special) const;

  bool isEndOfGeneration(int32_t id) const;
  int32_t bos() const; // -1: none
  int32_t eos() const; // -1: none
  bool addsBos() const;
  uint32_t vocabulary() const;

private:
  struct Pattern;
  std::string_view bytesOf(uint32_t id) const;
  void encodeBytes(std::string_view text, std::vector<int32_t> &ids) const;
  void encodeText(std::string_view text, size_t pattern, std::vector<int32_t> &ids) const;
  void encodePiece(std::string_view piece, std::vector<int32_t> &ids) const;
  template <typename T> const T *table(uint64_t at, uint64_t count) const;

  std::span<const uint8_t> bytes;
  const TokenizerSection *section;
  std::vector<std::unique_ptr<Pattern>> patterns;
  std::vector<std::vector<uint32_t>> specialsByFirstByte; // longest first
};

} // namespace sluice
#endif
