//===- PackedLayout.cpp - where the bytes of a packed weight lie -------------------===//

#include "dialects/stream/PackedLayout.h"
#include "llvm/Support/MathExtras.h"

using namespace sluice;
using namespace sluice::stream;

PackedLayout PackedLayout::get(llama::WeightType type, int64_t tileRows) {
  PackedLayout layout{};
  layout.format = &llama::formatInfo(type.getFormat());
  layout.rows = type.getRows();
  layout.cols = type.getCols();
  layout.tileRows = tileRows;
  layout.tiles = llvm::divideCeil(layout.rows, tileRows);
  if (layout.format->isFloat) {
    layout.recordK = layout.format->inPairs ? 2 : 1;
    layout.recordBlocks = 1;
    layout.recordBytes = tileRows * layout.recordK * layout.format->codeBits / 8;
  } else {
    layout.recordBlocks = 8 / layout.format->codeBits; // blocks sharing a byte
    layout.recordK = layout.recordBlocks * layout.format->blockElements;
    layout.scalesAt = tileRows * layout.format->blockElements;
    layout.minsAt = layout.scalesAt + layout.recordBlocks * tileRows * 2;
    layout.recordBytes = layout.minsAt + (layout.format->hasMin() ? layout.recordBlocks * tileRows * 2 : 0);
  }
  layout.recordsPerTile = llvm::divideCeil(layout.cols, layout.recordK);
  layout.tileBytes = llvm::alignTo(layout.recordsPerTile * layout.recordBytes, 64);
  return layout;
}
