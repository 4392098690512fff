//===- Architectures.h - what the models of the Llama family differ in ----------------===//
//
// An architecture is a row of facts: which norms and biases a layer has, how tensors are called, what a missing key
// means. Whatever a checkpoint says in numbers is in ModelConfig. Nothing after the import knows architectures.
//
//===----------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_IMPORT_ARCHITECTURES_H
#define SLUICE_COMPILER_IMPORT_ARCHITECTURES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <string>

namespace sluice {

enum class Layout { Gguf, HuggingFace };

// Which layers have a sliding window where the checkpoint has one and does not say in which layers.
enum class Windows {
  None,   // a window is an error
  All,    // every layer
  Marked, // those from `max_window_layers` on, if `use_sliding_window`
  Pattern // all but every `windowPattern`th
};

struct Architecture {
  llvm::StringRef gguf;        // general.architecture
  llvm::StringRef huggingFace; // architectures[0] of config.json
  // GGUF has the two channels of a rotated pair side by side: q and k were permuted by the converter.
  bool adjacentPairs = false;
  bool biases = false;          // q, k and v must have biases; elsewhere they may
  bool headNorms = false;       // each head of q and k is normalised
  bool postNorms = false;       // what attention and feed-forward give is normalised before it is added
  bool fused = false;           // one tensor of q, k and v, one of gate and up
  bool geglu = false;           // tanh-GELU in place of SiLU
  bool scalesEmbedding = false; // by sqrt(width)
  bool plusOne = false;         // norms of safetensors multiply by 1 + weight
  bool tied = false;            // config.json: tie_word_embeddings where it is absent
  Windows windows = Windows::None;
  int64_t windowPattern = 0;
  int64_t noRopeInterval = 0; // every so many layers one without rotations
  double localRopeBase = 0;   // of layers with a window; 0: that of the others
  // GGUF does not have the scale of attention; models of so many layers use 1 / sqrt(width / heads) in place of
  // 1 / sqrt(head size).
  int64_t widthScaledLayers = 0;
};

llvm::ArrayRef<Architecture> architectures();
// Null if there is none. A name may have several rows in the other layout's column; the first is meant.
const Architecture *findArchitecture(Layout layout, llvm::StringRef name);
// "gemma3, llama, ...".
std::string architectureNames(Layout layout);

// What a tensor is called: `role` is the weight's name in the IR ("attn_q", "attn_q_bias"), the result may contain
// "{layer}".
std::string tensorName(const Architecture &architecture, Layout layout, llvm::StringRef role);

} // namespace sluice
#endif
