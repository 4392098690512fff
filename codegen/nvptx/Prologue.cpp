//===- Prologue.cpp - norms and prepared activations of one token, by one block -------===//
//
// Each prepare computes its channels, four a thread, from what lies in buffers. For one token, for which all blocks
// wait, all of that is on its way before any is used, as far as there are registers, and the result is in shared
// memory. For many, where a block does a token at a time, nothing is kept, and the result is in the buffer that all
// blocks read afterwards.
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

  void lower(function_ref<void()> afterLoads) {
    if (keeps()) {
      for (Operation &op : scope.phase().getBody().front())
        load(op);
    }
    if (afterLoads)
      afterLoads();
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
  static constexpr int64_t each = 4, stride = GpuFacts::threads * each; // channels of a thread, of a block

  // A thread's group of channels: where it is, and how many groups the thread has before it, if that is known.
  struct Group {
    Value channel;
    std::optional<int64_t> index;
  };
  static int64_t groupsOf(int64_t width) { return llvm::divideCeil(width, stride); }
  Group group(int64_t index) { return {t.add(t.mul(t.thread(), each), index * stride), index}; }

  // What a value begins with.
  static int64_t widthOf(Value values) { return cast<ValuesType>(values.getType()).getWidth(); }
  static bool isSource(Operation &op) { return isa<ReadOp, MergeOp, RmsNormOp>(op); }
  bool keeps() const {
    if (scope.manyTokens())
      return false;
    constexpr int64_t most = 64; // registers
    int64_t floats = 0;
    for (Operation &op : scope.phase().getBody().front())
      if (isSource(op))
        floats += groupsOf(widthOf(op.getResult(0))) * each;
    return floats <= most;
  }
  // Of a buffer, or of a norm's weights. Past the width the last channels again.
  void load(Operation &op) {
    if (!isSource(op))
      return;
    const int64_t width = widthOf(op.getResult(0));
    for (int64_t i = 0; i < groupsOf(width); ++i) {
      Value channel = group(i).channel;
      if ((i + 1) * stride > width)
        channel = t.min(channel, t.c((width - 1) / each * each));
      kept[{&op, i}] = sourceAt(op, channel);
    }
  }
  Values source(Operation &op, Group group) {
    return group.index && keeps() ? kept.at({&op, *group.index}) : sourceAt(op, group.channel);
  }
  Values sourceAt(Operation &op, Value channel) {
    const int64_t width = widthOf(op.getResult(0));
    if (auto norm = dyn_cast<RmsNormOp>(op)) {
      Value weights = t.at(t.at(scope.args.weights, scope.plan.weights.vectorAt(norm)), t.mul(channel, 4));
      return t.unpack(t.loadConstant(t.vec(each, t.f32()), weights, 16)); // padded with zeros
    }
    if (auto merge = dyn_cast<MergeOp>(op)) {
      // Attention has merged the parts: a head's channels begin where its first part did.
      const int64_t headDim = width / int64_t(merge.getHeads());
      Value row = scope.bufferRow(merge.getBufferAttr(), t.c(0));
      Values x;
      for (int64_t i = 0; i < each; ++i) {
        Value ci = t.min(t.add(channel, i), t.c(width - 1)), head = t.div(ci, headDim);
        x.push_back(t.load(t.f32(), t.at(row, t.mul(t.add(ci, t.mul(head, 2)), 4)), 4));
      }
      return x;
    }
    Value row = scope.bufferRow(cast<ReadOp>(op).getBufferAttr(), token);
    return t.unpack(t.load(t.vec(each, t.f32()), t.at(row, t.mul(channel, 4)), 16)); // rows are padded to 32 channels
  }

  // for groups up to `width`
  void overChannels(int64_t width, function_ref<void(Group)> f) {
    if (!keeps())
      return t.loop(t.mul(t.thread(), each), t.c(width), t.c(stride), [&](Value channel) { f({channel, {}}); });
    for (int64_t i = 0; i < groupsOf(width); ++i)
      if ((i + 1) * stride > width)
        t.when(t.less(group(i).channel, width), [&] { f(group(i)); });
      else
        f(group(i));
  }

  // Four channels, of which at least the first is within the width; those past it are 0.
  Values channels(Value values, Group group) {
    Operation *op = values.getDefiningOp();
    const int64_t width = widthOf(values);
    if (auto norm = dyn_cast<RmsNormOp>(op)) {
      Values x = channels(norm.getInput(), group);
      for (auto [value, weight] : llvm::zip_equal(x, source(*op, group)))
        value = t.mulf(t.mulf(value, factors.at(norm)), weight);
      return x;
    }
    Values x;
    if (auto sum = dyn_cast<SumOp>(op)) {
      for (auto [lhs, rhs] : llvm::zip_equal(channels(sum.getLhs(), group), channels(sum.getRhs(), group)))
        x.push_back(t.addf(lhs, rhs));
      return x;
    }
    x = source(*op, group);
    if (width % each)
      for (int64_t i = 1; i < each; ++i)
        x[i] = t.select(t.less(t.add(group.channel, i), width), x[i], t.f(0));
    return x;
  }
  // Of any group.
  Values channelsOrZero(Value values, Group group) {
    const int64_t width = widthOf(values);
    Value isWithin = t.less(group.channel, width);
    if (!group.index || !keeps())
      return t.choose(
          isWithin, SmallVector<Type>(each, t.f32()), [&] { return channels(values, group); },
          [&] { return Values(each, t.f(0)); });
    if (*group.index >= groupsOf(width))
      return Values(each, t.f(0));
    Values x = channels(values, group);
    if ((*group.index + 1) * stride > width)
      for (Value &value : x)
        value = t.select(isWithin, value, t.f(0));
    return x;
  }

  Value factorOf(RmsNormOp norm, unsigned place) {
    const int64_t width = widthOf(norm.getInput());
    auto addSquares = [&](Values x, Value sum) {
      for (Value value : x)
        sum = t.fma(value, value, sum);
      return sum;
    };
    Value sum = t.f(0);
    if (keeps())
      for (int64_t i = 0; i < groupsOf(width); ++i)
        sum = addSquares(channelsOrZero(norm.getInput(), group(i)), sum);
    else
      sum = t.loop(t.mul(t.thread(), each), t.c(width), t.c(stride), sum, [&](Value channel, ValueRange state) {
        return Values{addSquares(channels(norm.getInput(), {channel, {}}), state[0])};
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
      overChannels(widthOf(write.getValue()), // rows are padded to 32 channels
                   [&](Group group) { store4(channels(write.getValue(), group), row, group.channel); });
    };
    scope.manyTokens() ? all() : t.when(t.equal(t.block(), 0), all);
  }

  void lowerPrepare(PrepareOp prepare) {
    const OperandPlan &plan = scope.plan.operand(prepare);
    Value out = scope.operandAt(prepare, token);
    if (plan.kind == OperandKind::Int8)
      return quantise(prepare.getInput(), plan, out);
    overChannels(plan.columns, [&](Group group) {
      Values x = channelsOrZero(prepare.getInput(), group);
      if (plan.kind == OperandKind::BFloat16)
        for (Value &value : x)
          value = t.roundToBFloat16(value);
      store4(x, out, group.channel);
    });
  }

  void store4(ArrayRef<Value> x, Value out, Value channel) { t.store(t.pack(x), t.at(out, t.mul(channel, 4)), 16); }

  // See stream.prepare. A thread has a group of four channels, eight threads a block, sixteen a pair, which share a
  // scale. All threads of a warp take part. Several groups are worked on at a time, for each is a chain of shuffles.
  void quantise(Value values, const OperandPlan &plan, Value out) {
    if (!keeps())
      return t.loop(t.mul(t.warp(), 32 * each), t.c(plan.columns), t.c(stride), [&](Value first) {
        Group group{t.add(first, t.mul(t.lane(), each)), {}};
        leave(quantised(channelsOrZero(values, group), plan), plan, out, group, /*isWithin=*/false);
      });
    constexpr int64_t atOnce = 4;
    const int64_t groups = groupsOf(plan.columns);
    for (int64_t first = 0; first < groups; first += atOnce) {
      SmallVector<Quantised> made;
      for (int64_t i = first; i < std::min(first + atOnce, groups); ++i)
        made.push_back(quantised(channelsOrZero(values, group(i)), plan));
      for (int64_t i = first; i < std::min(first + atOnce, groups); ++i)
        leave(made[size_t(i - first)], plan, out, group(i), (i + 1) * stride <= plan.columns);
    }
  }

  struct Quantised {    // of a group
    Value codes, highs; // four bytes each
    Value scale;        // of the pair
    Value sum, partSum; // of the block's codes, of half a block's
    Values peakKeys;    // of the block, see below
  };
  Quantised quantised(ArrayRef<Value> x, const OperandPlan &plan) {
    Value largest = t.c(0); // bits of a magnitude, ordered like the floats
    for (Value value : x)
      largest = t.max(largest, t.andi(t.bitcast(value, t.i32()), 0x7fffffff));
    auto max = [&](Value a, Value b) { return t.max(a, b); };
    // A group's key is its largest magnitude, with the number of the group in the last bits so that no two are equal.
    Value key = t.ori(t.andi(largest, ~(OperandPlan::groups - 1)), groupInBlock());
    Quantised made;
    Value isPeak;
    const bool all = plan.peaks == OperandPlan::groups;
    for (int64_t i = 0; i < plan.peaks && !all; ++i) {
      made.peakKeys.push_back(t.reduceWarp(key, max, OperandPlan::groups));
      Value isThis = t.equal(key, made.peakKeys.back());
      isPeak = isPeak ? t.ori(isPeak, isThis) : isThis;
      key = t.select(isThis, t.c(-1), key);
    }
    constexpr double most = 127, mostOfTwo = 127 << OperandPlan::highShift;
    auto scaleFor = [&](Value bits, double divisor) {
      return t.mulf(t.bitcast(t.reduceWarp(bits, max, 2 * OperandPlan::groups), t.f32()), t.f(1 / divisor));
    };
    if (all)
      made.scale = scaleFor(largest, mostOfTwo);
    else if (!isPeak)
      made.scale = scaleFor(largest, most);
    else
      made.scale = t.maxf(scaleFor(t.select(isPeak, t.c(0), largest), most), scaleFor(largest, mostOfTwo));
    // What is below the smallest normal numbers counts as zero: its inverse might not be finite.
    Value isZero = t.lessf(made.scale, t.f(1e-37));
    Value factor = t.select(isZero, t.f(0), t.reciprocal(t.select(isZero, t.f(1), made.scale)));
    Values codes, highs;
    made.sum = t.c(0);
    for (Value value : x) {
      codes.push_back(t.round(t.mulf(value, factor)));
      made.sum = t.add(made.sum, codes.back());
      if (plan.peaks) {
        Value high = t.sar(t.add(codes.back(), 1 << (OperandPlan::highShift - 1)), OperandPlan::highShift);
        if (!all)
          high = t.select(isPeak, high, t.c(0));
        highs.push_back(high);
        codes.back() = t.sub(codes.back(), t.shl(high, OperandPlan::highShift));
      }
    }
    made.codes = bytes(codes);
    if (plan.peaks)
      made.highs = bytes(highs);
    auto add = [&](Value a, Value b) { return t.add(a, b); };
    if (llvm::any_of(plan.sums, isPart))
      made.partSum = t.reduceWarp(made.sum, add, OperandPlan::groups / 2);
    if (!plan.sums.empty())
      made.sum = t.reduceWarp(made.sum, add, OperandPlan::groups);
    return made;
  }
  Value groupInBlock() { return t.andi(t.lane(), OperandPlan::groups - 1); }
  static bool isPart(const OperandPlan::Sum &kind) { return kind.columns < OperandPlan::block; }

  // `isWithin`: that it is known to be within the columns.
  void leave(const Quantised &made, const OperandPlan &plan, Value out, Group where, bool isWithin) {
    if (!isWithin)
      return t.when(t.less(where.channel, plan.columns), [&] { leave(made, plan, out, where, true); });
    Value channel = where.channel, group = groupInBlock();
    t.store(made.codes, t.at(out, t.add(channel, plan.codesAt())), 4);
    if (plan.hasHighs())
      t.store(made.highs, t.at(out, t.add(channel, plan.highsAt())), 4);
    Value pair = t.div(channel, 2 * OperandPlan::block);
    Value words = t.at(out, t.add(t.mul(pair, plan.pairBytes()), plan.pairsAt()));
    Value half = t.andi(t.shr(t.lane(), 3), 1);
    for (auto [i, peak] : llvm::enumerate(made.peakKeys))
      if (plan.sparsePeaks())
        t.when(t.equal(group, t.andi(peak, OperandPlan::groups - 1)), [&] {
          Value at = t.at(words, t.add(t.mul(half, 8), plan.peakAt(int64_t(i))));
          t.store(t.pack({made.highs, t.mul(group, 128)}), at, 8);
        });
    for (const OperandPlan::Sum &kind : plan.sums) {
      Value codes = isPart(kind) ? made.partSum : made.sum, part = t.andi(group, OperandPlan::groups / 2);
      Value word = isPart(kind) ? t.add(t.mul(half, 8), part) : t.mul(half, 4);
      t.when(t.equal(isPart(kind) ? t.andi(group, OperandPlan::groups / 2 - 1) : group, 0), [&] {
        Value what =
            kind.zeroPoint ? t.mul(codes, -kind.zeroPoint) : t.bitcast(t.mulf(made.scale, t.toFloat(codes)), t.i32());
        t.store(what, t.at(words, t.add(word, plan.sumAt(kind))), 4);
      });
    }
    t.when(t.equal(t.ori(group, half), 0), [&] {
      t.store(t.pack({t.bitcast(made.scale, t.i32()), t.c(0)}), words, 8);
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
  std::map<std::pair<Operation *, int64_t>, Values> kept; // of sources, by group
};
} // namespace

void sluice::codegen::lowerPrologue(const Scope &scope, Value token, function_ref<void()> afterLoads) {
  PrologueLowering(scope, token).lower(afterLoads);
}

// Every block a part.
void sluice::codegen::prefetchVectors(const Scope &scope) {
  Threads &t = scope.t;
  constexpr int64_t line = 128;
  for (auto norm : scope.phase().getBody().getOps<RmsNormOp>()) {
    Value vector = t.at(scope.args.weights, scope.plan.weights.vectorAt(norm));
    Value first = t.add(t.mul(t.thread(), t.blocks()), t.block());
    t.when(t.less(first, llvm::divideCeil(norm.getInput().getType().getWidth() * 4, line)),
           [&] { t.prefetch(t.at(vector, t.mul(first, line))); });
  }
}
