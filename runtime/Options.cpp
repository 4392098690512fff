//===- Options.cpp - what a user asks of a compiled model ----------------------------===//

#include "runtime/Options.h"
#include "runtime/EmptyValues.h"
#include "runtime/Streams.h"
#include "runtime/ThreadCount.h"
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <sstream>

using namespace sluice::runtime;
using Command = Options::Command;

static constexpr const char *footer = R"(
Examples:
  NAME                                    chat in a terminal; Ctrl-C stops an answer, Ctrl-D leaves
  NAME -p "What is the capital of France?"
  NAME -p "Tell me a story" -n 200 --temp 0.7 -s 42
  git diff | NAME -sys "Describe this change in one sentence"
  echo "Once upon a time" | NAME --raw -n 32
  NAME bench -p 256 -n 64

`NAME COMMAND --help` says more about a command.)";

// llama.cpp's long options with one dash, and what stands for them here.
static void translateLlamaOptions(std::vector<std::string> &arguments) {
  static constexpr std::pair<const char *, const char *> names[] = {
      {"-sys", "--system-prompt"}, {"-no-cnv", "--raw"}, {"-cnv", "--conversation"}, {"-st", "--single-turn"}};
  for (std::string &argument : arguments)
    for (auto [from, to] : names)
      if (argument == from)
        argument = to;
      else if (argument.starts_with(std::string(from) + "="))
        argument = to + argument.substr(std::string(from).size());
}

// As CLI::Range, but the help does not spell the bounds out, and errors print them as they were written here.
template <typename T> static CLI::Validator range(T least, T most) {
  return CLI::Validator(
      [=](const std::string &text) {
        T value;
        if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most)
          return std::string();
        std::ostringstream message;
        message << "expected a number from " << least << " to " << most << ", got " << text;
        return message.str();
      },
      "");
}

// More than this never helps: workers of a team wait for each other.
static unsigned mostThreads() { return 8 * unsigned(allowedProcessors().size()); }

static void addThreads(CLI::App &app, Options &options) {
  app.add_option("-t,--threads", options.threads, "threads (default: as many as there are cores for this process)")
      ->check(range(1u, mostThreads()))
      ->type_name("N");
}

static void addContext(CLI::App &app, Options &options, const char *help) {
  app.add_option("-c,--ctx-size", options.context, help)->check(range(uint64_t(0), uint64_t(1) << 31))->type_name("N");
}

static void addCacheType(CLI::App &app, Options &options) {
  static const std::vector<std::string> names = {SLUICE_CACHE_NAMES};
  app.add_option_function<std::string>(
         "--cache-type",
         [&options](const std::string &name) {
           options.cacheType = uint32_t(std::find(names.begin(), names.end(), name) - names.begin());
         },
         "numbers of the KV cache: f16, f32 or, half of f16's size, q8_0 (default: f16)")
      ->check(CLI::IsMember(names))
      ->type_name("TYPE");
}

// A file for processors alone does not list such options; main() says what they are for.
static void inDeviceGroup(CLI::Option *option) {
  if (deviceVariants().empty())
    option->group("");
}

static void addDevice(CLI::App &app, Options &options) {
  app.add_option_function<std::string>(
         "--device",
         [&options](const std::string &name) {
           options.onProcessor = name == "cpu";
           options.device = options.onProcessor ? -1 : std::stoi(name);
         },
         "NVIDIA device to run on, by its number in --list-devices, or cpu (default: the first that the file has code "
         "for)")
      ->check([](const std::string &text) {
        const bool number = !text.empty() && text.size() < 5 && text.find_first_not_of("0123456789") == text.npos;
        return number || text == "cpu" ? "" : "expected a device's number or cpu, got " + text;
      })
      ->type_name("N");
  app.add_option_function<std::string>(
         "--launch",
         [&options](const std::string &how) { options.launch = how == "token" ? Launch::Token : Launch::Phases; },
         "on a device: all of a token in one kernel (token) or one for each phase (phases) (default: token, where the "
         "file has it)")
      ->check(CLI::IsMember({"token", "phases"}))
      ->type_name("HOW");
  for (const char *name : {"--device", "--launch"})
    inDeviceGroup(app.get_option(name));
}

static constexpr const char *inputName = "FILE";
static void addInput(CLI::App &app, Options &options, const char *help) {
  app.add_option(inputName, options.file, help)->required()->type_name("");
}

// The model's makers may have said.
static std::string byDefault(double value) {
  std::ostringstream text;
  text << " (default: " << value << ")";
  return text.str();
}

static void addGenerate(CLI::App &app, Options &options) {
  app.add_option("-p,--prompt", options.prompt, "what to answer; without it, standard input, or a chat in a terminal")
      ->type_name("TEXT");
  app.add_option("-f,--file", options.promptFile, "a file with what to answer")
      ->type_name("FILE")
      ->excludes("--prompt");
  CLI::Option *system =
      app.add_option("--system-prompt", options.systemPrompt, "instruction before the conversation (also -sys)")
          ->type_name("TEXT");
  app.add_flag("--raw,--no-conversation", options.raw,
               "continue the text as it stands, without the chat template (also -no-cnv)")
      ->excludes(system);
  // What is done anyway: a chat in a terminal, and one answer to -p, -f or a pipe.
  app.add_flag("--conversation,--single-turn")->group("");
  app.add_option("-n,--predict,--n-predict", options.tokens, "most tokens to generate (default: -1, until the end)")
      ->check(range(int64_t(-2), int64_t(1) << 40)) // llama.cpp's -2: until the context is full
      ->type_name("N");
  addContext(app, options, "most tokens of a conversation (default: what the model was trained for)");
  addCacheType(app, options);
  addThreads(app, options);
  addDevice(app, options);
  inDeviceGroup(app.add_flag("--list-devices", options.listDevices,
                             "list the devices of this machine, and whether the file has code for them"));
  SamplingOptions &s = options.sampling;
  app.add_option("-s,--seed", options.seed, "the same seed gives the same text (default: -1, a new one each time)")
      ->check(range(int64_t(-1), INT64_MAX))
      ->type_name("N");
  app.add_option("--temp", s.temperature,
                 "temperature; 0 always takes the most likely token" + byDefault(s.temperature))
      ->check(range(0.0f, 1000.0f))
      ->type_name("X");
  app.add_option("--top-k", s.topK, "choose among the k most likely tokens; 0: all" + byDefault(s.topK))
      ->check(range(0, INT32_MAX))
      ->type_name("N");
  app.add_option("--top-p", s.topP, "choose among the fewest that have this probability together" + byDefault(s.topP))
      ->check(range(0.0f, 1.0f))
      ->type_name("X");
  app.add_option("--min-p", s.minP,
                 "drop tokens below this share of the likeliest one's probability" + byDefault(s.minP))
      ->check(range(0.0f, 1.0f))
      ->type_name("X");
  app.add_option("--repeat-penalty", s.repeatPenalty,
                 "make the last 64 tokens less likely; 1: no" + byDefault(s.repeatPenalty))
      ->check(range(0.01f, 100.0f))
      ->type_name("X");
  app.add_flag("--context-shift", options.contextShift,
               "when the context is full, forget the older half of what was said and go on");
  app.add_flag("--ignore-eos", options.ignoreEnd, "never end an answer before -n or the context says so");
  app.add_flag("-v,--verbose", options.verbose, "say how long it took on standard error");
}

static void addBench(CLI::App &app, Options &options) {
  app.add_option("-p,--n-prompt", options.benchPrompts, "tokens of a prompt; 0: not measured (default: 256)")
      ->delimiter(',')
      ->check(range(uint64_t(0), uint64_t(1) << 31))
      ->type_name("N,..");
  app.add_option("-n,--n-gen", options.benchTokens, "tokens to generate; 0: not measured (default: 64)")
      ->delimiter(',')
      ->check(range(uint64_t(0), uint64_t(1) << 31))
      ->type_name("N,..");
  app.add_option("-d,--n-depth", options.benchDepths, "tokens in the context before (default: 0)")
      ->delimiter(',')
      ->check(range(uint64_t(0), uint64_t(1) << 31))
      ->type_name("N,..");
  app.add_option("-t,--threads", options.benchThreads, "threads (default: as many as there are cores for this process)")
      ->delimiter(',')
      ->check(range(1u, mostThreads()))
      ->type_name("N,..");
  addCacheType(app, options);
  addDevice(app, options);
  app.add_option("-r,--repetitions", options.repetitions, "runs of each test after one to warm up (default: 5)")
      ->check(range(1u, 100000u))
      ->type_name("N");
  app.add_option("-o,--output", options.format, "md, csv or json (default: md)")
      ->check(CLI::IsMember({"md", "csv", "json"}))
      ->type_name("FORMAT");
  app.add_flag("--profile", options.profile, "then print the time and bandwidth of every phase on standard error");
}

static void addSandbox(CLI::App &app, Options &options) {
  app.add_flag("--no-sandbox", options.noSandbox, "leave the process all the rights that its user has");
}

static std::string replaceAll(std::string text, const std::string &from, const std::string &to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

std::optional<Options> sluice::runtime::parseOptions(std::vector<std::string> arguments, const std::string &program,
                                                     const std::string &version, int &status,
                                                     const SamplingOptions &defaults) {
  Options options;
  options.sampling = defaults;
  CLI::App app("A language model in one file, compiled by Sluice: it chats, answers or completes text.", program);
  app.set_version_flag("--version", version);
  app.get_formatter()->column_width(34);
  app.require_subcommand(0, 1);
  addGenerate(app, options);
  addSandbox(app, options);

  auto command = [&](const char *name, Command which, const char *help) {
    CLI::App *sub = app.add_subcommand(name, help);
    sub->callback([&options, which] { options.command = which; });
    addSandbox(*sub, options);
    return sub;
  };
  CLI::App *tokenize = command("tokenize", Command::Tokenize, "standard input to token ids, one a line");
  tokenize->add_flag_function(
      "--no-special", [&](int64_t) { options.parseSpecial = false; },
      "take the text of special tokens for ordinary text");
  command("detokenize", Command::Detokenize, "token ids on standard input to text");
  CLI::App *render = command("template", Command::Template, "apply the chat template to a list of messages");
  addInput(*render, options, "JSON: [{\"role\": \"user\", \"content\": \"...\"}, ...]; - for standard input");
  render->add_flag_function(
      "--no-generation-prompt", [&](int64_t) { options.generationPrompt = false; },
      "do not open the assistant's answer");
  CLI::App *eval = command("eval", Command::Eval, "logits of given tokens, as a NumPy file");
  eval->add_option("--tokens", options.file, "ids separated by spaces, commas or lines; - for standard input")
      ->required()
      ->type_name("FILE");
  eval->add_option("--logits", options.logits, "float32 [tokens, vocabulary]")->required()->type_name("OUT.npy");
  eval->add_flag("--step", options.step,
                 "one token at a time (the decode program), not in chunks (the prefill program)");
  addThreads(*eval, options);
  addContext(*eval, options, "context (default: what the model was trained for)");
  addCacheType(*eval, options);
  addDevice(*eval, options);
  CLI::App *perplexity =
      command("perplexity", Command::Perplexity, "how well the model predicts a text, as llama.cpp defines it");
  addInput(*perplexity, options, "the text; - for standard input");
  addContext(*perplexity, options, "tokens of a chunk, of which the second half is scored (default: 512)");
  addCacheType(*perplexity, options);
  perplexity->add_option("--chunks", options.chunks, "most chunks to score (default: -1, all)")
      ->check(range(int64_t(-1), INT64_MAX))
      ->type_name("N");
  perplexity->add_flag("--json", options.json, "print the result as JSON");
  addThreads(*perplexity, options);
  addDevice(*perplexity, options);
  addBench(*command("bench", Command::Bench, "tokens a second, and share of the machine's read bandwidth"), options);
  CLI::App *info = command("info", Command::Info, "what this file is: model, target, shapes, sizes, source");
  info->add_flag("--json", options.json, "print it as JSON");
  command("verify", Command::Verify, "check the file against its checksums");
  app.footer(replaceAll(footer, "NAME", program)); // commands that exist by now do not inherit it

  translateLlamaOptions(arguments);
  arguments = withEmptyValues(std::move(arguments));
  std::reverse(arguments.begin(), arguments.end()); // what CLI11 wants
  try {
    app.parse(std::move(arguments));
    return options;
  } catch (const CLI::ParseError &error) {
    std::ostringstream out, err;
    status = app.exit(error, out, err) ? 2 : 0;
    writeOut(out.str());
    if (status) {
      std::string command = program; // whose help has the options
      for (const CLI::App *sub : app.get_subcommands())
        command += " " + sub->get_name();
      std::string text = error.what();
      if (text == CLI::RequiredError(inputName).what())
        text += ": the name of a file, or - for standard input";
      note("error: " + text + "\n`" + command + " --help` lists the options");
    }
    return std::nullopt;
  }
}
