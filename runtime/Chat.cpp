//===- Chat.cpp - a conversation, and holding one in a terminal ----------------------===//

#include "runtime/Chat.h"
#include "runtime/Error.h"
#include "runtime/LineEditor.h"
#include "runtime/Streams.h"
#include "runtime/Utf8.h"
#include <algorithm>
#include <csignal>

using namespace sluice::runtime;

Conversation::Conversation(const Model &model, const Tokenizer &tokenizer, const std::string &systemPrompt)
    : words(&tokenizer), chatTemplate(model.section(SLUICE_SECTION_TEMPLATE)) {
  if (!systemPrompt.empty()) {
    add("system", systemPrompt);
    systemMessages = 1;
  }
}

bool Conversation::forgetOldest() {
  if (messages.size() < systemMessages + 3)
    return false;
  messages.erase(messages.begin() + ptrdiff_t(systemMessages), messages.begin() + ptrdiff_t(systemMessages + 2));
  return true;
}

// Two questions that have nothing in common show where the first one begins.
uint64_t Conversation::fixedTokens() const {
  std::vector<ChatTemplate::Message> some(messages.begin(), messages.begin() + ptrdiff_t(systemMessages));
  some.push_back({"user", "0"});
  const std::vector<int32_t> one = tokensOf(some);
  some.back().content = "A";
  const std::vector<int32_t> other = tokensOf(some);
  return uint64_t(std::mismatch(one.begin(), one.end(), other.begin(), other.end()).first - one.begin());
}

std::vector<int32_t> Conversation::tokens() const { return tokensOf(messages); }

std::vector<int32_t> Conversation::tokensOf(const std::vector<ChatTemplate::Message> &messages) const {
  auto textOf = [&](int32_t id) { return id < 0 ? std::string() : words->decode(id, true); };
  const std::string text = chatTemplate.render(messages, true, textOf(words->bos()), textOf(words->eos()));
  return words->encode(text, true, words->addsBos());
}

static volatile std::sig_atomic_t interrupted;

static const char *const help = "/help   this list\n"
                                "/reset  forget the conversation\n"
                                "/quit   leave (also Ctrl-D)\n"
                                "Ctrl-C stops an answer. Text pasted with line breaks is one message.\n";

// Whether `line` was a command; `leave` if it was /quit.
static bool runCommand(const std::string &line, Conversation &conversation, bool &leave) {
  if (line == "/quit" || line == "/exit")
    leave = true;
  else if (line == "/reset") {
    conversation.reset();
    writeOut("The conversation starts anew.\n");
  } else if (line == "/help") {
    writeOut(help);
  } else if (line.starts_with('/') && line.find(' ') == std::string::npos) {
    writeOut("There is no command " + line + "; /help lists them.\n");
  } else {
    return false;
  }
  return true;
}

static void answerLine(const std::string &line, Generator &generator, Conversation &conversation,
                       const Options &options, const Session &session, const std::string &workers) {
  std::vector<int32_t> ids;
  if (conversation.hasTemplate()) {
    conversation.add("user", line);
    try {
      ids = conversation.tokens();
    } catch (const std::exception &) {
      conversation.removeLast();
      throw;
    }
  } else {
    ids = conversation.tokenizer().encode(line, true, conversation.tokenizer().addsBos());
  }
  // Half of the context is free again, if anything can be forgotten.
  if (options.contextShift && conversation.hasTemplate() && ids.size() > session.context()) {
    size_t count = 0;
    for (; ids.size() > session.context() / 2 && conversation.forgetOldest(); ++count)
      ids = conversation.tokens();
    note("the context is full: the oldest " + std::to_string(count) + " questions and answers are forgotten");
  }
  if (ids.size() > session.context()) {
    if (conversation.hasTemplate())
      conversation.removeLast();
    writeOut("That makes " + std::to_string(ids.size()) + " tokens, more than the context of " +
             std::to_string(session.context()) + " holds; /reset forgets what was said before.\n");
    return;
  }
  std::string said;
  Answer answer = generator.generate(
      ids, options.tokens,
      [&](std::string_view text) {
        writeOut(text);
        said += text;
      },
      &interrupted);
  if (!said.ends_with('\n'))
    writeOut("\n");
  if (conversation.hasTemplate())
    conversation.add("assistant", said);
  if (answer.ending == Ending::ContextFull)
    noteContextFull(session);
  if (options.verbose)
    note(timing(answer, workers));
}

void sluice::runtime::runChat(Generator &generator, Conversation &conversation, const Options &options,
                              const Session &session, const Model &model, const std::string &workers) {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &action, nullptr); // without SA_RESTART: a read of the terminal ends

  const sluice_model &description = model.description();
  writeOut(std::string(model.string(description.name)) + ", compiled by Sluice " +
           model.string(description.compiler_version) + ". /help lists commands, Ctrl-D leaves.\n");
  if (!conversation.hasTemplate()) {
    if (!options.systemPrompt.empty())
      throw UsageError("the model has no chat template: a system prompt has no place; leave -sys out");
    writeOut("This model has no chat template: it continues each line for itself.\n");
  }
  LineEditor editor;
  std::string line;
  for (bool leave = false; !leave;) {
    interrupted = 0; // while a line is edited no signal comes; from its end on one stops the answer
    switch (editor.read("> ", line)) {
    case LineEditor::Result::EndOfInput:
      return;
    case LineEditor::Result::Interrupted:
      writeOut("(Ctrl-D or /quit leaves)\n");
      continue;
    case LineEditor::Result::Line:
      break;
    }
    if (line.find_first_not_of(" \t\n") == std::string::npos || runCommand(line, conversation, leave))
      continue;
    try {
      answerLine(line, generator, conversation, options, session, workers);
    } catch (const std::runtime_error &error) {
      note("error: " + printable(error.what()));
    }
  }
}
