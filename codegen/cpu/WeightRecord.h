//===- WeightRecord.h - one record of an integer weight, as vectors of rows ----------===//
//
// Codes, scales and mins of a record (PackedLayout.h), loaded and unpacked where they are first asked for and then
// kept: who asks in the order of the record reads memory in the order of its addresses. Knows formats by their
// properties.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_CPU_WEIGHTRECORD_H
#define SLUICE_CODEGEN_CPU_WEIGHTRECORD_H

#include "codegen/cpu/Lanes.h"
#include "dialects/stream/PackedLayout.h"
#include <map>

namespace sluice::codegen {

class WeightRecord {
public:
  // Vectors of `lanes` rows, the first from row `firstRow` of the tile. `usedOnce`: codes are for one product each, so
  // that it does not pay to move them to the lowest bits first.
  WeightRecord(Lanes &l, const stream::PackedLayout &layout, int64_t lanes, Value firstRow, Value record, bool usedOnce)
      : l(l), layout(layout), format(*layout.format), n(lanes), firstRow(firstRow),
        words(l.at(record, l.mul(firstRow, 4))), usedOnce(usedOnce) {}

  // Where there are sub-scales: what scale() and min() of all blocks give, `vectors` of them, as f32
  // [block][part][kind] [vector] at `to`, unpackedBytes of them. Then run `run` (which may be known when the code runs)
  // as a record of its own with scales from there: so the code for one run is for all, and short enough for the
  // processor's front end.
  int64_t unpackedBytes(int64_t vectors) const { return layout.recordBlocks() * unpackedBlock(vectors); }
  void unpackScales(int64_t vectors, Value to);
  WeightRecord run(Value run, int64_t vectors, Value unpacked) const;

  // Forgets all, and loads again after `value` is computed: what is needed much later is not kept in registers.
  void reloadAfter(Value value);
  // For code that reads the record once, in the order of its addresses: what is asked for from here on is loaded after
  // `values` are computed. The share of the run's words for its `group` (-1: what comes before the codes), `ahead`
  // bytes on, is prefetched, if that is not 0: spread over the run, for the memory takes only so many requests at a
  // time.
  void begin(int64_t group, int64_t vectors, mlir::ValueRange values, int64_t ahead);

  // Blocks of 32 columns are numbered in the record; parts of a block have a scale each.
  int64_t blocks() const { return layout.recordBlocks(); }
  int64_t parts() const { return stream::PackedLayout::blockColumns / format.scaleElements; }

  // Unsigned codes of four columns, [row][4] bytes, factor(block) times what they are.
  Value codes(int64_t block, int64_t group, int64_t v);
  int64_t factor(int64_t block) const;
  unsigned maxCode(int64_t block) const { return format.maxCode() * unsigned(factor(block)); }
  // Codes of a group that is known when the code runs, `times` what they are: 1, or fitsTimes(times).
  Value codesOfGroup(int64_t block, Value group, int64_t v, int64_t times);
  bool fitsTimes(int64_t times) const { return format.table.empty() && format.maxCode() * times <= 255; }

  // Of f32 lanes: what one code counts, divided by factor(block).
  Value scale(int64_t block, int64_t part, int64_t v);
  Value min(int64_t block, int64_t part, int64_t v);

private:
  struct Words {
    Value low, high;
  };
  // Bytes from bit `shift` on to bit `to`, `bits` of each.
  Value field(Value bytes, int64_t shift, int64_t bits, int64_t to);
  Value unpack(const stream::PackedBits &bits, int64_t step, Words words, int64_t to);
  Value word(int64_t at, int64_t v);
  // The word at byte `at` of the record plus `offset`.
  Value loadWord(int64_t at, Value offset, int64_t v);
  // f16 numbers, or the scale's kind, [tileRows] from byte `at` of the record on.
  Value halves(int64_t at, int64_t v);
  Value exponents(int64_t at, int64_t v);
  // Sub-scale `number` of the record, as f32.
  Value subScale(int64_t number, int64_t v);
  int64_t unpackedBlock(int64_t vectors) const { return parts() * 2 * vectors * n * 4; }
  // Offset of the scale (kind 0) or the min (1).
  int64_t unpackedAt(int64_t block, int64_t part, int64_t kind, int64_t v) const {
    return block * unpackedBlock(unpackedVectors) + ((part * 2 + kind) * unpackedVectors + v) * n * 4;
  }
  Value superScale(int64_t v, int64_t divisor);
  Value superMin(int64_t v);

  Value kept(std::tuple<int, int64_t, int64_t> key, llvm::function_ref<Value()> make);
  int64_t runAt(int64_t block) const { return layout.codesAt + block / layout.runBlocks * layout.runBytes(); }
  unsigned alignment(int64_t at, int64_t wanted) const;
  Type floats() { return l.vec(n, l.f32()); }
  Type ints() { return l.vec(n, l.i32()); }
  Type bytes() { return l.vec(4 * n, l.i8()); }

  Lanes &l;
  const stream::PackedLayout &layout;
  const llama::FormatInfo &format;
  int64_t n;
  Value firstRow, words; // words: address of the first row's in the record
  bool usedOnce;
  Value unpacked; // scales, if they were
  int64_t unpackedVectors = 0;
  std::map<std::tuple<int, int64_t, int64_t>, Value> values; // what was made, by kind, number and vector
};

} // namespace sluice::codegen
#endif
