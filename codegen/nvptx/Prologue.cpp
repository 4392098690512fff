//===- Prologue.cpp - norms and prepared activations of one token, by one block -------===//
//
// Values are not kept: each prepare computes its channels, four a thread, from the buffers. For one token the result is
// in shared memory; for many, where a block does a token at a time, in the buffer that all blocks read afterwards.
//
//===----------------------------------------------------------------------------------===//

#include "codegen/nvptx/Scope.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

class PrologueLowering {
public:
  PrologueLowering(const Scope &scope, Value token) : scope(scope), t(scope.t), token(token) {}

  void lower() {
    unsigned place = 0;
    for (Operation &op : scope.phase().getBody().front()) {
      if (auto norm = dyn_cast<RmsNormOp>(op))
        factors[norm] = factorOf(norm, place++ % 2);
      else if (auto prepare = dyn_cast<PrepareOp>(op))
        lowerPrepare(prepare);
      else if (auto write = dyn_cast<WriteOp>(op))
        lowerWrite(write);
    }
  }

private:
  static constexpr int64_t each = 4; // channels of a thread

  // for channels from `first` in steps of `step`, up to `width`
  void overChannels(int64_t width, function_ref<void(Value)> f) {
    t.loop(t.mul(t.thread(), each), t.c(width), t.c(GpuFacts::threads * each), f);
  }

  // Four channels; those past the width are 0.
  Values channels(Value values, Value channel) {
    Operation *op = values.getDefiningOp();
    const int64_t width = cast<ValuesType>(values.getType()).getWidth();
    if (auto norm = dyn_cast<RmsNormOp>(op)) {
      Values x = channels(norm.getInput(), channel);
      Value weights = t.at(t.at(scope.args.weights, scope.plan.weights.vectorAt(norm)), t.mul(channel, 4));
      Values w = t.unpack(t.loadConstant(t.vec(each, t.f32()), weights, 16)); // padded with zeros
      for (auto [value, weight] : llvm::zip_equal(x, w))
        value = t.mulf(t.mulf(value, factors.at(norm)), weight);
      return x;
    }
    Values x;
    if (auto sum = dyn_cast<SumOp>(op)) {
      for (auto [lhs, rhs] : llvm::zip_equal(channels(sum.getLhs(), channel), channels(sum.getRhs(), channel)))
        x.push_back(t.addf(lhs, rhs));
      return x;
    }
    if (auto merge = dyn_cast<MergeOp>(op)) {
      // Attention has merged the parts: a head's channels begin where its first part did.
      const int64_t headDim = width / int64_t(merge.getHeads());
      Value row = scope.bufferRow(merge.getBufferAttr(), t.c(0));
      for (int64_t i = 0; i < each; ++i) {
        Value ci = t.min(t.add(channel, i), t.c(width - 1)), head = t.div(ci, headDim);
        x.push_back(t.load(t.f32(), t.at(row, t.mul(t.add(ci, t.mul(head, 2)), 4)), 4));
      }
    } else {
      Value row = scope.bufferRow(cast<ReadOp>(op).getBufferAttr(), token);
      x = t.unpack(t.load(t.vec(each, t.f32()), t.at(row, t.mul(channel, 4)), 16)); // rows are padded to 32 channels
    }
    if (width % each)
      for (int64_t i = 1; i < each; ++i)
        x[i] = t.select(t.less(t.add(channel, i), width), x[i], t.f(0));
    return x;
  }

  Value factorOf(RmsNormOp norm, unsigned place) {
    const int64_t width = norm.getInput().getType().getWidth();
    Value sum = t.loop(t.mul(t.thread(), each), t.c(width), t.c(GpuFacts::threads * each), t.f(0),
                       [&](Value channel, ValueRange state) {
                         Value sum = state[0];
                         for (Value x : channels(norm.getInput(), channel))
                           sum = t.fma(x, x, sum);
                         return Values{sum};
                       })[0];
    sum = scope.reduceBlock(
        sum, [&](Value x, Value y) { return t.addf(x, y); }, place);
    Value mean = t.divf(sum, t.f(double(width)));
    return t.rsqrt(t.addf(mean, t.f(norm.getEps().convertToDouble())));
  }

  // Many tokens: the block that has the token writes. One: all have it.
  void lowerWrite(WriteOp write) {
    Value row = scope.bufferRow(write.getBufferAttr(), token);
    auto all = [&] {
      overChannels(write.getValue().getType().getWidth(), // rows are padded to 32 channels
                   [&](Value channel) { store4(channels(write.getValue(), channel), row, channel); });
    };
    scope.manyTokens() ? all() : t.when(t.equal(t.block(), 0), all);
  }

  void lowerPrepare(PrepareOp prepare) {
    const OperandPlan &plan = scope.plan.operand(prepare);
    Value out = scope.operandAt(prepare, token);
    if (plan.kind == OperandKind::Int8)
      return quantise(prepare.getInput(), plan, out);
    overChannels(plan.columns, [&](Value channel) {
      auto inside = [&] {
        Values x = channels(prepare.getInput(), channel);
        if (plan.kind == OperandKind::BFloat16)
          for (Value &value : x)
            value = t.roundToBFloat16(value);
        return x;
      };
      store4(insideOrZero(plan, channel, inside), out, channel);
    });
  }

  Values insideOrZero(const OperandPlan &plan, Value channel, function_ref<Values()> inside) {
    if (int64_t(llvm::alignTo(plan.width, each)) == plan.columns)
      return inside();
    return t.choose(t.less(channel, plan.width), SmallVector<Type>(each, t.f32()), inside,
                    [&] { return Values(each, t.f(0)); });
  }
  void store4(ArrayRef<Value> x, Value out, Value channel) { t.store(t.pack(x), t.at(out, t.mul(channel, 4)), 16); }

  // See stream.prepare. A thread has a group of four channels, eight threads a block, sixteen a pair, which share a
  // scale. All threads of a warp take part.
  void quantise(Value values, const OperandPlan &plan, Value out) {
    t.loop(t.mul(t.warp(), 32 * each), t.c(plan.columns), t.c(GpuFacts::threads * each), [&](Value first) {
      Value channel = t.add(first, t.mul(t.lane(), each));
      Values x = t.choose(
          t.less(channel, plan.width), SmallVector<Type>(each, t.f32()), [&] { return channels(values, channel); },
          [&] { return Values(each, t.f(0)); });
      Value largest = t.c(0); // bits of a magnitude, ordered like the floats
      for (Value value : x)
        largest = t.max(largest, t.andi(t.bitcast(value, t.i32()), 0x7fffffff));
      auto max = [&](Value a, Value b) { return t.max(a, b); };
      // A group's key is its largest magnitude, with the number of the group in the last bits so that no two are equal.
      Value group = t.andi(t.lane(), OperandPlan::groups - 1);
      Value key = t.ori(t.andi(largest, ~(OperandPlan::groups - 1)), group);
      Values peakKeys;
      Value isPeak;
      const bool all = plan.peaks == OperandPlan::groups;
      for (int64_t i = 0; i < plan.peaks && !all; ++i) {
        peakKeys.push_back(t.reduceWarp(key, max, OperandPlan::groups));
        Value isThis = t.equal(key, peakKeys.back());
        isPeak = isPeak ? t.ori(isPeak, isThis) : isThis;
        key = t.select(isThis, t.c(-1), key);
      }
      constexpr double most = 127, mostOfTwo = 127 << OperandPlan::highShift;
      auto scaleFor = [&](Value bits, double divisor) {
        return t.mulf(t.bitcast(t.reduceWarp(bits, max, 2 * OperandPlan::groups), t.f32()), t.f(1 / divisor));
      };
      Value scale;
      if (all)
        scale = scaleFor(largest, mostOfTwo);
      else if (!isPeak)
        scale = scaleFor(largest, most);
      else
        scale = t.maxf(scaleFor(t.select(isPeak, t.c(0), largest), most), scaleFor(largest, mostOfTwo));
      // What is below the smallest normal numbers counts as zero: its inverse might not be finite.
      Value isZero = t.lessf(scale, t.f(1e-37));
      Value factor = t.select(isZero, t.f(0), t.divf(t.f(1), t.select(isZero, t.f(1), scale)));
      Values codes, highs;
      Value sum = t.c(0);
      for (Value value : x) {
        codes.push_back(t.round(t.mulf(value, factor)));
        sum = t.add(sum, codes.back());
        if (plan.peaks) {
          Value high = t.sar(t.add(codes.back(), 1 << (OperandPlan::highShift - 1)), OperandPlan::highShift);
          if (!all)
            high = t.select(isPeak, high, t.c(0));
          highs.push_back(high);
          codes.back() = t.sub(codes.back(), t.shl(high, OperandPlan::highShift));
        }
      }
      auto add = [&](Value a, Value b) { return t.add(a, b); };
      auto isPart = [](const OperandPlan::Sum &kind) { return kind.columns < OperandPlan::block; };
      Value partSum = sum, part = t.andi(group, OperandPlan::groups / 2);
      if (llvm::any_of(plan.sums, isPart))
        partSum = t.reduceWarp(sum, add, OperandPlan::groups / 2);
      sum = t.reduceWarp(sum, add, OperandPlan::groups);
      t.when(t.less(channel, plan.columns), [&] {
        Value four = bytes(codes);
        t.store(four, t.at(out, t.add(channel, plan.codesAt())), 4);
        if (plan.hasHighs())
          t.store(bytes(highs), t.at(out, t.add(channel, plan.highsAt())), 4);
        Value pair = t.div(channel, 2 * OperandPlan::block);
        Value words = t.at(out, t.add(t.mul(pair, plan.pairBytes()), plan.pairsAt()));
        Value half = t.andi(t.shr(t.lane(), 3), 1);
        for (auto [i, peak] : llvm::enumerate(ArrayRef<Value>(peakKeys)))
          if (plan.sparsePeaks())
            t.when(t.equal(group, t.andi(peak, OperandPlan::groups - 1)), [&] {
              Value at = t.at(words, t.add(t.mul(half, 8), plan.peakAt(i)));
              t.store(t.pack({bytes(highs), t.mul(group, 128)}), at, 8);
            });
        for (const OperandPlan::Sum &kind : plan.sums) {
          Value codes = isPart(kind) ? partSum : sum;
          Value word = isPart(kind) ? t.add(t.mul(half, 8), part) : t.mul(half, 4);
          t.when(t.equal(isPart(kind) ? t.andi(group, OperandPlan::groups / 2 - 1) : group, 0), [&] {
            Value what =
                kind.zeroPoint ? t.mul(codes, -kind.zeroPoint) : t.bitcast(t.mulf(scale, t.toFloat(codes)), t.i32());
            t.store(what, t.at(words, t.add(word, plan.sumAt(kind))), 4);
          });
        }
        t.when(t.equal(group, 0), [&] {
          t.when(t.equal(half, 0), [&] { t.store(t.pack({t.bitcast(scale, t.i32()), t.c(0)}), words, 8); });
        });
      });
    });
  }

  Value bytes(ArrayRef<Value> four) {
    Value packed;
    for (auto [i, value] : llvm::enumerate(four)) {
      Value byte = t.shl(t.andi(value, 0xff), 8 * i);
      packed = i ? t.ori(packed, byte) : byte;
    }
    return packed;
  }

  const Scope &scope;
  Threads &t;
  Value token;
  llvm::DenseMap<Operation *, Value> factors;
};
} // namespace

void sluice::codegen::lowerPrologue(const Scope &scope, Value token) { PrologueLowering(scope, token).lower(); }
