//===- Dots.cpp - the lane program: dot products of a chunk of packed weights ---------===//

#include "codegen/nvptx/Dots.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

Values Dots::zero() { return Values(format.isFloat ? rowsPerLane() : 1, t.f(0)); }

Values Dots::add(ValueRange sums, Value packed, Value activations, Value column) {
  return format.isFloat ? addTokens(sums, packed, activations, column, Value())
                        : addInteger(sums[0], packed, activations, column);
}

//===-- Integer formats ------------------------------------------------------------------===//

// Pairs of blocks share the activations' scale: one record of two planes, or two records. The order of operations is
// that of codegen/cpu's and of many tokens'.
Values Dots::addInteger(Value sum, Value packed, Value activations, Value column) {
  const int64_t planes = layout.recordBlocks();
  Value lanePacked = t.at(packed, t.mul(t.lane(), 4)), laneScales = t.at(packed, t.mul(t.lane(), 2));
  Value codes = t.at(activations, column);
  Value words = t.at(t.at(activations, operand.pairsAt()), t.mul(t.shr(column, 6), operand.pairBytes()));
  for (int64_t record = 0; record < chunk; ++record) {
    const int64_t firstBlock = record * planes, pair = firstBlock / 2;
    Value pairWords = t.at(words, pair * operand.pairBytes());
    Values weights;
    for (int64_t g = 0; g < OperandPlan::groups; ++g)
      weights.push_back(t.load(t.i32(), t.at(lanePacked, record * layout.recordBytes + g * layout.tileRows * 4), 4));
    auto halves = [&](int64_t at, int64_t plane) {
      Value bits = t.load(t.i16(), t.at(laneScales, record * layout.recordBytes + at + plane * layout.tileRows * 2), 2);
      return t.halfToFloat(bits);
    };
    Value joined;
    for (int64_t plane = 0; plane < planes; ++plane) {
      // Codes in the high bits are used where they lie: then sums are 16 times as large, and the scale as much smaller.
      const int64_t factor = plane ? 16 : 1;
      const int64_t block = firstBlock + plane;
      Value integer = blockSum(record, plane, factor, lanePacked, t.at(codes, block * OperandPlan::block), pairWords,
                               block % 2, weights);
      Value scale = halves(layout.scalesAt, plane);
      if (factor > 1)
        scale = t.mulf(scale, t.f(1.0 / double(factor)));
      joined = joined ? t.fma(t.toFloat(integer), scale, joined) : t.mulf(t.toFloat(integer), scale);
    }
    sum = t.fma(joined, t.load(t.f32(), pairWords, 4), sum);
    if (format.hasMin())
      for (int64_t plane = 0; plane < planes; ++plane) {
        Value valueSum = t.load(t.f32(), t.at(pairWords, operand.valueSumAt() + (firstBlock + plane) % 2 * 4), 4);
        sum = t.fma(halves(layout.minsAt, plane), valueSum, sum);
      }
  }
  return {sum};
}

// The integer sum of a block, `factor` times, with the zero point's share taken off.
Value Dots::blockSum(int64_t record, int64_t plane, int64_t factor, Value lanePacked, Value codes, Value words,
                     int64_t half, ArrayRef<Value> weights) {
  auto planeOf = [&](Value packed) {
    return layout.recordBlocks() == 1 ? packed : t.andi(packed, plane ? 0xf0f0f0f0 : 0x0f0f0f0f);
  };
  auto fours = [&](int64_t at) { // of the activations, all eight groups' four bytes
    Values all;
    for (int64_t i = 0; i < OperandPlan::groups; i += 4)
      all.append(t.unpack(t.load(t.vec(4, t.i32()), t.at(codes, at + i * 4), 16)));
    return all;
  };
  Value sum = format.zeroPoint
                  ? t.load(t.i32(), t.at(words, operand.startAt(format.zeroPoint) + half * 4), 4)
                  : t.c(0);
  if (factor > 1 && format.zeroPoint)
    sum = t.shl(sum, llvm::Log2_64(factor));
  for (auto [weight, four] : llvm::zip_equal(weights, fours(operand.codesAt())))
    sum = t.dot4(sum, planeOf(weight), four);
  if (operand.hasHighs()) {
    Value high = t.c(0);
    for (auto [weight, four] : llvm::zip_equal(weights, fours(operand.highsAt())))
      high = t.dot4(high, planeOf(weight), four);
    return t.add(sum, t.shl(high, OperandPlan::highShift));
  }
  for (int64_t peak = 0; peak < operand.sparsePeaks(); ++peak) {
    Values words2 = t.unpack(t.load(t.vec(2, t.i32()), t.at(words, operand.peakAt(peak) + half * 8), 8));
    Value weight = t.load(t.i32(), t.at(t.at(lanePacked, record * layout.recordBytes), words2[1]), 4);
    sum = t.add(sum, t.shl(t.dot4(t.c(0), planeOf(weight), words2[0]), OperandPlan::highShift));
  }
  return sum;
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
  for (int64_t record = 0; record < chunk; record += records) {
    const int64_t offset = record * layout.recordBytes;
    Type words = t.vec(4, t.i32());
    Value loaded;
    if (!left) {
      loaded = t.load(words, t.at(lanePacked, offset), 16);
    } else if (layout.recordsPerTile % chunk == 0) {
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
