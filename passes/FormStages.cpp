//===- FormStages.cpp - a stage for every operation that reads memory --------------===//

#include "passes/Passes.h"
#include "passes/StageFusion.h"

namespace sluice {
#define GEN_PASS_DEF_FORMSTAGES
#include "passes/Passes.h.inc"
} // namespace sluice

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

namespace {
// Whether the graph returns `value`, or what is made of it element by element.
bool isReturned(Value value) {
  return llvm::any_of(value.getUsers(), [](Operation *user) {
    return isa<ReturnOp>(user) || (isa<ScaleOp, SoftcapOp>(user) && isReturned(user->getResult(0)));
  });
}

// What a stage does: "embed", "attention", "logits", or what its weight is for: "q" of "attn_q", "down" of "ffn_down".
StringRef stageName(Operation *anchor) {
  auto linear = dyn_cast<LinearOp>(anchor);
  if (!linear)
    return isa<EmbedOp>(anchor) ? "embed" : "attention";
  if (isReturned(linear))
    return "logits";
  StringRef weight = baseName(linear.getWeight());
  return weight.substr(weight.find('_') + 1);
}

struct FormStages : sluice::impl::FormStagesBase<FormStages> {
  void runOnOperation() override {
    SmallVector<Operation *> anchors;
    getOperation().walk([&](Operation *op) {
      if (StageOp::isAnchor(op) && !op->getParentOfType<StageOp>())
        anchors.push_back(op);
    });
    for (Operation *anchor : anchors) {
      OpBuilder builder(anchor);
      auto stage = StageOp::create(builder, anchor->getLoc(), anchor->getResultTypes(), stageName(anchor));
      Block *body = builder.createBlock(&stage.getBody());
      anchor->replaceAllUsesWith(stage);
      anchor->moveBefore(body, body->end());
      builder.setInsertionPointToEnd(body);
      YieldOp::create(builder, anchor->getLoc(), anchor->getResults());
    }
  }
};
} // namespace
