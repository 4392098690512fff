//===- FuseRope.cpp - rotations and the append to the cache join the rows they change -----===//

#include "passes/Passes.h"
#include "passes/StageFusion.h"

namespace sluice {
#define GEN_PASS_DEF_FUSEROPE
#include "passes/Passes.h.inc"
} // namespace sluice

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

namespace {
struct FuseRope : sluice::impl::FuseRopeBase<FuseRope> {
  void runOnOperation() override {
    SmallVector<Operation *> ops; // in order: a rope comes before the append that uses it
    getOperation().walk([&](Operation *op) {
      if (isa<RopeOp, AppendOp>(op) && !op->getParentOfType<StageOp>())
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      FusionRemark remark(op, "FuseRope");
      StageOp stage = producingStage(op->getOperand(0));
      auto append = dyn_cast<AppendOp>(op);
      std::string reason = "its input is not made by a stage";
      if (append && stage && producingStage(append.getValue()) != stage)
        reason = "key and value are made by different stages";
      else if (stage)
        if (StageOp result = absorb(stage, op, reason)) {
          remark.fused("works on the rows that '" + result.getName() + "' has just made");
          continue;
        }
      remark.declined(reason);
    }
  }
};
} // namespace
