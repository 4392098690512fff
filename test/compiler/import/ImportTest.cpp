//===- ImportTest.cpp - GGUF files, whole and damaged, and the IR made of them ----------===//

#include "compiler/import/LlamaImport.h"
#include "compiler/import/Sampling.h"
#include "dialects/llama/Llama.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <sys/stat.h>
#include <unistd.h>

using namespace sluice;

namespace {

// Writes GGUF files byte by byte, right or wrong.
struct GgufFile {
  uint32_t version = 3;
  uint64_t alignment = 32;
  std::string metadata, descriptions;
  uint64_t keys = 0, tensors = 0, data = 0;

  template <typename T> static std::string raw(T value) {
    return std::string(reinterpret_cast<char *>(&value), sizeof value);
  }
  static std::string string(const std::string &text) { return raw(uint64_t(text.size())) + text; }
  void key(const std::string &name, uint32_t type, const std::string &value) {
    metadata += string(name) + raw(type) + value;
    ++keys;
  }
  void text(const std::string &name, const std::string &value) { key(name, 8, string(value)); }
  void integer(const std::string &name, uint32_t value) { key(name, 4, raw(value)); }
  void real(const std::string &name, float value) { key(name, 6, raw(value)); }
  void tensor(const std::string &name, std::vector<uint64_t> dims, uint32_t type, uint64_t bytes) {
    descriptions += string(name) + raw(uint32_t(dims.size()));
    for (uint64_t dim : dims)
      descriptions += raw(dim);
    descriptions += raw(type) + raw(data);
    data += (bytes + alignment - 1) / alignment * alignment;
    ++tensors;
  }
  std::string str() const {
    std::string out = "GGUF" + raw(version) + raw(tensors) + raw(keys) + metadata + descriptions;
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    out.resize(out.size() + data);
    return out;
  }
};

// A complete model of two layers: width 64, 4 heads of 16 with 2 KV heads, feed-forward 96, vocabulary 100.
GgufFile tiny(std::function<void(GgufFile &)> more = nullptr, const std::string &without = "", bool mixed = false) {
  GgufFile file;
  file.text("general.architecture", "llama");
  file.text("general.name", "tiny");
  for (auto [name, value] : std::initializer_list<std::pair<const char *, uint32_t>>{{"block_count", 2},
                                                                                     {"context_length", 64},
                                                                                     {"embedding_length", 64},
                                                                                     {"feed_forward_length", 96},
                                                                                     {"attention.head_count", 4},
                                                                                     {"attention.head_count_kv", 2}})
    if (name != without)
      file.integer(std::string("llama.") + name, value);
  if (without != "attention.layer_norm_rms_epsilon")
    file.real("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  if (more)
    more(file);
  auto add = [&](const std::string &name, uint64_t cols, uint64_t rows, uint32_t type) {
    if (name == without)
      return;
    std::vector<uint64_t> dims{cols};
    if (rows > 1)
      dims.push_back(rows);
    file.tensor(name, dims, type,
                type == 0   ? cols * rows * 4
                : type == 3 ? cols * rows / 32 * 20
                            : cols * rows / 32 * 34);
  };
  add("token_embd.weight", 64, 100, 8);
  add("output_norm.weight", 64, 1, 0);
  for (std::string layer : {"0", "1"}) {
    std::string b = "blk." + layer + ".";
    uint32_t v = mixed && layer == "1" ? 8 : 3;
    add(b + "attn_norm.weight", 64, 1, 0);
    add(b + "attn_q.weight", 64, 64, 3);
    add(b + "attn_k.weight", 64, 32, 3);
    add(b + "attn_v.weight", 64, 32, v);
    add(b + "attn_output.weight", 64, 64, 3);
    add(b + "ffn_norm.weight", 64, 1, 0);
    add(b + "ffn_gate.weight", 64, 96, 3);
    add(b + "ffn_up.weight", 64, 96, 3);
    add(b + "ffn_down.weight", 96, 64, 3);
  }
  return file;
}

class ImportTest : public ::testing::Test {
protected:
  std::string path = (::testing::TempDir() + "sluice-import-" + std::to_string(getpid()) + ".gguf");
  ~ImportTest() override { unlink(path.c_str()); }

  void write(const std::string &bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
  }
  // The error of opening (and, if that works, importing) these bytes; empty if there is none.
  std::string errorOf(const std::string &bytes) {
    write(bytes);
    auto checkpoint = Checkpoint::open(path);
    if (!checkpoint)
      return llvm::toString(checkpoint.takeError());
    mlir::MLIRContext context;
    auto module = importModel(context, **checkpoint);
    return module ? "" : llvm::toString(module.takeError());
  }
  std::string irOf(const std::string &bytes) {
    write(bytes);
    auto checkpoint = llvm::cantFail(Checkpoint::open(path));
    mlir::MLIRContext context;
    auto module = llvm::cantFail(importModel(context, *checkpoint));
    std::string text;
    llvm::raw_string_ostream out(text);
    module->print(out);
    return text;
  }
  void expectError(const std::string &bytes, const std::string &part) {
    std::string error = errorOf(bytes);
    EXPECT_NE(error.find(part), std::string::npos) << "expected '" << part << "' in '" << error << "'";
    EXPECT_NE(error.find(path), std::string::npos) << "the file's name is missing in '" << error << "'";
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
};

TEST_F(ImportTest, WholeFiles) {
  for (uint32_t version : {2u, 3u}) {
    GgufFile file = tiny();
    file.version = version;
    EXPECT_EQ(errorOf(file.str()), "");
  }
  std::string ir = irOf(tiny().str());
  EXPECT_NE(ir.find("#llama.run<@blk x 2>"), std::string::npos) << ir;
  EXPECT_NE(ir.find("llama.weight @ffn_down from \"blk.{layer}.ffn_down.weight\" : !llama.weight<64x96, q4_1>"),
            std::string::npos)
      << ir;
  EXPECT_NE(ir.find("llama.linear %2, @token_embd"), std::string::npos) << "tied output: " << ir;
  EXPECT_NE(ir.find("!llama.cache<2x16>"), std::string::npos) << ir;
}

TEST_F(ImportTest, RopeScaling) {
  // Base 10000, head size 16: the first pair turns 1 / (2 pi) a position; linear scaling divides.
  EXPECT_NE(irOf(tiny().str()).find("turns [0.159154"), std::string::npos);
  for (bool typed : {true, false}) {
    std::string ir = irOf(tiny([&](GgufFile &f) {
                            if (typed)
                              f.text("llama.rope.scaling.type", "linear");
                            f.real("llama.rope.scaling.factor", 4);
                          }).str());
    EXPECT_NE(ir.find("turns [0.0397887"), std::string::npos) << ir;
  }
}

TEST_F(ImportTest, TheTextOfTheIrIsExact) {
  std::string ir = irOf(tiny().str());
  mlir::MLIRContext context;
  context.loadDialect<llama::LlamaDialect>();
  auto again = mlir::parseSourceString<mlir::ModuleOp>(ir, &context);
  ASSERT_TRUE(again);
  int ropes = 0;
  again->walk([&](llama::RopeOp rope) {
    ++ropes;
    for (auto [i, turn] : llvm::enumerate(rope.getTurns()))
      EXPECT_EQ(turn, std::pow(10000.0, -2.0 * double(i) / 16) / (2 * M_PI));
  });
  EXPECT_EQ(ropes, 2);
}

TEST_F(ImportTest, ImpossibleEpsilons) {
  for (float eps : {0.0f, -1e-5f, 1e-40f, 2.0f, NAN, INFINITY}) {
    GgufFile file = tiny(nullptr, "attention.layer_norm_rms_epsilon");
    file.real("llama.attention.layer_norm_rms_epsilon", eps);
    expectError(file.str(), "layer_norm_rms_epsilon");
  }
}

TEST_F(ImportTest, MixedFormatsMakeTwoBlocks) {
  std::string ir = irOf(tiny(nullptr, "", /*mixed=*/true).str());
  EXPECT_NE(ir.find("[#llama.run<@blk0 x 1>, #llama.run<@blk1 x 1>]"), std::string::npos) << ir;
  EXPECT_NE(ir.find("@blk1.attn_v from \"blk.{layer}.attn_v.weight\" : !llama.weight<32x64, q8_0>"), std::string::npos)
      << ir;
}

TEST_F(ImportTest, EveryTruncationIsAnError) {
  std::string whole = tiny().str();
  for (size_t size = 0; size < whole.size(); size += size < 4000 ? 1 : 997) {
    std::string error = errorOf(whole.substr(0, size));
    ASSERT_NE(error, "") << "cut at " << size << " of " << whole.size();
    ASSERT_NE(error.find(path), std::string::npos);
  }
}

TEST_F(ImportTest, DamagedContainers) {
  expectError("just some text, renamed", "not a GGUF file");
  GgufFile version = tiny();
  version.version = 1;
  expectError(version.str(), "version 1");
  version.version = 0x03000000;
  expectError(version.str(), "big-endian");
  for (uint64_t GgufFile::*count : {&GgufFile::keys, &GgufFile::tensors})
    for (uint64_t value : {uint64_t(1) << 40, UINT64_MAX, UINT64_MAX / 12}) {
      GgufFile file = tiny();
      file.*count = value;
      expectError(file.str(), "more than fit");
    }
  auto with = [](std::function<void(GgufFile &)> more) { return tiny(more).str(); };
  expectError(with([](GgufFile &f) { f.key("k", 8, GgufFile::raw(UINT64_MAX)); }), "'k'");
  expectError(with([](GgufFile &f) { f.key("k", 9, GgufFile::raw(uint32_t(10)) + GgufFile::raw(UINT64_MAX / 4)); }),
              "'k'");
  expectError(with([](GgufFile &f) { f.key("k", 9, GgufFile::raw(uint32_t(8)) + GgufFile::raw(uint64_t(1) << 60)); }),
              "'k'");
  expectError(with([](GgufFile &f) { f.key("k", 77, ""); }), "unknown value type 77");
  expectError(with([](GgufFile &f) { f.integer("general.alignment", 0); }), "power of two");
  expectError(with([](GgufFile &f) { f.integer("general.alignment", 48); }), "power of two");
  expectError(with([](GgufFile &f) { f.integer("general.alignment", 1u << 31); }), "power of two");
  expectError(with([](GgufFile &f) { f.integer("llama.block_count", 2); }), "appears twice");
  expectError(with([](GgufFile &f) { f.integer("", 2); }), "name of 0 bytes");
  expectError(with([](GgufFile &f) { f.tensor("t", {64, 0}, 0, 0); }), "impossible dimension 0");
  expectError(with([](GgufFile &f) { f.tensor("t", {1, 1, 1, 1, 1}, 0, 4); }), "1 to 4 dimensions");
  expectError(with([](GgufFile &f) { f.tensor("t", {1ull << 40, 1ull << 40}, 0, 0); }), "overflow");
  expectError(with([](GgufFile &f) { f.tensor("t", {1ull << 61, 2}, 0, 0); }), "overflow");
  expectError(with([](GgufFile &f) { f.tensor("t", {100}, 3, 0); }), "multiple of 32");
  expectError(with([](GgufFile &f) { f.tensor("token_embd.weight", {64}, 0, 256); }), "appears twice");
  expectError(with([](GgufFile &f) {
                f.tensor("first", {64}, 0, 0); // claims no bytes: the next one begins where it does
                f.tensor("second", {64}, 0, 256);
              }),
              "tensors 'first' and 'second' overlap");
  expectError(with([](GgufFile &f) { f.key("llama.rope.dimension_count", 10, GgufFile::raw(UINT64_MAX)); }),
              "18446744073709551615 is impossibly large");
}

TEST_F(ImportTest, NothingOfTheFileActsOnTheTerminal) {
  std::string error = errorOf(tiny([](GgufFile &f) { f.tensor("a\x1b[2J\xff\n", {64, 0}, 0, 0); }).str());
  EXPECT_NE(error.find("tensor 'a\\x1b[2J\xef\xbf\xbd\\x0a': impossible dimension 0"), std::string::npos) << error;
}

TEST_F(ImportTest, APipeDoesNotBlock) {
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  auto checkpoint = Checkpoint::open(path);
  ASSERT_FALSE(bool(checkpoint));
  EXPECT_NE(llvm::toString(checkpoint.takeError()).find("is not an ordinary file"), std::string::npos);
}

TEST_F(ImportTest, UnsupportedModels) {
  GgufFile other;
  other.text("general.architecture", "mamba");
  expectError(other.str(), "unknown architecture 'mamba'");
  for (const char *key :
       {"block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count"})
    expectError(tiny(nullptr, key).str(), std::string("'llama.") + key + "' is missing");
  expectError(tiny([](GgufFile &f) { f.integer("llama.vocab_size", 101); }).str(),
              "'token_embd.weight': expected 101 rows at least, which 'vocab_size' says, got 100");
  EXPECT_EQ(errorOf(tiny([](GgufFile &f) { f.integer("llama.vocab_size", 97); }).str()), "");
  for (const char *name :
       {"token_embd.weight", "output_norm.weight", "blk.1.ffn_down.weight", "blk.0.attn_norm.weight"})
    expectError(tiny(nullptr, name).str(), std::string("'") + name + "' is missing");
  auto with = [](std::function<void(GgufFile &)> more) { return tiny(more).str(); };
  EXPECT_EQ(errorOf(with([](GgufFile &f) { f.tensor("blk.0.attn_q.bias", {64}, 0, 256); })), "");
  expectError(with([](GgufFile &f) { f.tensor("blk.0.attn_q.bias", {32}, 0, 128); }), "expected shape 64 x 1, got 32");
  expectError(with([](GgufFile &f) { f.tensor("blk.0.attn_sinks.weight", {4}, 0, 16); }),
              "'blk.0.attn_sinks.weight' is not part");
  expectError(with([](GgufFile &f) { f.text("llama.rope.scaling.type", "dynamic"); }), "'dynamic'");
  expectError(with([](GgufFile &f) { f.integer("llama.new_kind_of_attention", 1); }),
              "'llama.new_kind_of_attention' asks for something that is not supported");
  expectError(with([](GgufFile &f) { f.text("llama.rope.freq_base", "high"); }), "expected a float, got a string");
  expectError(with([](GgufFile &f) { f.integer("llama.expert_count", 8); }), "expert_count");
  expectError(with([](GgufFile &f) { f.integer("split.count", 3); }), "says it is part 1 of 3 of a model");
  EXPECT_EQ(errorOf(with([](GgufFile &f) { f.integer("split.count", 1); })), "");
  expectError(with([](GgufFile &f) { f.key("llama.attention.causal", 7, GgufFile::raw(uint8_t(0))); }), "causal");
  EXPECT_EQ(errorOf(with([](GgufFile &f) { f.key("llama.attention.causal", 7, GgufFile::raw(uint8_t(1))); })), "");
  expectError(with([](GgufFile &f) { f.tensor("t", {64}, 41, 64); }), "'t' is not part");
  expectError(with([](GgufFile &f) { f.real("llama.attention.clamp_kqv", 8); }), "clamp_kqv");
  EXPECT_EQ(errorOf(with([](GgufFile &f) { f.real("llama.attention.clamp_kqv", 0); })), "");
  expectError(with([](GgufFile &f) {
                f.tensor("output.weight", {256, 100}, 12, 144 * 100);
              }),
              "expected shape 64 x 100");
  expectError(with([](GgufFile &f) { f.tensor("rope_freqs.weight", {8}, 0, 32); }),
              "element 0 is not a positive number");
}

TEST_F(ImportTest, Sampling) {
  auto read = [&](const GgufFile &file) {
    std::ofstream(path, std::ios::binary) << file.str();
    return readSampling(*llvm::cantFail(Checkpoint::open(path)));
  };
  SamplingDefaults none = llvm::cantFail(read(tiny()));
  EXPECT_FALSE(none.temperature || none.topK || none.topP || none.minP || none.repeatPenalty);
  SamplingDefaults said = llvm::cantFail(read(tiny([](GgufFile &f) {
    f.real("general.sampling.temp", 0.5f);
    f.integer("general.sampling.top_k", 64);
    f.real("general.sampling.penalty_repeat", 1.25f);
  })));
  EXPECT_EQ(said.temperature, 0.5);
  EXPECT_EQ(said.topK, 64);
  EXPECT_EQ(said.repeatPenalty, 1.25);
  EXPECT_FALSE(said.topP || said.minP);
  for (float wrong : {-0.5f, 1.5f, std::nanf("")}) {
    auto result = read(tiny([&](GgufFile &f) { f.real("general.sampling.top_p", wrong); }));
    ASSERT_FALSE(bool(result));
    EXPECT_NE(llvm::toString(result.takeError()).find("'general.sampling.top_p': expected a number from 0 to 1"),
              std::string::npos);
  }
  auto text = read(tiny([](GgufFile &f) { f.text("general.sampling.temp", "hot"); }));
  EXPECT_FALSE(bool(text));
  llvm::consumeError(text.takeError());
}

TEST_F(ImportTest, Shards) {
  auto pathOf = [&](int part) {
    return path.substr(0, path.size() - 5) + "-0000" + std::to_string(part) + "-of-00002.gguf";
  };
  // The last tensor of the model is in the second part.
  auto part = [](int number, int count, bool last) {
    GgufFile file = number == 0 ? tiny(nullptr, last ? "blk.1.ffn_down.weight" : "") : GgufFile();
    file.integer("split.no", number);
    file.integer("split.count", count);
    file.integer("split.tensors.count", 20);
    if (number)
      file.tensor("blk.1.ffn_down.weight", {96, 64}, 3, 96 * 64 / 32 * 20);
    return file.str();
  };
  auto errorOfParts = [&](const std::string &first, const std::string &second, int given) {
    std::ofstream(pathOf(1), std::ios::binary) << first;
    unlink(pathOf(2).c_str());
    if (!second.empty())
      std::ofstream(pathOf(2), std::ios::binary) << second;
    auto checkpoint = Checkpoint::open(pathOf(given));
    if (!checkpoint)
      return llvm::toString(checkpoint.takeError());
    mlir::MLIRContext context;
    auto module = importModel(context, **checkpoint);
    return module ? "" : llvm::toString(module.takeError());
  };
  for (int given : {1, 2})
    EXPECT_EQ(errorOfParts(part(0, 2, true), part(1, 2, true), given), "");
  auto expectPart = [&](const std::string &first, const std::string &second, const std::string &expected) {
    std::string error = errorOfParts(first, second, 1);
    EXPECT_NE(error.find(expected), std::string::npos) << "expected '" << expected << "' in '" << error << "'";
  };
  expectPart(part(0, 2, true), "", "is one of 2 parts of a model; '" + pathOf(2) + "' is missing");
  expectPart(part(0, 2, true), part(0, 2, true), "appears twice");
  expectPart(part(0, 2, true), part(1, 3, true), "is not part 2 of 2 of this model");
  expectPart(part(0, 2, false), part(1, 2, true), "'blk.1.ffn_down.weight' appears twice");
  expectPart(part(0, 2, true), part(1, 2, true).substr(0, 200), "truncated");
  GgufFile empty;
  empty.integer("split.no", 1);
  empty.integer("split.count", 2);
  expectPart(part(0, 2, true), empty.str(), "the parts have 19 tensors, expected 20");
  unlink(pathOf(1).c_str());
  unlink(pathOf(2).c_str());
}

TEST_F(ImportTest, NamesTheUnsupportedTypeAndTheRemedy) {
  // Width 256 so that the type's blocks fit.
  GgufFile file;
  file.text("general.architecture", "llama");
  for (auto [name, value] : std::initializer_list<std::pair<const char *, uint32_t>>{{"block_count", 1},
                                                                                     {"context_length", 64},
                                                                                     {"embedding_length", 256},
                                                                                     {"feed_forward_length", 96},
                                                                                     {"attention.head_count", 4}})
    file.integer(std::string("llama.") + name, value);
  file.real("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  file.tensor("token_embd.weight", {256, 10}, 16, 660);
  expectError(file.str(),
              "'token_embd.weight' has type IQ2_XXS, which is not supported; re-quantise the model to one of "
              "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4");
  // Inspecting such a file works.
  std::string table;
  llvm::raw_string_ostream out(table);
  printCheckpoint(*llvm::cantFail(Checkpoint::open(path)), out);
  EXPECT_NE(table.find("IQ2_XXS (not supported)"), std::string::npos) << table;
}

} // namespace
