//===- PackedLayout.cpp - where the bytes of a packed weight lie -------------------===//

#include "dialects/stream/PackedLayout.h"
#include "llvm/Support/MathExtras.h"
#include <utility>

using namespace sluice;
using namespace sluice::stream;

PackedBits PackedBits::get(int bits, int steps) {
  const int low = bits < 4 ? 2 : bits < 8 ? 4 : 8;
  return {low, bits - low, steps};
}

PackedLayout PackedLayout::get(llama::WeightType type, int64_t tileRows) {
  PackedLayout layout{};
  layout.format = &llama::formatInfo(type.getFormat());
  const llama::FormatInfo &format = *layout.format;
  layout.rows = type.getRows();
  layout.cols = type.getCols();
  layout.tileRows = tileRows;
  layout.tiles = llvm::divideCeil(layout.rows, tileRows);
  if (format.isFloat) {
    layout.recordK = format.inPairs ? 2 : 1;
    layout.recordBytes = tileRows * layout.recordK * format.codeBits / 8;
  } else {
    layout.runBlocks = 8 / PackedBits::get(format.codeBits, 0).lowBits;
    layout.codes = PackedBits::get(format.codeBits, blockGroups * layout.runBlocks);
    const int64_t runK = layout.runBlocks * blockColumns;
    layout.runs = std::max<int64_t>(1, format.blockElements / runK);
    layout.recordK = layout.runs * runK;
    int64_t at = 0;
    auto place = [&](int64_t &offset, int64_t bytes) { offset = std::exchange(at, at + bytes); };
    if (format.hasSubScales()) {
      const int64_t numbers = layout.runs * layout.partsOfRun() * layout.kinds();
      layout.subScales = PackedBits::get(format.sub.bits, numbers / 4);
      place(layout.scalesAt, tileRows * 2);
      place(layout.minsAt, format.hasMin() ? tileRows * 2 : 0);
      place(layout.subScalesAt, layout.subScales.words() * layout.wordBytes());
      place(layout.codesAt, layout.runs * layout.runBytes());
    } else {
      place(layout.codesAt, layout.runs * layout.runBytes());
      place(layout.scalesAt, layout.runBlocks * tileRows * layout.scaleBytes());
      place(layout.minsAt, format.hasMin() ? layout.runBlocks * tileRows * 2 : 0);
    }
    layout.recordBytes = at;
  }
  layout.recordsPerTile = llvm::divideCeil(layout.cols, layout.recordK);
  layout.tileBytes = llvm::alignTo(layout.recordsPerTile * layout.recordBytes, 64);
  return layout;
}
