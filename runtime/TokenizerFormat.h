//===- TokenizerFormat.h - the tokenizer section of a file ------------------------------===//
//
// Written by compiler/text, used in place by runtime/Tokenizer. Little-endian; all offsets are bytes from the section's
// start, multiples of 8.
//
//===--------------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_TOKENIZERFORMAT_H
#define SLUICE_RUNTIME_TOKENIZERFORMAT_H

#include <cstdint>

namespace sluice {

constexpr uint32_t tokenizerMagic = 0x314B4F54; // "TOK1"
constexpr uint32_t noToken = UINT32_MAX;

enum TokenKind : uint8_t {
  NormalToken,
  ControlToken,     // recognised in text only where special tokens are; prints nothing
  UserDefinedToken, // always recognised in text
  UnusedToken,
};

struct MergeSlot { // of an open-addressed table; empty: left == noToken
  uint32_t left, right;
  uint32_t rank; // lower merges first
  uint32_t result;
};

struct PatternEntry {
  uint32_t offset, size; // of a PCRE2 pattern in the pool
};

struct TokenizerSection {
  uint32_t magic;
  uint32_t vocabulary;
  uint32_t bos, eos; // noToken if there is none
  uint8_t addBos, addEos;
  uint8_t wholeWords; // a piece that is a token is not merged but taken
  uint8_t reserved[5];
  uint32_t mergeSlots;   // a power of two
  uint32_t wordSlots;    // a power of two
  uint32_t patternCount; // applied one after another, each splitting what the former left
  uint32_t specialCount;
  uint32_t endCount;
  uint32_t poolSize;
  uint64_t tokenOffsetsAt; // uint32[vocabulary + 1] into the pool
  uint64_t kindsAt;        // uint8[vocabulary] of TokenKind
  uint64_t byteTokensAt;   // uint32[256]
  uint64_t mergesAt;       // MergeSlot[mergeSlots]
  uint64_t wordsAt;        // uint32[wordSlots] token ids by hash of their bytes, noToken: empty
  uint64_t patternsAt;     // PatternEntry[patternCount]
  uint64_t specialsAt;     // uint32[specialCount] ids, longest text first
  uint64_t endsAt;         // uint32[endCount] ids that end a generation
  uint64_t poolAt;         // bytes of tokens and patterns
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

} // namespace sluice
#endif
