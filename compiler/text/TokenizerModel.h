//===- TokenizerModel.h - what a tokenizer does, whatever file described it -----------------===//
//
// Readers (GGUF, Hugging Face, SentencePiece) fill it; TokenizerTables makes the section of it.
//
//===----------------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_TEXT_TOKENIZERMODEL_H
#define SLUICE_COMPILER_TEXT_TOKENIZERMODEL_H

#include "runtime/TokenizerFormat.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <string>
#include <vector>

namespace sluice {

// No tokenizer that we know comes near these; of others the tables would take memory or time out of proportion.
constexpr uint32_t mostTokens = 1 << 20, longestToken = 4096, mostTokenBytes = 16 << 20, mostSteps = 32;
// An error that says which of them the texts of a vocabulary are beyond.
llvm::Error expectModestVocabulary(const std::vector<llvm::StringRef> &texts);
llvm::Error expectFinite(llvm::ArrayRef<double> scores);

enum class NormalForm { NFC, NFD, NFKC, NFKD };

struct TokenizerModel {
  struct Merge {
    uint32_t left, right, result, rank;
  };
  struct Step {
    StepKind kind;
    uint8_t flags = 0;
    SplitBehavior behavior = SplitBehavior::Isolated;
    std::string pattern = {};          // SplitPattern, Replace
    std::string text = {};             // Replace, Prepend
    NormalForm form = NormalForm::NFC; // Normalize
    bool normalizedTokens = false;     // SplitAdded: those that are sought in normalised text
  };
  struct Added {
    uint32_t id;
    std::string text; // as it is sought
    bool special = false, singleWord = false, leftStrip = false, rightStrip = false, normalized = false;
  };

  TokenizerAlgorithm algorithm = TokenizerAlgorithm::BytePairs;
  bool byteAlphabet = false, wholeWords = false, fuseUnknown = false, spaceMark = false, dropsFirstSpace = false,
       singlePrecision = false;
  std::vector<std::string> tokens;     // byte alphabet: the bytes that they stand for
  std::vector<TokenKind> kinds;        // of the tokens
  std::vector<bool> inModel;           // of the tokens: the model can make them out of text
  std::vector<std::string> characters; // symbols beyond the tokens that merges use
  std::vector<double> scores;          // Unigram
  std::vector<Merge> merges;
  std::vector<Step> steps;
  std::vector<Added> added;
  std::string characterMap;
  uint32_t bos = noToken, eos = noToken, unknown = noToken;
  std::vector<uint32_t> prefix, suffix, ends;

  // Adds a token that is not in text unless it is listed among `added`, too.
  uint32_t add(llvm::StringRef text, TokenKind kind, bool inModel);
  // To a model with an embedding of so many rows: drops added tokens behind them. Others there are an error.
  llvm::Error fit(uint32_t rows);
  // Adds empty tokens, or drops the last ones, which no merge may have; symbols behind the tokens move.
  void resize(uint32_t count);
  // The id of the first token with that text; noToken if there is none.
  uint32_t find(llvm::StringRef text) const;
};

// GPT-2 writes the 256 bytes as printable characters. The bytes that `text` stands for; a character that stands for
// none is kept as it is.
std::string bytesOfStandIns(llvm::StringRef text);
uint32_t standInOf(uint8_t byte);

// The value of "<0x0A>"; none for other texts.
std::optional<uint8_t> byteOfToken(llvm::StringRef text);

// SentencePiece's merges: every pair that makes a token, ranked by the token's score. Adds characters that have no
// token of their own.
void deriveMerges(TokenizerModel &model, llvm::ArrayRef<double> scores);

// How a SentencePiece model treats the text before it is split, and its flags.
struct SentencePieceRules {
  std::string characterMap;
  bool collapseSpaces = false, addPrefix = true;
};
// After the added tokens are known.
void addSentencePieceSteps(TokenizerModel &model, SentencePieceRules rules);

// Adds to the ends the control tokens whose texts are known to end a turn or a text.
void addKnownEnds(TokenizerModel &model);

llvm::Expected<std::vector<uint8_t>> buildTokenizer(const TokenizerModel &model);

} // namespace sluice
#endif
