//===- TextCommands.cpp - tokenize, detokenize, template -----------------------------===//

#include "runtime/ChatTemplate.h"
#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/Streams.h"
#include "runtime/Tokenizer.h"
#include <algorithm>
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
  const std::string expected =
      (file == "-" ? "standard input" : file) + ": expected a JSON list of {\"role\": text, \"content\": text}, got ";
  nlohmann::json list;
  try {
    list = nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error &error) {
    const size_t byte = std::clamp<size_t>(error.byte, 1, text.size() + 1); // counted from 1
    const auto line = 1 + std::count(text.begin(), text.begin() + ptrdiff_t(byte - 1), '\n');
    throw Error(expected + (text.empty() ? "nothing"
                                         : "what is no JSON at byte " + std::to_string(byte) + ", in line " +
                                               std::to_string(line)));
  } catch (const nlohmann::json::exception &) {
    throw Error(expected + "a number beyond all bounds");
  }
  if (!list.is_array())
    throw Error(expected + "JSON of another kind");
  std::vector<ChatTemplate::Message> messages;
  for (const nlohmann::json &message : list) {
    auto textOf = [&](const char *key) {
      if (!message.is_object() || !message.contains(key) || !message[key].is_string())
        throw Error(expected + "element " + std::to_string(messages.size() + 1) + " without a text '" + key + "'");
      return message[key].get<std::string>();
    };
    messages.push_back({textOf("role"), textOf("content")});
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
