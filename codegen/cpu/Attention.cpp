//===- Attention.cpp - flash-style attention over the blocked KV cache ---------------===//
//
// A unit is one KV head and a block of tokens. For each token, the query heads that share the KV head walk its blocks of 64
// positions together, from position 0: scores (a lane is a position), a running maximum and sum, values (a lane is a channel).
// Positions after the token's are masked, so every block is whole and every chunking gives the same bits.
//
//===------------------------------------------------------------------------------===//

#include "codegen/cpu/PhaseScope.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/bit.h"
#include <cmath>

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

class AttentionLowering {
public:
  AttentionLowering(PhaseScope &scope, AttentionOp op, Lanes &l, Value args)
      : scope(scope), op(op), cache(cast<llama::CacheType>(op.getCache())), l(l), args(args),
        layout(AttentionScratch::get(op)), scratch(l.at(l.argPointer(args, ScratchArg), scope.scratchAt(op))) {
    format = cache.getElementType().isF16() ? llama::Format::F16 : llama::Format::F32;
    element = cache.getElementType().getIntOrFloatBitWidth() / 8;
    channels = layout.headDim;
    // Vectors over channels must divide the head: nothing past a cache may be touched.
    channelLanes = std::min<int64_t>(l.facts.lanes(), channels & -channels);
    positionLanes = l.facts.lanes();
  }

  void lowerToken(Value kvHead, Value token) {
    Value position = l.add(l.arg(args, PositionArg, l.i64()), token);
    Value head = l.at(l.argPointer(args, KvArg), l.mul(kvHead, l.arg(args, KvHeadStrideArg, l.i64())));
    Value rowAt = l.mul(l.mul(kvHead, layout.group * channels), 4);
    start(l.at(scope.bufferRow(l, args, op.getQueryAttr(), token), rowAt));
    l.loop(l.c64(0), l.add(position, 1), SLUICE_KV_BLOCK, [&](Value first) {
      Value block = l.at(head, l.mul(first, 2 * channels * element));
      for (int64_t g = 0; g < layout.group; g += queries)
        scores(block, first, position, g, std::min(queries, layout.group - g));
      Value values = l.at(block, channels * SLUICE_KV_BLOCK * element);
      for (int64_t g = 0; g < layout.group; g += queries)
        accumulate(values, g, std::min(queries, layout.group - g));
    });
    finish(l.at(scope.bufferRow(l, args, op.getResultAttr(), token), rowAt));
  }

private:
  Type channelVector() { return l.vec(channelLanes, l.f32()); }
  Type positionVector() { return l.vec(positionLanes, l.f32()); }
  Value floatAt(int64_t base, int64_t index) { return l.at(scratch, base + index * 4); }

  // Queries scaled by 1/sqrt(head size), outputs and sums 0, maxima -infinity.
  void start(Value query) {
    Value scale = l.constantLike(channelVector(), 1.0 / std::sqrt(static_cast<double>(channels)));
    l.loop(l.c64(0), l.c64(layout.group * channels), channelLanes, [&](Value i) {
      Value at = l.mul(i, 4);
      Value scaled = l.mulf(l.load(channelVector(), l.at(query, at), 4), scale);
      l.store(scaled, l.at(l.at(scratch, layout.queriesAt()), at), 4);
      l.store(l.constantLike(channelVector(), 0.0), l.at(l.at(scratch, layout.outputsAt()), at), 4);
    });
    for (int64_t g = 0; g < layout.group; ++g) {
      l.store(l.constantLike(l.f32(), -INFINITY), floatAt(layout.maximaAt(), g), 4);
      l.store(l.constantLike(l.f32(), 0.0), floatAt(layout.sumsAt(), g), 4);
    }
  }

  // Probabilities (not yet normalised) of a block for `count` queries from `g`; rescales what those have so far.
  void scores(Value keys, Value first, Value position, int64_t g, int64_t count) {
    const int64_t n = positionLanes, vectors = SLUICE_KV_BLOCK / n;
    // As many position vectors at a time as registers allow.
    const int64_t together = std::min<int64_t>(vectors, 4);
    SmallVector<Values> rows(count);
    for (int64_t v0 = 0; v0 < vectors; v0 += together) {
      Values zero(count * together, l.constantLike(positionVector(), 0.0));
      Values sums = l.loop(l.c64(0), l.c64(channels), 1, zero, [&](Value c, ValueRange state) {
        Values next(state.begin(), state.end());
        Value keyRow = l.at(keys, l.mul(c, SLUICE_KV_BLOCK * element));
        Value query = l.at(scratch, l.mul(c, 4));
        for (int64_t v = 0; v < together; ++v) {
          Value key = l.loadFloat(format, n, l.at(keyRow, (v0 + v) * n * element), element);
          for (int64_t q = 0; q < count; ++q) {
            Value splat = l.loadSplat(positionVector(), l.at(query, layout.queriesAt() + (g + q) * channels * 4), 4);
            next[q * together + v] = l.fma(key, splat, next[q * together + v]);
          }
        }
        return next;
      });
      for (int64_t q = 0; q < count; ++q)
        rows[q].append(sums.begin() + q * together, sums.begin() + (q + 1) * together);
    }

    Value limit = arith::TruncIOp::create(l.b, l.i32(), l.sub(position, first));
    for (int64_t q = 0; q < count; ++q) {
      Value largest;
      for (int64_t v = 0; v < vectors; ++v) {
        Value index = l.add(l.iota(n), v * n);
        Value seen = arith::CmpIOp::create(l.b, arith::CmpIPredicate::sle, index, l.splat(limit, n));
        rows[q][v] = arith::SelectOp::create(l.b, seen, rows[q][v], l.constantLike(positionVector(), -INFINITY));
        largest = v ? l.maxf(largest, rows[q][v]) : rows[q][v];
      }
      Value before = l.load(l.f32(), floatAt(layout.maximaAt(), g + q), 4);
      Value maximum = l.maxf(before, l.reduceMax(largest));
      l.store(maximum, floatAt(layout.maximaAt(), g + q), 4);
      Value kept = l.exp(l.subf(before, maximum));
      Value sum = l.constantLike(positionVector(), 0.0);
      for (int64_t v = 0; v < vectors; ++v) {
        Value p = l.exp(l.subf(rows[q][v], l.splat(maximum, n)));
        sum = l.addf(sum, p);
        l.store(p, floatAt(layout.scoresAt(), (g + q) * SLUICE_KV_BLOCK + v * n), 4);
      }
      Value total = l.fma(l.load(l.f32(), floatAt(layout.sumsAt(), g + q), 4), kept, l.reduceAdd(sum));
      l.store(total, floatAt(layout.sumsAt(), g + q), 4);
      Value splat = l.splat(kept, channelLanes);
      Value outputs = floatAt(layout.outputsAt(), (g + q) * channels);
      l.loop(l.c64(0), l.c64(channels), channelLanes, [&](Value c) {
        Value at = l.at(outputs, l.mul(c, 4));
        l.store(l.mulf(l.load(channelVector(), at, 4), splat), at, 4);
      });
    }
  }

  // outputs += probabilities x values, for `count` queries from `g`.
  void accumulate(Value values, int64_t g, int64_t count) {
    const int64_t n = channelLanes, vectors = channels / n;
    const int64_t together = std::min<int64_t>(vectors & -vectors, 4);
    l.loop(l.c64(0), l.c64(vectors), together, [&](Value vector) {
      Value channelAt = l.mul(vector, n * 4);
      auto outputAt = [&](int64_t q, int64_t v) {
        return l.at(l.at(floatAt(layout.outputsAt(), (g + q) * channels), channelAt), v * n * 4);
      };
      Values init;
      for (int64_t q = 0; q < count; ++q)
        for (int64_t v = 0; v < together; ++v)
          init.push_back(l.load(channelVector(), outputAt(q, v), 4));
      Value column = l.at(values, l.mul(vector, n * element));
      Values sums = l.loop(l.c64(0), l.c64(SLUICE_KV_BLOCK), 1, init, [&](Value p, ValueRange state) {
        Values next(state.begin(), state.end());
        Value row = l.at(column, l.mul(p, channels * element));
        Value score = l.at(scratch, l.mul(p, 4));
        for (int64_t v = 0; v < together; ++v) {
          Value value = l.loadFloat(format, n, l.at(row, v * n * element), element);
          for (int64_t q = 0; q < count; ++q) {
            Value splat = l.loadSplat(channelVector(), l.at(score, layout.scoresAt() + (g + q) * SLUICE_KV_BLOCK * 4), 4);
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

  void finish(Value result) {
    for (int64_t g = 0; g < layout.group; ++g) {
      Value inverse = l.divf(l.constantLike(l.f32(), 1.0), l.load(l.f32(), floatAt(layout.sumsAt(), g), 4));
      Value splat = l.splat(inverse, channelLanes);
      l.loop(l.c64(0), l.c64(channels), channelLanes, [&](Value c) {
        Value at = l.mul(c, 4);
        Value output = l.load(channelVector(), l.at(floatAt(layout.outputsAt(), g * channels), at), 4);
        l.store(l.mulf(output, splat), l.at(l.at(result, g * channels * 4), at), 4);
      });
    }
  }

  PhaseScope &scope;
  AttentionOp op;
  llama::CacheType cache;
  Lanes &l;
  Value args;
  AttentionScratch layout;
  Value scratch;
  llama::Format format;
  int64_t element, channels, channelLanes, positionLanes;
  static constexpr int64_t queries = 4; // query heads whose sums share the registers
};

} // namespace

void sluice::codegen::lowerAttention(PhaseScope &scope, AttentionOp op, Lanes &l, Value args, Value begin, Value end) {
  AttentionLowering lowering(scope, op, l, args);
  PhaseUnits units = PhaseUnits::get(scope.phase);
  Value tokenBegin = l.arg(args, TokenBeginArg, l.i64()), tokenEnd = l.arg(args, TokenEndArg, l.i64());
  l.loop(begin, end, 1, [&](Value unit) {
    Value kvHead = l.rem(unit, units.units);
    Value from = l.add(tokenBegin, l.mul(l.div(unit, units.units), units.unitTokens));
    Value to = l.min(l.add(from, units.unitTokens), tokenEnd);
    l.loop(from, to, 1, [&](Value token) { lowering.lowerToken(kvHead, token); });
  });
}
