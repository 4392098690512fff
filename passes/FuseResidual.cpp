//===- FuseResidual.cpp - a sum joins the stage that makes its last operand ---------------===//

#include "passes/Passes.h"
#include "passes/StageFusion.h"

namespace sluice {
#define GEN_PASS_DEF_FUSERESIDUAL
#include "passes/Passes.h.inc"
} // namespace sluice

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

namespace {
struct FuseResidual : sluice::impl::FuseResidualBase<FuseResidual> {
  void runOnOperation() override {
    SmallVector<AddOp> ops;
    getOperation().walk([&](AddOp op) {
      if (!op->getParentOfType<StageOp>())
        ops.push_back(op);
    });
    for (AddOp op : ops) {
      FusionRemark remark(op, "FuseResidual");
      StageOp lhs = producingStage(op.getLhs()), rhs = producingStage(op.getRhs());
      StageOp stage = lhs && rhs && lhs != rhs ? (lhs->isBeforeInBlock(rhs) ? rhs : lhs) : (lhs ? lhs : rhs);
      std::string reason = "neither operand is made by a stage";
      // Only rows of a linear can be added to where they are made.
      if (stage && !llvm::all_of(stage.getAnchors(), llvm::IsaPred<LinearOp>))
        reason = "'" + stage.getName().str() + "' does not make rows of a linear";
      else if (stage)
        if (StageOp result = absorb(stage, op, reason)) {
          remark.fused("adds to the rows that '" + result.getName() + "' has just made");
          continue;
        }
      remark.declined(reason);
    }
  }
};
} // namespace
