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
      StageOp stage = producingStage(op.getGate());
      std::string reason = "gate and up are not made by one stage";
      if (stage && producingStage(op.getUp()) == stage)
        if (StageOp result = absorb(stage, op, reason)) {
          fused(op, "FuseSwiglu") << "halves what '" + result.getName().str() + "' writes";
          continue;
        }
      notFused(op, "FuseSwiglu") << reason;
    }
  }
};
} // namespace
