//===- SectionsTest.cpp - the tokenizer's and the template's sections: rules, damage, names -------===//
//
// A vocabulary of a few hundred tokens is written as a GGUF file, compiled, and read by the runtime.
//
//===--------------------------------------------------------------------------------------------===//

#include "compiler/text/GgufTokenizer.h"
#include "compiler/text/HuggingFaceTokenizer.h"
#include "compiler/text/PatternCompiler.h"
#include "compiler/text/SentencePieceModel.h"
#include "compiler/text/TemplateCompiler.h"
#include "runtime/ChatTemplate.h"
#include "runtime/Error.h"
#include "runtime/TemplateBuiltins.h"
#include "runtime/Tokenizer.h"
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <random>
#include <unistd.h>

using namespace sluice;

namespace {

// The metadata of a GGUF file without tensors.
class Metadata {
public:
  void add(const std::string &key, const std::string &text) { addKey(key, 8), addText(text); }
  void add(const std::string &key, uint32_t number) { addKey(key, 4), addRaw(number); }
  void add(const std::string &key, bool flag) { addKey(key, 7), addRaw(uint8_t(flag)); }
  void add(const std::string &key, const std::vector<std::string> &texts) {
    addKey(key, 9), addRaw(uint32_t(8)), addRaw(uint64_t(texts.size()));
    for (const std::string &text : texts)
      addText(text);
  }
  void add(const std::string &key, const std::vector<int32_t> &numbers) {
    addKey(key, 9), addRaw(uint32_t(5)), addRaw(uint64_t(numbers.size()));
    for (int32_t number : numbers)
      addRaw(number);
  }
  std::string file() const {
    std::string header = "GGUF";
    auto append = [&](auto value) { header.append(reinterpret_cast<const char *>(&value), sizeof value); };
    append(uint32_t(3)), append(uint64_t(0)), append(count);
    return header + bytes + std::string(64, '\0');
  }

private:
  template <typename T> void addRaw(T value) { bytes.append(reinterpret_cast<const char *>(&value), sizeof value); }
  void addText(const std::string &text) { addRaw(uint64_t(text.size())), bytes += text; }
  void addKey(const std::string &key, uint32_t type) { addText(key), addRaw(type), ++count; }
  std::string bytes;
  uint64_t count = 0;
};

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<std::string> merges{"h e", "l l", "he ll", "hell o"};
  std::string model = "gpt2", pre = "gpt-2";
  Metadata keys; // further ones

  Vocabulary() {
    for (char c = '!'; c <= '~'; ++c)
      add(std::string(1, c), 1);
    add("\xC4\xA0", 1); // Ġ: the space
    for (const char *text : {"he", "ll", "hell", "hello"})
      add(text, 1);
  }
  int32_t add(const std::string &text, int32_t type) {
    tokens.push_back(text);
    types.push_back(type);
    return int32_t(tokens.size() - 1);
  }
  llvm::Expected<std::vector<uint8_t>> build() {
    keys.add("general.architecture", std::string("llama"));
    keys.add("tokenizer.ggml.model", model);
    keys.add("tokenizer.ggml.pre", pre);
    keys.add("tokenizer.ggml.tokens", tokens);
    keys.add("tokenizer.ggml.token_type", types);
    keys.add("tokenizer.ggml.merges", merges);
    std::string path = testing::TempDir() + "sections-" + std::to_string(getpid()) + ".gguf";
    std::ofstream(path, std::ios::binary) << keys.file();
    auto checkpoint = Checkpoint::open(path);
    unlink(path.c_str());
    if (!checkpoint)
      return checkpoint.takeError();
    auto model = readGgufTokenizer(**checkpoint);
    if (!model)
      return model.takeError();
    return buildTokenizer(*model);
  }
  std::vector<uint8_t> built() { return llvm::cantFail(build()); }
  std::string refusal() {
    auto section = build();
    return section ? "" : llvm::toString(section.takeError());
  }
};

std::vector<uint8_t> compiled(const char *source) { return llvm::cantFail(compileTemplate(source)); }
std::string refusal(const char *source) {
  auto section = compileTemplate(source);
  return section ? "" : llvm::toString(section.takeError());
}

} // namespace

TEST(Tokenizer, FindsControlTokensOnlyWhereAsked) {
  Vocabulary v;
  int32_t control = v.add("<|x|>", 3), longer = v.add("<|x|>y", 3), user = v.add("<tool>", 4);
  std::vector<uint8_t> section = v.built();
  Tokenizer t(section);
  EXPECT_EQ(t.encode("<|x|>", true, false), std::vector{control});
  EXPECT_EQ(t.encode("<|x|>y", true, false), std::vector{longer}); // the longest
  EXPECT_EQ(t.encode("<|x|>", false, false).size(), 5u);
  EXPECT_EQ(t.encode("<tool>", false, false), std::vector{user});
  EXPECT_EQ(t.decode(control, false), "");
  EXPECT_EQ(t.decode(control, true), "<|x|>");
  EXPECT_EQ(t.decode(user, false), "<tool>");
  for (int32_t id : {-1, int32_t(t.vocabulary()), INT32_MAX, INT32_MIN})
    EXPECT_EQ(t.decode(id, true), "") << id;
}

TEST(Tokenizer, EndsAtTheKeysTokensAndAtControlTokensOfKnownTexts) {
  Vocabulary v;
  int32_t eos = v.add("<eos>", 3), eot = v.add("<eot>", 3), known = v.add("<|im_end|>", 3),
          other = v.add("<|im_start|>", 3);
  int32_t text = v.add("</s>", 4); // the text of an end, but no control token
  v.keys.add("tokenizer.ggml.eos_token_id", uint32_t(eos));
  v.keys.add("tokenizer.ggml.eot_token_id", uint32_t(eot));
  std::vector<uint8_t> section = v.built();
  Tokenizer t(section);
  EXPECT_EQ(t.eos(), eos);
  for (int32_t id : {eos, eot, known})
    EXPECT_TRUE(t.isEndOfGeneration(id)) << id;
  for (int32_t id : {other, text, 0, -1})
    EXPECT_FALSE(t.isEndOfGeneration(id)) << id;
}

TEST(Tokenizer, BeginsWithOneBos) {
  Vocabulary v;
  int32_t bos = v.add("<s>", 3);
  v.keys.add("tokenizer.ggml.bos_token_id", uint32_t(bos));
  v.keys.add("tokenizer.ggml.add_bos_token", true);
  std::vector<uint8_t> section = v.built();
  Tokenizer t(section);
  EXPECT_TRUE(t.addsBos());
  EXPECT_EQ(t.encode("h", true, true), (std::vector{bos, int32_t('h' - '!')}));
  EXPECT_EQ(t.encode("<s>h", true, true), (std::vector{bos, int32_t('h' - '!')}));
  EXPECT_EQ(t.encode("h", true, false), std::vector{int32_t('h' - '!')});
  EXPECT_EQ(t.encode("", true, true), std::vector{bos});
  std::vector<uint8_t> without = Vocabulary().built();
  Tokenizer none(without);
  EXPECT_EQ(none.bos(), -1);
  EXPECT_EQ(none.encode("h", true, true).size(), 1u);
}

TEST(Tokenizer, RefusesWhatItCannotRead) {
  Vocabulary model, pre, id, types, merges;
  model.model = "rwkv";
  EXPECT_NE(model.refusal().find("'rwkv'"), std::string::npos);
  pre.pre = "no-such-words";
  EXPECT_NE(pre.refusal().find("'no-such-words'"), std::string::npos);
  Vocabulary old;
  old.pre = "default";
  EXPECT_NE(old.refusal().find("convert the model anew"), std::string::npos);
  id.keys.add("tokenizer.ggml.eos_token_id", uint32_t(1000000));
  EXPECT_NE(id.refusal().find("got 1000000"), std::string::npos);
  types.types.pop_back();
  EXPECT_NE(types.refusal().find("token_type"), std::string::npos);
  merges.merges.push_back("no such");
  EXPECT_NE(merges.refusal().find("entry 4"), std::string::npos);
}

// Reads the section with bytes of it changed, many times; how often that was refused.
static int refusalsOfDamage(const std::vector<uint8_t> &section) {
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::vector<uint8_t> damaged = section;
    for (int n = 0; n < 3; ++n)
      damaged[random() % (i % 2 ? sizeof(TokenizerSection) : damaged.size())] = uint8_t(random());
    if (i % 8 == 0)
      damaged.resize(random() % damaged.size());
    damaged.shrink_to_fit();
    try {
      Tokenizer t(damaged);
      for (int32_t id : t.encode("hello \xFF e\u0301\u0316 <|im_end|> hell", true, true))
        t.decode(id, true);
    } catch (const std::runtime_error &) {
      ++refused;
    }
  }
  return refused;
}

TEST(Tokenizer, MovesSymbolsThatAreNoTokens) {
  TokenizerModel model;
  model.add("a", NormalToken, true), model.add("ab", NormalToken, true);
  model.characters = {"b"};
  model.merges = {{0, 2, 1, 0}};
  model.resize(5);
  EXPECT_EQ(model.merges[0].left, 0u);
  EXPECT_EQ(model.merges[0].right, 5u);
  EXPECT_EQ(model.merges[0].result, 1u);
  EXPECT_FALSE(model.inModel[4]);
  model.added.push_back({3, "<image>"});
  model.ends = {1, 4};
  EXPECT_FALSE(bool(model.fit(2)));
  EXPECT_EQ(model.merges[0].right, 2u);
  EXPECT_EQ(model.tokens.size(), 2u);
  EXPECT_TRUE(model.added.empty());
  EXPECT_EQ(model.ends, std::vector<uint32_t>{1});
  EXPECT_EQ(llvm::toString(model.fit(1)),
            "the tokenizer has token 1, and the embedding 1 rows; expected ids below that");
}

TEST(Tokenizer, SurvivesDamage) {
  Vocabulary v;
  v.add("<|im_end|>", 3);
  EXPECT_GT(refusalsOfDamage(v.built()), 300);
}

TEST(Tokenizer, SurvivesDamageOfEveryTable) {
  for (TokenizerAlgorithm algorithm : {TokenizerAlgorithm::BytePairs, TokenizerAlgorithm::Unigram}) {
    TokenizerModel model;
    model.algorithm = algorithm;
    std::vector<double> scores;
    for (const char *text : {"<unk>", "<0xFF>", "▁", "h", "e", "l", "o", "he", "ll", "hell", "▁hell", "hello"}) {
      TokenKind kind = scores.empty()       ? UnknownToken
                       : scores.size() == 1 ? ByteToken
                       : scores.size() == 9 ? UnusedToken
                                            : NormalToken;
      model.add(text, kind, kind == NormalToken || kind == UnusedToken);
      scores.push_back(-double(scores.size()));
    }
    model.unknown = 0;
    model.added = {{model.add("<|im_end|>", ControlToken, false), "<|im_end|>", true, true, true, true},
                   {model.add("ell", UserDefinedToken, false), "ell", false, false, false, false, true}};
    scores.resize(model.tokens.size());
    model.steps = {{StepKind::SplitAdded},
                   {StepKind::Normalize},
                   {StepKind::CollapseSpaces},
                   {.kind = StepKind::Strip, .flags = StripLeft},
                   {.kind = StepKind::Prepend, .text = " "},
                   {.kind = StepKind::Replace, .pattern = " ", .text = "▁"},
                   {.kind = StepKind::SplitAdded, .normalizedTokens = true},
                   {.kind = StepKind::SplitPattern, .behavior = SplitBehavior::MergedWithNext, .pattern = "▁(?!\\s)"}};
    if (algorithm == TokenizerAlgorithm::Unigram)
      model.scores = scores;
    else
      deriveMerges(model, scores);
    std::vector<uint8_t> section = llvm::cantFail(buildTokenizer(model));
    EXPECT_EQ(Tokenizer(section).encode("<|im_end|>  hell\xFF", true, false).front(), 12);
    EXPECT_GT(refusalsOfDamage(section), 300);
  }
}

TEST(Tokenizer, RefusesDamagedCharacterMap) {
  const auto mapOf = [](std::vector<uint32_t> words, const std::string &texts) { // the array's bytes, its units
    return std::string(reinterpret_cast<const char *>(words.data()), words.size() * sizeof(uint32_t)) + texts;
  };
  // From the root, whose offset is 1, by 'b' to unit 'b' ^ 1, which has a value at that ^ 2.
  constexpr uint32_t units = 128, hasValue = 1 << 8, value = 1u << 31;
  auto mapTo = [&](uint32_t place, uint32_t offset = 2) {
    std::vector<uint32_t> words(1 + units);
    words[0] = units * sizeof(uint32_t);
    words[1] = 1 << 10;
    words[1 + ('b' ^ 1)] = offset << 10 | hasValue | 'b';
    words[1 + ('b' ^ 1 ^ 2)] = value | place;
    return mapOf(words, std::string("x\0a\0", 4));
  };
  auto build = [](std::string map) {
    TokenizerModel model;
    model.add("a", NormalToken, true);
    addSentencePieceSteps(model, {.characterMap = std::move(map), .addPrefix = false});
    return buildTokenizer(model);
  };
  std::vector<uint8_t> section = llvm::cantFail(build(mapTo(2)));
  EXPECT_EQ(Tokenizer(section).encode("b", true, false), std::vector{0});
  const std::string map = mapTo(2);
  for (const std::string &damaged : {std::string("<0x0A>"), map.substr(0, 3), map.substr(0, 4 + units * 4),
                                     mapOf({0}, "x"), mapOf({2}, "xyz"), mapTo(4), mapTo(2, units)})
    EXPECT_NE(llvm::toString(build(damaged).takeError()).find("'precompiled_charsmap' is damaged"), std::string::npos);

  // What is not refused is used without an error.
  const unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  int used = 0;
  for (unsigned i = 0; i < 3000; ++i) {
    std::string damaged = map;
    for (unsigned n = 0; n < 1 + i % 64; ++n) {
      const uint32_t unit = (i % 2 ? random() & 0x7FFFFF00 : random() % 4 << 8) | "bcd"[random() % 3];
      const uint32_t at = n % 2 ? random() % units : 'b' ^ 1;
      std::memcpy(&damaged[4 + at * 4], &unit, sizeof unit);
    }
    llvm::Expected<std::vector<uint8_t>> built = build(damaged);
    if (!built) {
      llvm::consumeError(built.takeError());
      continue;
    }
    EXPECT_NO_THROW(Tokenizer(*built).encode("bcdbb ccb ddcb", true, false));
    ++used;
  }
  EXPECT_GT(used, 100);
  EXPECT_LT(used, 2900);
}

// A letter becomes a thousand, and each of these; twice two for thirty times.
TEST(Tokenizer, BoundsWhatItMakesOfAText) {
  for (auto [count, size] : {std::pair(3, 1000), {30, 2}}) {
    TokenizerModel model;
    model.add("a", NormalToken, true);
    for (int i = 0; i < count; ++i)
      model.steps.push_back({.kind = StepKind::Replace, .pattern = "a", .text = std::string(size_t(size), 'a')});
    const std::vector<uint8_t> section = llvm::cantFail(buildTokenizer(model));
    try {
      Tokenizer(section).encode("a", true, false);
      ADD_FAILURE() << "expected an error";
    } catch (const runtime::Error &error) {
      EXPECT_STREQ(error.what(), "the model's tokenizer makes more than 16777224 bytes of the text");
    }
  }
}

TEST(Pattern, RefusesWhatItWouldNotMatchAlike) {
  for (const char *pattern :
       {"a++", "(?<=a)b", "\\bword", "(?=ab)c", "(a", "[a", "a{2,1}", "\\p{NoSuch}", "(?<name>a)", "^a", "\\1"}) {
    llvm::Expected<PatternAutomaton> automaton = compilePattern(pattern);
    EXPECT_FALSE(bool(automaton)) << pattern;
    EXPECT_NE(llvm::toString(automaton.takeError()).find(pattern), std::string::npos) << pattern;
  }
  std::string wide = "(a|b)*a";
  for (int i = 0; i < 20; ++i)
    wide += "(a|b)"; // 2^20 states
  llvm::Expected<PatternAutomaton> automaton = compilePattern(wide);
  EXPECT_NE(llvm::toString(automaton.takeError()).find("too complex"), std::string::npos);
}

TEST(HuggingFaceTokenizer, NamesFileAndPart) {
  const std::string folder = testing::TempDir() + "hf-" + std::to_string(getpid()) + "/";
  std::filesystem::create_directory(folder);
  auto refusalOf = [&](const std::string &json) {
    std::ofstream(folder + "tokenizer.json") << json;
    llvm::Expected<TokenizerModel> model = readHuggingFaceTokenizer(folder);
    return model ? "" : llvm::toString(model.takeError());
  };
  llvm::Expected<TokenizerModel> nothing = readHuggingFaceTokenizer(folder);
  EXPECT_NE(llvm::toString(nothing.takeError()).find("expected tokenizer.json"), std::string::npos);
  const std::string bpe = R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})", end = "}";
  EXPECT_EQ(refusalOf(bpe + end), "");
  for (auto [part, expected] : {std::pair(R"(,"normalizer":{"type":"BertNormalizer"})", "BertNormalizer"),
                                std::pair(R"(,"pre_tokenizer":{"type":"UnicodeScripts"})", "UnicodeScripts"),
                                std::pair(R"(,"post_processor":{"type":"NoSuch"})", "NoSuch"),
                                std::pair(R"(,"added_tokens":[{"content":"x"}])", "id of an added token")}) {
    std::string refused = refusalOf(bpe + part + end);
    EXPECT_NE(refused.find(expected), std::string::npos) << refused;
    EXPECT_NE(refused.find("tokenizer.json"), std::string::npos) << refused;
  }
  EXPECT_NE(refusalOf(R"({"model":{"type":"WordPiece","vocab":{"a":0}}})").find("WordPiece"), std::string::npos);
  EXPECT_NE(refusalOf(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a c"]}})").find("merge 0"),
            std::string::npos);
  EXPECT_EQ(refusalOf("{"),
            folder + "tokenizer.json: expected JSON, got something else in line 1, column 1; correct it there or "
                     "download the file again");
  EXPECT_NE(refusalOf("{\n \"model\": 1,\n}").find("in line 3, column 1;"), std::string::npos);
  EXPECT_NE(refusalOf("[]").find("JSON object"), std::string::npos);

  // What the files beside it say.
  std::ofstream(folder + "tokenizer.json")
      << R"({"added_tokens":[{"id":3,"content":"<s>","special":true},{"id":4,"content":"</s>","special":true},{"id":5,"content":"<x>","special":true}],)"
      << R"("model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}})";
  std::ofstream(folder + "tokenizer_config.json")
      << R"({"bos_token":{"content":"<s>"},"eos_token":"</s>","add_bos_token":true,"chat_template":[{"name":"rag","template":"r"},{"name":"default","template":"d"}]})";
  std::ofstream(folder + "generation_config.json") << R"({"eos_token_id":[4,5]})";
  TokenizerModel model = llvm::cantFail(readHuggingFaceTokenizer(folder));
  EXPECT_EQ(model.bos, 3u);
  EXPECT_EQ(model.eos, 4u);
  EXPECT_EQ(model.prefix, std::vector<uint32_t>{3});
  EXPECT_EQ(model.ends, (std::vector<uint32_t>{4, 5}));
  EXPECT_EQ(llvm::cantFail(readHuggingFaceTemplate(folder)), "d");
  std::ofstream(folder + "chat_template.jinja") << "file";
  EXPECT_EQ(llvm::cantFail(readHuggingFaceTemplate(folder)), "file");
  std::filesystem::remove_all(folder);
}

TEST(SentencePieceModel, RefusesDamage) {
  const std::string path = testing::TempDir() + "damaged-" + std::to_string(getpid()) + ".model";
  for (const std::string &bytes : {std::string("no model"), std::string("\x0a\xff\xff\xff\xff\x0f"), std::string()}) {
    std::ofstream(path, std::ios::binary) << bytes;
    llvm::Expected<TokenizerModel> model = readSentencePieceModel(path);
    EXPECT_FALSE(bool(model));
    EXPECT_NE(llvm::toString(model.takeError()).find(path), std::string::npos);
  }
  unlink(path.c_str());
}

TEST(ChatTemplate, SurvivesDamage) {
  const std::vector<uint8_t> section =
      compiled("{% macro m(a, b=1) %}{{ a ~ b }}{% endmacro %}{% for x in messages if x %}{{ m(x.role)|upper }}"
               "{{ x.content[1:]|trim }}{{ loop.index is odd }}{% else %}{{ 1.5 + -2 }}{% endfor %}");
  std::vector<ChatTemplate::Message> messages = {{"user", "hello"}, {"assistant", "there"}};
  std::mt19937 random(2);
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::vector<uint8_t> damaged = section;
    for (int n = 0; n < 2; ++n)
      damaged[random() % damaged.size()] = uint8_t(random());
    if (i % 8 == 0)
      damaged.resize(1 + random() % damaged.size());
    damaged.shrink_to_fit();
    try {
      ChatTemplate(damaged).render(messages, true, "<s>", "</s>");
    } catch (const std::runtime_error &) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 2000);
}

TEST(ChatTemplate, HasAllThatTheCompilerAccepts) {
  for (std::string_view name : templateFilters) {
    try {
      applyFilter(name, TemplateValue("a"), {});
    } catch (const TemplateError &error) {
      EXPECT_EQ(std::string(error.what()).find("no filter"), std::string::npos) << name;
    }
  }
  for (std::string_view name : templateTests) {
    try {
      applyTest(name, TemplateValue("a"), {});
    } catch (const TemplateError &error) {
      EXPECT_EQ(std::string(error.what()).find("no test"), std::string::npos) << name;
    }
  }
}

TEST(ChatTemplate, RefusesByLineAndName) {
  EXPECT_EQ(refusal("a\n{{ 'x'|urlize }}"), "chat template, line 2: unsupported filter 'urlize'");
  EXPECT_EQ(refusal("\n\n{% if 1 is nothing_known %}{% endif %}"),
            "chat template, line 3: unsupported test 'nothing_known'");
  EXPECT_EQ(refusal("{% include 'x' %}"), "chat template, line 1: unsupported tag 'include'");
  EXPECT_NE(refusal("{% for a in b recursive %}{% endfor %}"), "");
  EXPECT_NE(refusal("{{ f(*a) }}"), "");
}

TEST(ChatTemplate, IsEmptyOnlyWithoutSection) {
  EXPECT_TRUE(ChatTemplate({}).empty());
  EXPECT_THROW(ChatTemplate({}).render({}, true, "", ""), std::runtime_error);
  std::vector<uint8_t> nothing = compiled("");
  EXPECT_FALSE(ChatTemplate(nothing).empty());
  EXPECT_EQ(ChatTemplate(nothing).render({}, true, "", ""), "");
}

TEST(ChatTemplate, ReleasesTheMemoryOfARendering) {
  // Each takes a good part of what may be alive at once: many in a row need it back.
  std::vector<uint8_t> section =
      compiled("{% set s = 'a' * 60000000 %}{% set l = [s ~ 'b', s ~ 'c', s ~ 'd'] %}{{ l|length }}");
  ChatTemplate chat(section);
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(chat.render({}, true, "", ""), "3");
}

// A value that holds itself is not counted down to nothing: it must not stay for ever.
TEST(ChatTemplate, ReleasesValuesThatHoldThemselves) {
  std::vector<uint8_t> section =
      compiled("{% set ns = namespace() %}{% set ns.self = ns %}{% set ns.text = ('a' * 30000) * 2000 %}"
               "{% set ns.l = [ns, {'ns': ns}] %}{{ ns.l|length }}");
  ChatTemplate chat(section);
  for (int i = 0; i < 9; ++i) // would be more than may be alive
    EXPECT_EQ(chat.render({}, true, "", ""), "2");
}

TEST(ChatTemplate, DestroysDeepValues) {
  std::vector<uint8_t> section =
      compiled("{% set ns = namespace(a=0, b={}) %}{% for i in range(1000) %}{% for j in range(400) %}"
               "{% set ns.a = [ns.a] %}{% set ns.b = {'b': ns.b} %}{% endfor %}{% endfor %}"
               "{% set ns.a = 0 %}done");
  EXPECT_EQ(ChatTemplate(section).render({}, true, "", ""), "done");
}
