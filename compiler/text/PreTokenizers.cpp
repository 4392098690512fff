//===- PreTokenizers.cpp - the patterns behind the names of `tokenizer.ggml.pre` ------------===//
//
// As published in the models' tokenizer.json.
//
//===----------------------------------------------------------------------------------------===//

#include "compiler/text/PreTokenizers.h"
#include "llvm/ADT/STLExtras.h"

using namespace sluice;

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LETTERS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define SYMBOLS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"

const char *const sluice::byteLevelPattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static const char *const gpt2[] = {byteLevelPattern};
static const char *const digitThenGpt2[] = {"\\p{N}", byteLevelPattern};
static const char *const digitsThenGpt2[] = {"\\p{N}{1,3}", byteLevelPattern};
static constexpr const char *llama3[] = {CONTRACTIONS "|" LETTERS "|\\p{N}{1,3}|" SYMBOLS "|" SPACES};
static constexpr const char *qwen2[] = {CONTRACTIONS "|" LETTERS "|\\p{N}|" SYMBOLS "|" SPACES};
static constexpr const char *seedCoder[] = {CONTRACTIONS "|" LETTERS "|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES};
static constexpr const char *tekken[] = {"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+|[^\\r\\n\\p{L}\\p{N}]?" UPPER
                                         "+" LOWER "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES};
static constexpr const char *gpt4o[] = {"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" CONTRACTIONS
                                        "?|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" CONTRACTIONS
                                        "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES};
static constexpr const char *deepseekCoder[] = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+",
                                                "\\p{N}"};
static constexpr const char *deepseekLlm[] = {
    "[\\r\\n]",
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-"
    "ὗὙὛὝὟ-\u1F7Dᾀ-ᾴᾶ-ᾼ\u1FBEῂ-ῄῆ-ῌῐ-\u1FD3ῖ-\u1FDBῠ-Ῥ"
    "ῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212A-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-"
    "𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
    "\\s?[!-/:-~！-／：-～‘-‟　-。]+",
    "\\s+$",
    "[一-龥ࠀ-一가-퟿]+",
    "\\p{N}+"};
static constexpr const char *deepseekV3[] = {
    "\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES};
static constexpr const char *viking[] = {" ?[^(\\s|.,!?…。，、।۔،)]+", "\\p{N}"};

static constexpr PreTokenizer table[] = {
    {"gpt-2", gpt2},
    {"mpt", gpt2},
    {"olmo", gpt2},
    {"phi-2", gpt2},
    {"trillion", gpt2},
    {"granite-docling", gpt2},
    {"mellum", gpt2},
    {"a.x-4.0", gpt2},
    {"smollm", digitThenGpt2},
    {"starcoder", digitThenGpt2},
    {"refact", digitThenGpt2},
    {"command-r", digitThenGpt2},
    {"codeshell", digitThenGpt2},
    {"exaone", digitThenGpt2},
    {"minerva-7b", digitThenGpt2},
    {"minicpm5", digitsThenGpt2, true},
    {"llama-bpe", llama3, true, true},
    {"llama3", llama3, true, true},
    {"llama-v3", llama3, true, true},
    {"falcon3", llama3, true, true},
    {"falcon-h1", llama3, true, true},
    {"pixtral", llama3, true, true},
    {"midm-2.0", llama3, true, true},
    {"lfm2", llama3, true, true},
    {"dbrx", llama3},
    {"smaug-bpe", llama3},
    {"qwen2", qwen2, false, false, true},
    {"deepseek-r1-qwen", qwen2},
    {"megrez", qwen2},
    {"stablelm2", qwen2},
    {"kormo", qwen2},
    {"seed-coder", seedCoder},
    {"tekken", tekken, true, true},
    {"gpt-4o", gpt4o},
    {"llama4", gpt4o},
    {"kanana2", gpt4o},
    {"deepseek-llm", deepseekLlm},
    {"deepseek-coder", deepseekCoder},
    {"deepseek-v3", deepseekV3},
    {"viking", viking},
};

const PreTokenizer *sluice::findPreTokenizer(llvm::StringRef name) {
  const PreTokenizer *found = llvm::find_if(table, [&](const PreTokenizer &row) { return row.name == name; });
  return found == std::end(table) ? nullptr : found;
}

std::string sluice::preTokenizerNames() {
  std::string names;
  for (const PreTokenizer &row : table)
    names += (names.empty() ? "" : ", ") + row.name.str();
  return names;
}
