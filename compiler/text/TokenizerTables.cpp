//===- TokenizerTables.cpp - a checkpoint's tokenizer as tables -----------------------------===//

#include "compiler/text/TokenizerTables.h"
#include "runtime/TokenizerFormat.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/MathExtras.h"
#include <array>
#include <cstring>

using namespace sluice;

namespace {

//===-- Pre-tokenizers ------------------------------------------------------------------------===//

// The patterns of each `tokenizer.ggml.pre`, as published with the models' tokenizer.json.
constexpr const char *gpt2Words = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
constexpr const char *llama3Words =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr const char *qwen2Words =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr const char *tekkenWords =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr const char *digit = "\\p{N}";

struct PreTokenizer {
  const char *name;
  std::array<const char *, 2> patterns; // null: none
  bool wholeWords;                      // tokenizer.json's ignore_merges
};
constexpr PreTokenizer preTokenizers[] = {
    {"gpt-2", {gpt2Words, nullptr}, false},
    {"smollm", {digit, gpt2Words}, false},
    {"starcoder", {digit, gpt2Words}, false},
    {"refact", {digit, gpt2Words}, false},
    {"command-r", {digit, gpt2Words}, false},
    {"codeshell", {digit, gpt2Words}, false},
    {"minerva-7b", {digit, gpt2Words}, false},
    {"llama-bpe", {llama3Words, nullptr}, true},
    {"llama3", {llama3Words, nullptr}, true},
    {"llama-v3", {llama3Words, nullptr}, true},
    {"falcon3", {llama3Words, nullptr}, true},
    {"dbrx", {llama3Words, nullptr}, false},
    {"smaug-bpe", {llama3Words, nullptr}, false},
    {"qwen2", {qwen2Words, nullptr}, false},
    {"deepseek-r1-qwen", {qwen2Words, nullptr}, false},
    {"stablelm2", {qwen2Words, nullptr}, false},
    {"tekken", {tekkenWords, nullptr}, true},
};

// PCRE2's \s has U+180E, which is no white space since Unicode 6.3; the engines these patterns were published for know
// that.
std::string asPcre2(llvm::StringRef pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    char next = pattern[i] == '\\' ? pattern[i + 1] : 0;
    if (next == 's' || next == 'S')
      out += next == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
    else if (next)
      out += {'\\', next};
    else
      out += pattern[i];
    i += next != 0;
  }
  return out;
}

// Control tokens with these texts end a generation even where no key says so.
constexpr const char *endTexts[] = {"<|im_end|>", "<|eot_id|>",    "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>",
                                    "<|end|>",    "<end_of_turn>", "<|eot|>",    "</s>"};

// GPT-2 writes the 256 bytes as printable characters: this maps those back.
llvm::DenseMap<uint32_t, uint8_t> byteOfCharacter() {
  llvm::DenseMap<uint32_t, uint8_t> map;
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
    map[printable ? byte : next++] = uint8_t(byte);
  }
  return map;
}

//===-- Tables --------------------------------------------------------------------------------===//

class TableBuilder {
public:
  explicit TableBuilder(const Checkpoint &checkpoint) : checkpoint(checkpoint) {}

  llvm::Expected<std::vector<uint8_t>> build() {
    if (llvm::Error e = readModel())
      return e;
    if (llvm::Error e = readTokens())
      return e;
    if (llvm::Error e = readMerges())
      return e;
    if (llvm::Error e = readSpecials())
      return e;
    return write();
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
    std::optional<llvm::StringRef> model, pre;
    if (llvm::Error e = read("model", model))
      return e;
    if (!model)
      return checkpoint.error("metadata key 'tokenizer.ggml.model' is missing; the file has no tokenizer");
    if (*model != "gpt2")
      return checkpoint.error("tokenizer '" + *model + "' is not supported yet; expected gpt2 (byte-level BPE)");
    if (llvm::Error e = read("pre", pre))
      return e;
    if (!pre || *pre == "default")
      return checkpoint.error(
          "metadata key 'tokenizer.ggml.pre' does not say how the model splits words, as in files of "
          "converters before May 2024; a guess would change the answers: convert the model anew");
    std::string known;
    for (const PreTokenizer &row : preTokenizers) {
      if (*pre == row.name)
        preTokenizer = &row;
      known += (known.empty() ? "" : ", ") + std::string(row.name);
    }
    if (!preTokenizer)
      return checkpoint.error("metadata key 'tokenizer.ggml.pre': unknown pre-tokenizer '" + *pre +
                              "'; known: " + known);
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
    if (types && types->size() != texts->size())
      return checkpoint.error("metadata key 'tokenizer.ggml.token_type': expected " + llvm::Twine(texts->size()) +
                              " entries, as many as tokens, got " + llvm::Twine(types->size()));
    if (const TensorInfo *embedding = checkpoint.findTensor("token_embd.weight"))
      if (uint64_t(embedding->rows()) < texts->size())
        return checkpoint.error("metadata key 'tokenizer.ggml.tokens': expected at most " +
                                llvm::Twine(embedding->rows()) +
                                " tokens, as many as token_embd.weight has rows, got " + llvm::Twine(texts->size()));
    auto bytesOf = byteOfCharacter();
    byteTokens.fill(noToken);
    for (auto [id, text] : llvm::enumerate(*texts)) {
      int64_t type = types ? (*types)[id] : 1; // ggml: normal 1, unknown 2, control 3, user defined 4, unused 5, byte 6
      kinds.push_back(type == 3 ? ControlToken : type == 4 ? UserDefinedToken : type == 5 ? UnusedToken : NormalToken);
      std::string bytes = kinds.back() == NormalToken ? decoded(text, bytesOf) : text.str();
      if (bytes.size() == 1 && kinds.back() == NormalToken)
        byteTokens[uint8_t(bytes[0])] = uint32_t(id);
      ids.try_emplace(text, uint32_t(id)); // the first of equal ones
      tokens.push_back(std::move(bytes));
    }
    return llvm::Error::success();
  }

  // The bytes that a token's characters stand for; a character that stands for none is kept as it is.
  static std::string decoded(llvm::StringRef text, const llvm::DenseMap<uint32_t, uint8_t> &bytesOf) {
    std::string bytes;
    const auto *at = reinterpret_cast<const llvm::UTF8 *>(text.begin()),
               *end = reinterpret_cast<const llvm::UTF8 *>(text.end());
    while (at != end) {
      const auto *start = at;
      llvm::UTF32 character;
      if (llvm::convertUTF8Sequence(&at, end, &character, llvm::strictConversion) == llvm::conversionOK) {
        if (auto found = bytesOf.find(character); found != bytesOf.end()) {
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

  llvm::Error readMerges() {
    std::optional<std::vector<llvm::StringRef>> lines;
    if (llvm::Error e = read("merges", lines))
      return e;
    if (!lines)
      return checkpoint.error("metadata key 'tokenizer.ggml.merges' is missing; a byte-level BPE tokenizer needs it");
    merges.assign(size_t(llvm::NextPowerOf2(lines->size() * 2 + 1)), MergeSlot{noToken, 0, 0, 0});
    for (auto [rank, line] : llvm::enumerate(*lines)) {
      auto [left, right] = line.split(' ');
      auto l = ids.find(left), r = ids.find(right);
      std::string joined = (left + right).str();
      auto result = ids.find(joined);
      if (l == ids.end() || r == ids.end() || result == ids.end())
        return checkpoint.error("metadata key 'tokenizer.ggml.merges': entry " + llvm::Twine(rank) +
                                " joins tokens that are not in the vocabulary");
      uint32_t slot = mergeHash(l->second, r->second) & uint32_t(merges.size() - 1);
      while (merges[slot].left != noToken && !(merges[slot].left == l->second && merges[slot].right == r->second))
        slot = (slot + 1) & uint32_t(merges.size() - 1);
      if (merges[slot].left == noToken)
        merges[slot] = {l->second, r->second, uint32_t(rank), result->second};
    }
    return llvm::Error::success();
  }

  // A token id of a key; noToken if the key is absent.
  llvm::Error readId(const char *name, uint32_t &id) {
    std::optional<int64_t> value;
    if (llvm::Error e = read(name, value))
      return e;
    id = noToken;
    if (!value)
      return llvm::Error::success();
    if (*value < 0 || *value >= int64_t(tokens.size()))
      return checkpoint.error("metadata key 'tokenizer.ggml." + llvm::Twine(name) +
                              "': expected an id below the vocabulary's " + llvm::Twine(tokens.size()) + ", got " +
                              llvm::Twine(*value));
    id = uint32_t(*value);
    return llvm::Error::success();
  }

  llvm::Error readSpecials() {
    uint32_t eot, eom;
    if (llvm::Error e = readId("bos_token_id", bos))
      return e;
    if (llvm::Error e = readId("eos_token_id", eos))
      return e;
    if (llvm::Error e = readId("eot_token_id", eot))
      return e;
    if (llvm::Error e = readId("eom_token_id", eom))
      return e;
    std::optional<bool> bosFlag, eosFlag;
    if (llvm::Error e = read("add_bos_token", bosFlag))
      return e;
    if (llvm::Error e = read("add_eos_token", eosFlag))
      return e;
    // Llama 3's tokenizer adds BOS where no key says otherwise.
    addBos = bosFlag.value_or(preTokenizer->wholeWords) && bos != noToken;
    addEos = eosFlag.value_or(false) && eos != noToken;
    for (uint32_t id = 0; id < tokens.size(); ++id) {
      if ((kinds[id] == ControlToken || kinds[id] == UserDefinedToken) && !tokens[id].empty())
        specials.push_back(id);
      bool isEnd = id == eos || id == eot || id == eom;
      if (kinds[id] == ControlToken)
        isEnd |= llvm::is_contained(endTexts, llvm::StringRef(tokens[id]));
      if (isEnd)
        ends.push_back(id);
    }
    llvm::stable_sort(specials, [&](uint32_t a, uint32_t b) { return tokens[a].size() > tokens[b].size(); });
    return llvm::Error::success();
  }

  //===-- Writing -----------------------------------------------------------------------------===//

  template <typename T> uint64_t append(llvm::ArrayRef<T> values) {
    out.resize(llvm::alignTo(out.size(), 8));
    uint64_t at = out.size();
    out.resize(at + values.size() * sizeof(T));
    if (!values.empty())
      std::memcpy(out.data() + at, values.data(), values.size() * sizeof(T));
    return at;
  }

  std::vector<uint8_t> write() {
    std::vector<uint32_t> offsets{0}, words(size_t(llvm::NextPowerOf2(tokens.size() * 2 + 1)), noToken);
    std::string pool;
    for (auto [id, token] : llvm::enumerate(tokens)) {
      pool += token;
      offsets.push_back(uint32_t(pool.size()));
      if (kinds[id] != NormalToken)
        continue;
      uint32_t slot = wordHash(token.data(), token.size()) & uint32_t(words.size() - 1);
      while (words[slot] != noToken)
        slot = (slot + 1) & uint32_t(words.size() - 1);
      words[slot] = uint32_t(id);
    }
    std::vector<PatternEntry> patterns;
    for (const char *pattern : preTokenizer->patterns)
      if (pattern) {
        std::string source = asPcre2(pattern);
        patterns.push_back({uint32_t(pool.size()), uint32_t(source.size())});
        pool += source;
      }

    TokenizerSection header{};
    header.magic = tokenizerMagic;
    header.vocabulary = uint32_t(tokens.size());
    header.bos = bos;
    header.eos = eos;
    header.addBos = addBos;
    header.addEos = addEos;
    header.wholeWords = preTokenizer->wholeWords;
    header.mergeSlots = uint32_t(merges.size());
    header.wordSlots = uint32_t(words.size());
    header.patternCount = uint32_t(patterns.size());
    header.specialCount = uint32_t(specials.size());
    header.endCount = uint32_t(ends.size());
    header.poolSize = uint32_t(pool.size());
    out.resize(sizeof header);
    header.tokenOffsetsAt = append<uint32_t>(offsets);
    header.kindsAt = append<uint8_t>(kinds);
    header.byteTokensAt = append<uint32_t>(byteTokens);
    header.mergesAt = append<MergeSlot>(merges);
    header.wordsAt = append<uint32_t>(words);
    header.patternsAt = append<PatternEntry>(patterns);
    header.specialsAt = append<uint32_t>(specials);
    header.endsAt = append<uint32_t>(ends);
    header.poolAt = append<char>(llvm::ArrayRef<char>(pool.data(), pool.size()));
    std::memcpy(out.data(), &header, sizeof header);
    return std::move(out);
  }

  const Checkpoint &checkpoint;
  const PreTokenizer *preTokenizer = nullptr;
  std::vector<std::string> tokens; // bytes
  std::vector<uint8_t> kinds;
  llvm::StringMap<uint32_t> ids; // by text as stored
  std::array<uint32_t, 256> byteTokens;
  std::vector<MergeSlot> merges;
  std::vector<uint32_t> specials, ends;
  uint32_t bos = noToken, eos = noToken;
  bool addBos = false, addEos = false;
  std::vector<uint8_t> out;
};

} // namespace

llvm::Expected<std::vector<uint8_t>> sluice::buildTokenizer(const Checkpoint &checkpoint) {
  return TableBuilder(checkpoint).build();
}
