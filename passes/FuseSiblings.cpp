//===- FuseSiblings.cpp - linears of one input become one stage --------------------------===//
//
// Weights that meet the same activations are streamed one after another behind one barrier: Q, K and V; gate and up.
//
//===------------------------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/StageFusion.h"
#include "llvm/ADT/MapVector.h"

namespace sluice {
#define GEN_PASS_DEF_FUSESIBLINGS
#include "passes/Passes.h.inc"
} // namespace sluice

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

namespace {
// "q", "k", "v" -> "qkv"; "gate", "up" -> "gate_up".
std::string joinNames(StringRef joined, StringRef name) {
  return (joined + (name.size() == 1 ? "" : "_") + name).str();
}

LinearOp onlyLinear(StageOp stage) {
  SmallVector<Operation *> anchors = stage.getAnchors();
  return dyn_cast<LinearOp>(anchors[0]);
}

// Whether everything that `stage` uses is there where the earlier stage `sibling` stands.
bool isAvailableAt(StageOp stage, StageOp sibling) {
  WalkResult result = stage.walk([&](Operation *op) {
    for (Value operand : op->getOperands())
      if (Operation *maker = operand.getDefiningOp();
          maker && maker->getBlock() == sibling->getBlock() && !maker->isBeforeInBlock(sibling))
        return WalkResult::interrupt();
    return WalkResult::advance();
  });
  return !result.wasInterrupted();
}

struct FuseSiblings : sluice::impl::FuseSiblingsBase<FuseSiblings> {
  void runOnOperation() override {
    SmallVector<Block *> blocks;
    getOperation().walk([&](Operation *op) {
      if (isa<BlockOp, GraphOp>(op))
        blocks.push_back(&op->getRegion(0).front());
    });
    for (Block *block : blocks)
      fuse(*block);
  }

  void fuse(Block &block) {
    llvm::MapVector<Value, StageOp> first; // by input
    for (Operation &op : llvm::make_early_inc_range(block)) {
      auto stage = dyn_cast<StageOp>(op);
      LinearOp linear = stage ? onlyLinear(stage) : LinearOp();
      if (!linear)
        continue;
      StageOp &sibling = first[linear.getInput()];
      if (!sibling) {
        sibling = stage;
        continue;
      }
      FusionRemark remark(stage, "FuseSiblings");
      std::string name = stage.getName().str(), other = sibling.getName().str();
      if (!isAvailableAt(stage, sibling)) {
        remark.declined("'" + name + "' uses what is not yet made where '" + other + "' reads the same activations");
        continue;
      }
      sibling = merge(sibling, stage, joinNames(other, name));
      remark.fused("streams '" + name + "' with '" + other + "', which reads the same activations");
    }
  }
};
} // namespace
