//===- TokenModels.h - a piece of text as token ids ---------------------------------------===//
//
// Byte-pair encoding (Sennrich et al., 2016) with any ranks of merges: a list of merges, or SentencePiece's scores.
// Unigram (Kudo, 2018): the path of the highest score. Both take n log n steps at most.
//
//===--------------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_TOKENMODELS_H
#define SLUICE_RUNTIME_TOKENMODELS_H

#include "runtime/TokenizerTables.h"
#include <unordered_map>

namespace sluice {

// Encodes pieces one after another; keeps its memory between them.
class TokenModel {
public:
  TokenModel(const TokenizerTables &tables, std::vector<int32_t> &ids) : tables(tables), ids(ids) {}
  void encode(std::string_view piece); // appends to the ids

private:
  struct Symbol {
    uint32_t id;             // noToken: an unknown character, or gone into the symbol before
    uint32_t previous, next; // noSymbol at the ends
    uint32_t begin;          // in the piece
    const MergeSlot *merge;  // with the next one
  };
  struct PathNode {
    double score;
    uint32_t begin, id; // of the token that ends here
    uint32_t next;      // where the next token of the path ends
  };
  static constexpr uint32_t noSymbol = UINT32_MAX;

  void encodeBytePairs(std::string_view piece);
  void splitSymbols(std::string_view piece);
  void mergeSymbols(uint32_t first, uint32_t last);
  bool findMerge(uint32_t left);
  void emit(uint32_t id, std::string_view text);
  void emitUnknown(std::string_view text);
  void encodeUnigram(std::string_view piece);

  const TokenizerTables &tables;
  std::vector<int32_t> &ids;
  bool unknownBefore = false; // the last id of this piece is the unknown token
  std::vector<Symbol> symbols;
  std::vector<uint64_t> initial,
      later; // merges to do, rank << 32 | left symbol: sorted, and a heap of those found since
  std::unordered_map<uint32_t, const MergeSlot *> unmerged; // how unused tokens were made
  std::vector<PathNode> path;
};

} // namespace sluice
#endif
