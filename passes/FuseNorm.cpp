//===- FuseNorm.cpp - a norm is recomputed by the stages that consume it -----------------===//
//
// A norm costs each worker less than a barrier would. Where something outside a stage uses it, it is left, and nothing
// is saved.
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
    FusionRemark remark(norm, "FuseNorm");
    llvm::MapVector<StageOp, Value> clones;
    for (OpOperand &use : llvm::make_early_inc_range(norm.getResult().getUses())) {
      auto stage = use.getOwner()->getParentOfType<StageOp>();
      if (!stage) {
        remark.declined("'" + use.getOwner()->getName().getStringRef() + "' uses the norm and is in no stage");
        continue;
      }
      Value &clone = clones[stage];
      if (!clone) {
        OpBuilder builder = OpBuilder::atBlockBegin(&stage.getBody().front());
        clone = builder.clone(*norm)->getResult(0);
      }
      use.set(clone);
    }
    if (norm.use_empty())
      norm.erase();
    std::string stages;
    for (auto &[stage, clone] : llvm::reverse(clones)) // uses are listed from the last to the first
      stages += (stages.empty() ? "'" : ", '") + stage.getName().str() + "'";
    if (!stages.empty())
      remark.fused("is recomputed by every worker of " + stages);
  }
};
} // namespace
