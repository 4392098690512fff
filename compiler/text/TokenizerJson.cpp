//===- TokenizerJson.cpp - the file tokenizer.json ------------------------------------------===//

#include "compiler/text/TokenizerJson.h"
#include "compiler/text/PatternCompiler.h"
#include "compiler/text/PreTokenizers.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Base64.h"
#include <cmath>
#include <map>
#include <unicode/normalizer2.h>

using namespace sluice;
using llvm::json::Array;
using llvm::json::Object;
using llvm::json::Value;

namespace {

struct JsonError {
  std::string message;
};
[[noreturn]] void fail(const llvm::Twine &message) { throw JsonError{message.str()}; }

llvm::StringRef text(const Object &object, llvm::StringRef key, llvm::StringRef fallback = "") {
  return object.getString(key).value_or(fallback);
}
bool flag(const Object &object, llvm::StringRef key, bool fallback = false) {
  return object.getBoolean(key).value_or(fallback);
}
const Object &object(const Object &parent, llvm::StringRef key) {
  const Object *found = parent.getObject(key);
  if (!found)
    fail("expected an object '" + key + "'");
  return *found;
}
llvm::ArrayRef<Value> elements(const Array *list) {
  return list ? llvm::ArrayRef<Value>(list->data(), list->size()) : llvm::ArrayRef<Value>();
}
uint32_t tokenId(const Value *value, llvm::StringRef of) {
  std::optional<int64_t> id = value ? value->getAsInteger() : std::nullopt;
  if (!id || *id < 0 || *id >= mostTokens)
    fail("expected the id of " + of);
  return uint32_t(*id);
}

class Reader {
public:
  explicit Reader(const Object &file) : file(file) {}

  TokenizerModel run() {
    const Object &modelPart = object(file, "model");
    readVocabulary(modelPart);
    model.steps.push_back({StepKind::SplitAdded});
    if (const Object *normalizer = file.getObject("normalizer"))
      readNormalizer(*normalizer);
    const size_t normalizers = model.steps.size();
    readAdded(normalizers);
    if (const Object *preTokenizer = file.getObject("pre_tokenizer"))
      readPreTokenizer(*preTokenizer);
    if (llvm::Error error = expectModestVocabulary({model.tokens.begin(), model.tokens.end()}))
      fail(llvm::toString(std::move(error)));
    if (model.byteAlphabet)
      for (auto [id, token] : llvm::enumerate(model.tokens))
        if (model.inModel[id] && model.kinds[id] == NormalToken)
          token = bytesOfStandIns(token);
    readAlgorithm(modelPart);
    if (const Object *processor = file.getObject("post_processor"))
      readPostProcessor(*processor);
    if (const Object *decoder = file.getObject("decoder"))
      readDecoder(*decoder);
    return std::move(model);
  }

private:
  //===-- Vocabulary --------------------------------------------------------------------------===//
  void place(uint32_t id, llvm::StringRef token, TokenKind kind, bool inModel) {
    while (model.tokens.size() <= id)
      model.add("", NormalToken, false);
    model.tokens[id] = token.str();
    model.kinds[id] = kind;
    model.inModel[id] = inModel;
  }

  void readVocabulary(const Object &part) {
    type = text(part, "type");
    if (type.empty()) // files of early versions
      type = part.getArray("vocab") ? "Unigram" : part.getArray("merges") ? "BPE" : "";
    if (type == "BPE") {
      for (const auto &[token, id] : object(part, "vocab")) {
        ids[token] = tokenId(&id, token);
        place(ids[token], token, NormalToken, true);
      }
    } else if (type == "Unigram") {
      model.algorithm = TokenizerAlgorithm::Unigram;
      const Array *pieces = part.getArray("vocab");
      for (const Value &each : elements(pieces)) {
        const Array *pair = each.getAsArray();
        if (!pair || pair->size() != 2 || !(*pair)[0].getAsString() || !(*pair)[1].getAsNumber())
          fail("expected pairs of piece and score in 'vocab'");
        if (!std::isfinite(*(*pair)[1].getAsNumber()))
          fail("expected finite scores in 'vocab'");
        auto [found, isNew] = ids.try_emplace(*(*pair)[0].getAsString(), uint32_t(model.tokens.size()));
        if (!isNew) { // the last of equal ones counts
          model.inModel[found->second] = false;
          found->second = uint32_t(model.tokens.size());
        }
        model.add(*(*pair)[0].getAsString(), NormalToken, true);
        model.scores.push_back(*(*pair)[1].getAsNumber());
      }
    } else {
      fail("model '" + type + "' is not supported; expected BPE or Unigram");
    }
    if (model.tokens.empty())
      fail("the vocabulary is empty");
    if (flag(part, "byte_fallback"))
      for (auto [id, token] : llvm::enumerate(model.tokens))
        if (byteOfToken(token))
          model.kinds[id] = ByteToken;
  }

  void readAlgorithm(const Object &part) {
    if (type == "Unigram") {
      model.fuseUnknown = true;
      if (part.get("unk_id") && part.get("unk_id")->kind() != Value::Null) {
        model.unknown = tokenId(part.get("unk_id"), "the unknown token");
        if (model.unknown >= model.tokens.size())
          fail("'unk_id' is not in the vocabulary");
        model.kinds[model.unknown] = UnknownToken;
      }
      model.scores.resize(model.tokens.size());
      return;
    }
    for (llvm::StringRef key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!text(part, key).empty())
        fail("'" + key + "' is not supported");
    if (part.getNumber("dropout").value_or(0) != 0)
      fail("'dropout' is not supported");
    model.wholeWords = flag(part, "ignore_merges");
    model.fuseUnknown = flag(part, "fuse_unk");
    if (llvm::StringRef unknown = text(part, "unk_token"); !unknown.empty()) {
      if (!ids.contains(unknown))
        fail("the unknown token '" + unknown + "' is not in the vocabulary");
      model.unknown = ids[unknown];
      if (model.kinds[model.unknown] == NormalToken)
        model.kinds[model.unknown] = UnknownToken;
    }
    const Array *merges = part.getArray("merges");
    if (!merges)
      fail("expected a list 'merges'");
    for (auto [rank, each] : llvm::enumerate(*merges)) {
      llvm::StringRef left, right;
      if (std::optional<llvm::StringRef> line = each.getAsString())
        std::tie(left, right) = line->split(' ');
      else if (const Array *pair = each.getAsArray(); pair && pair->size() == 2) {
        left = (*pair)[0].getAsString().value_or("");
        right = (*pair)[1].getAsString().value_or("");
      }
      auto l = ids.find(left), r = ids.find(right), result = ids.find((left + right).str());
      if (l == ids.end() || r == ids.end() || result == ids.end())
        fail("merge " + llvm::Twine(rank) + " joins tokens that are not in the vocabulary");
      model.merges.push_back({l->second, r->second, result->second, uint32_t(rank)});
    }
  }

  //===-- Added tokens ------------------------------------------------------------------------===//
  // Tokens that are sought in normalised text are normalised themselves.
  std::string normalizedText(std::string token, size_t normalizers) const {
    for (size_t i = 1; i < normalizers; ++i) {
      const TokenizerModel::Step &step = model.steps[i];
      llvm::StringRef view = token;
      if (step.kind == StepKind::Prepend) {
        token = token.empty() ? token : step.text + token;
      } else if (step.kind == StepKind::Strip) {
        token = (step.flags & StripRight ? step.flags & StripLeft ? view.trim() : view.rtrim() : view.ltrim()).str();
      } else if (step.kind == StepKind::Normalize) {
        UErrorCode status = U_ZERO_ERROR;
        bool compatible = step.form == NormalForm::NFKC || step.form == NormalForm::NFKD;
        const icu::Normalizer2 *form = icu::Normalizer2::getInstance(
            nullptr, compatible ? "nfkc" : "nfc",
            step.form == NormalForm::NFC || step.form == NormalForm::NFKC ? UNORM2_COMPOSE : UNORM2_DECOMPOSE, status);
        if (U_FAILURE(status))
          fail("ICU has no normalisation data");
        std::string out;
        form->normalize(icu::UnicodeString::fromUTF8(token), status).toUTF8String(out);
        token = out;
      } else if (step.kind == StepKind::Replace && replaced.contains(i)) {
        const std::string &from = replaced.at(i);
        for (size_t at = 0; token.size() <= longestToken && (at = token.find(from, at)) != std::string::npos;
             at += step.text.size())
          token.replace(at, from.size(), step.text);
      } else {
        fail("the added token '" + token + "' is sought in text that was normalised in a way that is not supported");
      }
      if (token.size() > longestToken)
        fail("an added token is longer than " + llvm::Twine(longestToken) + " bytes when it is normalised");
    }
    return token;
  }

  void readAdded(size_t normalizers) {
    const Array *list = file.getArray("added_tokens");
    bool anyNormalized = false;
    for (const Value &value : elements(list)) {
      const Object *each = value.getAsObject();
      if (!each)
        fail("expected objects in 'added_tokens'");
      llvm::StringRef content = text(*each, "content");
      if (content.size() > longestToken)
        fail("an added token has " + llvm::Twine(content.size()) + " bytes; expected at most " +
             llvm::Twine(longestToken));
      uint32_t id = tokenId(each->get("id"), "an added token");
      bool special = flag(*each, "special");
      bool inModel = id < model.inModel.size() && model.inModel[id] && model.tokens[id] == content;
      place(id, content, special ? ControlToken : UserDefinedToken, inModel);
      if (content.empty())
        continue;
      TokenizerModel::Added added{id,
                                  content.str(),
                                  special,
                                  flag(*each, "single_word"),
                                  flag(*each, "lstrip"),
                                  flag(*each, "rstrip"),
                                  flag(*each, "normalized", !special)};
      if (added.normalized)
        added.text = normalizedText(std::move(added.text), normalizers);
      anyNormalized |= added.normalized;
      model.added.push_back(std::move(added));
    }
    if (anyNormalized)
      model.steps.push_back({.kind = StepKind::SplitAdded, .normalizedTokens = true});
  }

  //===-- Steps -------------------------------------------------------------------------------===//
  // {"Regex": ...} or {"String": ...}
  static std::string patternOf(const Object &part) {
    const Object &pattern = object(part, "pattern");
    if (std::optional<llvm::StringRef> literal = pattern.getString("String"))
      return literalPattern(*literal);
    if (std::optional<llvm::StringRef> regex = pattern.getString("Regex"))
      return regex->str();
    fail("expected a pattern that is a String or a Regex");
  }

  void readNormalizer(const Object &part) {
    llvm::StringRef kind = text(part, "type");
    if (kind == "Sequence") {
      const Array *list = part.getArray("normalizers");
      for (const Value &each : elements(list))
        if (const Object *inner = each.getAsObject())
          readNormalizer(*inner);
    } else if (kind == "NFC" || kind == "NFD" || kind == "NFKC" || kind == "NFKD") {
      NormalForm form = kind == "NFC"    ? NormalForm::NFC
                        : kind == "NFD"  ? NormalForm::NFD
                        : kind == "NFKC" ? NormalForm::NFKC
                                         : NormalForm::NFKD;
      model.steps.push_back({.kind = StepKind::Normalize, .form = form});
    } else if (kind == "Prepend") {
      model.steps.push_back({.kind = StepKind::Prepend, .text = text(part, "prepend").str()});
    } else if (kind == "Replace") {
      if (auto literal = object(part, "pattern").getString("String"); literal && literal->empty())
        fail("expected a text that normalizer 'Replace' replaces, got an empty one");
      else if (literal)
        replaced[model.steps.size()] = literal->str();
      model.steps.push_back(
          {.kind = StepKind::Replace, .pattern = patternOf(part), .text = text(part, "content").str()});
    } else if (kind == "Strip") {
      uint8_t flags = (flag(part, "strip_left") ? StripLeft : 0) | (flag(part, "strip_right") ? StripRight : 0);
      if (flags)
        model.steps.push_back({.kind = StepKind::Strip, .flags = flags});
    } else if (kind == "Precompiled") {
      if (!model.characterMap.empty())
        fail("two normalizers 'Precompiled' are not supported");
      std::vector<char> bytes;
      if (llvm::Error error = llvm::decodeBase64(text(part, "precompiled_charsmap"), bytes))
        fail("'precompiled_charsmap': " + llvm::toString(std::move(error)));
      model.characterMap.assign(bytes.begin(), bytes.end());
      if (!model.characterMap.empty())
        model.steps.push_back({StepKind::MapCharacters});
    } else {
      fail("normalizer '" + kind + "' is not supported");
    }
  }

  void split(std::string pattern, SplitBehavior behavior = SplitBehavior::Isolated, bool invert = false) {
    uint8_t flags = (invert ? InvertMatches : 0) | (model.byteAlphabet ? MatchStandIns : 0);
    model.steps.push_back(
        {.kind = StepKind::SplitPattern, .flags = flags, .behavior = behavior, .pattern = std::move(pattern)});
  }

  static SplitBehavior behaviorOf(const Object &part) {
    llvm::StringRef name = text(part, "behavior");
    static constexpr std::pair<llvm::StringLiteral, SplitBehavior> behaviors[] = {
        {"Isolated", SplitBehavior::Isolated},
        {"Removed", SplitBehavior::Removed},
        {"MergedWithPrevious", SplitBehavior::MergedWithPrevious},
        {"MergedWithNext", SplitBehavior::MergedWithNext},
        {"Contiguous", SplitBehavior::Contiguous}};
    for (const auto &[known, behavior] : behaviors)
      if (name == known)
        return behavior;
    fail("behavior '" + name + "' is not supported");
  }

  void readPreTokenizer(const Object &part) {
    llvm::StringRef kind = text(part, "type");
    if (kind == "Sequence") {
      const Array *list = part.getArray("pretokenizers");
      for (const Value &each : elements(list))
        if (const Object *inner = each.getAsObject())
          readPreTokenizer(*inner);
    } else if (kind == "ByteLevel") {
      if (model.byteAlphabet)
        fail("two pre-tokenizers 'ByteLevel' are not supported");
      if (flag(part, "add_prefix_space", true))
        model.steps.push_back({.kind = StepKind::Prepend, .flags = UnlessPresent, .text = " "});
      if (flag(part, "use_regex", true))
        split(byteLevelPattern);
      model.byteAlphabet = true; // what follows sees the bytes' stand-ins
    } else if (kind == "Split") {
      split(patternOf(part), behaviorOf(part), flag(part, "invert"));
    } else if (kind == "Digits") {
      split("\\p{N}", flag(part, "individual_digits") ? SplitBehavior::Isolated : SplitBehavior::Contiguous);
    } else if (kind == "Punctuation") {
      split("[!-/:-@\\[-`{-~\\p{P}]", part.get("behavior") ? behaviorOf(part) : SplitBehavior::Isolated);
    } else if (kind == "Whitespace") {
      split(("[" + rustWord + "]+|[^" + rustWord + "\\s]+").str(), SplitBehavior::Removed, true);
    } else if (kind == "WhitespaceSplit") {
      split("\\s", SplitBehavior::Removed);
    } else if (kind == "CharDelimiterSplit") {
      split(literalPattern(text(part, "delimiter")), SplitBehavior::Removed);
    } else if (kind == "Metaspace") {
      readMetaspace(part);
    } else {
      fail("pre-tokenizer '" + kind + "' is not supported");
    }
  }

  // Files of early versions say add_prefix_space in place of prepend_scheme.
  static llvm::StringRef prependScheme(const Object &part) {
    return text(part, "prepend_scheme", flag(part, "add_prefix_space", true) ? "always" : "never");
  }

  void readMetaspace(const Object &part) {
    std::string mark = text(part, "replacement", "▁").str();
    model.steps.push_back({.kind = StepKind::Replace, .pattern = " ", .text = mark});
    llvm::StringRef scheme = prependScheme(part);
    if (scheme != "never")
      model.steps.push_back({.kind = StepKind::Prepend,
                             .flags = uint8_t(UnlessPresent | (scheme == "first" ? OnlyAtStart : 0)),
                             .text = mark});
    if (flag(part, "split", true))
      split(literalPattern(mark), SplitBehavior::MergedWithNext);
  }

  //===-- Around the ids ----------------------------------------------------------------------===//
  void readPostProcessor(const Object &part) {
    llvm::StringRef kind = text(part, "type");
    if (kind == "Sequence") {
      const Array *list = part.getArray("processors");
      for (const Value &each : elements(list))
        if (const Object *inner = each.getAsObject())
          readPostProcessor(*inner);
    } else if (kind == "TemplateProcessing") {
      readTemplate(part);
    } else if (kind == "RobertaProcessing" || kind == "BertProcessing") {
      for (auto [key, list] : {std::pair("cls", &model.prefix), std::pair("sep", &model.suffix)}) {
        const Array *pair = part.getArray(key);
        if (!pair || pair->size() != 2)
          fail("expected a pair '" + llvm::Twine(key) + "' in the post-processor");
        list->push_back(known(tokenId(&(*pair)[1], key)));
      }
    } else if (kind != "ByteLevel") {
      fail("post-processor '" + kind + "' is not supported");
    }
  }

  uint32_t known(uint32_t id) const {
    if (id >= model.tokens.size())
      fail("the post-processor adds token " + llvm::Twine(id) + ", which is not in the vocabulary");
    return id;
  }

  void readTemplate(const Object &part) {
    const Array *single = part.getArray("single");
    const Object &special = object(part, "special_tokens");
    bool behind = false;
    for (const Value &value : elements(single)) {
      const Object *each = value.getAsObject();
      const Object *token = each ? each->getObject("SpecialToken") : nullptr;
      if (!token) {
        behind = true;
        continue;
      }
      const Array *tokenIds = object(special, text(*token, "id")).getArray("ids");
      for (const Value &id : elements(tokenIds))
        (behind ? model.suffix : model.prefix).push_back(known(tokenId(&id, text(*token, "id"))));
    }
  }

  void readDecoder(const Object &part) {
    llvm::StringRef kind = text(part, "type");
    const Array *list = part.getArray("decoders");
    for (const Value &each : elements(kind == "Sequence" ? list : nullptr))
      if (const Object *inner = each.getAsObject())
        readDecoder(*inner);
    if (kind == "Metaspace") {
      model.spaceMark = true;
      model.dropsFirstSpace = prependScheme(part) != "never";
    } else if (kind == "Replace") {
      model.spaceMark |=
          object(part, "pattern").getString("String") == llvm::StringRef("▁") && text(part, "content") == " ";
    } else if (kind == "Strip") {
      model.dropsFirstSpace |= text(part, "content") == " " && part.getInteger("start").value_or(0) > 0;
    }
  }

  const Object &file;
  llvm::StringRef type;
  llvm::StringMap<uint32_t> ids;          // by text as stored
  std::map<size_t, std::string> replaced; // by step: the literal text
  TokenizerModel model;
};

} // namespace

llvm::Expected<TokenizerModel> sluice::readTokenizerJson(const Object &file) {
  try {
    return Reader(file).run();
  } catch (const JsonError &error) {
    return llvm::createStringError(error.message);
  }
}
