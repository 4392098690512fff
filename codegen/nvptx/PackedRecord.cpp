//===- PackedRecord.cpp - one record of an integer weight, as a thread has it ---------===//

#include "codegen/nvptx/PackedRecord.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

static constexpr int64_t everyByte = 0x01010101;

PackedRecord::PackedRecord(Threads &t, const PackedLayout &layout, Place place)
    : t(t), layout(layout), format(*layout.format), place(place), header(t.at(place.record, t.mul(place.row, 4))),
      codesBegin(t.at(header, layout.codesAt)) {}

const Values &PackedRecord::kept(Kind kind, int64_t x, int64_t y, function_ref<Values()> make) {
  auto found = values.find({kind, x, y});
  return found != values.end() ? found->second : values.insert({{kind, x, y}, make()}).first->second;
}

Values PackedRecord::map(function_ref<Value(int64_t)> f) {
  Values result;
  for (int64_t row = 0; row < place.rows; ++row)
    result.push_back(f(row));
  return result;
}

void PackedRecord::loadHeader() {
  if (!format.hasSubScales())
    return;
  superScale(1);
  if (format.hasMin())
    kept(SuperMin, 0, 0, [&] { return halves(layout.minsAt); });
  for (int64_t word = 0; word < layout.subScales.words(); ++word)
    headerWord(layout.subScalesAt, word);
}

void PackedRecord::moveTo(int64_t run, Value at) {
  firstRun = run;
  codesBegin = t.at(at, t.mul(place.row, 4));
}

Values PackedRecord::load(Value at, Type element, unsigned bytes) {
  Type type = place.rows == 1 ? element : t.vec(place.rows, element);
  const unsigned alignment = unsigned(place.rows) * bytes;
  Value loaded = place.constant ? t.loadConstant(type, at, alignment) : t.load(type, at, alignment);
  return place.rows == 1 ? Values{loaded} : t.unpack(loaded);
}

//===-- Codes -------------------------------------------------------------------------===//

Values PackedRecord::headerWord(int64_t at, int64_t word) {
  return kept(Word, -1, word, [&] { return load(t.at(header, at + word * layout.wordBytes()), t.i32(), 4); });
}

bool PackedRecord::loadsFourWords(int64_t first) const {
  const bool isAligned = (layout.codesAt | layout.recordBytes | layout.runBytes()) % 16 == 0;
  return !place.constant && place.rows == 1 && isAligned && first + 4 <= layout.runBytes() / layout.wordBytes();
}

Values PackedRecord::runWord(int64_t run, int64_t word) {
  const int64_t first = word / 4 * 4;
  if (loadsFourWords(first) && !values.count({Word, run, word})) {
    Value lane = t.at(codesBegin, t.mul(place.row, 16 - 4));
    Values four = t.loadFourWords(t.at(lane, (run - firstRun) * layout.runBytes() + first * layout.wordBytes()));
    for (auto [i, value] : llvm::enumerate(four))
      values[{Word, run, first + int64_t(i)}] = {value};
  }
  return kept(Word, run, word, [&] {
    Value at = t.at(codesBegin, (run - firstRun) * layout.runBytes() + word * layout.wordBytes());
    if (place.group && word >= layout.codes.highWords()) // of lower bits each group has its own
      at = t.at(at, t.mul(place.group, layout.wordBytes()));
    return load(at, t.i32(), 4);
  });
}

Values PackedRecord::highWord(int64_t run, int64_t group, int64_t &shift) {
  if (!place.group) {
    PackedBits::Place high = layout.codes.high(layout.codeStep(0, group));
    shift = high.shift;
    return runWord(run, high.word);
  }
  shift = 0;
  return kept(HighField, run, group, [&] {
    const int64_t span = 8 / layout.codes.highBits / layout.runBlocks; // groups that share a word
    Value number = t.add(place.group, group);
    Value at = t.at(codesBegin, (run - firstRun) * layout.runBytes());
    Values words = load(t.at(at, t.mul(t.div(number, span), layout.wordBytes())), t.i32(), 4);
    Value by = t.mul(t.rem(number, span), layout.runBlocks * layout.codes.highBits);
    return map([&](int64_t row) { return t.shrBy(words[row], by); });
  });
}

// Of each byte the bits from `shift` on, moved to bit `to`.
Value PackedRecord::field(Value bytes, int64_t shift, int64_t bits, int64_t to) {
  if (bits == 8)
    return bytes;
  Value moved = shift < to ? t.shl(bytes, to - shift) : t.shr(bytes, shift - to);
  return t.andi(moved, everyByte * ((1 << bits) - 1) << to);
}

int64_t PackedRecord::factor(int64_t block) const {
  const bool inPlace = !layout.codes.highBits && format.table.empty();
  return inPlace ? int64_t(1) << layout.codes.low(block % layout.runBlocks).shift : 1;
}

// A word's eight codes choose bytes of the table's four words: by three bits in each half of the table, then by the
// fourth one of the halves. What comes out has the blocks' codes in turn.
PackedRecord::Both PackedRecord::lookUp(Value word) {
  assert(format.codeBits == 4 && layout.runBlocks == 2);
  Values table;
  for (int64_t first = 0; first < 16; first += 4) {
    uint32_t four = 0;
    for (int64_t i = 0; i < 4; ++i)
      four |= uint32_t(format.table[first + i] + int(format.zeroPoint)) << (8 * i);
    table.push_back(t.c(four));
  }
  Value inHalf = t.andi(word, 0x77777777);
  Value whichHalf = t.ori(t.andi(t.shr(word, 1), 0x44444444), t.c(0x32103210));
  Values found;
  for (int64_t shift : {0, 16}) {
    Value in = t.shr(inHalf, shift), which = t.shr(whichHalf, shift);
    found.push_back(t.permute(t.permute(table[0], table[1], in), t.permute(table[2], table[3], in), which));
  }
  return {t.permute(found[0], found[1], t.c(0x6420)), t.permute(found[0], found[1], t.c(0x7531))};
}

Values PackedRecord::codes(int64_t block, int64_t group) {
  return kept(Code, block, group, [&] {
    const int64_t run = block / layout.runBlocks, inRun = block % layout.runBlocks;
    const int64_t step = layout.codeStep(inRun, group);
    const PackedBits &bits = layout.codes;
    const Values low = runWord(run, bits.low(step).word);
    if (!format.table.empty()) {
      const Values &both = kept(Looked, run, group, [&] {
        Values firsts, seconds;
        for (Value word : low) {
          Both found = lookUp(word);
          firsts.push_back(found.first);
          seconds.push_back(found.second);
        }
        firsts.append(seconds);
        return firsts;
      });
      return map([&](int64_t row) { return both[inRun * place.rows + row]; });
    }
    const int64_t to = llvm::Log2_64(factor(block));
    if (!bits.highBits)
      return map([&](int64_t row) { return field(low[row], bits.low(step).shift, bits.lowBits, to); });
    int64_t shift;
    const Values high = highWord(run, group, shift);
    return map([&](int64_t row) {
      return t.ori(field(low[row], bits.low(step).shift, bits.lowBits, to),
                   field(high[row], shift + inRun * bits.highBits, bits.highBits, to + bits.lowBits));
    });
  });
}

Value PackedRecord::codesAt(int64_t block, Value offset) {
  const PackedBits &bits = layout.codes;
  const int64_t inRun = block % layout.runBlocks, to = llvm::Log2_64(factor(block));
  Value run = t.at(codesBegin, (block / layout.runBlocks - firstRun) * layout.runBytes());
  Value word = load(t.at(t.at(run, offset), bits.highWords() * layout.wordBytes()), t.i32(), 4)[0];
  if (!format.table.empty()) {
    Both found = lookUp(word);
    return inRun ? found.second : found.first;
  }
  Value low = field(word, bits.low(inRun).shift, bits.lowBits, to);
  if (!bits.highBits)
    return low;
  const int64_t span = 8 / bits.highBits / layout.runBlocks;
  Value group = t.shr(offset, llvm::Log2_64(layout.wordBytes()));
  Value high = load(t.at(run, t.mul(t.div(group, span), layout.wordBytes())), t.i32(), 4)[0];
  high = t.shrBy(high, t.mul(t.rem(group, span), layout.runBlocks * bits.highBits));
  return t.ori(low, field(high, inRun * bits.highBits, bits.highBits, to + bits.lowBits));
}

//===-- Scales and mins ---------------------------------------------------------------===//

Values PackedRecord::halves(int64_t at) {
  Values bits = load(t.at(t.at(place.record, t.mul(place.row, 2)), at), t.i16(), 2);
  return map([&](int64_t row) { return t.halfToFloat(bits[row]); });
}

Values PackedRecord::exponents(int64_t at) {
  Values bytes = load(t.at(t.at(place.record, place.row), at), t.i8(), 1);
  return map([&](int64_t row) {
    // (e - 1) << 23, and for e of 0 and 1, whose powers are no normal numbers, (e + 1) << 21: each where it is the
    // larger.
    Value e = t.extend(bytes[row], t.i32());
    return t.bitcast(t.max(t.shl(t.sub(e, 1), 23), t.shl(t.add(e, 1), 21)), t.f32());
  });
}

Values PackedRecord::superScale(int64_t divisor) {
  return kept(SuperScale, divisor, 0, [&] {
    if (divisor == 1)
      return halves(layout.scalesAt);
    const Values whole = superScale(1);
    return map([&](int64_t row) { return t.mulf(whole[row], t.f(1.0 / double(divisor))); });
  });
}

Values PackedRecord::subScale(int64_t number, int64_t zero) {
  const int64_t step = number / 4, byte = number % 4;
  const Values &four = kept(SubWord, step, 0, [&] {
    const PackedBits &bits = layout.subScales;
    const Values low = headerWord(layout.subScalesAt, bits.low(step).word);
    if (!bits.highBits)
      return map([&](int64_t row) { return field(low[row], bits.low(step).shift, bits.lowBits, 0); });
    const Values high = headerWord(layout.subScalesAt, bits.high(step).word);
    return map([&](int64_t row) {
      return t.ori(field(low[row], bits.low(step).shift, bits.lowBits, 0),
                   field(high[row], bits.high(step).shift, bits.highBits, bits.lowBits));
    });
  });
  return map([&](int64_t row) {
    // The byte as the last one of 2^23's.
    Value bits = t.permute(four[row], t.c(0x4b000000), t.c(0x7440 + byte));
    return t.subf(t.bitcast(bits, t.f32()), t.f(0x1p23 + double(zero)));
  });
}

Values PackedRecord::scale(int64_t block, int64_t part) {
  return kept(Scale, block, part, [&] {
    if (!format.hasSubScales()) {
      const int64_t at = layout.scalesAt + block * layout.tileRows * layout.scaleBytes();
      Values scale = format.scaleKind == llama::ScaleKind::Half ? halves(at) : exponents(at);
      if (factor(block) == 1)
        return scale;
      return map([&](int64_t row) { return t.mulf(scale[row], t.f(1.0 / double(factor(block)))); });
    }
    const Values super = superScale(factor(block));
    const int64_t inRun = block % layout.runBlocks * parts(layout) + part;
    const Values sub = subScale(layout.subScaleOf(block / layout.runBlocks, inRun), format.sub.zero);
    return map([&](int64_t row) { return t.mulf(super[row], sub[row]); });
  });
}

Values PackedRecord::min(int64_t block, int64_t part) {
  if (!format.hasSubScales())
    return halves(layout.minsAt + block * layout.tileRows * 2);
  const Values super = kept(SuperMin, 0, 0, [&] { return halves(layout.minsAt); });
  const int64_t inRun = block % layout.runBlocks * parts(layout) + part;
  const Values sub = subScale(layout.subMinOf(block / layout.runBlocks, inRun), 0);
  return map([&](int64_t row) { return t.mulf(super[row], sub[row]); });
}
