//===- TokenizerTables.h - the tokenizer section, every range checked ---------------------===//
//
// Views into the section of TokenizerFormat.h. What is reached by an index from the section itself is checked here once
// where that is cheap, and otherwise where it is used: `damaged` is thrown by both.
//
//===------------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_TOKENIZERTABLES_H
#define SLUICE_RUNTIME_TOKENIZERTABLES_H

#include "runtime/TokenizerFormat.h"
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace sluice {

[[noreturn]] inline void throwDamaged() { throw std::runtime_error("the tokenizer section is damaged"); }

// A pattern's automaton.
class Pattern {
public:
  Pattern(const PatternTable &table, std::span<const uint8_t> section);
  // The end of the match that begins at `at`, not empty; npos if there is none.
  size_t match(std::string_view text, size_t at, bool standIns) const;
  // The next match at or after `at`; false if there is none.
  bool find(std::string_view text, size_t at, bool standIns, size_t &begin, size_t &end) const;

private:
  uint32_t classCount, endClass;
  std::span<const uint16_t> blocks, transitions;
  std::span<const uint8_t> classes, standInClasses;
};

class Trie {
public:
  Trie() = default;
  explicit Trie(std::span<const TrieNode> nodes) : nodes(nodes) {}
  static constexpr uint32_t root = 0;
  bool empty() const { return nodes.empty(); }
  // The child by a byte; false if there is none.
  bool step(uint32_t &node, uint8_t byte) const {
    uint64_t child = uint64_t(nodes[node].base) + byte;
    if (child >= nodes.size() || nodes[child].check != node || child == root)
      return false;
    node = uint32_t(child);
    return true;
  }
  uint32_t value(uint32_t node) const { return nodes[node].value; }

private:
  std::span<const TrieNode> nodes;
};

struct AddedTokens {
  Trie trie;
  std::span<const AddedToken> tokens;
  const Pattern *word = nullptr; // a character of a word
};

struct Normalization {
  std::span<const uint16_t> blocks, indices;
  std::span<const NormalizationEntry> entries;
  std::span<const uint32_t> decompositions;
  std::span<const CompositionPair> pairs;
  const NormalizationEntry &entry(char32_t point) const {
    return entries[indices[size_t(blocks[point >> 8]) * 256 + (point & 0xFF)]];
  }
  bool isInert(char32_t point) const { return indices[size_t(blocks[point >> 8]) * 256 + (point & 0xFF)] == 0; }
};

struct TokenizerTables {
  explicit TokenizerTables(std::span<const uint8_t> section);

  const TokenizerSection *header;
  std::span<const uint32_t> tokenOffsets, byteTokens, words, prefix, suffix, ends;
  std::span<const uint8_t> kinds, characterMap;
  std::span<const MergeSlot> merges;
  std::span<const uint64_t> joints;
  Trie trie;
  std::span<const double> scores;
  std::span<const TokenizerStep> steps;
  std::vector<Pattern> patterns;
  std::vector<AddedTokens> added;
  Normalization normalization;
  std::string_view pool;

  uint32_t symbols() const { return uint32_t(tokenOffsets.size() - 1); }
  std::string_view textOf(uint32_t symbol) const {
    return pool.substr(tokenOffsets[symbol], tokenOffsets[symbol + 1] - tokenOffsets[symbol]);
  }
  // The symbol with that text; noToken if there is none.
  uint32_t symbolOf(std::string_view text) const;
  // Null if the two do not merge.
  const MergeSlot *merge(uint32_t left, uint32_t right) const;
  // Whether two neighbours of the alphabet may end up in one token.
  bool mayJoin(uint32_t left, uint32_t right) const {
    uint32_t hash = mergeHash(left, right);
    return joints[(hash >> 6) & (joints.size() - 1)] >> (hash & 63) & 1;
  }
};

} // namespace sluice
#endif
