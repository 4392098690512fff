//===- Outliers.h - channels that lie far outside the others of their token ------------===//
//
// x = step * high + rest: from channels beyond a threshold a multiple of `step`, a power of two, is taken away, so that
// they do not make the codes of their block coarse. What is taken away goes into a list for each token, in the order of
// columns, by groups of four; dots meet it after all blocks, in the same order in every program.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_CPU_OUTLIERS_H
#define SLUICE_CODEGEN_CPU_OUTLIERS_H

#include "codegen/cpu/Lanes.h"
#include "dialects/stream/PackedLayout.h"

namespace sluice::codegen {

// A token's list: f32 step, i32 bytes of its entries, the entries, and one of zeros that ends it. An entry: four i8
// high, then for each of `layouts` the words that it needs, i32.
struct OutlierList {
  double threshold = 0; // times the root mean square of the token; 0: there are no lists
  int64_t width = 0;    // of the token
  mlir::SmallVector<stream::PackedLayout, 1> layouts = {}; // of weights that meet it: every form once

  enum Word {
    Start,                  // minus the zero point times the sum of high
    LowAt, LowShift,        // byte in the tile of the word with the codes' lower bits, and where they are in each byte
    HighAt, HighShift,      // likewise of the upper bits
    ScaleAt,                // byte in the tile of the scale
    SubLowAt, SubLowShift,  // of the sub-scale's lower bits, in an i32 of its word
    SubHighAt, SubHighShift
  };
  static llvm::SmallVector<Word> wordsOf(const stream::PackedLayout &layout);
  // Index in `layouts` of one such as `layout`; added if it is new.
  void add(const stream::PackedLayout &layout);
  unsigned indexOf(const stream::PackedLayout &layout) const;

  static constexpr int64_t stepAt = 0, endAt = 4, entriesAt = 8;
  int64_t entryBytes() const { return wordsAt(layouts.size()); }
  int64_t wordsAt(unsigned layout) const; // in an entry
  // Squares of outliers sum up to no more than those of all.
  int64_t capacity() const;
  int64_t bytes() const;
};

// Takes the outliers of one token away, block by block.
class OutlierWriter {
public:
  // `list` is the token's; vectors have n lanes.
  OutlierWriter(Lanes &l, const OutlierList &layout, Value meanSquare, Value list, int64_t n);
  // `x`: the 32 channels of block `block`. Leaves the rest of them there; the result is `high`, i32 lanes.
  Values take(llvm::MutableArrayRef<Value> x, Value block);
  void finish();
  Value step; // f32

private:
  void append(llvm::ArrayRef<Value> high, Value block);
  void storeEntry(Value entry, Value column, Value high, Value sum);

  Lanes &l;
  const OutlierList &layout;
  Value list, threshold, inverseStep, minusStep;
  int64_t n;
};

// Adds what the lists of `tokens` tokens, one after another from `lists` on, give with rows of a tile: sums of f32
// lanes, [vector][token].
void addOutliers(Lanes &l, const OutlierList &list, const stream::PackedLayout &layout, Value tile, Value firstRow,
                 int64_t lanes, Value lists, int64_t tokens, Values &sums);

} // namespace sluice::codegen
#endif
