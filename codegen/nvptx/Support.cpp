//===- Support.cpp - what of the dialect has no code for devices yet --------------------===//
//
// The one list of it, so that a model that needs it is refused with a line instead of compiled wrongly. To shorten.
//
//===--------------------------------------------------------------------------------------===//

#include "codegen/nvptx/Support.h"
#include "dialects/llama/Formats.h"
#include "dialects/stream/PackedLayout.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

bool sluice::codegen::hasDeviceCode(const llama::FormatInfo &format) {
  return format.isFloat ||
         (!format.hasSubScales() && !format.high.bits && format.table.empty() &&
          format.scaleKind == llama::ScaleKind::Half && format.scaleElements == PackedLayout::blockColumns &&
          (format.codeBits == 4 || format.codeBits == 8));
}

// What `op` needs that there is no code for; empty if there is nothing.
static std::string lacking(Operation *op) {
  if (auto tiles = dyn_cast<TilesOp>(op)) {
    for (Attribute name : tiles.getWeights())
      if (const llama::FormatInfo &format = llama::formatInfo(
              llama::lookupWeight(op, cast<FlatSymbolRefAttr>(name)).getWeightType().getFormat());
          !hasDeviceCode(format))
        return "weights in " + format.name.str();
  } else if (auto embed = dyn_cast<EmbedOp>(op)) {
    auto weight = llama::lookupWeight(op, embed.getWeightAttr());
    if (const llama::FormatInfo &format = llama::formatInfo(weight.getWeightType().getFormat()); !hasDeviceCode(format))
      return "embeddings in " + format.name.str();
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
