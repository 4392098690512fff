//===- FusePostNorm.cpp - a sum with a norm is computed by those who read it --------------===//
//
// A norm needs all rows of what it normalises, so a sum with it cannot join the tiles that make these rows. The next
// stage's workers compute it before their linears, as they do with other norms, and leave it in a buffer for what
// comes later. The layer's output, which nobody in the block reads, is computed once for each token.
//
//===------------------------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/StageFusion.h"

namespace sluice {
#define GEN_PASS_DEF_FUSEPOSTNORM
#include "passes/Passes.h.inc"
} // namespace sluice

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

namespace {
struct FusePostNorm : sluice::impl::FusePostNormBase<FusePostNorm> {
  void runOnOperation() override {
    SmallVector<AddOp> ops;
    getOperation().walk([&](AddOp op) {
      if (!op->getParentOfType<StageOp>() && !normsOf(op).empty())
        ops.push_back(op);
    });
    for (AddOp op : ops)
      fuse(op);
  }

  // The operands that are norms for this sum alone.
  static SmallVector<RmsNormOp> normsOf(AddOp add) {
    SmallVector<RmsNormOp> norms;
    for (Value operand : add->getOperands())
      if (auto norm = operand.getDefiningOp<RmsNormOp>();
          norm && !norm->getParentOfType<StageOp>() && llvm::hasSingleElement(norm.getResult().getUses()))
        norms.push_back(norm);
    return norms;
  }

  // The first stage of linears whose prologue reads `value`.
  static StageOp readerOf(Value value) {
    StageOp first;
    for (Operation *user : value.getUsers()) {
      auto stage = user->getParentOfType<StageOp>();
      if (stage && isa<RmsNormOp, LinearOp>(user) && (!first || stage->isBeforeInBlock(first)) &&
          llvm::all_of(stage.getAnchors(), llvm::IsaPred<LinearOp>))
        first = stage;
    }
    return first;
  }

  void fuse(AddOp add) {
    FusionRemark remark(add, "FusePostNorm");
    SmallVector<RmsNormOp> norms = normsOf(add);
    StageOp stage = readerOf(add.getResult());
    if (!stage) {
      OpBuilder builder(add);
      stage = StageOp::create(builder, add.getLoc(), TypeRange(), "post_norm");
      builder.createBlock(&stage.getBody());
      YieldOp::create(builder, add.getLoc(), ValueRange());
    }
    const std::string name = stage.getName().str();
    std::string reason;
    SmallVector<Operation *> ops(norms.begin(), norms.end());
    ops.push_back(add);
    for (Operation *op : ops) {
      StageOp result = absorb(stage, op, reason);
      if (!result)
        return remark.declined(reason);
      stage = result;
    }
    Block &body = stage.getBody().front();
    for (Operation *op : llvm::reverse(ops))
      op->moveBefore(&body, body.begin());
    remark.fused("is computed in the prologue of '" + name + "'");
  }
};
} // namespace
