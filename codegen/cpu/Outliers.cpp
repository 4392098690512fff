//===- Outliers.cpp - channels that lie far outside the others of their token ----------===//

#include "codegen/cpu/Outliers.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

using Word = OutlierList::Word;

//===-- Lists -----------------------------------------------------------------------------===//

SmallVector<Word> OutlierList::wordsOf(const PackedLayout &layout) {
  SmallVector<Word> words{LowAt, ScaleAt};
  auto add = [&](bool needed, std::initializer_list<Word> more) {
    if (needed)
      words.append(more);
  };
  add(layout.format->zeroPoint, {Start});
  add(layout.codes.lowBits < 8, {LowShift});
  add(layout.codes.highBits, {HighAt, HighShift});
  add(layout.format->hasSubScales(), {SubLowAt, SubLowShift});
  add(layout.format->hasSubScales() && layout.subScales.highBits, {SubHighAt, SubHighShift});
  return words;
}

static bool isSameForm(const PackedLayout &x, const PackedLayout &y) {
  return x.format == y.format && x.tileRows == y.tileRows;
}

void OutlierList::add(const PackedLayout &layout) {
  if (llvm::none_of(layouts, [&](const PackedLayout &other) { return isSameForm(layout, other); }))
    layouts.push_back(layout);
}

unsigned OutlierList::indexOf(const PackedLayout &layout) const {
  return llvm::find_if(layouts, [&](const PackedLayout &other) { return isSameForm(layout, other); }) - layouts.begin();
}

int64_t OutlierList::wordsAt(unsigned layout) const {
  int64_t words = 1;
  for (unsigned i = 0; i < layout; ++i)
    words += wordsOf(layouts[i]).size();
  return words * 4;
}

int64_t OutlierList::capacity() const {
  constexpr double rounding = 1.001; // of the mean square
  return std::min<int64_t>(width / 4, int64_t(double(width) / (threshold * threshold) * rounding));
}

int64_t OutlierList::bytes() const {
  return threshold ? llvm::alignTo(entriesAt + (capacity() + 1) * entryBytes(), 64) : 0;
}

//===-- Writing -----------------------------------------------------------------------------===//

OutlierWriter::OutlierWriter(Lanes &l, const OutlierList &layout, Value meanSquare, Value list, int64_t n)
    : l(l), layout(layout), list(list), n(n) {
  auto f = [&](double value) { return l.constantLike(l.f32(), value); };
  Value rms = math::SqrtOp::create(l.b, meanSquare);
  // Where squares may leave the range of normal numbers, and where there is something that is no number, nothing is
  // taken away.
  Value valid = l.andi(l.greater(meanSquare, f(1e-30)), l.greater(f(1e30), meanSquare));
  Value infinite = f(std::numeric_limits<double>::infinity());
  threshold = l.splat(l.select(valid, l.mulf(rms, f(layout.threshold)), infinite), n);
  // No channel is larger than the norm: the next larger power of two of its 127th part, and the inverse of that.
  Value least = l.bitcast(l.mulf(rms, f(std::sqrt(double(layout.width)) / 127)), l.i32());
  Value bits = l.add(l.andi(least, 0x7f800000), 0x00800000);
  Value inverse = l.sub(l.constantInt(l.i32(), 0x7f000000), bits);
  step = l.select(valid, l.bitcast(bits, l.f32()), f(0));
  inverseStep = l.splat(l.select(valid, l.bitcast(inverse, l.f32()), f(0)), n);
  minusStep = l.splat(l.subf(f(0), step), n);
  l.store(step, l.at(list, OutlierList::stepAt), 4);
  l.store(l.constantInt(l.i32(), 0), l.at(list, OutlierList::endAt), 4);
}

Values OutlierWriter::take(MutableArrayRef<Value> x, Value block) {
  Values high;
  Value any;
  for (Value &value : x) {
    Value magnitude = l.bitcast(l.andi(l.bitcast(value, l.vec(n, l.i32())), 0x7fffffff), value.getType());
    Value beyond = l.greater(magnitude, threshold);
    any = any ? l.ori(any, beyond) : beyond;
    high.push_back(l.select(beyond, l.round(l.mulf(value, inverseStep)), l.constantInt(l.vec(n, l.i32()), 0)));
    value = l.fma(l.toFloat(high.back()), minusStep, value); // exact
  }
  l.when(l.any(any), [&] { append(high, block); });
  return high;
}

// Every group is written where the next entry goes, and stays if there is something in it.
void OutlierWriter::append(ArrayRef<Value> high, Value block) {
  Value endAt = l.at(list, OutlierList::endAt), entries = l.at(list, OutlierList::entriesAt);
  Value end = l.load(l.i32(), endAt, 4);
  for (auto [v, lanes] : llvm::enumerate(high)) {
    Value sums = lanes; // in each lane that of its group
    for (int64_t distance : {1, 2}) {
      SmallVector<int64_t> partner;
      for (int64_t i = 0; i < n; ++i)
        partner.push_back(i ^ distance);
      sums = l.add(sums, vector::ShuffleOp::create(l.b, sums, sums, partner));
    }
    Value fours = l.bitcast(arith::TruncIOp::create(l.b, l.vec(n, l.i8()), lanes), l.vec(n / 4, l.i32()));
    for (int64_t g = 0; g < n / 4; ++g) {
      Value four = l.extract(fours, g);
      Value column = l.add(l.mul(block, PackedLayout::blockGroups), int64_t(v) * n / 4 + g);
      storeEntry(l.at(entries, l.widen(end)), column, four, l.extract(sums, 4 * g));
      Value isEmpty = l.equal(four, l.constantInt(l.i32(), 0));
      end = l.select(isEmpty, end, l.add(end, layout.entryBytes()));
    }
  }
  l.store(end, endAt, 4);
}

void OutlierWriter::finish() {
  Value end = l.widen(l.load(l.i32(), l.at(list, OutlierList::endAt), 4)), zero = l.constantInt(l.i32(), 0);
  storeEntry(l.at(l.at(list, OutlierList::entriesAt), end), l.c64(0), zero, zero);
}

// What word `word` says of group `group`, an i64 counted from column 0 on.
static Value wordOf(Lanes &l, const PackedLayout &layout, Word word, Value group, Value sum) {
  const PackedBits &codes = layout.codes, &subs = layout.subScales;
  constexpr int64_t groups = PackedLayout::blockGroups;
  const int64_t parts = PackedLayout::blockColumns / layout.format->scaleElements;
  Value record = l.mul(l.div(group, layout.recordK / 4), layout.recordBytes);
  Value block = l.rem(l.div(group, groups), layout.recordBlocks()), inBlock = l.rem(group, groups);
  Value run = l.div(block, layout.runBlocks), inRun = l.rem(block, layout.runBlocks);
  Value runAt = l.add(l.add(record, layout.codesAt), l.mul(run, layout.runBytes()));
  auto step = [&] { return l.add(l.mul(inBlock, layout.runBlocks), inRun); };
  auto sub = [&] {
    Value part = l.add(l.mul(inRun, parts), l.div(inBlock, groups / parts));
    return l.add(l.mul(run, layout.subScaleOf(1, 0)), part);
  };
  // Of numbers that fill words from byte `at` on: where the word of a step is, and the step's place in its bytes.
  auto wordAt = [&](Value at, int64_t bits, Value step, int64_t before) {
    return l.add(l.add(at, before * layout.wordBytes()), l.mul(l.div(step, 8 / bits), layout.wordBytes()));
  };
  auto shift = [&](int64_t bits, Value step) { return l.mul(l.rem(step, 8 / bits), bits); };
  auto subAt = [&] { return l.add(record, layout.subScalesAt); };
  auto subShift = [&](int64_t bits) { return l.add(shift(bits, l.div(sub(), 4)), l.mul(l.rem(sub(), 4), 8)); };
  switch (word) {
  case Word::Start:
    return l.mul(sum, -int64_t(layout.format->zeroPoint));
  case Word::LowAt:
    return l.narrow(wordAt(runAt, codes.lowBits, step(), codes.highWords()));
  case Word::LowShift:
    return l.narrow(shift(codes.lowBits, step()));
  case Word::HighAt:
    return l.narrow(wordAt(runAt, codes.highBits, step(), 0));
  case Word::HighShift:
    return l.narrow(shift(codes.highBits, step()));
  case Word::ScaleAt: {
    Value at = l.add(record, layout.scalesAt);
    if (!layout.format->hasSubScales())
      at = l.add(at, l.mul(block, layout.tileRows * layout.scaleBytes()));
    return l.narrow(at);
  }
  case Word::SubLowAt:
    return l.narrow(wordAt(subAt(), subs.lowBits, l.div(sub(), 4), subs.highWords()));
  case Word::SubLowShift:
    return l.narrow(subShift(subs.lowBits));
  case Word::SubHighAt:
    return l.narrow(wordAt(subAt(), subs.highBits, l.div(sub(), 4), 0));
  case Word::SubHighShift:
    return l.narrow(subShift(subs.highBits));
  }
  llvm_unreachable("all words are here");
}

void OutlierWriter::storeEntry(Value entry, Value column, Value high, Value sum) {
  l.store(high, entry, 4);
  for (unsigned i = 0; i < layout.layouts.size(); ++i)
    for (auto [index, word] : llvm::enumerate(OutlierList::wordsOf(layout.layouts[i])))
      l.store(wordOf(l, layout.layouts[i], word, column, sum), l.at(entry, layout.wordsAt(i) + index * 4), 4);
}

//===-- Dots ----------------------------------------------------------------------------===//

namespace {

// An entry of a list, and what it says of a tile: codes and scales of vectors of rows.
class OutlierEntry {
public:
  OutlierEntry(Lanes &l, const OutlierList &list, const PackedLayout &layout, Value tile, Value firstRow, int64_t n,
               Value entry)
      : l(l), layout(layout), format(*layout.format), tile(tile), firstRow(firstRow), n(n), entry(entry),
        words(OutlierList::wordsOf(layout)), wordsAt(list.wordsAt(list.indexOf(layout))) {}

  // The sum of the products of vector v, in units of the step.
  Value addTo(Value sum, int64_t v) {
    Value start = format.zeroPoint ? l.loadSplat(ints(), at(Word::Start), 4) : l.constantInt(ints(), 0);
    Value high = l.bitcast(l.loadSplat(ints(), entry, 4), bytes());
    return l.fma(l.toFloat(l.dot4(start, codes(v), high, format.maxCode())), scale(v), sum);
  }

private:
  Value codes(int64_t v) {
    const PackedBits &bits = layout.codes;
    Value codes = bits.lowBits == 8 ? word(Word::LowAt, v) : field(Word::LowAt, Word::LowShift, bits.lowBits, v);
    if (bits.highBits)
      codes = l.ori(codes, l.shiftBytes(field(Word::HighAt, Word::HighShift, bits.highBits, v), -bits.lowBits));
    return format.table.empty() ? codes : l.lookup(format.table, format.zeroPoint, codes);
  }

  Value scale(int64_t v) {
    const int64_t size = layout.scaleBytes();
    Value at = l.at(row(Word::ScaleAt, size), v * n * size);
    if (format.scaleKind == llama::ScaleKind::Exponent8)
      return l.powerOfTwo(arith::ExtUIOp::create(l.b, ints(), l.load(l.vec(n, l.i8()), at, 1)));
    Value scale = l.loadFloat(llama::Format::F16, n, at, alignment(size));
    if (!format.hasSubScales())
      return scale;
    const PackedBits &bits = layout.subScales;
    auto part = [&](Word wordAt, Word shift, int64_t count) {
      return l.andi(shifted(wordAt, shift, v), (int64_t(1) << count) - 1);
    };
    Value sub = part(Word::SubLowAt, Word::SubLowShift, bits.lowBits);
    if (bits.highBits)
      sub = l.ori(sub, l.shl(part(Word::SubHighAt, Word::SubHighShift, bits.highBits), bits.lowBits));
    return l.mulf(scale, l.toFloat(l.add(sub, -int64_t(format.sub.zero))));
  }

  // Of each byte of a word, `bits` bits from where the entry says, moved to the lowest.
  Value field(Word wordAt, Word shift, int64_t bits, int64_t v) {
    return l.andi(l.bitcast(shifted(wordAt, shift, v), bytes()), (1 << bits) - 1);
  }
  Value shifted(Word wordAt, Word shift, int64_t v) {
    return l.shr(l.bitcast(word(wordAt, v), ints()), l.loadSplat(ints(), at(shift), 4));
  }
  Value word(Word wordAt, int64_t v) {
    return l.load(bytes(), l.at(row(wordAt, 4), v * n * 4), alignment(4));
  }
  // Address of what a word says, for the first row; a row has `size` bytes.
  Value row(Word word, int64_t size) {
    return l.at(l.at(tile, l.widen(l.load(l.i32(), at(word), 4))), l.mul(firstRow, size));
  }
  Value at(Word word) { return l.at(entry, wordsAt + (llvm::find(words, word) - words.begin()) * 4); }
  // Of vectors of rows with `size` bytes each.
  unsigned alignment(int64_t size) const {
    const int64_t offsets = layout.recordBytes | layout.codesAt | layout.scalesAt | layout.subScalesAt | (n * size);
    return offsets & -offsets;
  }
  Type ints() { return l.vec(n, l.i32()); }
  Type bytes() { return l.vec(4 * n, l.i8()); }

  Lanes &l;
  const PackedLayout &layout;
  const llama::FormatInfo &format;
  Value tile, firstRow;
  int64_t n;
  Value entry;
  SmallVector<Word> words;
  int64_t wordsAt;
};

} // namespace

// Lists have different lengths: the last entry of the shorter ones, which adds zeros, is met again until the longest is
// done, so that there is one loop for all.
void sluice::codegen::addOutliers(Lanes &l, const OutlierList &list, const PackedLayout &layout, Value tile,
                                  Value firstRow, int64_t lanes, Value lists, int64_t tokens, Values &sums) {
  Type floats = l.vec(lanes, l.f32());
  const int64_t vectors = int64_t(sums.size()) / tokens;
  Values ends;
  Value longest;
  auto listOf = [&](int64_t token) { return l.at(lists, token * list.bytes()); };
  for (int64_t t = 0; t < tokens; ++t) {
    ends.push_back(l.widen(l.load(l.i32(), l.at(listOf(t), OutlierList::endAt), 4)));
    longest = t ? l.max(longest, ends[t]) : ends[t];
  }
  Values zero(sums.size(), l.constantLike(floats, 0.0));
  Values steps = l.loop(l.c64(0), longest, list.entryBytes(), zero, [&](Value at, ValueRange state) {
    Values sums(state.begin(), state.end());
    for (int64_t t = 0; t < tokens; ++t) {
      Value entry = l.at(l.at(listOf(t), OutlierList::entriesAt), tokens > 1 ? l.min(at, ends[t]) : at);
      OutlierEntry outliers(l, list, layout, tile, firstRow, lanes, entry);
      for (int64_t v = 0; v < vectors; ++v)
        sums[v * tokens + t] = outliers.addTo(sums[v * tokens + t], v);
    }
    return sums;
  });
  for (int64_t v = 0; v < vectors; ++v)
    for (int64_t t = 0; t < tokens; ++t) {
      Value &sum = sums[v * tokens + t];
      sum = l.fma(steps[v * tokens + t], l.loadSplat(floats, l.at(listOf(t), OutlierList::stepAt), 4), sum);
    }
}
