//===- WeightRecord.cpp - one record of an integer weight, as vectors of rows --------===//

#include "codegen/cpu/WeightRecord.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {
enum Kept { Word, Code, SubWord, Scale, SuperScale, SuperMin };
} // namespace

Value WeightRecord::kept(std::tuple<int, int64_t, int64_t> key, llvm::function_ref<Value()> make) {
  if (auto found = values.find(key); found != values.end())
    return found->second;
  Value value = make();
  values[key] = value;
  return value;
}

void WeightRecord::reloadAfter(Value value) {
  words = l.after(words, value);
  values.clear();
}

void WeightRecord::begin(int64_t group, int64_t vectors, ValueRange after, int64_t ahead) {
  SmallVector<int64_t> lines;
  auto add = [&](int64_t from, int64_t bytes) {
    constexpr int64_t line = 64;
    for (int64_t at = llvm::alignTo(from, line); ahead && at < from + bytes; at += line)
      lines.push_back(ahead + at);
  };
  if (group < 0) {
    add(0, layout.codesAt);
  } else {
    // A group's share of the run's words, in the order of their addresses: that of their use, in which upper bits and
    // lower ones alternate, is slower.
    const int64_t count = layout.runBytes() / layout.wordBytes(), groups = PackedLayout::blockGroups;
    for (int64_t word = group * count / groups; word < (group + 1) * count / groups; ++word)
      add(layout.codesAt + word * layout.wordBytes(), vectors * n * 4);
    const int64_t end = layout.codesAt + layout.runs * layout.runBytes();
    if (group == PackedLayout::blockGroups - 1)
      add(end, layout.recordBytes - end);
  }
  words = l.after(words, after, lines);
  if (group < 0) {
    for (int64_t v = 0; v < vectors; ++v) {
      superScale(v, 1);
      if (format.hasMin())
        superMin(v);
      for (int64_t w = 0; w < layout.subScales.words(); ++w)
        word(layout.subScalesAt + w * layout.wordBytes(), v);
    }
  }
}

// Records and runs start at multiples of their sizes, which may be multiples of less than a vector.
unsigned WeightRecord::alignment(int64_t at, int64_t wanted) const {
  const int64_t offset = layout.recordBytes | layout.runBytes() | at;
  return std::min(wanted, offset & -offset);
}

//===-- Codes -----------------------------------------------------------------------------===//

Value WeightRecord::loadWord(int64_t at, Value offset, int64_t v) {
  at += v * n * 4;
  return l.load(bytes(), l.at(offset ? l.at(words, offset) : words, at), alignment(at, 4 * n));
}

Value WeightRecord::word(int64_t at, int64_t v) {
  return kept({Word, at, v}, [&] { return loadWord(at, {}, v); });
}

Value WeightRecord::field(Value word, int64_t shift, int64_t bits, int64_t to) {
  return l.andi(l.shiftBytes(word, shift - to), int64_t((1 << bits) - 1) << to);
}

Value WeightRecord::unpack(const PackedBits &bits, int64_t step, Words words, int64_t to) {
  if (bits.lowBits == 8)
    return words.low;
  Value low = field(words.low, bits.low(step).shift, bits.lowBits, to);
  if (!bits.highBits)
    return low;
  return l.ori(low, field(words.high, bits.high(step).shift, bits.highBits, to + bits.lowBits));
}

int64_t WeightRecord::factor(int64_t block) const {
  const int64_t times = int64_t(1) << layout.codes.low(block % layout.runBlocks).shift;
  return usedOnce && fitsTimes(times) && l.takesCodes(format.maxCode() * times) ? times : 1;
}

Value WeightRecord::codes(int64_t block, int64_t group, int64_t v) {
  const int64_t step = layout.codeStep(block % layout.runBlocks, group), run = runAt(block);
  auto wordAt = [&](PackedBits::Place place) { return word(run + place.word * layout.wordBytes(), v); };
  return kept({Code, block * PackedLayout::blockGroups + group, v}, [&] {
    Words words{wordAt(layout.codes.low(step)), layout.codes.highBits ? wordAt(layout.codes.high(step)) : Value()};
    Value codes = unpack(layout.codes, step, words, llvm::Log2_64(factor(block)));
    return format.table.empty() ? codes : l.lookup(format.table, format.zeroPoint, codes);
  });
}

Value WeightRecord::codesOfGroup(int64_t block, Value group, int64_t v, int64_t times) {
  const PackedBits &bits = layout.codes;
  const int64_t run = runAt(block), step = block % layout.runBlocks, to = llvm::Log2_64(times);
  Value low = loadWord(run + bits.low(step).word * layout.wordBytes(), l.mul(group, layout.wordBytes()), v);
  if (bits.lowBits < 8)
    low = field(low, bits.low(step).shift, bits.lowBits, to);
  if (bits.highBits) {
    const int64_t span = 8 / bits.highBits / layout.runBlocks; // groups that share a word
    Value high = loadWord(run, l.mul(l.div(group, span), layout.wordBytes()), v);
    Value shift = l.add(l.mul(l.rem(group, span), layout.runBlocks * bits.highBits), step * bits.highBits);
    low = l.ori(low, field(l.shiftBytesRight(high, shift), 0, bits.highBits, to + bits.lowBits));
  }
  return format.table.empty() ? low : l.lookup(format.table, format.zeroPoint, low);
}

//===-- Scales and mins -------------------------------------------------------------------===//

Value WeightRecord::halves(int64_t at, int64_t v) {
  at += v * n * 2;
  return l.loadFloat(llama::Format::F16, n, l.at(l.at(words, l.mul(firstRow, -2)), at), alignment(at, 2 * n));
}

Value WeightRecord::exponents(int64_t at, int64_t v) {
  at += v * n;
  Value bytes = l.load(l.vec(n, l.i8()), l.at(l.at(words, l.mul(firstRow, -3)), at), alignment(at, n));
  return l.powerOfTwo(arith::ExtUIOp::create(l.b, ints(), bytes));
}

Value WeightRecord::superScale(int64_t v, int64_t divisor) {
  return kept({SuperScale, divisor, v}, [&] {
    if (divisor != 1)
      return l.mulf(superScale(v, 1), l.constantLike(floats(), 1.0 / double(divisor)));
    return halves(layout.scalesAt, v);
  });
}

Value WeightRecord::superMin(int64_t v) {
  return kept({SuperMin, 0, v}, [&] { return halves(layout.minsAt, v); });
}

Value WeightRecord::subScale(int64_t number, int64_t v) {
  const int64_t step = number / 4, byte = number % 4;
  Value four = kept({SubWord, step, v}, [&] {
    auto wordAt = [&](PackedBits::Place place) {
      return word(layout.subScalesAt + place.word * layout.wordBytes(), v);
    };
    const PackedBits &bits = layout.subScales;
    return l.bitcast(unpack(bits, step, {wordAt(bits.low(step)), bits.highBits ? wordAt(bits.high(step)) : Value()}, 0),
                     ints());
  });
  Value number32 = l.shr(four, byte * 8);
  return l.toFloat(byte == 3 ? number32 : l.andi(number32, 0xff));
}

void WeightRecord::unpackScales(int64_t vectors, Value to) {
  unpackedVectors = vectors;
  for (int64_t block = 0; block < blocks(); ++block)
    for (int64_t part = 0; part < parts(); ++part)
      for (int64_t v = 0; v < vectors; ++v) {
        l.store(scale(block, part, v), l.at(to, unpackedAt(block, part, 0, v)), n * 4);
        if (format.hasMin())
          l.store(min(block, part, v), l.at(to, unpackedAt(block, part, 1, v)), n * 4);
      }
}

WeightRecord WeightRecord::run(Value run, int64_t vectors, Value unpacked) const {
  WeightRecord result = *this;
  result.values.clear();
  result.words = l.at(words, l.mul(run, layout.runBytes()));
  result.unpackedVectors = vectors;
  result.unpacked = l.at(unpacked, l.mul(run, layout.runBlocks * unpackedBlock(vectors)));
  return result;
}

Value WeightRecord::scale(int64_t block, int64_t part, int64_t v) {
  if (unpacked)
    return l.load(floats(), l.at(unpacked, unpackedAt(block, part, 0, v)), n * 4);
  return kept({Scale, block * parts() + part, v}, [&] {
    if (!format.hasSubScales()) {
      const int64_t at = layout.scalesAt + block * layout.tileRows * layout.scaleBytes();
      Value scale = format.scaleKind == llama::ScaleKind::Half ? halves(at, v) : exponents(at, v);
      return factor(block) == 1 ? scale : l.mulf(scale, l.constantLike(floats(), 1.0 / double(factor(block))));
    }
    Value super = superScale(v, factor(block));
    Value sub = subScale(layout.subScaleOf(block / layout.runBlocks, block % layout.runBlocks * parts() + part), v);
    // Products of a half and an integer are exact, so that neither way rounds.
    if (!format.sub.zero)
      return l.mulf(super, sub);
    return l.mulf(super, l.addf(sub, l.constantLike(floats(), -double(format.sub.zero))));
  });
}

Value WeightRecord::min(int64_t block, int64_t part, int64_t v) {
  if (unpacked)
    return l.load(floats(), l.at(unpacked, unpackedAt(block, part, 1, v)), n * 4);
  if (!format.hasSubScales())
    return halves(layout.minsAt + block * layout.tileRows * 2, v);
  return l.mulf(superMin(v),
                subScale(layout.subMinOf(block / layout.runBlocks, block % layout.runBlocks * parts() + part), v));
}
