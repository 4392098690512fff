//===- Support.cpp - what of the dialect has no code for devices yet --------------------===//
//
// The one list of it, so that a model that needs it is refused with a line instead of compiled wrongly. To shorten.
//
//===--------------------------------------------------------------------------------------===//

#include "codegen/nvptx/Support.h"
#include "dialects/stream/Stream.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

// What `op` needs that there is no code for; empty if there is nothing.
static std::string lacking(Operation *op) {
  if (isa<SumOp, WriteOp, GegluOp, BiasOp, ScaleOp, SoftcapOp>(op))
    return op->getName().getStringRef().str();
  if (auto embed = dyn_cast<EmbedOp>(op)) {
    if (embed.getScale().convertToFloat() != 1)
      return "scaled embeddings";
  } else if (auto table = dyn_cast<RopeTableOp>(op); table && table.getMagnitude().convertToDouble() != 1) {
    return "a rope with a magnitude";
  } else if (auto append = dyn_cast<AppendOp>(op); append && (append.getNorm() || append.getRope())) {
    return "normalised keys";
  } else if (auto merge = dyn_cast<MergeOp>(op); merge && merge.getWindow()) {
    return "attention with a window";
  } else if (auto attention = dyn_cast<AttentionOp>(op)) {
    if (attention.getWindow() || attention.getScale() || attention.getSoftcap() || attention.getNorm() ||
        attention.getRope())
      return "attention with a window, a scale, a cap or normalised queries";
  }
  return "";
}

LogicalResult sluice::codegen::checkDeviceSupport(Operation *model, StringRef target) {
  WalkResult result = model->walk([&](Operation *op) {
    std::string what = lacking(op);
    if (what.empty())
      return WalkResult::advance();
    model->emitError("target '") << target << "' has no code yet for " << what
                                 << ", which this model needs; compile it for a processor: --target=host";
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}
