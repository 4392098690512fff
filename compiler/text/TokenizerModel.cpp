//===- TokenizerModel.cpp - what the readers of tokenizers share ----------------------------===//

#include "compiler/text/TokenizerModel.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/ConvertUTF.h"
#include <cmath>
#include <map>

using namespace sluice;

uint32_t TokenizerModel::add(llvm::StringRef text, TokenKind kind, bool isInModel) {
  tokens.push_back(text.str());
  kinds.push_back(kind);
  inModel.push_back(isInModel);
  return uint32_t(tokens.size() - 1);
}

uint32_t TokenizerModel::find(llvm::StringRef text) const {
  auto found = llvm::find(tokens, text);
  return found == tokens.end() ? noToken : uint32_t(found - tokens.begin());
}

void TokenizerModel::resize(uint32_t count) {
  const uint32_t before = uint32_t(tokens.size());
  for (Merge &merge : merges)
    for (uint32_t *symbol : {&merge.left, &merge.right})
      *symbol += *symbol >= before ? count - before : 0; // modulo 2^32
  tokens.resize(count);
  kinds.resize(count, NormalToken);
  inModel.resize(count);
  if (algorithm == TokenizerAlgorithm::Unigram)
    scores.resize(count);
}

llvm::Error TokenizerModel::fit(uint32_t rows) {
  const uint32_t count = uint32_t(tokens.size());
  if (count <= rows)
    return llvm::Error::success();
  // Those of images, say, beside a model that reads none.
  for (uint32_t id = count; id-- > rows;)
    if (inModel[id] || llvm::is_contained(prefix, id) || llvm::is_contained(suffix, id) || id == bos || id == eos ||
        id == unknown)
      return llvm::createStringError("the tokenizer has token " + llvm::Twine(id) + ", and the embedding " +
                                     llvm::Twine(rows) + " rows; expected ids below that");
  resize(rows);
  llvm::erase_if(added, [&](const Added &each) { return each.id >= rows; });
  llvm::erase_if(ends, [&](uint32_t id) { return id >= rows; });
  return llvm::Error::success();
}

llvm::Error sluice::expectModestVocabulary(const std::vector<llvm::StringRef> &texts) {
  if (texts.size() > mostTokens)
    return llvm::createStringError("expected at most " + llvm::Twine(mostTokens) + " tokens, got " +
                                   llvm::Twine(texts.size()));
  uint64_t bytes = 0;
  for (auto [id, text] : llvm::enumerate(texts)) {
    bytes += text.size();
    if (text.size() > longestToken)
      return llvm::createStringError("token " + llvm::Twine(id) + ": expected at most " + llvm::Twine(longestToken) +
                                     " bytes, got " + llvm::Twine(text.size()));
  }
  if (bytes > mostTokenBytes)
    return llvm::createStringError("expected tokens of at most " + llvm::Twine(mostTokenBytes) + " bytes in all, got " +
                                   llvm::Twine(bytes));
  return llvm::Error::success();
}

llvm::Error sluice::expectFinite(llvm::ArrayRef<double> scores) {
  for (auto [id, score] : llvm::enumerate(scores))
    if (!std::isfinite(score))
      return llvm::createStringError("expected finite scores, got another for token " + llvm::Twine(id));
  return llvm::Error::success();
}

//===-- Bytes -----------------------------------------------------------------------------===//

static bool isPrintable(uint32_t byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

uint32_t sluice::standInOf(uint8_t byte) {
  if (isPrintable(byte))
    return byte;
  uint32_t next = 256;
  for (uint32_t other = 0; other < byte; ++other)
    next += !isPrintable(other);
  return next;
}

std::string sluice::bytesOfStandIns(llvm::StringRef text) {
  static const auto byteOf = [] {
    llvm::DenseMap<uint32_t, uint8_t> map;
    for (uint32_t byte = 0; byte < 256; ++byte)
      map[standInOf(uint8_t(byte))] = uint8_t(byte);
    return map;
  }();
  std::string bytes;
  const auto *at = reinterpret_cast<const llvm::UTF8 *>(text.begin()),
             *end = reinterpret_cast<const llvm::UTF8 *>(text.end());
  while (at != end) {
    const auto *start = at;
    llvm::UTF32 character;
    if (llvm::convertUTF8Sequence(&at, end, &character, llvm::strictConversion) == llvm::conversionOK) {
      if (auto found = byteOf.find(character); found != byteOf.end()) {
        bytes.push_back(char(found->second));
        continue;
      }
    } else {
      at = start + 1;
    }
    bytes.append(reinterpret_cast<const char *>(start), reinterpret_cast<const char *>(at));
  }
  return bytes;
}

std::optional<uint8_t> sluice::byteOfToken(llvm::StringRef text) {
  uint8_t byte;
  if (text.size() != 6 || !text.consume_front("<0x") || !text.consume_back(">") || text.getAsInteger(16, byte))
    return std::nullopt;
  return byte;
}

//===-- SentencePiece ---------------------------------------------------------------------===//

// Where the characters of a text begin, and its end. Bytes that are no UTF-8 stand alone.
static std::vector<size_t> characterStarts(llvm::StringRef text) {
  std::vector<size_t> starts;
  for (size_t at = 0; at < text.size();) {
    starts.push_back(at);
    size_t size = llvm::getNumBytesForUTF8(llvm::UTF8(text[at]));
    at += std::min(std::max<size_t>(size, 1), text.size() - at);
  }
  starts.push_back(text.size());
  return starts;
}

void sluice::deriveMerges(TokenizerModel &model, llvm::ArrayRef<double> scores) {
  llvm::StringMap<uint32_t> symbols;
  for (auto [id, text] : llvm::enumerate(model.tokens))
    if (model.inModel[id])
      symbols.try_emplace(text, uint32_t(id));
  std::map<double, uint32_t, std::greater<>> ranks;
  for (auto [id, text] : llvm::enumerate(model.tokens))
    if (model.inModel[id])
      ranks[scores[id]] = 0;
  uint32_t next = 0;
  for (auto &[score, rank] : ranks)
    rank = next++;

  auto symbolOf = [&](llvm::StringRef text, bool isCharacter) {
    auto found = symbols.find(text);
    if (found != symbols.end())
      return found->second;
    if (!isCharacter)
      return noToken;
    uint32_t symbol = uint32_t(model.tokens.size() + model.characters.size());
    model.characters.push_back(text.str());
    symbols[text] = symbol;
    return symbol;
  };
  for (auto [id, token] : llvm::enumerate(model.tokens)) {
    if (!model.inModel[id] || symbols[token] != id)
      continue;
    std::vector<size_t> starts = characterStarts(token);
    llvm::StringRef text = token;
    for (size_t i = 1; i + 1 < starts.size(); ++i) {
      uint32_t left = symbolOf(text.take_front(starts[i]), i == 1),
               right = symbolOf(text.drop_front(starts[i]), i + 2 == starts.size());
      if (left != noToken && right != noToken)
        model.merges.push_back({left, right, uint32_t(id), ranks[scores[id]]});
    }
  }
}

void sluice::addSentencePieceSteps(TokenizerModel &model, SentencePieceRules rules) {
  model.steps.push_back({StepKind::SplitAdded});
  model.characterMap = std::move(rules.characterMap);
  if (!model.characterMap.empty())
    model.steps.push_back({StepKind::MapCharacters});
  if (rules.collapseSpaces)
    model.steps.push_back({StepKind::CollapseSpaces});
  if (rules.addPrefix)
    model.steps.push_back({.kind = StepKind::Prepend, .text = " "});
  model.steps.push_back({.kind = StepKind::Replace, .pattern = " ", .text = "▁"});
  for (TokenizerModel::Added &each : model.added)
    for (size_t at = 0; each.normalized && (at = each.text.find(' ', at)) != std::string::npos;)
      each.text.replace(at, 1, "▁");
  if (llvm::any_of(model.added, [](const TokenizerModel::Added &each) { return each.normalized; }))
    model.steps.push_back({.kind = StepKind::SplitAdded, .normalizedTokens = true});
  model.spaceMark = model.fuseUnknown = model.singlePrecision = true;
  model.dropsFirstSpace = rules.addPrefix;
}

//===-- Ends ------------------------------------------------------------------------------===//

void sluice::addKnownEnds(TokenizerModel &model) {
  static constexpr llvm::StringLiteral texts[] = {"<|im_end|>",
                                                  "<|eot_id|>",
                                                  "<|eom_id|>",
                                                  "<|endoftext|>",
                                                  "<|end_of_text|>",
                                                  "<|end|>",
                                                  "<end_of_turn>",
                                                  "<|eot|>",
                                                  "</s>",
                                                  "<eos>",
                                                  "<EOT>",
                                                  "<|EOT|>",
                                                  "<|return|>",
                                                  "<|END_OF_TURN_TOKEN|>",
                                                  "<|end_of_turn|>",
                                                  "<|endofturn|>",
                                                  "<|user_end|>",
                                                  "[EOS]",
                                                  "[EOT]",
                                                  "<|eot_token|>",
                                                  "<|endofmessage|>",
                                                  "<end_of_utterance>",
                                                  "<|end_of_role_turn|>",
                                                  "<｜end▁of▁sentence｜>",
                                                  "<|END_OF_TEXT_TOKEN|>"};
  for (auto [id, text] : llvm::enumerate(model.tokens))
    if (model.kinds[id] == ControlToken && llvm::is_contained(texts, llvm::StringRef(text)))
      model.ends.push_back(uint32_t(id));
  llvm::sort(model.ends);
  model.ends.erase(llvm::unique(model.ends), model.ends.end());
}
