//===- Prologue.cpp - norms and quantised activations, on every worker ---------------===//
//
// One loop over the tokens of the chunk; for each, the prologue's operations one after another over the whole width.
//
//===------------------------------------------------------------------------------===//

#include "codegen/cpu/PhaseScope.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

// f(offset in floats, lanes that count) over `width` floats in vectors: a loop, then the tail.
void overVectors(Lanes &l, int64_t width, int64_t n, function_ref<void(Value, int64_t)> f) {
  int64_t whole = width / n * n;
  if (whole)
    l.loop(l.c64(0), l.c64(whole), n, [&](Value i) { f(i, n); });
  if (whole != width)
    f(l.c64(whole), width - whole);
}

Value maskTail(Lanes &l, Value vector, int64_t valid, int64_t n) {
  if (valid == n)
    return vector;
  SmallVector<bool> bits(n);
  for (int64_t i = 0; i < valid; ++i)
    bits[i] = true;
  auto type = VectorType::get({n}, l.b.getI1Type());
  Value mask = arith::ConstantOp::create(l.b, type, DenseElementsAttr::get(type, ArrayRef<bool>(bits)));
  return arith::SelectOp::create(l.b, mask, vector, l.constantLike(vector.getType(), 0.0));
}

// Rows are padded to 32 floats, so whole vectors may be read and written; what lies past `width` counts for nothing.
void lowerNorm(RmsNormOp op, Lanes &l, Value input, Value weight, Value output) {
  int64_t width = op.getInput().getType().getWidth(), n = l.facts.lanes();
  Type vector = l.vec(n, l.f32());
  int64_t whole = width / n * n;
  Value sum = l.constantLike(vector, 0.0);
  if (whole)
    sum = l.loop(l.c64(0), l.c64(whole), n, sum, [&](Value i, ValueRange state) {
      Value x = l.load(vector, l.at(input, l.mul(i, 4)), 4);
      return Values{l.fma(x, x, state[0])};
    })[0];
  if (whole != width) {
    Value x = maskTail(l, l.load(vector, l.at(input, whole * 4), 4), width - whole, n);
    sum = l.fma(x, x, sum);
  }
  Value mean = l.divf(l.reduceAdd(sum), l.constantLike(l.f32(), static_cast<double>(width)));
  Value factor = l.splat(l.rsqrt(l.addf(mean, l.constantLike(l.f32(), op.getEps().convertToDouble()))), n);
  overVectors(l, width, n, [&](Value i, int64_t) {
    Value bytes = l.mul(i, 4);
    Value x = l.load(vector, l.at(input, bytes), 4), w = l.load(vector, l.at(weight, bytes), 4);
    l.store(l.mulf(l.mulf(x, factor), w), l.at(output, bytes), 4);
  });
}

// Symmetric int8 quantisation in blocks of 32: scale = largest magnitude / 127, codes rounded to nearest even.
void lowerQuantize(const OperandLayout &layout, Lanes &l, Value input, Value block, Value tokenInBlock) {
  int64_t n = std::min<int64_t>(l.facts.lanes(), OperandLayout::channels);
  int64_t vectors = OperandLayout::channels / n;
  Type floats = l.vec(n, l.f32()), ints = l.vec(n, l.i32());
  Value token4 = l.mul(tokenInBlock, 4);
  Value tokenCodes = l.mul(tokenInBlock, OperandLayout::channels);
  l.loop(l.c64(0), l.c64(layout.width / OperandLayout::channels), 1, [&](Value i) {
    Value in = l.at(input, l.mul(i, OperandLayout::channels * 4));
    Value out = l.at(block, l.mul(i, layout.blockBytes()));
    Values x;
    Value largest;
    for (int64_t v = 0; v < vectors; ++v) {
      x.push_back(l.load(floats, l.at(in, v * n * 4), 4));
      Value magnitude = l.andi(l.bitcast(x.back(), ints), 0x7fffffff); // ordered like the floats
      largest = v ? Value(arith::MaxSIOp::create(l.b, largest, magnitude)) : magnitude;
    }
    Value peak = l.bitcast(l.reduceMax(largest), l.f32());
    Value zero = l.constantLike(l.f32(), 0.0);
    Value isZero = arith::CmpFOp::create(l.b, arith::CmpFPredicate::OEQ, peak, zero);
    Value inverse = arith::SelectOp::create(l.b, isZero, zero, l.divf(l.constantLike(l.f32(), 127.0), peak));
    Value scale = l.divf(peak, l.constantLike(l.f32(), 127.0));
    Value factor = l.splat(inverse, n), magic = l.constantLike(floats, 12582912.0);
    Value sum;
    for (int64_t v = 0; v < vectors; ++v) {
      // Adding 1.5 * 2^23 rounds to an integer, which the sum's low bits then hold.
      Value code = l.add(l.bitcast(l.addf(l.mulf(x[v], factor), magic), ints), -int64_t(0x4B400000));
      sum = v ? l.add(sum, code) : code;
      Value bytes = arith::TruncIOp::create(l.b, l.vec(n, l.i8()), code);
      l.store(bytes, l.at(l.at(out, tokenCodes), v * n), 1);
    }
    Value total = l.reduceAdd(sum);
    Value facts = l.at(out, token4);
    l.store(l.sub(l.constantInt(l.i32(), 0), total), l.at(facts, layout.minusSumAt(0)), 4);
    l.store(scale, l.at(facts, layout.scaleAt(0)), 4);
    l.store(l.mulf(scale, l.toFloat(total)), l.at(facts, layout.scaledSumAt(0)), 4);
  });
  if (layout.width / OperandLayout::channels != layout.blocks()) {
    // The block that only pads: its weights have scale 0, so anything finite will do.
    Value out = l.at(block, (layout.blocks() - 1) * layout.blockBytes());
    for (int64_t v = 0; v < OperandLayout::channels / 4; ++v)
      l.store(l.constantInt(l.i32(), 0), l.at(l.at(out, tokenCodes), v * 4), 1);
    for (int64_t at : {layout.minusSumAt(0), layout.scaleAt(0), layout.scaledSumAt(0)})
      l.store(l.constantInt(l.i32(), 0), l.at(l.at(out, token4), at), 4);
  }
}

void lowerKeep(const OperandLayout &layout, Lanes &l, Value input, Value block, Value tokenInBlock) {
  Value out = l.at(block, l.mul(tokenInBlock, 4));
  l.loop(l.c64(0), l.c64(layout.width), 1, [&](Value i) {
    l.store(l.load(l.f32(), l.at(input, l.mul(i, 4)), 4), l.at(out, l.mul(i, layout.tokens * 4)), 4);
  });
}

} // namespace

void sluice::codegen::lowerPrologue(PhaseScope &scope, Lanes &l, Value args) {
  Value scratch = l.argPointer(args, ScratchArg), weights = l.argPointer(args, WeightsArg);
  l.loop(l.arg(args, TokenBeginArg, l.i64()), l.arg(args, TokenEndArg, l.i64()), 1, [&](Value token) {
    llvm::DenseMap<Value, Value> at; // !stream.values -> address of this token's channels
    for (Operation &op : scope.phase.getBody().front()) {
      if (auto read = dyn_cast<ReadOp>(op)) {
        at[read] = scope.bufferRow(l, args, read.getBufferAttr(), token);
      } else if (auto norm = dyn_cast<RmsNormOp>(op)) {
        at[norm] = l.at(scratch, scope.scratchAt(norm));
        lowerNorm(norm, l, at.at(norm.getInput()), l.at(weights, scope.vectorAt(norm)), at[norm]);
      } else if (auto prepare = dyn_cast<PrepareOp>(op)) {
        const OperandLayout &layout = scope.operand(prepare);
        Value block = l.at(scratch, layout.scratchAt);
        Value inBlock = l.c64(0);
        if (scope.maxTokens > 1) {
          block = l.at(block, l.mul(l.div(token, layout.tokens), layout.tokenBlockBytes()));
          inBlock = l.rem(token, layout.tokens);
        }
        if (layout.kind == OperandKind::Int8)
          lowerQuantize(layout, l, at.at(prepare.getInput()), block, inBlock);
        else
          lowerKeep(layout, l, at.at(prepare.getInput()), block, inBlock);
      }
    }
  });
}
