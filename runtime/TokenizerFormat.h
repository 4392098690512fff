//===- TokenizerFormat.h - the tokenizer section of a file ------------------------------===//
//
// Written by compiler/text, used in place by runtime/Tokenizer. Little-endian; all offsets are bytes from the section's
// start, multiples of 8. A text runs through the steps, which rewrite it or split it; what is left goes to the model.
//
//===--------------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_TOKENIZERFORMAT_H
#define SLUICE_RUNTIME_TOKENIZERFORMAT_H

#include <cstdint>

namespace sluice {

constexpr uint32_t tokenizerMagic = 0x324B4F54; // "TOK2"
constexpr uint32_t noToken = UINT32_MAX;

enum TokenKind : uint8_t {
  NormalToken,
  ControlToken,     // recognised in text only where special tokens are; prints nothing
  UserDefinedToken, // always recognised in text
  UnusedToken,      // never the result: it is taken apart again
  ByteToken,        // stands for the byte of characters that have no token
  UnknownToken,     // stands for a character that has no token
};

template <typename T> struct TableRange { // T[count] at that offset
  uint64_t at, count;
};

//===-- Steps -----------------------------------------------------------------------------===//

enum class StepKind : uint8_t {
  SplitAdded,     // at added tokens, which become ids. table: of the added tokens
  SplitPattern,   // at matches of the pattern `table`, as `behavior` says
  Replace,        // matches of the pattern `table` by the text
  Prepend,        // the text before what is not empty
  Normalize,      // to the Unicode normalisation form of the section's table
  MapCharacters,  // by SentencePiece's character map
  CollapseSpaces, // no U+0020 at the ends, one at a time between
  Strip,          // no white space at the ends that `flags` name
  Last = Strip,
};
enum class SplitBehavior : uint8_t {
  Isolated,
  Removed,
  MergedWithPrevious,
  MergedWithNext,
  Contiguous,
  Last = Contiguous
};
enum StepFlags : uint8_t {
  InvertMatches = 1, // SplitPattern: what does not match is the match
  MatchStandIns = 2, // SplitPattern: the pattern sees each byte as its printable stand-in of GPT-2
  UnlessPresent = 4, // Prepend: not where the text begins with it already
  OnlyAtStart = 8,   // Prepend: only to the piece that the whole text begins with
  StripLeft = 16,    // Strip
  StripRight = 32,   // Strip
};
struct TokenizerStep {
  StepKind kind;
  uint8_t flags;
  SplitBehavior behavior;
  uint8_t reserved;
  uint32_t table;
  uint32_t textAt, textSize; // in the pool
};

// A deterministic automaton over classes of characters. transitions[state * classCount + class]: the next state, 0 if
// no longer match is possible, and in `patternAccepts` whether a match ends before the character. It starts in state 1.
constexpr uint16_t patternAccepts = 0x8000;
struct PatternTable {
  uint32_t classCount, stateCount;
  uint32_t endClass; // of the end of the text and of bytes that are not UTF-8
  uint32_t reserved;
  TableRange<uint16_t> blocks;  // [0x1100]: which block of 256 classes a code point's is
  TableRange<uint8_t> classes;  // [blocks * 256]
  TableRange<uint8_t> standIns; // [256]: classes of the bytes' stand-ins
  TableRange<uint16_t> transitions;
};

// A double-array trie over bytes (Aoe, 1989). The child of n by b is n' = base + b if check of n' is n. The root is 0.
struct TrieNode {
  uint32_t base, check, value; // value: noToken where no key ends
};

struct AddedToken {
  uint32_t id;
  uint8_t special;    // recognised only where special tokens are
  uint8_t singleWord; // not where it touches a word
  uint8_t leftStrip, rightStrip;
};
struct AddedTable {
  TableRange<TrieNode> trie; // values: indices of tokens
  TableRange<AddedToken> tokens;
  uint32_t wordPattern; // matches one character of a word; noToken if no token asks
  uint32_t reserved;
};

// A Unicode normalisation form. entries[0] is that of characters which the form never changes nor joins to the one
// before.
struct NormalizationEntry {
  uint32_t decompositionAt; // code points, fully decomposed
  uint8_t decompositionSize;
  uint8_t combiningClass;
  uint8_t reserved[2];
};
struct CompositionPair { // sorted by first, second
  uint32_t first, second, result;
};
struct NormalizationTable {
  TableRange<uint16_t> blocks; // [0x1100]
  TableRange<uint16_t> indices;
  TableRange<NormalizationEntry> entries;
  TableRange<uint32_t> decompositions;
  TableRange<CompositionPair> pairs; // empty: the form does not compose
};

//===-- Models ----------------------------------------------------------------------------===//

struct MergeSlot { // of an open-addressed table; empty: left == noToken
  uint32_t left, right;
  uint32_t rank; // lower merges first, then what is further left
  uint32_t result;
};

enum class TokenizerAlgorithm : uint8_t {
  BytePairs, // merges by rank
  Unigram,   // the sequence of the highest score
  Last = Unigram,
};

struct TokenizerSection {
  uint32_t magic;
  uint32_t vocabulary;
  uint32_t bos, eos, unknown; // noToken if there is none
  TokenizerAlgorithm algorithm;
  uint8_t byteAlphabet;    // symbols are bytes, not characters
  uint8_t wholeWords;      // a piece that is a token is not merged but taken
  uint8_t fuseUnknown;     // neighbouring unknown characters are one token
  uint8_t spaceMark;       // U+2581 in tokens stands for a space
  uint8_t dropsFirstSpace; // a text's first space is not its own
  uint8_t singlePrecision; // scores are added as floats
  uint8_t reserved;
  TableRange<uint32_t> tokenOffsets; // [symbols + 1] into the pool. Symbols from `vocabulary` on are no tokens
  TableRange<uint8_t> kinds;         // [vocabulary]
  TableRange<uint32_t> byteTokens;   // [256]: symbols of the byte alphabet, or tokens of kind ByteToken
  TableRange<MergeSlot> merges;      // a power of two
  TableRange<uint64_t> joints; // a power of two: bits by mergeHash of two neighbouring symbols of the alphabet. Where
                               // it is 0 no merge reaches from the one to the other
  TableRange<uint32_t> words;  // symbols by hash of their text, noToken: empty; a power of two
  TableRange<TrieNode> trie;   // Unigram: all tokens
  TableRange<double> scores;   // Unigram: [vocabulary]
  double unknownScore;
  TableRange<TokenizerStep> steps;
  TableRange<PatternTable> patterns;
  TableRange<AddedTable> added;
  TableRange<NormalizationTable> normalization; // at most one
  TableRange<uint8_t> characterMap;             // SentencePiece's precompiled_charsmap; empty if there is none
  TableRange<uint32_t> prefix, suffix;          // ids around a text
  TableRange<uint32_t> ends;                    // ids that end a generation
  TableRange<char> pool;                        // texts
};

// The two hash functions of the tables; probing is linear.
inline uint32_t mergeHash(uint32_t left, uint32_t right) {
  uint64_t x = (uint64_t(left) << 32 | right) * 0x9E3779B97F4A7C15ull;
  return uint32_t(x >> 32);
}
inline uint32_t wordHash(const char *bytes, uint64_t size) { // FNV-1a
  uint32_t hash = 2166136261u;
  for (uint64_t i = 0; i < size; ++i)
    hash = (hash ^ uint8_t(bytes[i])) * 16777619u;
  return hash;
}

// Of a unit of the character map's double array: by this and the next byte, exclusive or, one comes to a child.
inline uint32_t doubleArrayOffset(uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }

} // namespace sluice
#endif
