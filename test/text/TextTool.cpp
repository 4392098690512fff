//===- TextTool.cpp - tokenizer and template from both sides, for the Python tests ---------===//
//
//   text-tool encode MODEL.gguf    standard input: a JSON list of lists of bytes; output: a list of {plain, special,
//   same} text-tool render               standard input: a JSON list of {template, variables}; output: a list of {text}
//   or {error}
//
//===-----------------------------------------------------------------------------------------===//

#include "compiler/text/TemplateCompiler.h"
#include "compiler/text/TokenizerTables.h"
#include "runtime/ChatTemplate.h"
#include "runtime/TemplateJson.h"
#include "runtime/Tokenizer.h"
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

using Json = nlohmann::ordered_json;

static int encode(const char *model) {
  llvm::ExitOnError orExit("text-tool: ");
  auto checkpoint = orExit(sluice::Checkpoint::open(model));
  std::vector<uint8_t> section = orExit(sluice::buildTokenizer(*checkpoint));
  sluice::Tokenizer tokenizer(section);
  Json out = Json::array();
  for (const Json &bytes : Json::parse(std::cin)) {
    std::string text;
    for (const Json &byte : bytes)
      text.push_back(char(byte.get<int>()));
    std::vector<int32_t> plain = tokenizer.encode(text, false, false);
    std::string back;
    for (int32_t id : plain)
      back += tokenizer.decode(id, true);
    out.push_back({{"plain", plain}, {"special", tokenizer.encode(text, true, false)}, {"same", back == text}});
  }
  std::cout << out << "\n";
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
  if (command == "render" && argc == 2)
    return render();
  std::cerr << "usage: text-tool encode MODEL.gguf | text-tool render\n";
  return 2;
}
