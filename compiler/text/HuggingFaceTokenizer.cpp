//===- HuggingFaceTokenizer.cpp - tokenizer and chat template of a Hugging Face folder ------===//

#include "compiler/text/HuggingFaceTokenizer.h"
#include "compiler/import/Json.h"
#include "compiler/import/TextFile.h"
#include "compiler/text/SentencePieceModel.h"
#include "compiler/text/TokenizerJson.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace sluice;
using llvm::json::Array;
using llvm::json::Object;
using llvm::json::Value;

static std::string pathOf(llvm::StringRef folder, llvm::StringRef name) {
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, name);
  return path.str().str();
}

static llvm::Error errorIn(const std::string &path, llvm::Error error) {
  return llvm::createStringError(path + ": " + shown(llvm::toString(std::move(error))));
}

// None if there is no such file.
static llvm::Expected<std::optional<std::string>> readText(const std::string &path) {
  if (!llvm::sys::fs::exists(path))
    return std::nullopt;
  llvm::Expected<std::string> text = readTextFile(path);
  if (!text)
    return errorIn(path, text.takeError());
  return std::move(*text);
}

// Empty if there is no such file.
static llvm::Expected<Object> readObject(const std::string &path) {
  llvm::Expected<std::optional<std::string>> text = readText(path);
  if (!text)
    return text.takeError();
  if (!*text)
    return Object();
  if (llvm::Error error = expectModestJson(**text, /*mostObjects=*/1 << 16))
    return errorIn(path, std::move(error));
  llvm::Expected<Value> value = llvm::json::parse(**text);
  if (!value) { // "[LINE:COLUMN, byte=N]: ..." after N bytes, mostly
    const std::string said = llvm::toString(value.takeError());
    size_t read = 0;
    llvm::StringRef(said).split("byte=").second.consumeInteger(10, read);
    return errorIn(path, noJson(**text, read));
  }
  if (Object *object = value->getAsObject())
    return std::move(*object);
  return llvm::createStringError(path + ": expected a JSON object");
}

// "<s>" or {"content": "<s>", ...}
static std::optional<llvm::StringRef> tokenText(const Object &config, llvm::StringRef key) {
  if (std::optional<llvm::StringRef> text = config.getString(key))
    return text;
  const Object *token = config.getObject(key);
  return token ? token->getString("content") : std::nullopt;
}

namespace {

// What the files beside the tokenizer say about its special tokens.
class SpecialTokens {
public:
  SpecialTokens(llvm::StringRef folder, TokenizerModel &model) : folder(folder), model(model) {}

  llvm::Error apply() {
    Object config, map, generation, architecture;
    for (auto [name, object] :
         {std::pair("tokenizer_config.json", &config), std::pair("special_tokens_map.json", &map),
          std::pair("generation_config.json", &generation), std::pair("config.json", &architecture)}) {
      llvm::Expected<Object> read = readObject(pathOf(folder, name));
      if (!read)
        return read.takeError();
      *object = std::move(*read);
    }
    addDecoderTokens(config);
    for (auto [key, id] : {std::pair("bos_token", &model.bos), std::pair("eos_token", &model.eos)}) {
      std::optional<llvm::StringRef> text = tokenText(config, key);
      if (!text && !config.get(key))
        text = tokenText(map, key);
      if (text)
        *id = model.find(*text);
    }
    for (const Object *object : {&generation, &architecture}) {
      if (model.bos == noToken && !config.get("bos_token"))
        if (std::optional<int64_t> id = object->getInteger("bos_token_id"))
          model.bos = known(*id);
      addEnds(*object);
    }
    if (std::optional<bool> adds = config.getBoolean("add_bos_token"))
      surround(model.prefix, model.bos, *adds);
    if (std::optional<bool> adds = config.getBoolean("add_eos_token"))
      surround(model.suffix, model.eos, *adds);
    if (model.eos != noToken)
      model.ends.push_back(model.eos);
    addKnownEnds(model);
    return llvm::Error::success();
  }

private:
  uint32_t known(int64_t id) const { return id >= 0 && uint64_t(id) < model.tokens.size() ? uint32_t(id) : noToken; }

  void addEnds(const Object &object) {
    const Value *eos = object.get("eos_token_id");
    Array one;
    const Array *list = eos ? eos->getAsArray() : nullptr;
    if (eos && !list) {
      one.push_back(*eos);
      list = &one;
    }
    for (const Value &each : list ? *list : one)
      if (std::optional<int64_t> id = each.getAsInteger(); id && known(*id) != noToken) {
        model.ends.push_back(known(*id));
        if (model.eos == noToken)
          model.eos = known(*id);
      }
  }

  // BOS or EOS around a text, as the flag says, whatever the post-processor does.
  static void surround(std::vector<uint32_t> &ids, uint32_t id, bool adds) {
    if (id == noToken)
      return;
    llvm::erase(ids, id);
    if (adds)
      ids.insert(ids.begin(), id);
  }

  // Tokens that only the configuration lists, as beside a tokenizer.model.
  void addDecoderTokens(const Object &config) {
    const Object *tokens = config.getObject("added_tokens_decoder");
    if (!tokens)
      return;
    auto idOf = [](llvm::StringRef key) -> std::optional<uint32_t> {
      uint32_t id;
      return key.getAsInteger(10, id) || id >= mostTokens ? std::nullopt : std::optional(id);
    };
    uint32_t count = uint32_t(model.tokens.size());
    for (const auto &[key, value] : *tokens)
      count = std::max(count, idOf(key).value_or(0) + 1);
    model.resize(count);
    llvm::DenseSet<uint32_t> listed;
    for (const TokenizerModel::Added &each : model.added)
      listed.insert(each.id);
    for (const auto &[key, value] : *tokens) {
      const Object *token = value.getAsObject();
      const std::optional<uint32_t> id = idOf(key);
      if (!token || !id)
        continue;
      llvm::StringRef content = token->getString("content").value_or("");
      bool special = token->getBoolean("special").value_or(false);
      if (content.empty() || !listed.insert(*id).second)
        continue;
      model.tokens[*id] = content.str();
      if (model.kinds[*id] != UnknownToken)
        model.kinds[*id] = special ? ControlToken : UserDefinedToken;
      model.added.push_back({*id, content.str(), special, token->getBoolean("single_word").value_or(false),
                             token->getBoolean("lstrip").value_or(false), token->getBoolean("rstrip").value_or(false)});
    }
  }

  llvm::StringRef folder;
  TokenizerModel &model;
};

} // namespace

llvm::Expected<TokenizerModel> sluice::readHuggingFaceTokenizer(llvm::StringRef folder) {
  std::string jsonPath = pathOf(folder, "tokenizer.json"), modelPath = pathOf(folder, "tokenizer.model");
  llvm::Expected<TokenizerModel> model = TokenizerModel();
  if (llvm::sys::fs::exists(jsonPath)) {
    llvm::Expected<Object> file = readObject(jsonPath);
    if (!file)
      return file.takeError();
    model = readTokenizerJson(*file);
    if (!model)
      return errorIn(jsonPath, model.takeError());
  } else if (llvm::sys::fs::exists(modelPath)) {
    model = readSentencePieceModel(modelPath);
    if (!model)
      return model.takeError();
  } else {
    return llvm::createStringError(folder + ": expected tokenizer.json or tokenizer.model; save the tokenizer with "
                                            "transformers' save_pretrained to get one");
  }
  if (llvm::Error error = SpecialTokens(folder, *model).apply())
    return std::move(error);
  return model;
}

llvm::Expected<std::optional<std::string>> sluice::readHuggingFaceTemplate(llvm::StringRef folder) {
  llvm::Expected<std::optional<std::string>> file = readText(pathOf(folder, "chat_template.jinja"));
  if (!file || *file)
    return file;
  for (const char *name : {"chat_template.json", "tokenizer_config.json"}) {
    llvm::Expected<Object> config = readObject(pathOf(folder, name));
    if (!config)
      return config.takeError();
    if (std::optional<llvm::StringRef> text = config->getString("chat_template"))
      return text->str();
    // Several with names: the default one.
    if (const Array *list = config->getArray("chat_template"))
      for (const Value &each : *list)
        if (const Object *named = each.getAsObject(); named && named->getString("name") == llvm::StringRef("default"))
          if (std::optional<llvm::StringRef> text = named->getString("template"))
            return text->str();
  }
  return std::nullopt;
}
