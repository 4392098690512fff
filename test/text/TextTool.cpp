//===- TextTool.cpp - tokenizer and template from both sides, for the Python tests ---------===//
//
//   text-tool encode PATH   a GGUF file, a Hugging Face folder or a SentencePiece model. Standard input: a JSON list of
//                           texts in hexadecimal; output: {facts, texts: a list of {plain, special, full, same}}
//   text-tool time PATH     as encode; output: a list of seconds of the processor's time
//   text-tool render        standard input: a JSON list of {template, variables}; output: a list of {text} or {error}
//
//===-----------------------------------------------------------------------------------------===//

#include "compiler/text/GgufTokenizer.h"
#include "compiler/text/HuggingFaceTokenizer.h"
#include "compiler/text/SentencePieceModel.h"
#include "compiler/text/TemplateCompiler.h"
#include "runtime/ChatTemplate.h"
#include "runtime/TemplateJson.h"
#include "runtime/Tokenizer.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include <ctime>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

using Json = nlohmann::ordered_json;

static llvm::Expected<sluice::TokenizerModel> readTokenizer(llvm::StringRef path) {
  if (llvm::sys::fs::is_directory(path))
    return sluice::readHuggingFaceTokenizer(path);
  if (path.ends_with(".model"))
    return sluice::readSentencePieceModel(path);
  llvm::Expected<std::unique_ptr<sluice::Checkpoint>> checkpoint = sluice::Checkpoint::open(path);
  if (!checkpoint)
    return checkpoint.takeError();
  return sluice::readGgufTokenizer(**checkpoint);
}

static std::vector<std::string> textsOfInput() {
  std::vector<std::string> texts;
  for (const Json &hexadecimal : Json::parse(std::cin))
    texts.push_back(llvm::fromHex(hexadecimal.get<std::string>()));
  return texts;
}

static int measure(const char *path) {
  llvm::ExitOnError orExit("text-tool: ");
  std::vector<uint8_t> section = orExit(sluice::buildTokenizer(orExit(readTokenizer(path))));
  sluice::Tokenizer tokenizer(section);
  Json seconds = Json::array();
  for (const std::string &text : textsOfInput()) {
    const std::clock_t start = std::clock();
    tokenizer.encode(text, true, false);
    seconds.push_back(double(std::clock() - start) / CLOCKS_PER_SEC);
  }
  std::cout << seconds << "\n";
  return 0;
}

static int encode(const char *path) {
  llvm::ExitOnError orExit("text-tool: ");
  sluice::TokenizerModel model = orExit(readTokenizer(path));
  std::vector<uint8_t> section = orExit(sluice::buildTokenizer(model));
  sluice::Tokenizer tokenizer(section);
  Json texts = Json::array();
  for (const std::string &text : textsOfInput()) {
    std::vector<int32_t> plain = tokenizer.encode(text, false, false);
    std::vector<int32_t> full = tokenizer.encode(text, true, true);
    for (uint32_t id : tokenizer.suffix())
      full.push_back(int32_t(id));
    texts.push_back({{"plain", plain},
                     {"special", tokenizer.encode(text, true, false)},
                     {"full", full},
                     {"same", tokenizer.decode(plain, true) == text}});
  }
  Json facts = {{"bos", tokenizer.bos()}, {"eos", tokenizer.eos()}, {"ends", model.ends}, {"bytes", section.size()}};
  std::cout << Json{{"facts", facts}, {"texts", texts}} << "\n";
  return 0;
}

static int render() {
  Json out = Json::array();
  for (const Json &job : Json::parse(std::cin)) {
    llvm::Expected<std::vector<uint8_t>> section = sluice::compileTemplate(job["template"].get<std::string>());
    if (!section) {
      out.push_back({{"error", llvm::toString(section.takeError())}});
      continue;
    }
    try {
      out.push_back(
          {{"text", sluice::ChatTemplate(*section).render(sluice::templateValueOfJson(job["variables"].dump()))}});
    } catch (const std::runtime_error &error) {
      out.push_back({{"error", error.what()}});
    }
  }
  std::cout << out << "\n";
  return 0;
}

int main(int argc, char **argv) {
  std::string command = argc > 1 ? argv[1] : "";
  if (command == "encode" && argc == 3)
    return encode(argv[2]);
  if (command == "time" && argc == 3)
    return measure(argv[2]);
  if (command == "render" && argc == 2)
    return render();
  std::cerr << "usage: text-tool encode PATH | text-tool time PATH | text-tool render\n";
  return 2;
}
