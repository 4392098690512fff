//===- SentencePieceModel.cpp - SentencePiece's own file ------------------------------------===//
//
// A protocol buffer (sentencepiece_model.proto): its wire format is a list of fields, each with a number and a type.
//
//===----------------------------------------------------------------------------------------===//

#include "compiler/text/SentencePieceModel.h"
#include "compiler/import/TextFile.h"
#include "llvm/Support/Endian.h"

using namespace sluice;

namespace {

struct Field {
  uint32_t number;
  uint64_t value;        // of integers
  llvm::StringRef bytes; // of texts, messages and floats
  float real() const {
    return bytes.size() == 4 ? llvm::bit_cast<float>(llvm::support::endian::read32le(bytes.data())) : 0.f;
  }
};

class Message {
public:
  explicit Message(llvm::StringRef bytes) : rest(bytes) {}
  bool isDamaged() const { return damaged; }

  // The next field; false at the end.
  bool next(Field &field) {
    uint64_t tag, size;
    field = {};
    if (rest.empty() || !integer(tag))
      return false;
    field.number = uint32_t(tag >> 3);
    switch (tag & 7) {
    case 0:
      return integer(field.value);
    case 1:
      size = 8;
      break;
    case 2:
      if (!integer(size))
        return false;
      break;
    case 5:
      size = 4;
      break;
    default:
      return fail();
    }
    if (size > rest.size())
      return fail();
    field.bytes = rest.take_front(size);
    rest = rest.drop_front(size);
    return true;
  }

private:
  bool fail() {
    damaged = true;
    return false;
  }
  bool integer(uint64_t &value) {
    value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest.empty())
        return fail();
      uint8_t byte = uint8_t(rest[0]);
      rest = rest.drop_front();
      value |= uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80)
        return true;
    }
    return fail();
  }
  llvm::StringRef rest;
  bool damaged = false;
};

class Reader {
public:
  explicit Reader(llvm::StringRef path) : path(path) {}

  llvm::Expected<TokenizerModel> run(llvm::StringRef bytes) {
    Message file(bytes);
    Field field;
    bool damaged = false;
    while (model.tokens.size() <= mostTokens && file.next(field)) {
      if (field.number == 1)
        damaged |= !readPiece(field.bytes);
      else if (field.number == 2)
        damaged |= !readTrainer(field.bytes);
      else if (field.number == 3)
        damaged |= !readNormalizer(field.bytes);
    }
    if (damaged || file.isDamaged() || model.tokens.empty())
      return error("is damaged or no SentencePiece model");
    if (llvm::Error wrong = expectModestVocabulary({model.tokens.begin(), model.tokens.end()}))
      return error(llvm::toString(std::move(wrong)));
    if (llvm::Error wrong = expectFinite(scores))
      return error(llvm::toString(std::move(wrong)));
    if (modelType != 1 && modelType != 2)
      return error("is of type " + llvm::Twine(modelType) + "; expected 1 (unigram) or 2 (BPE)");
    if (asSuffix || !escapes)
      return error(llvm::Twine("uses ") + (asSuffix ? "treat_whitespace_as_suffix" : "escape_whitespaces=false") +
                   ", which is not supported");
    model.bos = bosId < model.tokens.size() ? uint32_t(bosId) : noToken;
    model.eos = eosId < model.tokens.size() ? uint32_t(eosId) : noToken;
    for (auto [id, kind] : llvm::enumerate(model.kinds)) {
      if (kind == UnknownToken)
        model.unknown = uint32_t(id);
      if (kind == ControlToken || kind == UserDefinedToken)
        model.added.push_back({.id = uint32_t(id),
                               .text = model.tokens[id],
                               .special = kind == ControlToken,
                               .normalized = kind == UserDefinedToken});
    }
    addSentencePieceSteps(model, std::move(rules));
    if (model.bos != noToken)
      model.prefix.push_back(model.bos);
    if (model.eos != noToken)
      model.ends.push_back(model.eos);
    addKnownEnds(model);
    if (modelType == 1) {
      model.algorithm = TokenizerAlgorithm::Unigram;
      model.scores = std::move(scores);
    } else {
      deriveMerges(model, scores);
    }
    return std::move(model);
  }

private:
  llvm::Error error(const llvm::Twine &what) const { return llvm::createStringError(path + ": " + what); }

  bool readPiece(llvm::StringRef bytes) {
    Message message(bytes);
    Field field;
    llvm::StringRef text;
    float score = 0;
    uint64_t type = 1;
    while (message.next(field)) {
      if (field.number == 1)
        text = field.bytes;
      else if (field.number == 2)
        score = field.real();
      else if (field.number == 3)
        type = field.value;
    }
    static constexpr TokenKind kinds[] = {NormalToken,      NormalToken, UnknownToken, ControlToken,
                                          UserDefinedToken, UnusedToken, ByteToken};
    TokenKind kind = kinds[type < std::size(kinds) ? type : 0];
    model.add(text, kind, kind == NormalToken || kind == UnusedToken);
    scores.push_back(score);
    return !message.isDamaged();
  }

  bool readTrainer(llvm::StringRef bytes) {
    Message message(bytes);
    Field field;
    while (message.next(field)) {
      if (field.number == 3)
        modelType = field.value;
      else if (field.number == 24)
        asSuffix = field.value;
      else if (field.number == 41)
        bosId = field.value;
      else if (field.number == 42)
        eosId = field.value;
    }
    return !message.isDamaged();
  }

  bool readNormalizer(llvm::StringRef bytes) {
    rules.collapseSpaces = true; // the format's default
    Message message(bytes);
    Field field;
    while (message.next(field)) {
      if (field.number == 2)
        rules.characterMap = field.bytes.str();
      else if (field.number == 3)
        rules.addPrefix = field.value;
      else if (field.number == 4)
        rules.collapseSpaces = field.value;
      else if (field.number == 5)
        escapes = field.value;
    }
    return !message.isDamaged();
  }

  llvm::StringRef path;
  TokenizerModel model;
  std::vector<double> scores;
  SentencePieceRules rules;
  uint64_t modelType = 1, bosId = 1, eosId = 2;
  bool asSuffix = false, escapes = true;
};

} // namespace

llvm::Expected<TokenizerModel> sluice::readSentencePieceModel(llvm::StringRef path) {
  llvm::Expected<std::string> bytes = readTextFile(path.str());
  if (!bytes)
    return llvm::createStringError(path + ": " + llvm::toString(bytes.takeError()));
  return Reader(path).run(*bytes);
}
