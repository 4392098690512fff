//===- Architectures.cpp - what the models of the Llama family differ in --------------===//
//
// Sources: the modelling code that Hugging Face publishes for each class, and ggml's names of tensors and keys.
//
//===----------------------------------------------------------------------------------===//

#include "compiler/import/Architectures.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/ErrorHandling.h"

using namespace sluice;

static constexpr Architecture table[] = {
    {.gguf = "llama", .huggingFace = "LlamaForCausalLM", .adjacentPairs = true, .windows = Windows::All},
    {.gguf = "llama", .huggingFace = "MistralForCausalLM", .adjacentPairs = true, .windows = Windows::All},
    {.gguf = "qwen2", .huggingFace = "Qwen2ForCausalLM", .biases = true, .windows = Windows::Marked},
    {.gguf = "qwen3", .huggingFace = "Qwen3ForCausalLM", .headNorms = true, .windows = Windows::Marked},
    {.gguf = "smollm3",
     .huggingFace = "SmolLM3ForCausalLM",
     .adjacentPairs = true,
     .tied = true,
     .windows = Windows::Marked,
     .noRopeInterval = 4},
    {.gguf = "phi3", .huggingFace = "Phi3ForCausalLM", .fused = true, .windows = Windows::All},
    {.gguf = "granite", .huggingFace = "GraniteForCausalLM", .adjacentPairs = true},
    {.gguf = "gemma",
     .huggingFace = "GemmaForCausalLM",
     .geglu = true,
     .scalesEmbedding = true,
     .plusOne = true,
     .tied = true},
    {.gguf = "gemma2",
     .huggingFace = "Gemma2ForCausalLM",
     .postNorms = true,
     .geglu = true,
     .scalesEmbedding = true,
     .plusOne = true,
     .tied = true,
     .windows = Windows::Pattern,
     .windowPattern = 2,
     .widthScaledLayers = 46},
    {.gguf = "gemma3",
     .huggingFace = "Gemma3ForCausalLM",
     .headNorms = true,
     .postNorms = true,
     .geglu = true,
     .scalesEmbedding = true,
     .plusOne = true,
     .tied = true,
     .windows = Windows::Pattern,
     .windowPattern = 6,
     .localRopeBase = 10000,
     .widthScaledLayers = 62},
};

llvm::ArrayRef<Architecture> sluice::architectures() { return table; }

static llvm::StringRef nameIn(const Architecture &architecture, Layout layout) {
  return layout == Layout::Gguf ? architecture.gguf : architecture.huggingFace;
}

const Architecture *sluice::findArchitecture(Layout layout, llvm::StringRef name) {
  for (const Architecture &architecture : table)
    if (nameIn(architecture, layout) == name)
      return &architecture;
  return nullptr;
}

std::string sluice::architectureNames(Layout layout) {
  llvm::SmallVector<llvm::StringRef> names;
  for (const Architecture &architecture : table)
    if (llvm::StringRef name = nameIn(architecture, layout); !llvm::is_contained(names, name))
      names.push_back(name);
  return llvm::join(names, ", ");
}

namespace {
struct Names {
  llvm::StringRef role, gguf, huggingFace;
};
} // namespace

static constexpr Names modelNames[] = {
    {"token_embd", "token_embd", "model.embed_tokens"},
    {"output_norm", "output_norm", "model.norm"},
    {"output", "output", "lm_head"},
};

// Of a layer: after "blk.N." or "model.layers.N.".
static constexpr Names layerNames[] = {
    {"attn_norm", "attn_norm", "input_layernorm"},
    {"attn_q", "attn_q", "self_attn.q_proj"},
    {"attn_k", "attn_k", "self_attn.k_proj"},
    {"attn_v", "attn_v", "self_attn.v_proj"},
    {"attn_qkv", "attn_qkv", "self_attn.qkv_proj"},
    {"attn_output", "attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "attn_k_norm", "self_attn.k_norm"},
    {"post_attention_norm", "post_attention_norm", "post_attention_layernorm"},
    {"ffn_norm", "ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "ffn_up", "mlp.up_proj"},
    {"ffn_gate_up", "ffn_up", "mlp.gate_up_proj"},
    {"ffn_down", "ffn_down", "mlp.down_proj"},
    {"post_ffw_norm", "post_ffw_norm", "post_feedforward_layernorm"},
};

std::string sluice::tensorName(const Architecture &architecture, Layout layout, llvm::StringRef role) {
  const bool isBias = role.consume_back("_bias");
  const llvm::StringRef suffix = isBias ? ".bias" : ".weight";
  for (const Names &names : modelNames)
    if (names.role == role)
      return ((layout == Layout::Gguf ? names.gguf : names.huggingFace) + suffix).str();
  for (const Names &names : layerNames)
    if (names.role == role) {
      if (layout == Layout::Gguf)
        return ("blk.{layer}." + names.gguf + suffix).str();
      const bool isSecond = role == "ffn_norm" && architecture.postNorms;
      return ("model.layers.{layer}." + (isSecond ? "pre_feedforward_layernorm" : names.huggingFace) + suffix).str();
    }
  llvm_unreachable("every role has names");
}
