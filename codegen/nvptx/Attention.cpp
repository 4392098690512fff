//===- Attention.cpp - attention over a segment of the KV cache, by one block ----------===//
//
// For scores a lane is two positions and warps share out blocks of positions and parts of the channels; for values a
// lane is a few channels and warps share out positions. Parts are added up in one order. A block's part of a segment is
// merged with those of earlier segments: for many tokens by the block that walks them, for one, where other blocks have
// the other segments, by the last one to come.
//
//===-----------------------------------------------------------------------------------===//

#include "codegen/nvptx/Heads.h"
#include <cmath>

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

// The layouts of runtime/abi.h.
struct CacheLayout {
  uint32_t type; // SLUICE_CACHE_*
  int64_t headDim;

  bool scaled() const { return type == SLUICE_CACHE_Q8_0; }
  int64_t elementBytes() const { return type == SLUICE_CACHE_F16 ? 2 : type == SLUICE_CACHE_F32 ? 4 : 1; }
  int64_t scaleChannels() const { return std::min<int64_t>(headDim, SLUICE_CACHE_SCALED); }
  int64_t blockBytes() const { return int64_t(sluice_kv_block_bytes(type, headDim)); }
  int64_t valuesAt() const { return blockBytes() / 2; }                           // in a block; keys are at 0
  int64_t scalesAt() const { return headDim * SLUICE_KV_BLOCK * elementBytes(); } // in the keys or values of a block
};

// What is common to reading and appending.
class Cache {
public:
  Cache(const Scope &scope, CacheLayout layout) : scope(scope), t(scope.t), layout(layout) {}

  Value headAt(Value kvHead) {
    Value layer = t.at(scope.args.kv, t.mul(t.extend(scope.args.layer, t.i64()), scope.args.kvLayerStride));
    return t.at(layer, t.mul(t.extend(kvHead, t.i64()), scope.args.kvHeadStride));
  }
  Value blockAt(Value head, Value position) {
    return t.at(head, t.mul(t.extend(t.div(position, SLUICE_KV_BLOCK), t.i64()), layout.blockBytes()));
  }
  // n neighbouring elements, not yet scaled.
  Values elements(int64_t n, Value pointer) {
    const int64_t bytes = n * layout.elementBytes();
    if (layout.type == SLUICE_CACHE_F32)
      return n == 1 ? Values{t.load(t.f32(), pointer, 4)}
                    : t.unpack(t.load(t.vec(n, t.f32()), pointer, unsigned(bytes)));
    Type narrow = layout.scaled() ? t.i8() : t.i16();
    Values raw = n == 1 ? Values{t.load(narrow, pointer, unsigned(bytes))}
                        : t.unpack(t.load(t.vec(n, narrow), pointer, unsigned(bytes)));
    for (Value &x : raw)
      x = layout.scaled() ? t.signedToFloat(x) : t.halfToFloat(x);
    return raw;
  }
  // Scales of n neighbouring positions from `position` of a block, for a channel.
  Values scales(int64_t n, Value half, Value channel, Value position) {
    Value at = t.add(t.mul(t.div(channel, layout.scaleChannels()), SLUICE_KV_BLOCK), position);
    Value pointer = t.at(t.at(half, layout.scalesAt()), t.mul(at, 2));
    Values raw = n == 1 ? Values{t.load(t.i16(), pointer, 2)} : t.unpack(t.load(t.vec(n, t.i16()), pointer, 4));
    for (Value &x : raw)
      x = t.halfToFloat(x);
    return raw;
  }

  // Keys and values of one token and KV head, by the threads of a block; nothing is waited for.
  void append(AppendOp op, Value kvHead, Value token) {
    Value position = t.add(scope.position(), token), block = blockAt(headAt(kvHead), position);
    Value inBlock = t.rem(position, SLUICE_KV_BLOCK), rowAt = t.mul(kvHead, layout.headDim * 4);
    Value key = t.at(scope.bufferRow(op.getKeyAttr(), token), rowAt);
    Value value = t.at(scope.bufferRow(op.getValueAttr(), token), rowAt);
    HeadSteps steps(scope, op, layout.headDim);
    // A warp takes as many channels as it has lanes, of a key or of a value.
    const int64_t groups = llvm::divideCeil(layout.headDim, 32);
    t.loop(t.warp(), t.c(2 * groups), t.c(GpuFacts::warps), [&](Value part) {
      Value isKey = t.less(part, groups), channel = t.add(t.mul(t.rem(part, groups), 32), t.lane());
      Value inside = t.less(channel, layout.headDim);
      Value half = t.select(isKey, block, t.at(block, layout.valuesAt()));
      Value x = t.choose(
          isKey, t.f32(),
          [&] { return Values{steps.channel(key, steps.factorOf(key), token, t.sub(channel, t.lane()))}; },
          [&] {
            return t.choose(
                inside, t.f32(), [&] { return Values{t.load(t.f32(), t.at(value, t.mul(channel, 4)), 4)}; },
                [&] { return Values{t.f(0)}; });
          })[0];
      Value stored;
      if (layout.scaled()) {
        // The scale is rounded to f16 before it is used.
        auto max = [&](Value a, Value b) { return t.max(a, b); };
        Value largest = t.reduceWarp(t.andi(t.bitcast(x, t.i32()), 0x7fffffff), max);
        Value scale = t.floatToHalf(t.minf(t.mulf(t.bitcast(largest, t.f32()), t.f(1.0 / 127)), t.f(65504)));
        Value rounded = t.halfToFloat(scale), isZero = t.equalf(rounded, t.f(0));
        Value factor = t.select(isZero, t.f(0), t.divf(t.f(1), t.select(isZero, t.f(1), rounded)));
        Value code = t.min(t.max(t.round(t.mulf(x, factor)), t.c(-127)), t.c(127));
        stored = t.truncate(code, t.i8());
        static_assert(SLUICE_CACHE_SCALED == 32, "a scale for each warp's channels");
        Value at = t.add(t.mul(t.rem(part, groups), SLUICE_KV_BLOCK), inBlock);
        t.when(t.equal(t.lane(), 0), [&] { t.store(scale, t.at(t.at(half, layout.scalesAt()), t.mul(at, 2)), 2); });
      } else {
        stored = layout.elementBytes() == 2 ? t.floatToHalf(x) : x;
      }
      Value keyAt = t.add(t.mul(channel, SLUICE_KV_BLOCK), inBlock);
      Value valueAt = t.add(t.mul(inBlock, layout.headDim), channel);
      Value at = t.mul(t.select(isKey, keyAt, valueAt), layout.elementBytes());
      t.when(inside, [&] { t.store(stored, t.at(half, at), unsigned(layout.elementBytes())); });
    });
  }

  const Scope &scope;
  Threads &t;
  const CacheLayout layout;
};

class AttentionLowering {
public:
  AttentionLowering(const Scope &scope, AttentionOp op, CacheLayout layout)
      : scope(scope), t(scope.t), op(op), cache(scope, layout), plan(AttentionPlan::get(op)), channels(plan.headDim),
        shared(scope.sharedAt(scope.plan.attentionAt)) {}

  // One token: this block's KV heads and segments; its KV heads.
  void lowerToken(AppendOp append, int64_t countersAt);
  void prefetch();
  void mergeByLast(Value kvHead, Value firstSegment, Value lastSegment, Value parts, int64_t countersAt);
  void lowerTokenWhole(AppendOp append);
  // Many tokens, which are in the cache.
  void lowerTokens();

private:
  static constexpr int64_t warps = GpuFacts::warps, threads = GpuFacts::threads;
  int64_t rows() const { return plan.rows(); }
  int64_t kvHeads() { return int64_t(op.getHeads()) / plan.group; }
  Value at(int64_t base, Value index) { return t.at(t.at(shared, base), t.mul(index, 4)); }

  struct Row {
    Value token, position, head; // of the chunk, of the sequence, of all query heads
  };
  SmallVector<Row> rowsOf(Value firstHead, Value firstToken, Value tokenEnd);
  // For each output of this thread: f(row as i32, channel).
  void forOutputs(function_ref<void(Value, Value)> f) {
    t.loop(t.thread(), t.c(rows() * channels), t.c(threads),
           [&](Value i) { f(t.div(i, channels), t.rem(i, channels)); });
  }
  Value ofRow(ArrayRef<Row> all, Value row, Value Row::*field) {
    Value value = all[0].*field;
    for (size_t i = 1; i < all.size(); ++i)
      value = t.select(t.equal(row, i), all[i].*field, value);
    return value;
  }

  // Of the heads and tokens that are worked on together, the first ones; through all segments.
  void attend(Value kvHead, Value firstHead, Value firstToken, Value tokenEnd);
  void loadQueries(ArrayRef<Row> all);
  // Leaves each row's largest score, sum and outputs in shared memory.
  // Of positions [from, end) of the segment that begins at `first`; of them a row sees those of its window.
  void walk(Value head, Value first, Value from, Value end, ArrayRef<Row> all);
  void scores(Value head, Value first, Value from, Value end);
  void softmax(Value first, ArrayRef<Row> all);
  void values(Value head, Value first, Value from, Value end);
  // The first position of the block where the window of a token at `position` begins.
  Value firstBlock(Value position) {
    if (!op.getWindow())
      return t.c(0);
    Value seen = t.max(t.sub(position, *op.getWindow() - 1), t.c(0));
    return t.mul(t.div(seen, SLUICE_KV_BLOCK), SLUICE_KV_BLOCK);
  }

  struct Part {
    Value maximum, sum, output; // of one channel
  };
  Part nothing() { return {t.f(-INFINITY), t.f(0), t.f(0)}; }
  Part merge(Part merged, Part part);
  Value divide(Part merged) { return t.mulf(merged.output, t.divf(t.f(1), merged.sum)); }

  const Scope &scope;
  Threads &t;
  AttentionOp op;
  Cache cache;
  const AttentionPlan plan;
  const int64_t channels;
  Value shared;
};

SmallVector<AttentionLowering::Row> AttentionLowering::rowsOf(Value firstHead, Value firstToken, Value tokenEnd) {
  SmallVector<Row> all;
  for (int64_t i = 0; i < rows(); ++i) {
    Value token = t.min(t.add(firstToken, i / plan.heads), t.sub(tokenEnd, 1)); // the last one again
    all.push_back({token, t.add(scope.position(), token), t.add(firstHead, i % plan.heads)});
  }
  return all;
}

void AttentionLowering::loadQueries(ArrayRef<Row> all) {
  const double scale = op.getScale() ? op.getScale()->convertToDouble() : 1 / std::sqrt(double(channels));
  HeadSteps steps(scope, op, channels);
  t.when(t.less(t.warp(), rows()), [&] {
    Value row = t.warp(), token = ofRow(all, row, &Row::token);
    Value query = t.at(scope.bufferRow(op.getQueryAttr(), token), t.mul(ofRow(all, row, &Row::head), channels * 4));
    Value factor = steps.factorOf(query);
    t.loop(t.c(0), t.c(channels), t.c(32), [&](Value first) {
      Value x = t.mulf(steps.channel(query, factor, token, first), t.f(scale)), channel = t.add(first, t.lane());
      t.when(t.less(channel, channels),
             [&] { t.store(x, at(plan.queriesAt(), t.add(t.mul(row, channels), channel)), 4); });
    });
  });
}

void AttentionLowering::walk(Value head, Value first, Value from, Value end, ArrayRef<Row> all) {
  from = t.max(first, from);
  t.apart([&] { scores(head, first, from, end); });
  t.syncBlock();
  t.apart([&] { softmax(first, all); });
  t.syncBlock();
  t.apart([&] { values(head, first, from, end); });
  t.syncBlock();
  forOutputs([&](Value row, Value channel) {
    Value index = t.add(t.mul(row, channels), channel), sum;
    for (int64_t i = 0; i < AttentionPlan::outputParts; ++i) {
      Value part = t.load(t.f32(), t.at(at(plan.partsAt(), index), i * rows() * channels * 4), 4);
      sum = i ? t.addf(sum, part) : part;
    }
    t.store(sum, at(plan.outputsAt(), index), 4);
  });
  t.syncBlock();
}

// Warps of four work on one block of positions, each on a part of the channels.
void AttentionLowering::scores(Value head, Value first, Value from, Value end) {
  constexpr int64_t parts = AttentionPlan::scoreParts, blocks = warps / parts;
  static_assert(blocks * SLUICE_KV_BLOCK == SLUICE_KV_SEGMENT && SLUICE_KV_BLOCK == 64, "a lane is two positions");
  // Keys of several channels are on their way before any is used.
  const int64_t ofPart = llvm::divideCeil(channels, parts), whole = channels % parts == 0 ? ofPart : 1;
  const int64_t unroll = whole % 16 == 0 ? 16 : whole % 4 == 0 ? 4 : 1, vector = std::min<int64_t>(unroll, 4);
  Value block = t.div(t.warp(), parts), part = t.andi(t.warp(), parts - 1);
  Value position = t.add(first, t.mul(block, SLUICE_KV_BLOCK)), pair = t.mul(t.lane(), 2);
  // Blocks before `from` are before every row's window.
  Value needed = t.less(position, end);
  if (op.getWindow())
    needed = t.andi(needed, t.isNot(t.less(position, from)));
  t.when(needed, [&] {
    Value keys = cache.blockAt(head, position);
    Value firstChannel = t.mul(part, ofPart), lastChannel = t.min(t.add(firstChannel, ofPart), t.c(channels));
    Values sums =
        t.loop(firstChannel, lastChannel, t.c(unroll), Values(rows() * 2, t.f(0)), [&](Value c, ValueRange state) {
          Values next(state.begin(), state.end());
          SmallVector<Values> loaded;
          for (int64_t u = 0; u < unroll; ++u) {
            Value channel = t.add(c, u), index = t.add(t.mul(channel, SLUICE_KV_BLOCK), pair);
            loaded.push_back(cache.elements(2, t.at(keys, t.mul(index, cache.layout.elementBytes()))));
            if (cache.layout.scaled())
              for (auto [x, scale] : llvm::zip_equal(loaded.back(), cache.scales(2, keys, channel, pair)))
                x = t.mulf(x, scale);
          }
          for (int64_t u = 0; u < unroll; u += vector)
            for (int64_t row = 0; row < rows(); ++row) {
              Value pointer = at(plan.queriesAt(), t.add(c, row * channels + u));
              Values queries = vector == 1 ? Values{t.load(t.f32(), pointer, 4)}
                                           : t.unpack(t.load(t.vec(vector, t.f32()), pointer, unsigned(4 * vector)));
              for (int64_t v = 0; v < vector; ++v)
                for (int64_t i = 0; i < 2; ++i)
                  next[row * 2 + i] = t.fma(loaded[u + v][i], queries[v], next[row * 2 + i]);
            }
          return next;
        });
    Value column = t.add(t.mul(block, SLUICE_KV_BLOCK), pair);
    for (int64_t row = 0; row < rows(); ++row) {
      Value index = t.add(t.mul(t.add(t.mul(part, rows()), row), SLUICE_KV_SEGMENT), column);
      t.store(t.pack({sums[row * 2], sums[row * 2 + 1]}), at(plan.partsAt(), index), 8);
    }
  });
}

// A warp has a row, a lane every 32nd position. Scores of positions that the row does not see count for nothing.
void AttentionLowering::softmax(Value first, ArrayRef<Row> all) {
  constexpr int64_t each = SLUICE_KV_SEGMENT / 32;
  t.loop(t.warp(), t.c(rows()), t.c(warps), [&](Value row) {
    Value limit = t.sub(ofRow(all, row, &Row::position), first);
    Values x;
    Value largest;
    for (int64_t i = 0; i < each; ++i) {
      Value position = t.add(t.lane(), i * 32), unseen = t.less(limit, position);
      if (op.getWindow())
        unseen = t.ori(unseen, t.isNot(t.less(limit, t.add(position, *op.getWindow()))));
      x.push_back(t.choose(
          unseen, t.f32(), [&] { return Values{t.f(-INFINITY)}; },
          [&] {
            Value sum;
            for (int64_t part = 0; part < AttentionPlan::scoreParts; ++part) {
              Value index = t.add(t.mul(t.add(row, part * rows()), SLUICE_KV_SEGMENT), position);
              Value score = t.load(t.f32(), at(plan.partsAt(), index), 4);
              sum = part ? t.addf(sum, score) : score;
            }
            return Values{op.getSoftcap() ? t.softcap(sum, op.getSoftcap()->convertToDouble()) : sum};
          })[0]);
      largest = i ? t.maxf(largest, x[i]) : x[i];
    }
    // A segment that a row sees nothing of still has a finite largest score.
    Value maximum = t.maxf(t.reduceWarp(largest, [&](Value a, Value b) { return t.maxf(a, b); }), t.f(-3e38));
    Value sum;
    for (int64_t i = 0; i < each; ++i) {
      Value p = t.exp(t.subf(x[i], maximum));
      sum = i ? t.addf(sum, p) : p;
      t.store(p, at(plan.probabilitiesAt(), t.add(t.mul(row, SLUICE_KV_SEGMENT), t.add(t.lane(), i * 32))), 4);
    }
    sum = t.reduceWarp(sum, [&](Value a, Value b) { return t.addf(a, b); });
    t.when(t.equal(t.lane(), 0), [&] {
      t.store(maximum, at(plan.maximaAt(), row), 4);
      t.store(sum, at(plan.sumsAt(), row), 4);
    });
  });
}

void AttentionLowering::values(Value head, Value first, Value from, Value end) {
  const int64_t n = channels % 128 == 0 ? 4 : channels % 64 == 0 ? 2 : 1, step = 32 * n;
  const int64_t vectors = llvm::divideCeil(channels, step);
  Values zero(rows() * vectors * n, t.f(0));
  Value lane = t.mul(t.lane(), n);
  // Values of several positions are on their way before any is used; those past the end count for nothing.
  constexpr int64_t atOnce = 4;
  Values sums = t.loop(t.add(from, t.warp()), end, t.c(atOnce * warps), zero, [&](Value firstOfAll, ValueRange state) {
    Values next(state.begin(), state.end());
    SmallVector<Values> loaded, probabilities; // [position][vector * n], [position][row]
    for (int64_t p = 0; p < atOnce; ++p) {
      Value position = t.add(firstOfAll, p * warps), isWithin = t.less(position, end);
      position = t.min(position, t.sub(end, 1));
      Value half = t.at(cache.blockAt(head, position), cache.layout.valuesAt());
      Value inBlock = t.rem(position, SLUICE_KV_BLOCK), inSegment = t.sub(position, first);
      loaded.emplace_back(), probabilities.emplace_back();
      for (int64_t row = 0; row < rows(); ++row) {
        Value of = t.load(t.f32(), at(plan.probabilitiesAt(), t.add(inSegment, row * SLUICE_KV_SEGMENT)), 4);
        probabilities.back().push_back(p ? t.select(isWithin, of, t.f(0)) : of);
      }
      for (int64_t v = 0; v < vectors; ++v) {
        // Lanes past the last channel read it again, and nobody reads what they make of it.
        Value channel = t.add(lane, v * step);
        if (channels % step)
          channel = t.min(channel, t.c(channels - n));
        Value index = t.add(t.mul(inBlock, channels), channel);
        Values value = cache.elements(n, t.at(half, t.mul(index, cache.layout.elementBytes())));
        if (cache.layout.scaled()) {
          Value scale = cache.scales(1, half, channel, inBlock)[0];
          for (Value &x : value)
            x = t.mulf(x, scale);
        }
        llvm::append_range(loaded.back(), value);
      }
    }
    for (int64_t p = 0; p < atOnce; ++p)
      for (int64_t row = 0; row < rows(); ++row)
        for (int64_t i = 0; i < vectors * n; ++i) {
          Value &sum = next[row * vectors * n + i];
          sum = t.fma(loaded[p][i], probabilities[p][row], sum);
        }
    return next;
  });
  // The later half of the warps leaves its sums for the earlier half, which adds its own.
  constexpr int64_t half = AttentionPlan::outputParts;
  Value isLater = t.isNot(t.less(t.warp(), half)), slot = t.andi(t.warp(), half - 1);
  auto forSums = [&](function_ref<void(ArrayRef<Value>, Value)> f) {
    for (int64_t row = 0; row < rows(); ++row)
      for (int64_t v = 0; v < vectors; ++v) {
        Value channel = t.add(lane, v * step);
        Value pointer = at(plan.partsAt(), t.add(t.mul(t.add(t.mul(slot, rows()), row), channels), channel));
        auto own = [&] { f(ArrayRef<Value>(sums).slice((row * vectors + v) * n, n), pointer); };
        if (channels % step)
          t.when(t.less(channel, channels), own);
        else
          own();
      }
  };
  auto store = [&](ArrayRef<Value> x, Value pointer) { t.store(n == 1 ? x[0] : t.pack(x), pointer, unsigned(4 * n)); };
  t.when(isLater, [&] { forSums(store); });
  t.syncBlock();
  t.when(t.isNot(isLater), [&] {
    forSums([&](ArrayRef<Value> x, Value pointer) {
      Values other =
          n == 1 ? Values{t.load(t.f32(), pointer, 4)} : t.unpack(t.load(t.vec(n, t.f32()), pointer, unsigned(4 * n)));
      for (int64_t i = 0; i < n; ++i)
        other[i] = t.addf(x[i], other[i]);
      store(other, pointer);
    });
  });
}

AttentionLowering::Part AttentionLowering::merge(Part merged, Part part) {
  Value maximum = t.maxf(merged.maximum, part.maximum);
  Value kept = t.exp(t.subf(merged.maximum, maximum)), added = t.exp(t.subf(part.maximum, maximum));
  return {maximum, t.fma(part.sum, added, t.mulf(merged.sum, kept)),
          t.fma(part.output, added, t.mulf(merged.output, kept))};
}

void AttentionLowering::lowerToken(AppendOp append, int64_t countersAt) {
  const int64_t batches = plan.group / plan.heads, heads = int64_t(op.getHeads()), partFloats = channels + 2;
  Value position = scope.position(), from = firstBlock(position), firstSegment = t.div(from, SLUICE_KV_SEGMENT);
  Value lastSegment = t.div(position, SLUICE_KV_SEGMENT), segments = t.add(t.sub(lastSegment, firstSegment), 1);
  Value units = t.mul(segments, kvHeads()), isOnly = t.equal(segments, 1);
  Value parts = scope.bufferRow(op.getResultAttr(), t.c(0));
  t.loop(t.block(), units, t.blocks(), [&](Value unit) {
    Value kvHead = t.rem(unit, kvHeads()), segment = t.add(t.div(unit, kvHeads()), firstSegment);
    Value first = t.mul(segment, SLUICE_KV_SEGMENT);
    Value end = t.min(t.add(position, 1), t.add(first, SLUICE_KV_SEGMENT));
    if (append)
      t.when(t.equal(segment, lastSegment), [&] { t.apart([&] { cache.append(append, kvHead, t.c(0)); }); });
    t.loop(t.c(0), t.c(batches), t.c(1), [&](Value batch) {
      Value firstHead = t.add(t.mul(kvHead, plan.group), t.mul(batch, plan.heads));
      SmallVector<Row> all = rowsOf(firstHead, t.c(0), t.c(1));
      loadQueries(all);
      t.syncBlock(); // the appended token is there, too
      walk(cache.headAt(kvHead), first, from, end, all);
      forOutputs([&](Value row, Value channel) {
        Value head = t.add(firstHead, row);
        // A segment that is the only one is merged as it is.
        Value place = t.add(t.select(isOnly, t.c(0), t.mul(segment, heads)), head);
        Value to = t.at(parts, t.mul(t.mul(place, partFloats), 4));
        Value output = t.load(t.f32(), at(plan.outputsAt(), t.add(t.mul(row, channels), channel)), 4);
        Value merged = divide({Value(), t.load(t.f32(), at(plan.sumsAt(), row), 4), output});
        t.store(t.select(isOnly, merged, output), t.at(to, t.mul(channel, 4)), 4);
        t.when(t.equal(channel, 0), [&] {
          t.store(t.load(t.f32(), at(plan.maximaAt(), row), 4), t.at(to, channels * 4), 4);
          t.store(t.load(t.f32(), at(plan.sumsAt(), row), 4), t.at(to, channels * 4 + 4), 4);
        });
      });
      t.syncBlock();
    });
    t.when(t.isNot(isOnly), [&] { mergeByLast(kvHead, firstSegment, lastSegment, parts, countersAt); });
  });
}

void AttentionLowering::prefetch() {
  constexpr int64_t line = 128, blocks = SLUICE_KV_SEGMENT / SLUICE_KV_BLOCK;
  Value position = scope.position(), firstSegment = t.div(firstBlock(position), SLUICE_KV_SEGMENT);
  Value kvHead = t.rem(t.block(), kvHeads()), segment = t.add(t.div(t.block(), kvHeads()), firstSegment);
  Value first = t.mul(segment, SLUICE_KV_SEGMENT);
  Value seen = t.min(t.sub(t.div(t.add(position, SLUICE_KV_BLOCK), SLUICE_KV_BLOCK), t.div(first, SLUICE_KV_BLOCK)),
                     t.c(blocks));
  Value from = cache.blockAt(cache.headAt(kvHead), first);
  t.loop(t.mul(t.thread(), line), t.mul(seen, cache.layout.blockBytes()), t.c(threads * line),
         [&](Value at) { t.prefetch(t.at(from, at)); });
}

// The last block of a KV head merges its parts, into the place of the first segment's.
void AttentionLowering::mergeByLast(Value kvHead, Value firstSegment, Value lastSegment, Value parts,
                                    int64_t countersAt) {
  const int64_t heads = int64_t(op.getHeads()), partFloats = channels + 2;
  Value segments = t.add(t.sub(lastSegment, firstSegment), 1);
  Value flag = t.at(shared, plan.flagAt());
  t.when(t.equal(t.thread(), 0), [&] {
    Value counter = t.at(t.at(scope.args.sync, countersAt), t.mul(kvHead, 4));
    t.fenceDevice();
    Value isLast = t.equal(t.atomicAdd(counter, t.c(1)), t.sub(segments, 1));
    t.fenceDevice();
    t.when(isLast, [&] { t.storeRelaxed(t.c(0), counter); });
    t.store(t.extend(isLast, t.i32()), flag, 4);
  });
  t.syncBlock();
  t.when(t.equal(t.load(t.i32(), flag, 4), 1), [&] {
    t.loop(t.thread(), t.c(plan.group * channels), t.c(threads), [&](Value i) {
      Value head = t.add(t.mul(kvHead, plan.group), t.div(i, channels)), channel = t.rem(i, channels);
      Value firstPart = t.at(parts, t.mul(t.mul(head, partFloats), 4));
      Part none = nothing();
      Values merged = t.loop(firstSegment, t.add(lastSegment, 1), t.c(1), Values{none.maximum, none.sum, none.output},
                             [&](Value segment, ValueRange m) {
                               Value from = t.at(firstPart, t.mul(segment, heads * partFloats * 4));
                               Part part{t.load(t.f32(), t.at(from, channels * 4), 4),
                                         t.load(t.f32(), t.at(from, channels * 4 + 4), 4),
                                         t.load(t.f32(), t.at(from, t.mul(channel, 4)), 4)};
                               Part next = merge({m[0], m[1], m[2]}, part);
                               return Values{next.maximum, next.sum, next.output};
                             });
      t.store(divide({merged[0], merged[1], merged[2]}), t.at(firstPart, t.mul(channel, 4)), 4);
    });
  });
  t.syncBlock();
}

void AttentionLowering::lowerTokens() {
  const int64_t batches = plan.group / plan.heads;
  Value tokenEnd = scope.tokenEnd();
  Value tokenBlocks = t.div(t.add(tokenEnd, plan.tokens - 1), plan.tokens);
  // Later tokens, which see more, first.
  t.loop(t.block(), t.mul(tokenBlocks, kvHeads() * batches), t.blocks(), [&](Value unit) {
    Value batch = t.rem(unit, kvHeads() * batches), kvHead = t.div(batch, batches);
    Value tokenBlock = t.sub(t.sub(tokenBlocks, 1), t.div(unit, kvHeads() * batches));
    attend(kvHead, t.mul(batch, plan.heads), t.mul(tokenBlock, plan.tokens), tokenEnd);
  });
}

void AttentionLowering::lowerTokenWhole(AppendOp append) {
  t.loop(t.block(), t.c(kvHeads()), t.blocks(), [&](Value kvHead) {
    if (append)
      t.apart([&] { cache.append(append, kvHead, t.c(0)); });
    Value firstHead = t.mul(kvHead, plan.group);
    t.loop(firstHead, t.add(firstHead, plan.group), t.c(plan.heads),
           [&](Value head) { attend(kvHead, head, t.c(0), t.c(1)); });
  });
}

void AttentionLowering::attend(Value kvHead, Value firstHead, Value firstToken, Value tokenEnd) {
  SmallVector<Row> all = rowsOf(firstHead, firstToken, tokenEnd);
  loadQueries(all);
  t.syncBlock(); // an appended token is there, too
  Value end = t.add(scope.position(), t.min(t.add(firstToken, plan.tokens), tokenEnd));
  Value head = cache.headAt(kvHead);
  // A thread keeps what it has merged of each of its outputs.
  const int64_t outputs = llvm::divideCeil(rows() * channels, threads);
  auto outputAt = [&](int64_t i) { return t.add(t.thread(), i * threads); };
  Values state;
  for (int64_t i = 0; i < outputs; ++i) {
    Part none = nothing();
    state.append({none.maximum, none.sum, none.output});
  }
  Value from = firstBlock(all[0].position), begin = t.mul(t.div(from, SLUICE_KV_SEGMENT), SLUICE_KV_SEGMENT);
  Values merged = t.loop(begin, end, t.c(SLUICE_KV_SEGMENT), state, [&](Value first, ValueRange m) {
    walk(head, first, from, t.min(end, t.add(first, SLUICE_KV_SEGMENT)), all);
    Values next;
    for (int64_t i = 0; i < outputs; ++i) {
      Value output = t.min(outputAt(i), t.c(rows() * channels - 1)), row = t.div(output, channels);
      Part part = merge({m[3 * i], m[3 * i + 1], m[3 * i + 2]},
                        {t.load(t.f32(), at(plan.maximaAt(), row), 4), t.load(t.f32(), at(plan.sumsAt(), row), 4),
                         t.load(t.f32(), at(plan.outputsAt(), output), 4)});
      next.append({part.maximum, part.sum, part.output});
    }
    t.syncBlock();
    return next;
  });
  for (int64_t i = 0; i < outputs; ++i) {
    Value output = outputAt(i), row = t.div(output, channels), channel = t.rem(output, channels);
    Value isOne = t.less(output, rows() * channels);
    if (plan.tokens > 1) // rows after the last token repeat it
      isOne = t.andi(isOne, t.less(t.add(firstToken, t.div(row, plan.heads)), tokenEnd));
    t.when(isOne, [&] {
      Value buffer = scope.bufferRow(op.getResultAttr(), ofRow(all, row, &Row::token));
      Value index = t.add(t.mul(ofRow(all, row, &Row::head), channels), channel);
      t.store(divide({merged[3 * i], merged[3 * i + 1], merged[3 * i + 2]}), t.at(buffer, t.mul(index, 4)), 4);
    });
  }
}

void forCacheType(const Scope &scope, Type cache, function_ref<void(CacheLayout)> f) {
  for (uint32_t type = 0; type < SLUICE_CACHE_COUNT; ++type)
    scope.t.when(scope.t.equal(scope.args.cacheType, type), [&] {
      f({type, cast<llama::CacheType>(cache).getHeadDim()});
    });
}
} // namespace

void sluice::codegen::lowerAttention(const Scope &scope, AttentionOp op, int64_t countersAt) {
  auto appends = scope.phase().getBody().getOps<AppendOp>();
  AppendOp append = appends.empty() ? AppendOp() : *appends.begin();
  forCacheType(scope, op.getCache(), [&](CacheLayout layout) {
    AttentionLowering lowering(scope, op, layout);
    if (scope.manyTokens())
      lowering.lowerTokens();
    else if (op.getSplit())
      lowering.lowerToken(append, countersAt);
    else
      lowering.lowerTokenWhole(append);
  });
}

// Of this block's first unit: blocks of all its segment, but not more than lie before the position.
void sluice::codegen::prefetchCache(const Scope &scope, AttentionOp op) {
  if (!op.getSplit())
    return;
  forCacheType(scope, op.getCache(), [&](CacheLayout layout) { AttentionLowering(scope, op, layout).prefetch(); });
}

void sluice::codegen::lowerAppends(const Scope &scope, AppendOp op) {
  Threads &t = scope.t;
  const int64_t kvHeads = cast<llama::CacheType>(op.getCache()).getKvHeads();
  forCacheType(scope, op.getCache(), [&](CacheLayout layout) {
    t.loop(t.block(), t.mul(scope.tokenEnd(), kvHeads), t.blocks(),
           [&](Value unit) { Cache(scope, layout).append(op, t.rem(unit, kvHeads), t.div(unit, kvHeads)); });
  });
}
