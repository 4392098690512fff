//===- ModelConfig.cpp - the numbers of a model, wherever they come from ---------------===//

#include "compiler/import/ModelConfig.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace sluice;

int64_t ModelConfig::ropeIndex(Rope rope) {
  auto found = llvm::find(ropes, rope);
  if (found == ropes.end())
    found = ropes.insert(found, std::move(rope));
  return found - ropes.begin();
}

void ModelConfig::setKinds(int64_t window, llvm::ArrayRef<bool> hasWindow, llvm::ArrayRef<bool> hasRope, Rope global,
                           Rope local) {
  const bool limits = window > 0 && window < context; // a wider one sees everything
  for (int64_t layer = 0; layer < layers; ++layer)
    kinds.push_back({.window = hasWindow[layer] && limits ? window : 0,
                     .rope = hasRope[layer] ? ropeIndex(hasWindow[layer] ? local : global) : -1});
}

std::optional<std::string> ModelConfig::inconsistency() const {
  auto show = [](int64_t number) { return std::to_string(number); };
  if (heads % kvHeads != 0)
    return "expected heads divisible by KV heads, got " + show(heads) + " and " + show(kvHeads);
  if (headDim % 2 != 0)
    return "expected an even size of heads, got " + show(headDim);
  if (rotated % 2 != 0 || rotated < 2 || rotated > headDim)
    return "expected an even number of rotated channels up to the head size of " + show(headDim) + ", got " +
           show(rotated);
  if (!std::isfinite(eps) || eps <= 1e-37 || eps > 1)
    return "expected an epsilon of norms above 1e-37 and at most 1";
  for (double number : {embeddingScale, residualScale, logitScale})
    if (!std::isfinite(number) || number == 0)
      return "expected multipliers that are finite and not zero";
  for (double number : {attentionScale, attentionSoftcap, logitSoftcap})
    if (!std::isfinite(number) || number < 0)
      return "expected positive scales and soft caps";
  for (const Rope &rope : ropes)
    for (double turn : rope.turns)
      if (!std::isfinite(turn) || turn <= 0 || !std::isfinite(rope.magnitude) || rope.magnitude <= 0)
        return "expected finite, positive rotations: base and scaling of the rotary embedding are impossible";
  return std::nullopt;
}
