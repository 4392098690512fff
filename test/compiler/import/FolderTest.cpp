//===- FolderTest.cpp - Hugging Face folders and shards, whole and damaged --------------===//

#include "compiler/import/LlamaImport.h"
#include "compiler/import/Sampling.h"
#include "dialects/llama/Llama.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "gtest/gtest.h"
#include <fstream>
#include <map>
#include <unistd.h>

using namespace sluice;

namespace {

const char *config = R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96,
  "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
  "rms_norm_eps": 1e-5, "hidden_act": "silu", "vocab_size": 100, "tie_word_embeddings": true, "use_cache": true})";

// "config" with the value of a key replaced, or with a new key.
std::string with(const std::string &key, const std::string &value) {
  std::string text = config;
  size_t at = text.find("\"" + key + "\":");
  if (at == std::string::npos)
    return text.insert(1, "\"" + key + "\": " + value + ", ");
  size_t from = text.find(':', at) + 1;
  return text.replace(from, text.find_first_of(",}", text[from + 1] == '[' ? text.find(']', from) : from) - from,
                      " " + value);
}

struct Tensor {
  std::string dtype = "BF16";
  std::vector<uint64_t> shape;
  uint64_t bytes() const {
    uint64_t size = dtype == "F32" ? 4 : dtype == "F8_E4M3" ? 1 : 2;
    for (uint64_t dim : shape)
      size *= dim;
    return size;
  }
};
using Tensors = std::map<std::string, Tensor>;

Tensors tiny() {
  Tensors tensors{{"model.embed_tokens.weight", {"BF16", {100, 64}}}, {"model.norm.weight", {"BF16", {64}}}};
  for (std::string layer : {"0", "1"}) {
    std::string p = "model.layers." + layer + ".";
    tensors[p + "input_layernorm.weight"].shape = tensors[p + "post_attention_layernorm.weight"].shape = {64};
    tensors[p + "self_attn.q_proj.weight"].shape = tensors[p + "self_attn.o_proj.weight"].shape = {64, 64};
    tensors[p + "self_attn.k_proj.weight"].shape = tensors[p + "self_attn.v_proj.weight"].shape = {32, 64};
    tensors[p + "mlp.gate_proj.weight"].shape = tensors[p + "mlp.up_proj.weight"].shape = {96, 64};
    tensors[p + "mlp.down_proj.weight"].shape = {64, 96};
  }
  return tensors;
}

std::string headerOf(const Tensors &tensors, uint64_t &bytes) {
  std::string header = "{\"__metadata__\": {\"format\": \"pt\"}";
  bytes = 0;
  for (const auto &[name, tensor] : tensors) {
    header += ", \"" + name + "\": {\"dtype\": \"" + tensor.dtype + "\", \"shape\": [";
    for (size_t i = 0; i < tensor.shape.size(); ++i)
      header += (i ? ", " : "") + std::to_string(tensor.shape[i]);
    header += "], \"data_offsets\": [" + std::to_string(bytes) + ", " + std::to_string(bytes + tensor.bytes()) + "]}";
    bytes += tensor.bytes();
  }
  return header + "}";
}

std::string fileOf(const std::string &header, uint64_t dataBytes) {
  uint64_t length = header.size();
  return std::string(reinterpret_cast<char *>(&length), 8) + header + std::string(dataBytes, '\0');
}
std::string fileOf(const Tensors &tensors) {
  uint64_t bytes;
  std::string header = headerOf(tensors, bytes);
  return fileOf(header, bytes);
}

class FolderTest : public ::testing::Test {
protected:
  std::string folder = ::testing::TempDir() + "sluice-folder-" + std::to_string(getpid());
  FolderTest() { llvm::cantFail(llvm::errorCodeToError(llvm::sys::fs::create_directories(folder))); }
  ~FolderTest() override { llvm::sys::fs::remove_directories(folder); }

  void write(const std::string &name, const std::string &bytes) {
    std::ofstream(folder + "/" + name, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
  }
  void remove(const std::string &name) { llvm::sys::fs::remove(folder + "/" + name); }
  std::string errorOf(const ImportOptions &options = {}) {
    auto checkpoint = Checkpoint::open(folder);
    if (!checkpoint)
      return llvm::toString(checkpoint.takeError());
    mlir::MLIRContext context;
    auto module = importModel(context, **checkpoint, options);
    return module ? "" : llvm::toString(module.takeError());
  }
  std::string ir(const ImportOptions &options = {}) {
    auto checkpoint = llvm::cantFail(Checkpoint::open(folder));
    mlir::MLIRContext context;
    std::string text;
    llvm::raw_string_ostream out(text);
    llvm::cantFail(importModel(context, *checkpoint, options))->print(out);
    return text;
  }
  void expectError(const std::string &part) {
    std::string error = errorOf();
    EXPECT_NE(error.find(part), std::string::npos) << "expected '" << part << "' in '" << error << "'";
    EXPECT_NE(error.find(folder), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
  void expectConfigError(const std::string &text, const std::string &part) {
    write("config.json", text);
    expectError(part);
    write("config.json", config);
  }
  void expectTensorError(const std::string &bytes, const std::string &part) {
    write("model.safetensors", bytes);
    expectError(part);
  }
};

TEST_F(FolderTest, WholeFolders) {
  write("config.json", config);
  write("model.safetensors", fileOf(tiny()));
  std::string text = ir();
  EXPECT_NE(text.find("@attn_q from \"model.layers.{layer}.self_attn.q_proj.weight\" {half_split = "
                      "#llama.half_split<16, 16>} : !llama.weight<64x64, bf16>"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("[#llama.run<@blk x 2>]"), std::string::npos) << text;
  text = ir({.quantize = {{"", llama::Format::Q8_0}, {"ffn_(up|gate)", llama::Format::Q4_0}}});
  EXPECT_NE(text.find("mlp.down_proj.weight\" : !llama.weight<64x96, q8_0>"), std::string::npos) << text;
  EXPECT_NE(text.find("mlp.up_proj.weight\" : !llama.weight<96x64, q4_0>"), std::string::npos) << text;
  EXPECT_NE(text.find("model.norm.weight\" : !llama.weight<1x64, bf16>"), std::string::npos) << text;
}

TEST_F(FolderTest, Sampling) {
  write("config.json", config);
  write("model.safetensors", fileOf(tiny()));
  auto read = [&](const std::string &text) {
    write("generation_config.json", text);
    return readSampling(*llvm::cantFail(Checkpoint::open(folder)));
  };
  // What transformers takes for what is not said, where there is sampling at all.
  SamplingDefaults said = llvm::cantFail(read(R"({"do_sample": true, "temperature": 0.6, "top_p": null})"));
  EXPECT_EQ(said.temperature, 0.6);
  EXPECT_EQ(said.topK, 50);
  EXPECT_EQ(said.topP, 1);
  EXPECT_EQ(said.minP, 0);
  EXPECT_EQ(said.repeatPenalty, 1);
  for (const char *silent : {"{}", R"({"temperature": 0.6})", R"({"do_sample": false, "top_k": -7})"})
    EXPECT_FALSE(llvm::cantFail(read(silent)).temperature) << silent;
  for (auto [text, part] : std::initializer_list<std::pair<const char *, const char *>>{
           {R"({"do_sample": true, "top_k": "many"})", "generation_config.json: 'top_k': expected a number from 0 to"},
           {R"({"do_sample": true, "top_p": 1.5})",
            "generation_config.json: 'top_p': expected a number from 0 to 1, got 1.5"},
           {"[1, 2", "generation_config.json: "}}) {
    auto result = read(text);
    ASSERT_FALSE(bool(result)) << text;
    std::string error = llvm::toString(result.takeError());
    EXPECT_NE(error.find(part), std::string::npos) << error;
    EXPECT_NE(error.find(folder), std::string::npos) << error;
  }
}

TEST_F(FolderTest, Shards) {
  write("config.json", config);
  Tensors first = tiny(), second;
  second.insert(first.extract("model.norm.weight"));
  write("a.safetensors", fileOf(first));
  write("b.safetensors", fileOf(second));
  expectError("has neither model.safetensors nor model.safetensors.index.json");
  auto index = [&](const std::string &more) {
    write("model.safetensors.index.json", "{\"weight_map\": {\"model.norm.weight\": \"b.safetensors\", " + more + "}}");
  };
  index("\"model.embed_tokens.weight\": \"a.safetensors\"");
  EXPECT_EQ(errorOf(), "");
  index("\"model.embed_tokens.weight\": \"b.safetensors\"");
  expectError("b.safetensors: tensor 'model.embed_tokens.weight' is missing");
  index("\"model.embed_tokens.weight\": \"c.safetensors\"");
  expectError("has no file 'c.safetensors'");
  index("\"model.embed_tokens.weight\": \"../c.safetensors\"");
  expectError("expected the name of a file of the folder");
  index("\"model.norm.weight\": \"a.safetensors\"");
  expectError("key 'model.norm.weight' appears twice");
  index("\"model.embed_tokens.weight\": \"a.safetensors\"");
  write("b.safetensors", fileOf(tiny()));
  expectError("it is in another file of the folder, too");
}

TEST_F(FolderTest, DamagedTensors) {
  write("config.json", config);
  expectError("has neither model.safetensors");
  const std::string whole = fileOf(tiny());
  for (size_t size : {0ul, 1ul, 7ul, 8ul, 100ul, whole.size() / 2, whole.size() - 1})
    expectTensorError(whole.substr(0, size), "model.safetensors");
  expectTensorError(fileOf("{", 0), "its header");
  expectTensorError(fileOf("[]", 0), "expected a JSON object");
  expectTensorError(fileOf(std::string(200, '['), 0), "its header");
  expectTensorError(std::string(8, '\xff') + "{}", "its header claims");
  auto tensor = [&](const std::string &description) { return fileOf("{\"t\": " + description + "}", 64); };
  expectTensorError(tensor("7"), "expected an object with a dtype");
  expectTensorError(tensor(R"({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]})"), "expected a shape");
  expectTensorError(tensor(R"({"dtype": "F32", "shape": [1.5], "data_offsets": [0, 4]})"), "expected a shape");
  expectTensorError(tensor(R"({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]})"), "impossible dimension 0");
  expectTensorError(tensor(R"({"dtype": "F32", "shape": [1], "data_offsets": [0]})"), "expected two data_offsets");
  expectTensorError(tensor(R"({"dtype": "F4", "shape": [1], "data_offsets": [0, 4]})"), "unknown dtype 'F4'");
  expectTensorError(tensor(R"({"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]})"),
                    "overflows");
  expectTensorError(tensor(R"({"dtype": "F32", "shape": [4611686018427387904], "data_offsets": [0, 0]})"), "overflows");
  expectTensorError(tensor(R"({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]})"), "hold another number");
  expectTensorError(tensor(R"({"dtype": "F32", "shape": [1], "data_offsets": [4, 0]})"), "hold another number");
  expectTensorError(tensor(R"({"dtype": "F32", "shape": [1], "data_offsets": [64, 68]})"), "past the end of the file");
  expectTensorError(fileOf(R"({"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                               "u": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}})",
                           64),
                    "tensors 't' and 'u' overlap");
  expectTensorError(fileOf(R"({"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                               "t": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}})",
                           64),
                    "key 't' appears twice");
}

TEST_F(FolderTest, WrongTensors) {
  write("config.json", config);
  auto changed = [](auto change) {
    Tensors tensors = tiny();
    change(tensors);
    return fileOf(tensors);
  };
  expectTensorError(changed([](Tensors &t) { t.erase("model.layers.1.mlp.up_proj.weight"); }),
                    "'model.layers.1.mlp.up_proj.weight' is missing");
  expectTensorError(changed([](Tensors &t) {
                      t["model.layers.1.mlp.up_proj.weight"].shape = {64, 96};
                    }),
                    "expected shape 64 x 96, got 96 x 64");
  expectTensorError(changed([](Tensors &t) { t["vision.weight"].shape = {4}; }), "'vision.weight' is not part");
  expectTensorError(changed([](Tensors &t) { t["model.layers.0.mlp.up_proj.weight"].dtype = "I16"; }),
                    "has type I16, which is not supported");
  const std::string scaled = "model.layers.0.mlp.up_proj.weight";
  expectTensorError(changed([&](Tensors &t) { t[scaled + "_scale"] = {"F32", {1}}; }), "expected F8_E4M3");
  expectTensorError(changed([&](Tensors &t) {
                      for (std::string layer : {"0", "1"}) {
                        t["model.layers." + layer + ".mlp.up_proj.weight"].dtype = "F8_E4M3";
                        t["model.layers." + layer + ".mlp.up_proj.weight_scale"] = {"F32", {7}};
                      }
                    }),
                    "expected one number, 96, or one for each 128 x 128");
  write("model.safetensors",
        changed([](Tensors &t) { t["model.layers.0.self_attn.rotary_emb.inv_freq"].shape = {8}; }));
  EXPECT_EQ(errorOf(), "");
  write("model.safetensors", changed([](Tensors &t) { t["lm_head.weight"].shape = {100, 64}; }));
  EXPECT_EQ(errorOf(), "") << "a tied output may be stored once more";
}

TEST_F(FolderTest, Configurations) {
  write("model.safetensors", fileOf(tiny()));
  expectError("is a folder without config.json");
  expectConfigError("", "config.json: is empty; expected JSON: download it again");
  expectConfigError("{\n\n  \"a\": 1,\n}", "config.json: expected JSON, got something else in line 4, column 1;");
  expectConfigError("{\n \"a\": nul}", "in line 2, column 10;");
  expectConfigError("{\"a\": \"\xff\"}", "in line 1, column 8;");
  expectConfigError(with("rope_theta", "1e999"), "config.json: a number is beyond all bounds");
  expectConfigError("[1]", "config.json: expected a JSON object");
  expectConfigError(with("quantization_config", R"({"quant_method": "gptq", "bits": 4})"), "got 'gptq'");
  expectConfigError(with("quantization_config", "\"awq\""), "'quantization_config': expected weights in floats");
  expectConfigError(std::string(100000, '['), "config.json: ");
  expectConfigError(with("architectures", "[\"MambaForCausalLM\"]"),
                    "unknown architecture 'MambaForCausalLM'; known: LlamaForCausalLM");
  expectConfigError(with("architectures", "7"), "unknown architecture ''");
  for (const char *other : {"99", "101"})
    expectConfigError(with("vocab_size", other), std::string("'model.embed_tokens.weight': expected ") + other +
                                                     " rows, which 'vocab_size' says, got 100");
  expectConfigError(with("vocab_size", "-1"), "'vocab_size': expected 1 to");
  expectConfigError(with("hidden_size", "0"), "'hidden_size': expected 1 to");
  expectConfigError(with("hidden_size", "\"big\""), "'hidden_size': expected 1 to");
  expectConfigError(with("hidden_size", "1e300"), "'hidden_size': expected 1 to");
  expectConfigError(with("num_hidden_layers", "100000000000"), "'num_hidden_layers'");
  expectConfigError(with("num_key_value_heads", "3"), "expected heads divisible by KV heads, got 4 and 3");
  expectConfigError(with("rms_norm_eps", "0"), "'rms_norm_eps'");
  expectConfigError(with("hidden_act", "\"relu\""), "expected silu, got 'relu'");
  expectConfigError(with("head_dim", "15"), "rotated channels of 15");
  expectConfigError(with("tie_word_embeddings", "false"), "'lm_head.weight' is missing");
  expectConfigError(with("num_experts", "8"), "key 'num_experts' is not understood");
  expectConfigError(with("sliding_window", "8"), "expected no window for LlamaForCausalLM");
  auto rope = [](const std::string &parameters) { return with("rope_scaling", parameters); };
  expectConfigError(rope("{\"rope_type\": \"dynamic\"}"), "got 'dynamic', which is not supported");
  expectConfigError(rope("{\"rope_type\": \"llama3\", \"factor\": 8.0}"), "'low_freq_factor'");
  expectConfigError(rope("{\"rope_type\": \"linear\", \"factor\": -1}"), "'factor'");
  expectConfigError(rope("{\"rope_type\": \"linear\", \"factor\": 2, \"new\": 1}"), "key 'new' of the scaling");
  expectConfigError(rope("{\"rope_type\": \"longrope\", \"short_factor\": [1]}"), "'short_factor'");
  expectConfigError(rope("7"), "expected an object");
  for (const char *silent : {"attention_bias", "vocab_size"}) {
    write("config.json", with(silent, "null"));
    EXPECT_EQ(errorOf(), "");
  }
}

} // namespace
