//===- GenerateCommand.cpp - one answer, or a chat -----------------------------------===//

#include "runtime/Chat.h"
#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/Generator.h"
#include "runtime/Streams.h"
#include <sys/random.h>
#include <unistd.h>

using namespace sluice;
using namespace sluice::runtime;

static uint64_t freshSeed() {
  uint64_t seed = 0;
  while (getrandom(&seed, sizeof seed, 0) != sizeof seed)
    ;
  return seed;
}

static std::vector<bool> endTokens(const Tokenizer &tokenizer) {
  std::vector<bool> ends(tokenizer.vocabulary());
  for (size_t id = 0; id < ends.size(); ++id)
    ends[id] = tokenizer.isEndOfGeneration(int32_t(id));
  return ends;
}

// A file's or a pipe's text ends with the newline that `echo` adds; it is not part of what is to be continued.
static std::string readPrompt(const std::string &path, bool terminal) {
  if (path == "-" && terminal)
    note("reading the text to continue; Ctrl-D on an empty line ends it");
  std::string text = readFile(path);
  if (text.ends_with('\n'))
    text.pop_back();
  if (text.ends_with('\r'))
    text.pop_back();
  return text;
}

std::string sluice::runtime::timing(const Answer &answer, const std::string &workers) {
  char line[256];
  auto rate = [](uint64_t tokens, double seconds) { return seconds > 0 ? double(tokens) / seconds : 0; };
  snprintf(line, sizeof line,
           "prompt: %llu tokens in %.3f s (%.1f tok/s); answer: %llu tokens in %.3f s (%.1f tok/s); %s",
           (unsigned long long)answer.promptTokens, answer.promptSeconds,
           rate(answer.promptTokens, answer.promptSeconds), (unsigned long long)answer.generatedTokens,
           answer.generateSeconds, rate(answer.generatedTokens, answer.generateSeconds), workers.c_str());
  return line;
}

void sluice::runtime::noteContextFull(const Session &session) {
  note("the context of " + std::to_string(session.context()) + " tokens is full; " + session.remedy() +
       ", or let it forget with --context-shift");
}

static void answerOnce(Generator &generator, const Conversation &conversation, const Options &options,
                       const std::string &prompt, const Session &session, const std::string &workers) {
  std::vector<int32_t> ids;
  if (options.raw || !conversation.hasTemplate()) {
    if (!options.raw && !options.systemPrompt.empty())
      throw UsageError("the model has no chat template: a system prompt has no place; leave -sys out");
    if (!options.raw)
      note("the model has no chat template: it continues the text as it is; --raw asks for that");
    ids = conversation.tokenizer().encode(prompt, true, conversation.tokenizer().addsBos());
  } else {
    Conversation once = conversation;
    once.add("user", prompt);
    ids = once.tokens();
  }
  bool newline = true;
  Answer answer = generator.generate(ids, options.tokens, [&](std::string_view text) {
    writeOut(text);
    newline = text.ends_with('\n');
  });
  if (!newline)
    writeOut("\n");
  if (answer.ending == Ending::ContextFull)
    noteContextFull(session);
  if (options.verbose)
    note(timing(answer, workers));
}

void sluice::runtime::generate(const Executable &executable, const Options &options) {
  const Model &model = executable.model;
  const uint64_t context = executable.context(options, model.description().context_length);
  const bool terminal = isatty(STDIN_FILENO);
  const bool chat = terminal && !options.prompt && options.promptFile.empty() && !options.raw;
  std::string prompt;
  if (options.prompt)
    prompt = *options.prompt;
  else if (!chat)
    prompt = readPrompt(options.promptFile.empty() ? "-" : options.promptFile, terminal);
  if (!chat && !options.raw && prompt.empty())
    throw UsageError("expected a question, got an empty text; give one with -p, -f or on standard input");

  executable.confine(options, {.threads = true, .terminal = true});
  const Tokenizer tokenizer(model.section(SLUICE_SECTION_TOKENIZER));
  const std::unique_ptr<Engine> engine = executable.engine(options, context, options.context == 0);
  Session session(model, *engine);
  SamplingOptions sampling = options.sampling;
  sampling.seed = options.seed < 0 ? freshSeed() : uint64_t(options.seed);
  Sampler sampler(
      sampling, [&](std::span<const float> values, float scale) { return engine->softmax(values, scale); },
      options.ignoreEnd ? endTokens(tokenizer) : std::vector<bool>());
  Generator generator(session, tokenizer, sampler);
  Conversation conversation(model, tokenizer, options.systemPrompt);
  if (options.contextShift)
    generator.shiftContext(options.raw || !conversation.hasTemplate() ? tokenizer.addsBos() && tokenizer.bos() >= 0
                                                                      : conversation.fixedTokens());
  if (chat)
    runChat(generator, conversation, options, session, model, engine->workers());
  else
    answerOnce(generator, conversation, options, prompt, session, engine->workers());
}
