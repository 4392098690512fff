//===- Cache.cpp - how keys and values lie in the KV cache ----------------------------===//

#include "codegen/cpu/Cache.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

Value CacheLayout::scalesAt(Lanes &l, Value half, Value channel) const {
  return l.at(l.at(half, scalesAt()), l.mul(l.div(channel, scaleChannels()), SLUICE_KV_BLOCK * 2));
}

Value CacheLayout::loadElements(Lanes &l, int64_t n, Value pointer) const {
  if (!scaled())
    return l.loadFloat(type == SLUICE_CACHE_F16 ? llama::Format::F16 : llama::Format::F32, n, pointer, elementBytes());
  Value codes = l.load(l.vec(n, l.i8()), pointer, 1);
  return l.toFloat(arith::ExtSIOp::create(l.b, l.vec(n, l.i32()), codes));
}

Value CacheLayout::loadScales(Lanes &l, int64_t n, Value pointer) const {
  return l.loadFloat(llama::Format::F16, n, pointer, 2);
}

void sluice::codegen::forCacheType(Lanes &l, Value args, int64_t headDim, function_ref<void(const CacheLayout &)> f) {
  Value type = l.arg(args, CacheTypeArg, l.i32());
  for (uint32_t each = 0; each < SLUICE_CACHE_COUNT; ++each)
    l.when(l.equal(type, l.constantInt(l.i32(), each)), [&] { f({each, headDim}); });
}

Value sluice::codegen::cacheOfHead(Lanes &l, Value args, Value kvHead) {
  return l.at(l.argPointer(args, KvArg), l.mul(kvHead, l.arg(args, KvHeadStrideArg, l.i64())));
}

namespace {
// Keys or values of one token on their way into the cache.
class Append {
public:
  Append(const CacheLayout &layout, Lanes &l, Value half, Value position, bool isKey)
      : layout(layout), l(l), half(half), position(position), isKey(isKey),
        n(std::min<int64_t>(l.facts.lanes(), layout.headDim & -layout.headDim)) {}

  void lower(Value row) {
    const int64_t whole = layout.headDim / layout.scaleChannels() * layout.scaleChannels();
    if (!layout.scaled())
      return l.loop(l.c64(0), l.c64(layout.headDim), n, [&](Value c) {
        Value x = channels(row, c, 0);
        store(layout.elementBytes() == 2 ? l.toHalf(x) : x, c);
      });
    l.loop(l.c64(0), l.c64(whole), layout.scaleChannels(), [&](Value c) { quantise(row, c, layout.scaleChannels()); });
    if (whole != layout.headDim)
      quantise(row, l.c64(whole), layout.headDim - whole);
  }

private:
  Type floats() { return l.vec(n, l.f32()); }
  Value channels(Value row, Value channel, int64_t offset) {
    return l.load(floats(), l.at(row, l.mul(l.add(channel, offset), 4)), 4);
  }

  // Vectors of channels: neighbours in V, SLUICE_KV_BLOCK elements apart in K.
  void store(Value stored, Value channel) {
    const int64_t element = layout.elementBytes();
    if (!isKey)
      return l.store(stored, l.at(half, l.mul(l.add(l.mul(position, layout.headDim), channel), element)), element);
    Value at = l.at(half, l.mul(l.add(l.mul(channel, SLUICE_KV_BLOCK), position), element));
    for (int64_t i = 0; i < n; ++i)
      l.store(l.extract(stored, i), l.at(at, i * SLUICE_KV_BLOCK * element), element);
  }

  // `count` channels that share a scale, which is rounded to f16 before it is used.
  void quantise(Value row, Value channel, int64_t count) {
    Values x;
    Value largest;
    for (int64_t c = 0; c < count; c += n) {
      x.push_back(channels(row, channel, c));
      Value magnitude = l.bitcast(l.andi(l.bitcast(x.back(), l.vec(n, l.i32())), 0x7fffffff), floats());
      largest = c ? l.maxf(largest, magnitude) : magnitude;
    }
    constexpr double most = 127, mostHalf = 65504;
    Value scale = l.mulf(l.splat(l.reduceMax(largest), n), l.constantLike(floats(), 1 / most));
    Value most16 = l.constantLike(floats(), mostHalf);
    scale = l.select(arith::CmpFOp::create(l.b, arith::CmpFPredicate::OGT, scale, most16), most16, scale);
    Value half16 = l.toHalf(scale);
    scale = l.fromHalf(half16);
    l.store(l.extract(half16, 0), l.at(layout.scalesAt(l, half, channel), l.mul(position, 2)), 2);
    // Zero, and what rounds to it, has code zero.
    Value zero = l.constantLike(floats(), 0.0);
    Value isZero = arith::CmpFOp::create(l.b, arith::CmpFPredicate::OEQ, scale, zero);
    Value factor = l.select(isZero, zero, l.divf(l.constantLike(floats(), 1.0), scale));
    for (auto [v, value] : llvm::enumerate(x)) {
      // A scale that was rounded down far, near zero, would give more than a byte holds.
      Value limit = l.constantInt(l.vec(n, l.i32()), int64_t(most)), code = l.round(l.mulf(value, factor));
      code = arith::MinSIOp::create(l.b, code, limit);
      code = arith::MaxSIOp::create(l.b, code, l.constantInt(l.vec(n, l.i32()), -int64_t(most)));
      store(arith::TruncIOp::create(l.b, l.vec(n, l.i8()), code), l.add(channel, int64_t(v) * n));
    }
  }

  const CacheLayout &layout;
  Lanes &l;
  Value half, position;
  bool isKey;
  int64_t n; // divides a head: nothing past a cache may be touched
};
} // namespace

void sluice::codegen::lowerAppend(PhaseScope &scope, AppendOp op, const CacheLayout &layout, Lanes &l, Value args,
                                  Value kvHead, Value token) {
  Value position = l.add(l.arg(args, PositionArg, l.i64()), token);
  Value block = l.at(cacheOfHead(l, args, kvHead), l.mul(l.div(position, SLUICE_KV_BLOCK), layout.blockBytes()));
  Value inBlock = l.rem(position, SLUICE_KV_BLOCK), rowAt = l.mul(kvHead, layout.headDim * 4);
  Value key = l.at(scope.bufferRow(l, args, op.getKeyAttr(), token), rowAt);
  if (HeadSteps steps = HeadSteps::of(op); steps.any()) {
    Value finished = l.at(l.argPointer(args, ScratchArg), scope.scratchAt(op));
    lowerHead(scope, steps, l, args, token, layout.headDim, /*scale=*/1, key, finished);
    key = finished;
  }
  Append(layout, l, block, inBlock, true).lower(key);
  Append(layout, l, l.at(block, layout.valuesAt()), inBlock, false)
      .lower(l.at(scope.bufferRow(l, args, op.getValueAttr(), token), rowAt));
}
