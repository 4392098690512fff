//===- FuseSwiglu.cpp - SwiGLU or GeGLU joins the stage of gate and up --------------------===//

#include "passes/Passes.h"
#include "passes/StageFusion.h"

namespace sluice {
#define GEN_PASS_DEF_FUSESWIGLU
#include "passes/Passes.h.inc"
} // namespace sluice

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

namespace {
struct FuseSwiglu : sluice::impl::FuseSwigluBase<FuseSwiglu> {
  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<SwigluOp, GegluOp>(op) && !op->getParentOfType<StageOp>())
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      FusionRemark remark(op, "FuseSwiglu");
      StageOp stage = producingStage(op->getOperand(0)); // gate, and up
      std::string reason = "gate and up are not made by one stage";
      if (stage && producingStage(op->getOperand(1)) == stage)
        if (StageOp result = absorb(stage, op, reason)) {
          remark.fused("joins the rows that '" + result.getName() + "' has just made");
          continue;
        }
      remark.declined(reason);
    }
  }
};
} // namespace
