//===- ModelConfig.h - the numbers of a model, wherever they come from -----------------===//
#ifndef SLUICE_COMPILER_IMPORT_MODELCONFIG_H
#define SLUICE_COMPILER_IMPORT_MODELCONFIG_H

#include "compiler/import/Architectures.h"
#include "compiler/import/Checkpoint.h"
#include "compiler/import/Rope.h"
#include <optional>

namespace sluice {

constexpr int64_t maxLayers = 1024;   // beyond any model; guards the loops over layers
constexpr int64_t maxWidth = 1 << 24; // of any dimension
constexpr int64_t maxContext = int64_t(1) << 31;

// What layers of one model differ in, beside the formats of their weights.
struct LayerKind {
  int64_t window = 0; // positions that a token sees; 0: all
  int64_t rope = 0;   // index into ModelConfig::ropes; -1: none
  bool operator==(const LayerKind &) const = default;
};

struct ModelConfig {
  const Architecture *architecture = nullptr;
  Layout layout = Layout::Gguf;
  std::string name;
  int64_t layers = 0, width = 0, heads = 0, kvHeads = 0, headDim = 0, feedForward = 0, context = 0;
  int64_t trainedContext = 0; // of the checkpoint; `context` is at most that
  int64_t vocabulary = 0;     // as it is said; 0: not at all
  int64_t rotated = 0;        // channels of a head that are rotated
  double eps = 0;
  double embeddingScale = 1, residualScale = 1, logitScale = 1;
  double attentionScale = 0;                     // 0: 1 / sqrt(headDim)
  double attentionSoftcap = 0, logitSoftcap = 0; // 0: none
  std::optional<bool> tied;                      // absent: if there is no output matrix
  bool halfSplit = false;                        // pairs of the checkpoint's q and k; see llama.weight
  std::vector<Rope> ropes;
  std::vector<LayerKind> kinds; // of the layers

  // Adds a table, or finds an equal one.
  int64_t ropeIndex(Rope rope);
  // Fills `kinds`: windows where `hasWindow`, rotations where `hasRope`. Layers with a window rotate by `local`.
  void setKinds(int64_t window, llvm::ArrayRef<bool> hasWindow, llvm::ArrayRef<bool> hasRope, Rope global, Rope local);
  // Whether the numbers agree with each other; what is wrong if they do not.
  std::optional<std::string> inconsistency() const;
};

// `contextLimit`: the most positions that will be used, 0 for as many as the model has.
llvm::Expected<ModelConfig> readGgufConfig(const Checkpoint &checkpoint, int64_t contextLimit);
llvm::Expected<ModelConfig> readHuggingFaceConfig(const Checkpoint &checkpoint, int64_t contextLimit);

} // namespace sluice
#endif
