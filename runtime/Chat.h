//===- Chat.h - a conversation, and holding one in a terminal ------------------------===//
#ifndef SLUICE_RUNTIME_CHAT_H
#define SLUICE_RUNTIME_CHAT_H

#include "runtime/ChatTemplate.h"
#include "runtime/Generator.h"
#include "runtime/Options.h"
#include <string>
#include <vector>

namespace sluice::runtime {

class Conversation {
public:
  Conversation(const Model &model, const Tokenizer &tokenizer, const std::string &systemPrompt);

  bool hasTemplate() const { return !chatTemplate.empty(); }
  const Tokenizer &tokenizer() const { return *words; }
  void add(const std::string &role, const std::string &content) { messages.push_back({role, content}); }
  void removeLast() { messages.pop_back(); }
  void reset() { messages.resize(systemMessages); }
  // The whole conversation with the assistant's answer opened. Throws Error if the template refuses it.
  std::vector<int32_t> tokens() const;

private:
  const Tokenizer *words;
  ChatTemplate chatTemplate;
  std::vector<ChatTemplate::Message> messages;
  size_t systemMessages = 0;
};

// Reads questions from the terminal and answers them until its user leaves.
void runChat(Generator &generator, Conversation &conversation, const Options &options, const Session &session,
             const Model &model, const std::string &workers);

// One line for --verbose.
std::string timing(const Answer &answer, const std::string &workers);

// Says that an answer ended because the context is full, and what helps.
void noteContextFull(const Session &session);

} // namespace sluice::runtime
#endif
