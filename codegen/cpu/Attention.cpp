//===- Attention.cpp - flash-style attention over the blocked KV cache ---------------===//
//
// A unit is one KV head and a block of tokens. The rows of a few tokens (a row is a query head of a token) walk the
// blocks of 64 positions of their KV head together: scores (a lane is a position), a running maximum and sum, values (a
// lane is a channel). Positions after a row's own are masked, so every block is whole. Each segment of
// SLUICE_KV_SEGMENT positions starts anew; its part is then merged with those before. All this depends on positions
// only, so that every chunking and every division of the work gives the same bits. Scales of a quantised cache are
// multiplied with sums over keys, and with the probabilities of values, not with every element.
//
//===------------------------------------------------------------------------------===//

#include "codegen/cpu/Cache.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

class AttentionLowering {
public:
  AttentionLowering(PhaseScope &scope, AttentionOp op, const CacheLayout &cache, Lanes &l, Value args)
      : scope(scope), op(op), cache(cache), l(l), args(args), layout(AttentionScratch::get(op)),
        scratch(l.at(l.argPointer(args, ScratchArg), scope.scratchAt(op))) {
    element = cache.elementBytes();
    channels = layout.headDim;
    // Vectors over channels must divide the head: nothing past a cache may be touched.
    channelLanes = std::min<int64_t>(l.facts.lanes(), channels & -channels);
    positionLanes = l.facts.lanes();
  }

  int64_t tokens() const { return layout.tokens; }

  // Tokens [token, token + tokens()) of a KV head; where those pass the last, the last once more.
  void lowerTokens(Value kvHead, Value token, Value tokenEnd) {
    Value head = cacheOfHead(l, args, kvHead), rowAt = l.mul(kvHead, layout.group * channels * 4);
    Values rowTokens, positions;
    for (int64_t t = 0; t < tokens(); ++t) {
      rowTokens.push_back(l.min(l.add(token, t), l.sub(tokenEnd, l.c64(1))));
      positions.push_back(l.add(l.arg(args, PositionArg, l.i64()), rowTokens[t]));
      start(t, rowTokens[t], l.at(scope.bufferRow(l, args, op.getQueryAttr(), rowTokens[t]), rowAt));
    }
    forEachRow([&](Value row) { clearAttention(l, channels, merged(row)); });
    Value end = l.add(positions.back(), 1);
    Value first = firstBlock(positions[0]);
    l.loop(floorTo(first, SLUICE_KV_SEGMENT), end, SLUICE_KV_SEGMENT, [&](Value segment) {
      walk(head, l.max(segment, first), l.min(end, l.add(segment, SLUICE_KV_SEGMENT)), positions);
      forEachRow([&](Value row) { mergeAttention(l, channels, part(row), merged(row)); });
    });
    for (int64_t t = 0; t < tokens(); ++t) {
      Value result = l.at(scope.bufferRow(l, args, op.getResultAttr(), rowTokens[t]), rowAt);
      l.loop(l.c64(0), l.c64(layout.group), 1, [&](Value g) {
        divideAttention(l, channels, merged(l.add(g, t * layout.group)), l.at(result, l.mul(g, channels * 4)));
      });
    }
  }

  // One token's part of a segment.
  void lowerPart(Value kvHead, Value segment) {
    Value position = l.arg(args, PositionArg, l.i64()), first = l.mul(segment, SLUICE_KV_SEGMENT);
    start(0, l.c64(0),
          l.at(scope.bufferRow(l, args, op.getQueryAttr(), l.c64(0)), l.mul(kvHead, layout.group * channels * 4)));
    walk(cacheOfHead(l, args, kvHead), l.max(first, firstBlock(position)),
         l.min(l.add(position, 1), l.add(first, SLUICE_KV_SEGMENT)), {position});
    Value parts = scope.bufferRow(l, args, op.getResultAttr(), l.c64(0));
    Value firstRow = l.add(l.mul(segment, int64_t(op.getHeads())), l.mul(kvHead, layout.group));
    forEachRow([&](Value row) {
      AttentionPart from = part(row), to = storedPart(l, parts, l.add(firstRow, row), channels);
      l.store(l.load(l.f32(), from.maximum, 4), to.maximum, 4);
      l.store(l.load(l.f32(), from.sum, 4), to.sum, 4);
      l.loop(l.c64(0), l.c64(channels), channelLanes, [&](Value c) {
        l.store(l.load(channelVector(), l.at(from.output, l.mul(c, 4)), 4), l.at(to.output, l.mul(c, 4)), 4);
      });
    });
  }

private:
  Type channelVector() { return l.vec(channelLanes, l.f32()); }
  Type positionVector() { return l.vec(positionLanes, l.f32()); }
  Value floatAt(int64_t base, int64_t index) { return l.at(scratch, base + index * 4); }
  Value floatAt(int64_t base, Value index) { return l.at(l.at(scratch, base), l.mul(index, 4)); }

  // Rows whose sums with the vectors that share a load fit the registers beside a few operands.
  int64_t rowsTogether() const {
    const int64_t most = l.facts.vectorRegisters * 3 / 4 / l.facts.vectorsPerLoad();
    return llvm::divideCeil(layout.rows(), llvm::divideCeil(layout.rows(), most));
  }
  void forRows(function_ref<void(int64_t, int64_t)> f) {
    for (int64_t row = 0; row < layout.rows(); row += rowsTogether())
      f(row, std::min(rowsTogether(), layout.rows() - row));
  }
  // The fewest vectors, a power of two that divides `vectors`, that share the rows' scalars as the chip needs it and
  // give `rows` rows enough sums for multiplications to overlap.
  int64_t vectorsTogether(int64_t vectors, int64_t rows) const {
    int64_t together = 1;
    while ((rows * together < 8 || together < l.facts.vectorsPerLoad()) && vectors % (together * 2) == 0)
      together *= 2;
    return together;
  }

  Value floorTo(Value position, int64_t multiple) { return l.mul(l.div(position, multiple), multiple); }
  // Of the block where the window of a token at `position` begins.
  Value firstBlock(Value position) { return floorTo(firstSeen(l, op.getWindow(), position), SLUICE_KV_BLOCK); }

  // Queries of row t, of the chunk's token `token`, scaled.
  void start(int64_t t, Value token, Value query) {
    const int64_t rowChannels = layout.group * channels;
    const double factor =
        op.getScale() ? op.getScale()->convertToDouble() : 1.0 / std::sqrt(static_cast<double>(channels));
    if (HeadSteps steps = HeadSteps::of(op); steps.any())
      return l.loop(l.c64(0), l.c64(rowChannels), channels, [&](Value c) {
        lowerHead(scope, steps, l, args, token, channels, factor, l.at(query, l.mul(c, 4)),
                  floatAt(layout.queriesAt() + t * rowChannels * 4, c));
      });
    Value scale = l.constantLike(channelVector(), factor);
    l.loop(l.c64(0), l.c64(rowChannels), channelLanes, [&](Value i) {
      Value scaled = l.mulf(l.load(channelVector(), l.at(query, l.mul(i, 4)), 4), scale);
      l.store(scaled, floatAt(layout.queriesAt() + t * rowChannels * 4, i), 4);
    });
  }

  // What the rows have of the segment, and of all segments before.
  AttentionPart part(Value row) {
    return {floatAt(layout.maximaAt(), row), floatAt(layout.sumsAt(), row),
            floatAt(layout.outputsAt(), l.mul(row, channels))};
  }
  AttentionPart merged(Value row) {
    return {floatAt(layout.mergedMaximaAt(), row), floatAt(layout.mergedSumsAt(), row),
            floatAt(layout.mergedAt(), l.mul(row, channels))};
  }
  void forEachRow(function_ref<void(Value)> f) { l.loop(l.c64(0), l.c64(layout.rows()), 1, f); }

  // Attention over positions [first, end) of a segment.
  void walk(Value head, Value first, Value end, ArrayRef<Value> positions) {
    forEachRow([&](Value row) { clearAttention(l, channels, part(row)); });
    l.loop(first, end, SLUICE_KV_BLOCK, [&](Value at) {
      Value block = l.at(head, l.mul(l.div(at, SLUICE_KV_BLOCK), cache.blockBytes()));
      Value values = l.at(block, cache.valuesAt());
      Value seen = l.min(l.sub(end, at), l.c64(SLUICE_KV_BLOCK));
      forRows([&](int64_t row, int64_t count) { scores(block, at, seen, positions, row, count); });
      forRows([&](int64_t row, int64_t count) { accumulate(values, seen, row, count); });
    });
  }

  // Of `bytes` that are in use at `offset` from `pointer`, those as far ahead as configured; a line by its first
  // vector.
  void prefetch(Value pointer, int64_t offset, int64_t bytes) {
    constexpr int64_t line = 64;
    if (int64_t ahead = op.getPrefetch().value_or(0); ahead && offset % line < std::min(bytes, line))
      l.prefetch(l.at(pointer, ahead + offset), /*level=*/1);
  }

  // Probabilities (not yet normalised) of a block for `count` rows from `row`; rescales what those have so far.
  // Scores past the first `seen` are left as they are: softmax() masks them, and those before a row's window.
  void scores(Value keys, Value first, Value seen, ArrayRef<Value> positions, int64_t row, int64_t count) {
    const int64_t n = positionLanes, vectors = SLUICE_KV_BLOCK / n, together = vectorsTogether(vectors, count);
    l.loop(l.c64(0), l.div(l.add(seen, n - 1), n), together, [&](Value vector) {
      Value positionAt = l.mul(vector, n);
      Values zero(count * together, l.constantLike(positionVector(), 0.0));
      auto sumOver = [&](Value from, Value to) {
        return l.loop(from, to, 1, zero, [&](Value c, ValueRange state) {
          Values next(state.begin(), state.end());
          Value keyRow = l.at(keys, l.mul(l.add(l.mul(c, SLUICE_KV_BLOCK), positionAt), element));
          Value query = floatAt(layout.queriesAt() + row * channels * 4, c);
          for (int64_t v = 0; v < together; ++v) {
            Value key = cache.loadElements(l, n, l.at(keyRow, v * n * element));
            prefetch(keyRow, v * n * element, n * element);
            for (int64_t q = 0; q < count; ++q) {
              Value splat = l.loadSplat(positionVector(), l.at(query, q * channels * 4), 4);
              next[q * together + v] = l.fma(key, splat, next[q * together + v]);
            }
          }
          return next;
        });
      };
      auto sumScaled = [&](Value c, ValueRange state) {
        Values parts = sumOver(c, l.min(l.add(c, cache.scaleChannels()), l.c64(channels))), next;
        Value scales = l.at(cache.scalesAt(l, keys, c), l.mul(positionAt, 2));
        for (auto [i, part] : llvm::enumerate(parts))
          next.push_back(l.fma(part, cache.loadScales(l, n, l.at(scales, i % together * n * 2)), state[i]));
        return next;
      };
      Values sums = cache.scaled() ? l.loop(l.c64(0), l.c64(channels), cache.scaleChannels(), zero, sumScaled)
                                   : sumOver(l.c64(0), l.c64(channels));
      for (int64_t q = 0; q < count; ++q)
        for (int64_t v = 0; v < together; ++v)
          l.store(sums[q * together + v],
                  l.at(floatAt(layout.scoresAt(), positionAt), ((row + q) * SLUICE_KV_BLOCK + v * n) * 4), 4);
    });
    for (int64_t q = row; q < row + count; ++q)
      softmax(first, positions[q / layout.group], q);
  }

  void softmax(Value first, Value position, int64_t row) {
    const int64_t n = positionLanes, vectors = SLUICE_KV_BLOCK / n;
    auto scoreAt = [&](int64_t v) { return floatAt(layout.scoresAt(), row * SLUICE_KV_BLOCK + v * n); };
    // Of the block's positions, those up to this one are seen; it may be negative.
    Value limit = l.splat(arith::TruncIOp::create(l.b, l.i32(), l.sub(position, first)), n);
    Values x;
    Value largest;
    for (int64_t v = 0; v < vectors; ++v) {
      Value index = l.add(l.iota(n), v * n);
      Value seen = arith::CmpIOp::create(l.b, arith::CmpIPredicate::sle, index, limit);
      if (op.getWindow())
        seen =
            l.andi(seen, arith::CmpIOp::create(l.b, arith::CmpIPredicate::sgt, l.add(index, *op.getWindow()), limit));
      Value score = l.load(positionVector(), scoreAt(v), 4);
      if (op.getSoftcap())
        score = l.softcap(score, op.getSoftcap()->convertToDouble());
      x.push_back(l.select(seen, score, l.constantLike(positionVector(), -INFINITY)));
      largest = v ? l.maxf(largest, x[v]) : x[v];
    }
    Value before = l.load(l.f32(), floatAt(layout.maximaAt(), row), 4);
    Value maximum = l.maxf(before, l.reduceMax(largest));
    l.store(maximum, floatAt(layout.maximaAt(), row), 4);
    Value kept = l.exp(l.subf(before, maximum));
    Value sum = l.constantLike(positionVector(), 0.0), splat = l.splat(maximum, n);
    for (int64_t v = 0; v < vectors; ++v) {
      Value p = l.exp(l.subf(x[v], splat));
      sum = l.addf(sum, p);
      l.store(p, scoreAt(v), 4);
    }
    l.store(l.fma(l.load(l.f32(), floatAt(layout.sumsAt(), row), 4), kept, l.reduceAdd(sum)),
            floatAt(layout.sumsAt(), row), 4);
    Value factor = l.splat(kept, channelLanes);
    l.loop(l.c64(0), l.c64(channels), channelLanes, [&](Value c) {
      Value at = floatAt(layout.outputsAt() + row * channels * 4, c);
      l.store(l.mulf(l.load(channelVector(), at, 4), factor), at, 4);
    });
  }

  // outputs += probabilities x values of the first `seen` positions of a block, for `count` rows from `row`.
  void accumulate(Value values, Value seen, int64_t row, int64_t count) {
    const int64_t n = channelLanes, vectors = channels / n, together = vectorsTogether(vectors, count);
    if (cache.scaled())
      scaleScores(values, row, count);
    l.loop(l.c64(0), l.c64(vectors), together, [&](Value vector) {
      auto outputAt = [&](int64_t q, int64_t v) {
        return l.at(floatAt(layout.outputsAt() + (row + q) * channels * 4, l.mul(vector, n)), v * n * 4);
      };
      Values init;
      for (int64_t q = 0; q < count; ++q)
        for (int64_t v = 0; v < together; ++v)
          init.push_back(l.load(channelVector(), outputAt(q, v), 4));
      Value column = l.at(values, l.mul(vector, n * element));
      Values scores; // of `row` with the channels of a vector
      for (int64_t v = 0; v < together; ++v)
        scores.push_back(scoresFor(l.mul(l.add(vector, v), n), row));
      Values sums = l.loop(l.c64(0), seen, 1, init, [&](Value p, ValueRange state) {
        Values next(state.begin(), state.end());
        Value line = l.at(column, l.mul(p, channels * element));
        for (int64_t v = 0; v < together; ++v) {
          Value value = cache.loadElements(l, n, l.at(line, v * n * element));
          prefetch(line, v * n * element, n * element);
          Value score = l.at(scores[v], l.mul(p, 4));
          for (int64_t q = 0; q < count; ++q) {
            Value splat = l.loadSplat(channelVector(), l.at(score, q * SLUICE_KV_BLOCK * 4), 4);
            next[q * together + v] = l.fma(value, splat, next[q * together + v]);
          }
        }
        return next;
      });
      for (int64_t q = 0; q < count; ++q)
        for (int64_t v = 0; v < together; ++v)
          l.store(sums[q * together + v], outputAt(q, v), 4);
    });
  }

  // Probabilities of a row, as they are multiplied with `channel` of the values.
  Value scoresFor(Value channel, int64_t row) {
    if (!cache.scaled())
      return l.at(scratch, layout.scoresAt() + row * SLUICE_KV_BLOCK * 4);
    Value scaled = l.mul(l.div(channel, cache.scaleChannels()), layout.scaledStride());
    return l.at(l.at(scratch, scaled), layout.scaledAt() + row * SLUICE_KV_BLOCK * 4);
  }

  void scaleScores(Value values, int64_t row, int64_t count) {
    const int64_t n = positionLanes;
    l.loop(l.c64(0), l.c64(channels), cache.scaleChannels(), [&](Value channel) {
      Value scales = cache.scalesAt(l, values, channel), scaled = scoresFor(channel, row);
      l.loop(l.c64(0), l.c64(SLUICE_KV_BLOCK), n, [&](Value p) {
        Value scale = cache.loadScales(l, n, l.at(scales, l.mul(p, 2)));
        for (int64_t q = 0; q < count; ++q) {
          Value score = floatAt(layout.scoresAt() + (row + q) * SLUICE_KV_BLOCK * 4, p);
          l.store(l.mulf(l.load(positionVector(), score, 4), scale),
                  l.at(scaled, l.add(l.mul(p, 4), q * SLUICE_KV_BLOCK * 4)), 4);
        }
      });
    });
  }

  PhaseScope &scope;
  AttentionOp op;
  const CacheLayout &cache;
  Lanes &l;
  Value args;
  AttentionScratch layout;
  Value scratch;
  int64_t element, channels, channelLanes, positionLanes;
};

} // namespace

AttentionPart sluice::codegen::storedPart(Lanes &l, Value parts, Value row, int64_t channels) {
  Value output = l.at(parts, l.mul(row, (channels + 2) * 4));
  return {l.at(output, channels * 4), l.at(output, (channels + 1) * 4), output};
}

// f(offset in bytes) over the vectors of a row.
static void overChannels(Lanes &l, int64_t channels, function_ref<void(Value, Type)> f) {
  const int64_t n = std::min<int64_t>(l.facts.lanes(), channels & -channels);
  l.loop(l.c64(0), l.c64(channels), n, [&](Value c) { f(l.mul(c, 4), l.vec(n, l.f32())); });
}
static Value splatLike(Lanes &l, Value scalar, Type vector) {
  return l.splat(scalar, cast<VectorType>(vector).getNumElements());
}

Value sluice::codegen::firstSeen(Lanes &l, std::optional<int64_t> window, Value position) {
  return window ? l.sub(l.max(l.add(position, 1), l.c64(*window)), l.c64(*window)) : l.c64(0);
}

// The maximum of nothing is finite, so that a row that sees nothing of a block or segment passes it without a trace:
// the difference of two such maxima is zero.
void sluice::codegen::clearAttention(Lanes &l, int64_t channels, AttentionPart merged) {
  constexpr double lowest = -3e38;
  l.store(l.constantLike(l.f32(), lowest), merged.maximum, 4);
  l.store(l.constantLike(l.f32(), 0.0), merged.sum, 4);
  overChannels(l, channels,
               [&](Value at, Type vector) { l.store(l.constantLike(vector, 0.0), l.at(merged.output, at), 4); });
}

void sluice::codegen::mergeAttention(Lanes &l, int64_t channels, AttentionPart part, AttentionPart merged) {
  Value before = l.load(l.f32(), merged.maximum, 4), other = l.load(l.f32(), part.maximum, 4);
  Value maximum = l.maxf(before, other);
  Value kept = l.exp(l.subf(before, maximum)), added = l.exp(l.subf(other, maximum));
  l.store(maximum, merged.maximum, 4);
  l.store(l.fma(l.load(l.f32(), part.sum, 4), added, l.mulf(l.load(l.f32(), merged.sum, 4), kept)), merged.sum, 4);
  overChannels(l, channels, [&](Value at, Type vector) {
    Value so = l.mulf(l.load(vector, l.at(merged.output, at), 4), splatLike(l, kept, vector));
    Value output = l.load(vector, l.at(part.output, at), 4);
    l.store(l.fma(output, splatLike(l, added, vector), so), l.at(merged.output, at), 4);
  });
}

void sluice::codegen::divideAttention(Lanes &l, int64_t channels, AttentionPart merged, Value output) {
  Value inverse = l.divf(l.constantLike(l.f32(), 1.0), l.load(l.f32(), merged.sum, 4));
  overChannels(l, channels, [&](Value at, Type vector) {
    l.store(l.mulf(l.load(vector, l.at(merged.output, at), 4), splatLike(l, inverse, vector)), l.at(output, at), 4);
  });
}

static int64_t headDimOf(Type cache) { return cast<llama::CacheType>(cache).getHeadDim(); }

void sluice::codegen::lowerAppends(PhaseScope &scope, AppendOp op, Lanes &l, Value args) {
  const int64_t kvHeads = cast<llama::CacheType>(op.getCache()).getKvHeads();
  forCacheType(l, args, headDimOf(op.getCache()), [&](const CacheLayout &cache) {
    l.loop(l.arg(args, TokenBeginArg, l.i64()), l.arg(args, TokenEndArg, l.i64()), 1, [&](Value token) {
      l.loop(l.c64(0), l.c64(kvHeads), 1, [&](Value kvHead) { lowerAppend(scope, op, cache, l, args, kvHead, token); });
    });
  });
}

void sluice::codegen::lowerAttention(PhaseScope &scope, AttentionOp op, Lanes &l, Value args, Value begin, Value end) {
  PhaseUnits units = PhaseUnits::get(scope.phase);
  auto appends = scope.phase.getBody().getOps<AppendOp>();
  // One token is appended by the unit that reads its position.
  auto appendToken = [&](const CacheLayout &cache, Value kvHead) {
    if (scope.maxTokens == 1 && !appends.empty())
      lowerAppend(scope, *appends.begin(), cache, l, args, kvHead, l.c64(0));
  };
  forCacheType(l, args, headDimOf(op.getCache()), [&](const CacheLayout &cache) {
    AttentionLowering lowering(scope, op, cache, l, args);
    Value tokenBegin = l.arg(args, TokenBeginArg, l.i64()), tokenEnd = l.arg(args, TokenEndArg, l.i64());
    l.loop(begin, end, 1, [&](Value unit) {
      Value kvHead = l.rem(unit, units.units);
      if (op.getSplit()) {
        Value segment = l.div(unit, units.units);
        Value last = l.div(l.arg(args, PositionArg, l.i64()), SLUICE_KV_SEGMENT);
        l.when(l.equal(segment, last), [&] { appendToken(cache, kvHead); });
        // A segment before the window has no part.
        Value first = firstSeen(l, op.getWindow(), l.arg(args, PositionArg, l.i64()));
        return l.when(l.lessOrEqual(l.div(first, SLUICE_KV_SEGMENT), segment),
                      [&] { lowering.lowerPart(kvHead, segment); });
      }
      appendToken(cache, kvHead);
      Value from = l.add(tokenBegin, l.mul(l.div(unit, units.units), units.unitTokens));
      Value to = l.min(l.add(from, units.unitTokens), tokenEnd);
      l.loop(from, to, lowering.tokens(), [&](Value token) { lowering.lowerTokens(kvHead, token, to); });
    });
  });
}
