//===- GgufTokenizer.cpp - the tokenizer in a GGUF file's metadata --------------------------===//

#include "compiler/text/GgufTokenizer.h"
#include "compiler/text/PreTokenizers.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"

using namespace sluice;

namespace {

class Reader {
public:
  explicit Reader(const Checkpoint &checkpoint) : checkpoint(checkpoint) {}

  llvm::Expected<TokenizerModel> run() {
    for (llvm::Error (Reader::*step)() :
         {&Reader::readModel, &Reader::readTokens, &Reader::readAdded, &Reader::readAlgorithm, &Reader::readSpecials})
      if (llvm::Error error = (this->*step)())
        return std::move(error);
    return std::move(model);
  }

private:
  template <typename T> llvm::Error read(const char *name, std::optional<T> &value) {
    auto found = checkpoint.find<T>(std::string("tokenizer.ggml.") + name);
    if (!found)
      return found.takeError();
    value = std::move(*found);
    return llvm::Error::success();
  }

  llvm::Error readModel() {
    std::optional<llvm::StringRef> name, pre;
    if (llvm::Error e = read("model", name))
      return e;
    if (!name)
      return checkpoint.error("metadata key 'tokenizer.ggml.model' is missing; the file has no tokenizer");
    sentencePiece = *name == "llama" || *name == "t5";
    if (*name == "t5")
      model.algorithm = TokenizerAlgorithm::Unigram;
    if (sentencePiece)
      return llvm::Error::success();
    if (*name != "gpt2")
      return checkpoint.error("tokenizer '" + *name +
                              "' is not supported; expected gpt2 (byte-level BPE), llama (SentencePiece BPE) or t5 "
                              "(SentencePiece unigram)");
    if (llvm::Error e = read("pre", pre))
      return e;
    if (!pre || *pre == "default")
      return checkpoint.error(
          "metadata key 'tokenizer.ggml.pre' does not say how the model splits words, as in files of "
          "converters before May 2024; a guess would change the answers: convert the model anew");
    preTokenizer = findPreTokenizer(*pre);
    if (!preTokenizer)
      return checkpoint.error("metadata key 'tokenizer.ggml.pre': unknown pre-tokenizer '" + *pre +
                              "'; known: " + preTokenizerNames());
    return llvm::Error::success();
  }

  llvm::Error readTokens() {
    std::optional<std::vector<llvm::StringRef>> texts;
    std::optional<std::vector<int64_t>> types;
    if (llvm::Error e = read("tokens", texts))
      return e;
    if (llvm::Error e = read("token_type", types))
      return e;
    if (!texts || texts->empty())
      return checkpoint.error("metadata key 'tokenizer.ggml.tokens' is missing or empty; the file has no tokenizer");
    if (llvm::Error e = expectModestVocabulary(*texts))
      return checkpoint.error("metadata key 'tokenizer.ggml.tokens': " + llvm::toString(std::move(e)));
    if (types && types->size() != texts->size())
      return checkpoint.error("metadata key 'tokenizer.ggml.token_type': expected " + llvm::Twine(texts->size()) +
                              " entries, as many as tokens, got " + llvm::Twine(types->size()));
    if (const TensorInfo *embedding = checkpoint.findTensor("token_embd.weight"))
      if (uint64_t(embedding->rows()) < texts->size())
        return checkpoint.error("metadata key 'tokenizer.ggml.tokens': expected at most " +
                                llvm::Twine(embedding->rows()) +
                                " tokens, as many as token_embd.weight has rows, got " + llvm::Twine(texts->size()));
    for (auto [id, text] : llvm::enumerate(*texts)) {
      ids.try_emplace(text, uint32_t(id)); // the first of equal ones
      // ggml: normal 1, unknown 2, control 3, user defined 4, unused 5, byte 6
      int64_t type = types ? (*types)[id] : sentencePiece && byteOfToken(text) ? 6 : 1;
      TokenKind kind = type == 3                    ? ControlToken
                       : type == 4                  ? UserDefinedToken
                       : type == 5                  ? UnusedToken
                       : type == 2 && sentencePiece ? UnknownToken
                       : type == 6 && sentencePiece ? ByteToken
                                                    : NormalToken;
      bool inModel = kind == NormalToken || (sentencePiece && kind == UnusedToken);
      model.add(inModel && !sentencePiece ? bytesOfStandIns(text) : text.str(), kind, inModel);
    }
    return llvm::Error::success();
  }

  // A text's own space comes before what follows an added token, as in llama.cpp and in most of the models'
  // tokenizer.json. Where texts get none, user defined tokens are sought as SentencePiece does: in the text that the
  // model sees.
  llvm::Error readAdded() {
    std::optional<bool> addPrefix;
    if (llvm::Error e = read("add_space_prefix", addPrefix))
      return e;
    prefixed = addPrefix.value_or(true);
    for (auto [id, text] : llvm::enumerate(model.tokens)) {
      bool special = model.kinds[id] == ControlToken;
      if ((!special && model.kinds[id] != UserDefinedToken) || text.empty())
        continue;
      TokenizerModel::Added added{uint32_t(id), text, special};
      added.rightStrip = stripsBehindSpecials(text);
      added.normalized = sentencePiece && !prefixed && !special;
      model.added.push_back(std::move(added));
    }
    return llvm::Error::success();
  }

  llvm::Error readAlgorithm() {
    if (sentencePiece)
      return readSentencePiece();
    model.byteAlphabet = true;
    model.wholeWords = preTokenizer->wholeWords;
    model.steps.push_back({StepKind::SplitAdded});
    if (preTokenizer->composes)
      model.steps.push_back({StepKind::Normalize});
    for (const char *pattern : preTokenizer->patterns)
      model.steps.push_back({.kind = StepKind::SplitPattern, .pattern = pattern});
    return readMerges();
  }

  llvm::Error readMerges() {
    std::optional<std::vector<llvm::StringRef>> lines;
    if (llvm::Error e = read("merges", lines))
      return e;
    if (!lines)
      return checkpoint.error("metadata key 'tokenizer.ggml.merges' is missing; a byte-level BPE tokenizer needs it");
    for (auto [rank, line] : llvm::enumerate(*lines)) {
      auto [left, right] = line.split(' ');
      auto l = ids.find(left), r = ids.find(right), result = ids.find((left + right).str());
      if (l == ids.end() || r == ids.end() || result == ids.end())
        return checkpoint.error("metadata key 'tokenizer.ggml.merges': entry " + llvm::Twine(rank) +
                                " joins tokens that are not in the vocabulary");
      model.merges.push_back({l->second, r->second, result->second, uint32_t(rank)});
    }
    return llvm::Error::success();
  }

  llvm::Error readSentencePiece() {
    std::optional<std::vector<double>> scores;
    std::optional<std::vector<int64_t>> characterMap;
    std::optional<bool> collapse;
    if (llvm::Error e = read("scores", scores))
      return e;
    if (llvm::Error e = read("precompiled_charsmap", characterMap))
      return e;
    if (llvm::Error e = read("remove_extra_whitespaces", collapse))
      return e;
    if (!scores)
      return checkpoint.error("metadata key 'tokenizer.ggml.scores' is missing; a SentencePiece tokenizer needs it");
    if (scores->size() != model.tokens.size())
      return checkpoint.error("metadata key 'tokenizer.ggml.scores': expected " + llvm::Twine(model.tokens.size()) +
                              " entries, as many as tokens, got " + llvm::Twine(scores->size()));
    if (llvm::Error e = expectFinite(*scores))
      return checkpoint.error("metadata key 'tokenizer.ggml.scores': " + llvm::toString(std::move(e)));
    SentencePieceRules rules;
    rules.addPrefix = prefixed;
    rules.collapseSpaces = collapse.value_or(false);
    if (characterMap)
      rules.characterMap.assign(characterMap->begin(), characterMap->end());
    addSentencePieceSteps(model, std::move(rules));
    if (model.algorithm == TokenizerAlgorithm::Unigram)
      model.scores = std::move(*scores);
    else
      deriveMerges(model, *scores);
    return llvm::Error::success();
  }

  // A token id of a key; `fallback` if the key is absent and there is such a token.
  llvm::Error readId(const char *name, uint32_t &id, uint32_t fallback = noToken) {
    std::optional<int64_t> value;
    if (llvm::Error e = read(name, value))
      return e;
    id = fallback < model.tokens.size() ? fallback : noToken;
    if (!value)
      return llvm::Error::success();
    if (*value < 0 || *value >= int64_t(model.tokens.size()))
      return checkpoint.error("metadata key 'tokenizer.ggml." + llvm::Twine(name) +
                              "': expected an id below the vocabulary's " + llvm::Twine(model.tokens.size()) +
                              ", got " + llvm::Twine(*value));
    id = uint32_t(*value);
    return llvm::Error::success();
  }

  // What converters leave out: the files of Phi-3 do not say that its special tokens take the white space behind them.
  bool stripsBehindSpecials(llvm::StringRef token) const {
    auto architecture = checkpoint.find<llvm::StringRef>("general.architecture");
    if (!architecture) {
      llvm::consumeError(architecture.takeError());
      return false;
    }
    return sentencePiece && *architecture && **architecture == "phi3" &&
           !llvm::is_contained({"<unk>", "<s>", "<|endoftext|>"}, token);
  }

  llvm::Error readSpecials() {
    // Without keys SentencePiece's own numbers hold for `llama`.
    bool numbered = sentencePiece && model.algorithm == TokenizerAlgorithm::BytePairs;
    uint32_t unknown, other;
    if (llvm::Error e = readId("bos_token_id", model.bos, numbered ? 1 : noToken))
      return e;
    if (llvm::Error e = readId("eos_token_id", model.eos, numbered ? 2 : noToken))
      return e;
    auto firstUnknown = llvm::find(model.kinds, UnknownToken);
    if (llvm::Error e = readId("unknown_token_id", unknown, uint32_t(firstUnknown - model.kinds.begin())))
      return e;
    model.unknown = sentencePiece ? unknown : noToken;
    for (const char *name : {"eot_token_id", "eom_token_id"}) {
      if (llvm::Error e = readId(name, other))
        return e;
      if (other != noToken)
        model.ends.push_back(other);
    }
    std::optional<bool> addBos, addEos;
    if (llvm::Error e = read("add_bos_token", addBos))
      return e;
    if (llvm::Error e = read("add_eos_token", addEos))
      return e;
    if (model.bos != noToken && addBos.value_or(numbered || (preTokenizer && preTokenizer->beginsWithBos)))
      model.prefix.push_back(model.bos);
    if (model.eos != noToken && addEos.value_or(sentencePiece && !numbered))
      model.suffix.push_back(model.eos);
    if (model.eos != noToken)
      model.ends.push_back(model.eos);
    addKnownEnds(model);
    return llvm::Error::success();
  }

  const Checkpoint &checkpoint;
  const PreTokenizer *preTokenizer = nullptr;
  bool sentencePiece = false, prefixed = true;
  llvm::StringMap<uint32_t> ids; // by text as stored
  TokenizerModel model;
};

} // namespace

llvm::Expected<TokenizerModel> sluice::readGgufTokenizer(const Checkpoint &checkpoint) {
  return Reader(checkpoint).run();
}
