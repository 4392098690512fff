//===- FuseElementwise.cpp - biases, multipliers and soft caps join their rows ------------===//

#include "passes/Passes.h"
#include "passes/StageFusion.h"

namespace sluice {
#define GEN_PASS_DEF_FUSEELEMENTWISE
#include "passes/Passes.h.inc"
} // namespace sluice

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

namespace {
struct FuseElementwise : sluice::impl::FuseElementwiseBase<FuseElementwise> {
  void runOnOperation() override {
    SmallVector<Operation *> ops; // in order: one may work on another's result
    getOperation().walk([&](Operation *op) {
      if (isa<BiasOp, ScaleOp, SoftcapOp>(op) && !op->getParentOfType<StageOp>())
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      FusionRemark remark(op, "FuseElementwise");
      StageOp stage = producingStage(op->getOperand(0));
      std::string reason = "its input is not made of rows of a linear";
      if (stage && llvm::all_of(stage.getAnchors(), llvm::IsaPred<LinearOp>))
        if (StageOp result = absorb(stage, op, reason)) {
          remark.fused("works on the rows that '" + result.getName() + "' has just made");
          continue;
        }
      remark.declined(reason);
    }
  }
};
} // namespace
