//===- FuseSwiglu.cpp - the activation joins the stage of gate and up ---------------------===//

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
    SmallVector<SwigluOp> ops;
    getOperation().walk([&](SwigluOp op) {
      if (!op->getParentOfType<StageOp>())
        ops.push_back(op);
    });
    for (SwigluOp op : ops) {
      FusionRemark remark(op, "FuseSwiglu");
      StageOp stage = producingStage(op.getGate());
      std::string reason = "gate and up are not made by one stage";
      if (stage && producingStage(op.getUp()) == stage)
        if (StageOp result = absorb(stage, op, reason)) {
          remark.fused("joins the rows that '" + result.getName() + "' has just made");
          continue;
        }
      remark.declined(reason);
    }
  }
};
} // namespace
