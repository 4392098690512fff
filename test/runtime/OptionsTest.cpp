//===- OptionsTest.cpp - command lines become options; the processor is checked -----------===//

#include "runtime/Options.h"
#include "runtime/Cpu.h"
#include "runtime/Error.h"
#include "runtime/ThreadCount.h"
#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <sstream>

using namespace sluice::runtime;
using Command = Options::Command;

static std::optional<Options> parse(std::vector<std::string> arguments, int *status = nullptr) {
  int ignored;
  return parseOptions(std::move(arguments), "model", "model 1", status ? *status : ignored);
}

TEST(Options, HaveDefaults) {
  Options options = parse({}).value();
  EXPECT_EQ(options.command, Command::Generate);
  EXPECT_FALSE(options.prompt);
  EXPECT_EQ(options.tokens, -1);
  EXPECT_EQ(options.seed, -1);
  EXPECT_EQ(options.threads, 0u);
}

TEST(Options, TakeLlamaCppsNames) {
  Options options = parse({"-p",
                           "a question",
                           "-n",
                           "-1",
                           "-t",
                           "3",
                           "-s",
                           "42",
                           "--temp",
                           "0",
                           "--top-k",
                           "5",
                           "--top-p",
                           "0.5",
                           "--min-p",
                           "0.1",
                           "--repeat-penalty",
                           "1.1",
                           "-c",
                           "100",
                           "-sys",
                           "be brief",
                           "--ignore-eos",
                           "-cnv",
                           "-st"})
                        .value();
  EXPECT_EQ(options.prompt, "a question");
  EXPECT_EQ(options.tokens, -1);
  EXPECT_EQ(options.threads, 3u);
  EXPECT_EQ(options.seed, 42);
  EXPECT_EQ(options.sampling.temperature, 0);
  EXPECT_EQ(options.sampling.topK, 5);
  EXPECT_FLOAT_EQ(options.sampling.topP, 0.5f);
  EXPECT_FLOAT_EQ(options.sampling.minP, 0.1f);
  EXPECT_FLOAT_EQ(options.sampling.repeatPenalty, 1.1f);
  EXPECT_EQ(options.context, 100u);
  EXPECT_EQ(options.systemPrompt, "be brief");
  EXPECT_TRUE(options.ignoreEnd);
  EXPECT_EQ(parse({"--seed", "7", "--ctx-size", "9", "--system-prompt", "x"})->seed, 7);
  EXPECT_EQ(parse({"--prompt=", "--seed=7"})->prompt, ""); // not the next word
  EXPECT_EQ(parse({"--prompt=", "--seed=7"})->seed, 7);
  EXPECT_EQ(parse({"-p", "a", "--system-prompt=b="})->systemPrompt, "b=");
  for (const char *raw : {"--raw", "-no-cnv"})
    EXPECT_TRUE(parse({raw})->raw);
  for (const char *file : {"-f", "--file"})
    EXPECT_EQ(parse({file, "x"})->promptFile, "x");
  EXPECT_EQ(parse({"-c", "0"})->context, 0u); // what the model was trained for
  EXPECT_EQ(parse({"-n", "-2"})->tokens, -2); // until the context is full
}

TEST(Options, TakeAnyTextAsAPrompt) {
  for (const char *prompt : {"", "-n", "--help me", "-", "bench", "a\nb", "[1, 2]", "\xFF", "\"quoted\"", "a, b"})
    EXPECT_EQ(parse({"-p", prompt})->prompt, prompt);
  EXPECT_EQ(parse({"--prompt=-sys"})->prompt, "-sys");
}

TEST(Options, KnowCommands) {
  EXPECT_EQ(parse({"tokenize", "--no-special"})->command, Command::Tokenize);
  EXPECT_FALSE(parse({"tokenize", "--no-special"})->parseSpecial);
  EXPECT_EQ(parse({"detokenize"})->command, Command::Detokenize);
  Options render = parse({"template", "chat.json", "--no-generation-prompt"}).value();
  EXPECT_EQ(render.command, Command::Template);
  EXPECT_EQ(render.file, "chat.json");
  EXPECT_FALSE(render.generationPrompt);
  Options eval = parse({"eval", "--tokens", "ids", "--logits", "out.npy", "--step", "-t", "2"}).value();
  EXPECT_EQ(eval.command, Command::Eval);
  EXPECT_TRUE(eval.step);
  EXPECT_EQ(eval.threads, 2u);
  Options perplexity = parse({"perplexity", "text", "-c", "128", "--chunks", "4", "--json"}).value();
  EXPECT_EQ(perplexity.chunks, 4u);
  EXPECT_TRUE(perplexity.json);
  Options bench =
      parse({"bench", "-p", "256,512", "-n", "0", "-d", "0,1024", "-t", "1,2", "-r", "3", "--output", "json"}).value();
  EXPECT_EQ(bench.benchPrompts, (std::vector<uint64_t>{256, 512}));
  EXPECT_EQ(bench.benchTokens, (std::vector<uint64_t>{0}));
  EXPECT_EQ(bench.benchDepths, (std::vector<uint64_t>{0, 1024}));
  EXPECT_EQ(bench.benchThreads, (std::vector<unsigned>{1, 2}));
  EXPECT_EQ(bench.format, "json");
  EXPECT_EQ(parse({"bench"})->benchPrompts, (std::vector<uint64_t>{256}));
  EXPECT_EQ(parse({"info"})->command, Command::Info);
  EXPECT_EQ(parse({"verify"})->command, Command::Verify);
}

TEST(Options, RefuseWhatMakesNoSense) {
  const std::vector<std::string> bad[] = {{"--nonsense"},
                                          {"-t", "0"},
                                          {"-t", "x"},
                                          {"--temp", "-1"},
                                          {"--top-p", "1.5"},
                                          {"-n", "-3"},
                                          {"-c", "-1"},
                                          {"what", "is"},
                                          {"eval"},
                                          {"bench", "-o", "xml"},
                                          {"-p"},
                                          {"-s", "1.5"},
                                          {"info", "verify"},
                                          {"bench", "-p", "-1"},
                                          {"perplexity", "x", "--chunks", "-2"},
                                          {"-p", "x", "-f", "y"},
                                          {"--raw", "-sys", "x"}};
  for (const auto &arguments : bad) {
    int status = -1;
    testing::internal::CaptureStderr();
    EXPECT_FALSE(parse(arguments, &status)) << arguments[0];
    EXPECT_EQ(status, 2) << arguments[0];
    EXPECT_EQ(testing::internal::GetCapturedStderr().find("error: "), 0u);
  }
}

static std::string errorOf(std::vector<std::string> arguments) {
  testing::internal::CaptureStderr();
  EXPECT_FALSE(parse(std::move(arguments)));
  return testing::internal::GetCapturedStderr();
}

TEST(Options, ErrorsPointAtTheHelpOfTheCommand) {
  EXPECT_NE(errorOf({"bench", "--frob"}).find("`model bench --help`"), std::string::npos);
  EXPECT_NE(errorOf({"--frob"}).find("`model --help`"), std::string::npos);
}

TEST(Options, ThreadsAreThoseThatCanHelp) {
  const std::string most = std::to_string(8 * allowedProcessors().size());
  EXPECT_TRUE(parse({"-t", most}));
  for (std::vector<std::string> arguments : {std::vector<std::string>{"-t", "1000000"}, {"bench", "-t", "1000000"}})
    EXPECT_NE(errorOf(arguments).find("expected a number from 1 to " + most + ", got 1000000"), std::string::npos);
}

TEST(Options, HelpTeaches) {
  for (const char *flag : {"-h", "--help", "--version"}) {
    int status = -1;
    testing::internal::CaptureStdout();
    EXPECT_FALSE(parse({flag}, &status));
    std::string text = testing::internal::GetCapturedStdout();
    EXPECT_EQ(status, 0);
    if (flag[1] == 'h' || flag[2] == 'h')
      for (const char *word : {"--temp", "-sys", "--raw", "bench", "perplexity", "Ctrl-C", "model -p \"What is"})
        EXPECT_NE(text.find(word), std::string::npos) << word;
    else
      EXPECT_EQ(text, "model 1\n");
  }
}

TEST(Cpu, AgreesWithTheKernel) {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string> flags;
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("flags")) {
      std::istringstream words(line);
      for (std::string word; words >> word;)
        flags.insert(word);
    }
  ASSERT_FALSE(flags.empty());
  const uint64_t features = cpuFeatures();
#define X(NAME, BIT, TEXT) EXPECT_EQ(features >> BIT & 1, flags.count(TEXT)) << TEXT;
  SLUICE_CPU_FEATURES(X)
#undef X
}

TEST(Cpu, TakesTheFirstVariantThatRuns) {
  auto bit = [](int feature) { return uint64_t(1) << feature; };
  const uint64_t avx2 = bit(SLUICE_CPU_AVX2), avx512 = avx2 | bit(SLUICE_CPU_AVX512F) | bit(SLUICE_CPU_AVX512_VNNI);
  const sluice_variant variants[] = {{"best", avx512, nullptr, 0}, {"good", avx2, nullptr, 0}};
  EXPECT_STREQ(chooseVariant(variants, avx512).target, "best");
  EXPECT_STREQ(chooseVariant(variants, avx2).target, "good");
  auto refusal = [](std::span<const sluice_variant> list, uint64_t features) -> std::string {
    try {
      return chooseVariant(list, features).target;
    } catch (const Error &error) {
      return error.what();
    }
  };
  EXPECT_EQ(refusal(variants, 0).find("this processor lacks avx2, which target 'good' needs"), 0u);
  EXPECT_EQ(
      refusal(std::span(variants, 1), avx2).find("this processor lacks avx512f, avx512_vnni, which target 'best'"), 0u);
  EXPECT_NE(refusal({}, avx2).find("code for devices alone"), std::string::npos);
}
