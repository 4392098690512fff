//===- Dots.cpp - the lane program: dot products of a chunk of packed weights ---------===//

#include "codegen/nvptx/Dots.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

Values Dots::zero() { return Values(format.isFloat ? rowsPerLane() : 1, t.f(0)); }

Values Dots::add(ValueRange sums, Value packed, Value activations, Value column, int64_t part) {
  return format.isFloat ? addTokens(sums, packed, activations, column, Value())
                        : addInteger(sums[0], packed, activations, column, part);
}

//===-- Integer formats ------------------------------------------------------------------===//

// The order of operations is that of codegen/cpu's and of many tokens'.
Values Dots::addInteger(Value sum, Value packed, Value activations, Value column, int64_t part) {
  const int64_t blocks = layout.recordBlocks();
  codes = t.at(activations, column);
  words = t.at(t.at(activations, operand.pairsAt()), t.mul(t.shr(column, 6), operand.pairBytes()));
  firstBlock = 0;
  if (weight.recordChunks > 1) {
    if (part == 0) {
      record.emplace(t, layout, PackedRecord::Place{packed, t.lane(), 1, {}, false});
      record->loadHeader();
    }
    const int64_t firstRun = part * weight.chunkRuns();
    record->moveTo(firstRun, part ? packed : t.at(packed, layout.codesAt));
    // Activations are counted from the chunk's first block, codes from the record's.
    firstBlock = -firstRun * layout.runBlocks;
    for (int64_t run = firstRun; run < firstRun + weight.chunkRuns(); ++run)
      sum = addRun(sum, run);
    return {sum};
  }
  for (int64_t i = 0; i < weight.chunkRecords; ++i, firstBlock += blocks) {
    record.emplace(t, layout, PackedRecord::Place{t.at(packed, i * layout.recordBytes), t.lane(), 1, {}, false});
    for (int64_t run = 0; run < layout.runs; ++run)
      sum = addRun(sum, run);
  }
  return {sum};
}

// Blocks of a pair share the activations' scale.
Value Dots::addRun(Value sum, int64_t run) {
  const int64_t begin = run * layout.runBlocks, end = begin + layout.runBlocks, parts = PackedRecord::parts(layout);
  for (int64_t first = begin; first < end; first += 2) {
    SmallVector<Values> integers;
    for (int64_t block = first; block < std::min(first + 2, end); ++block)
      integers.push_back(partSums(block));
    Value joined;
    for (int64_t part = 0; part < parts; ++part)
      for (auto [i, ofBlock] : llvm::enumerate(integers)) {
        Value integer = t.toFloat(ofBlock[part]), scale = record->scale(first + int64_t(i), part)[0];
        joined = joined ? t.fma(integer, scale, joined) : t.mulf(integer, scale);
      }
    sum = t.fma(joined, t.load(t.f32(), pairWords(first), 4), sum);
  }
  if (format.hasMin())
    for (int64_t block = begin; block < end; ++block)
      for (int64_t part = 0; part < parts; ++part)
        sum = t.fma(record->min(block, part)[0], wordOf({0, format.scaleElements}, block, part, t.f32()), sum);
  return sum;
}

Value Dots::wordOf(OperandPlan::Sum kind, int64_t block, int64_t part, Type type) {
  const int64_t half = (firstBlock + block) % 2;
  return t.load(type, t.at(pairWords(block), operand.sumAt(kind) + (half * kind.parts() + part) * 4), 4);
}

// Integer sums of the parts of a block, factor(block) times, with the zero point's share taken off.
Values Dots::partSums(int64_t block) {
  const int64_t parts = PackedRecord::parts(layout), groups = OperandPlan::groups / parts;
  Value own = t.at(codes, (firstBlock + block) * OperandPlan::block);
  auto dots = [&](Value sum, int64_t at, int64_t part) {
    for (int64_t g = part * groups; g < (part + 1) * groups; g += 4) {
      Values fours = t.unpack(t.load(t.vec(4, t.i32()), t.at(own, at + g * 4), 16));
      for (int64_t i = 0; i < 4; ++i)
        sum = t.dot4(sum, record->codes(block, g + i)[0], fours[i]);
    }
    return sum;
  };
  // What is shifted together is added up before: high bytes' dots, and the zero point's share where codes are in place.
  const int64_t shift = llvm::Log2_64(record->factor(block));
  Values shares, highs;
  for (int64_t part = 0; part < parts; ++part) {
    shares.push_back(format.zeroPoint ? wordOf({format.zeroPoint, format.scaleElements}, block, part, t.i32())
                                      : t.c(0));
    Value start = shift == OperandPlan::highShift ? shares[part] : t.c(0);
    highs.push_back(operand.hasHighs() ? dots(start, operand.highsAt(), part) : start);
  }
  for (int64_t peak = 0; peak < operand.sparsePeaks(); ++peak) {
    const int64_t half = (firstBlock + block) % 2;
    Values word = t.unpack(t.load(t.vec(2, t.i32()), t.at(pairWords(block), operand.peakAt(peak) + half * 8), 8));
    Value codesThere = record->codesAt(block, word[1]);
    if (parts == 1) {
      highs[0] = t.dot4(highs[0], codesThere, word[0]);
      continue;
    }
    Value high = t.dot4(t.c(0), codesThere, word[0]), isFirst = t.less(word[1], groups * layout.wordBytes());
    highs[0] = t.add(highs[0], t.select(isFirst, high, t.c(0)));
    highs[1] = t.add(highs[1], t.select(isFirst, t.c(0), high));
  }
  Values sums;
  for (int64_t part = 0; part < parts; ++part) {
    Value start = t.shl(highs[part], OperandPlan::highShift);
    if (shift != OperandPlan::highShift)
      start = t.add(start, t.shl(shares[part], shift));
    sums.push_back(dots(start, operand.codesAt(), part));
  }
  return sums;
}

//===-- Float formats --------------------------------------------------------------------===//

Values Dots::floatsOf(Value vector) {
  Values floats;
  for (Value word : t.unpack(vector)) {
    if (format.codeBits == 32)
      floats.push_back(t.bitcast(word, t.f32()));
    else if (format.format == llama::Format::F16)
      floats.append({t.lowHalf(word), t.highHalf(word)});
    else
      floats.append({t.lowBFloat16(word), t.highBFloat16(word)});
  }
  return floats;
}

Values Dots::addTokens(ValueRange sums, Value packed, ArrayRef<Value> activations, Value column, Value left) {
  Values next(sums.begin(), sums.end());
  const int64_t k = layout.recordK, piece = 512, records = piece / layout.recordBytes; // a warp's load
  Value lane = t.lane(), at16 = t.mul(lane, 16), lanePacked = t.at(packed, at16);
  Value firstColumn = t.add(column, t.mul(t.div(lane, lanesPerRecord()), k));
  Values laneActivations;
  for (Value each : activations)
    laneActivations.push_back(t.at(each, t.mul(firstColumn, 4)));
  for (int64_t record = 0; record < weight.chunkRecords; record += records) {
    const int64_t offset = record * layout.recordBytes;
    Type words = t.vec(4, t.i32());
    Value loaded;
    if (!left) {
      loaded = t.load(words, t.at(lanePacked, offset), 16);
    } else if (layout.recordsPerTile % weight.chunkRecords == 0) {
      loaded = t.loadConstant(words, t.at(lanePacked, offset), 16);
    } else {
      loaded = t.choose(
          t.less(t.add(at16, offset), left), words,
          [&] { return Values{t.loadConstant(words, t.at(lanePacked, offset), 16)}; },
          [&] { return Values{t.constant(words, 0)}; })[0];
    }
    Values weights = floatsOf(loaded);
    for (auto [token, each] : llvm::enumerate(laneActivations)) {
      Value at = t.at(each, record * k * 4);
      Values x = k == 1 ? Values{t.load(t.f32(), at, 4)} : t.unpack(t.load(t.vec(k, t.f32()), at, unsigned(4 * k)));
      for (int64_t row = 0; row < rowsPerLane(); ++row)
        for (int64_t i = k - 1; i >= 0; --i) {
          Value &sum = next[int64_t(token) * rowsPerLane() + row];
          sum = t.fma(weights[row * k + i], x[i], sum);
        }
    }
  }
  return next;
}

// Lanes exchange halves of their rows until each has one row's sum of all, and then those.
Value Dots::finish(ValueRange sums) {
  if (!format.isFloat)
    return sums[0];
  Values left(sums.begin(), sums.end());
  for (int64_t distance = 16; distance >= lanesPerRecord(); distance /= 2) {
    Value upper = t.isNot(t.equal(t.andi(t.lane(), distance), 0));
    const size_t half = left.size() / 2;
    Values kept;
    for (size_t i = 0; i < half; ++i) {
      Value keep = t.select(upper, left[half + i], left[i]), give = t.select(upper, left[i], left[half + i]);
      kept.push_back(t.addf(keep, t.shuffleXor(give, distance)));
    }
    left = kept;
  }
  Value row = t.lane();
  Value from = t.add(t.div(row, rowsPerLane()), t.mul(t.rem(row, rowsPerLane()), lanesPerRecord()));
  return t.shuffle(left[0], from);
}
