//===- FuseHeadNorm.cpp - normalised heads are finished where attention reads them --------===//
//
// Rows of a head lie in several tiles, which several workers make. Attention's work items are whole heads: they
// normalise and rotate the queries that they read, and the keys that they append.
//
//===------------------------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/StageFusion.h"

namespace sluice {
#define GEN_PASS_DEF_FUSEHEADNORM
#include "passes/Passes.h.inc"
} // namespace sluice

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

namespace {
struct FuseHeadNorm : sluice::impl::FuseHeadNormBase<FuseHeadNorm> {
  void runOnOperation() override {
    SmallVector<AttentionOp> ops;
    getOperation().walk([&](AttentionOp op) {
      if (op->getParentOfType<StageOp>())
        ops.push_back(op);
    });
    for (AttentionOp op : ops)
      fuse(op);
  }

  static bool isHeadNorm(Operation *op) {
    auto norm = dyn_cast<RmsNormOp>(op);
    WeightDeclOp weight = norm ? lookupWeight(norm, norm.getWeightAttr()) : WeightDeclOp();
    return weight && weight.getWeightType().getCols() < widthOf(norm.getInput());
  }

  // The operations outside stages that `value` is made by, the last first.
  static void chain(Value value, SmallVectorImpl<Operation *> &ops) {
    Operation *op = value.getDefiningOp();
    if (!isa_and_nonnull<RmsNormOp, RopeOp, AppendOp>(op) || op->getParentOfType<StageOp>())
      return;
    ops.push_back(op);
    chain(op->getOperand(0), ops); // rows; of an append, the keys
  }

  void fuse(AttentionOp attention) {
    SmallVector<Operation *> ops;
    chain(attention.getQuery(), ops);
    chain(attention.getCache(), ops);
    if (llvm::none_of(ops, isHeadNorm))
      return;
    FusionRemark remark(attention, "FuseHeadNorm");
    auto stage = attention->getParentOfType<StageOp>();
    for (Operation *op : ops)
      if (!llvm::hasSingleElement(op->getResult(0).getUses()))
        return remark.declined("'" + op->getName().getStringRef() + "' is used by more than '" + stage.getName() + "'");
    for (Operation *op : ops)
      op->moveBefore(&stage.getBody().front(), stage.getBody().front().begin());
    remark.fused("normalises the heads that '" + stage.getName() + "' reads");
  }
};
} // namespace
