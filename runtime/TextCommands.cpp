//===- TextCommands.cpp - tokenize, detokenize, template -----------------------------===//

#include "runtime/ChatTemplate.h"
#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/Streams.h"
#include "runtime/Tokenizer.h"
#include <nlohmann/json.hpp>

using namespace sluice;
using namespace sluice::runtime;

void sluice::runtime::tokenize(const Executable &executable, const Options &options) {
  executable.confine(options);
  const Tokenizer tokenizer(executable.model.section(SLUICE_SECTION_TOKENIZER));
  std::string lines;
  for (int32_t id : tokenizer.encode(readFile("-"), options.parseSpecial, options.parseSpecial && tokenizer.addsBos()))
    lines += std::to_string(id) + "\n";
  executable.model.checkUnchanged();
  writeOut(lines);
}

void sluice::runtime::detokenize(const Executable &executable, const Options &options) {
  executable.confine(options);
  const Tokenizer tokenizer(executable.model.section(SLUICE_SECTION_TOKENIZER));
  const std::vector<int32_t> ids = parseTokenIds(readFile("-"), "standard input");
  for (int32_t id : ids)
    if (id < 0 || uint32_t(id) >= tokenizer.vocabulary())
      throw Error("standard input: expected token ids from 0 to " + std::to_string(tokenizer.vocabulary() - 1) +
                  ", got " + std::to_string(id));
  executable.model.checkUnchanged();
  writeOut(tokenizer.decode(ids, true));
}

static std::vector<ChatTemplate::Message> parseMessages(const std::string &text, const std::string &file) {
  const std::string expected = file + ": expected a JSON list of {\"role\": text, \"content\": text}";
  std::vector<ChatTemplate::Message> messages;
  try {
    nlohmann::json list = nlohmann::json::parse(text);
    if (!list.is_array())
      throw Error(expected);
    for (const nlohmann::json &message : list)
      messages.push_back({message.at("role").get<std::string>(), message.at("content").get<std::string>()});
  } catch (const nlohmann::json::exception &error) {
    throw Error(expected + ", got an error: " + error.what());
  }
  return messages;
}

void sluice::runtime::renderTemplate(const Executable &executable, const Options &options) {
  const std::string text = readFile(options.file);
  executable.confine(options);
  const Tokenizer tokenizer(executable.model.section(SLUICE_SECTION_TOKENIZER));
  const ChatTemplate chatTemplate(executable.model.section(SLUICE_SECTION_TEMPLATE));
  if (chatTemplate.empty())
    throw Error("the model has no chat template");
  auto textOf = [&](int32_t id) { return id < 0 ? std::string() : tokenizer.decode(id, true); };
  const std::string rendered = chatTemplate.render(parseMessages(text, options.file), options.generationPrompt,
                                                   textOf(tokenizer.bos()), textOf(tokenizer.eos()));
  executable.model.checkUnchanged();
  writeOut(rendered);
}
