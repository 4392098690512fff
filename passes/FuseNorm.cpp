//===- FuseNorm.cpp - a norm is recomputed by the stages that consume it -----------------===//
//
// A norm costs each worker less than a barrier would.
//
//===------------------------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/StageFusion.h"
#include "llvm/ADT/MapVector.h"

namespace sluice {
#define GEN_PASS_DEF_FUSENORM
#include "passes/Passes.h.inc"
} // namespace sluice

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

namespace {
struct FuseNorm : sluice::impl::FuseNormBase<FuseNorm> {
  void runOnOperation() override {
    SmallVector<RmsNormOp> norms;
    getOperation().walk([&](RmsNormOp norm) {
      if (!norm->getParentOfType<StageOp>())
        norms.push_back(norm);
    });
    for (RmsNormOp norm : norms)
      fuse(norm);
  }

  void fuse(RmsNormOp norm) {
    llvm::MapVector<Operation *, Value> clones; // by stage
    for (OpOperand &use : llvm::make_early_inc_range(norm.getResult().getUses())) {
      auto stage = use.getOwner()->getParentOfType<StageOp>();
      if (!stage) {
        notFused(norm, "FuseNorm") << "'" + use.getOwner()->getName().getStringRef().str() + "' uses the norm and is in no stage";
        continue;
      }
      Value &clone = clones[stage];
      if (!clone) {
        OpBuilder builder = OpBuilder::atBlockBegin(&stage.getBody().front());
        clone = builder.clone(*norm)->getResult(0);
        fused(norm, "FuseNorm") << "is recomputed by every worker of '" + stage.getName().str() + "': one barrier fewer";
      }
      use.set(clone);
    }
    if (norm.use_empty())
      norm.erase();
  }
};
} // namespace
