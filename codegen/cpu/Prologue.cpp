//===- Prologue.cpp - norms and quantised activations, on every worker ---------------===//
//
// One loop over the tokens of the chunk; for each, the prologue's operations one after another over the whole width.
//
//===------------------------------------------------------------------------------===//

#include "codegen/cpu/PhaseScope.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/STLExtras.h"

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

// The mean of the squares of `width` floats. Rows are padded to 32 floats, so whole vectors may be read; what lies past the
// width counts for nothing.
Value meanSquare(Lanes &l, Value input, int64_t width) {
  int64_t n = l.facts.lanes(), whole = width / n * n;
  Type vector = l.vec(n, l.f32());
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
  return l.divf(l.reduceAdd(sum), l.constantLike(l.f32(), static_cast<double>(width)));
}

void lowerNorm(RmsNormOp op, Lanes &l, Value input, Value weight, Value output) {
  int64_t width = op.getInput().getType().getWidth(), n = l.facts.lanes();
  Type vector = l.vec(n, l.f32());
  Value mean = meanSquare(l, input, width);
  Value factor = l.splat(l.rsqrt(l.addf(mean, l.constantLike(l.f32(), op.getEps().convertToDouble()))), n);
  overVectors(l, width, n, [&](Value i, int64_t) {
    Value bytes = l.mul(i, 4);
    Value x = l.load(vector, l.at(input, bytes), 4), w = l.load(vector, l.at(weight, bytes), 4);
    l.store(l.mulf(l.mulf(x, factor), w), l.at(output, bytes), 4);
  });
}

// Symmetric int8 quantisation of one token in blocks of 32; see stream.prepare and OperandLayout.
class Quantizer {
public:
  Quantizer(const OperandLayout &layout, Lanes &l, Value tokenInBlock)
      : layout(layout), l(l), n(std::min<int64_t>(l.facts.lanes(), OperandLayout::channels)),
        tokenCodes(l.mul(tokenInBlock, OperandLayout::channels)), tokenWord(l.mul(tokenInBlock, 4)),
        token(tokenInBlock) {}

  void lower(Value input, Value block, double outlier) {
    Value limit; // of a peak's square
    if (layout.outliers)
      limit = l.mulf(meanSquare(l, input, layout.width), l.constantLike(l.f32(), outlier * outlier));
    l.loop(l.c64(0), l.c64(layout.width / OperandLayout::channels), 1, [&](Value i) {
      lowerBlock(l.at(input, l.mul(i, OperandLayout::channels * 4)), l.at(block, l.mul(i, layout.blockBytes())), limit);
    });
    if (layout.width / OperandLayout::channels != layout.blocks())
      lowerPadding(l.at(block, (layout.blocks() - 1) * layout.blockBytes()));
  }

private:
  int64_t vectors() const { return OperandLayout::channels / n; }
  Type floats() { return l.vec(n, l.f32()); }
  Type ints() { return l.vec(n, l.i32()); }
  Value codesAt(Value block, int64_t offset) { return l.at(l.at(block, tokenCodes), offset); }
  Value wordAt(Value block, int64_t offset) { return l.at(l.at(block, tokenWord), offset); }

  // Rounds to integers, in i32 lanes and as floats: adding 1.5 * 2^23 leaves the integer in the sum's low bits.
  std::pair<Value, Value> round(Value x) {
    Value magic = l.constantLike(floats(), 12582912.0), shifted = l.addf(x, magic);
    return {l.add(l.bitcast(shifted, ints()), -int64_t(0x4B400000)), l.subf(shifted, magic)};
  }
  // Stores codes; returns their sum.
  Value storeCodes(ArrayRef<Value> codes, Value block, int64_t offset) {
    Value sum;
    for (auto [v, code] : llvm::enumerate(codes)) {
      sum = v ? l.add(sum, code) : code;
      l.store(arith::TruncIOp::create(l.b, l.vec(n, l.i8()), code), codesAt(block, offset + v * n), 1);
    }
    return l.reduceAdd(sum);
  }
  Value minus(Value x) { return l.sub(l.constantInt(l.i32(), 0), x); }

  void lowerBlock(Value in, Value out, Value limit) {
    Values x;
    Value largest;
    for (int64_t v = 0; v < vectors(); ++v) {
      x.push_back(l.load(floats(), l.at(in, v * n * 4), 4));
      Value magnitude = l.andi(l.bitcast(x.back(), ints()), 0x7fffffff); // ordered like the floats
      largest = v ? Value(arith::MaxSIOp::create(l.b, largest, magnitude)) : magnitude;
    }
    Value peak = l.bitcast(l.reduceMax(largest), l.f32());
    Value zero = l.constantLike(l.f32(), 0.0), most = l.constantLike(l.f32(), 127.0);
    Value isZero = arith::CmpFOp::create(l.b, arith::CmpFPredicate::OEQ, peak, zero);
    Value inverse = arith::SelectOp::create(l.b, isZero, zero, l.divf(most, peak));
    Value scale = l.divf(peak, most), factor = l.splat(inverse, n);
    Values codes, left;
    for (Value &value : x) {
      Value scaled = l.mulf(value, factor);
      auto [code, rounded] = round(scaled);
      codes.push_back(code);
      left.push_back(l.subf(scaled, rounded));
    }
    Value sum = storeCodes(codes, out, layout.codesAt(0));
    Value valueSum = l.mulf(scale, l.toFloat(sum));
    if (layout.outliers) {
      Value isOutlier = arith::CmpFOp::create(l.b, arith::CmpFPredicate::OGT, l.mulf(peak, peak), limit);
      Value residual = lowerResidual(left, out, isOutlier);
      Value residualScale = l.mulf(scale, l.constantLike(l.f32(), OperandLayout::residualScale));
      valueSum = l.fma(residualScale, l.toFloat(residual), valueSum);
    }
    l.store(minus(sum), wordAt(out, layout.minusSumAt(0)), 4);
    l.store(scale, wordAt(out, layout.scaleAt(0)), 4);
    l.store(valueSum, wordAt(out, layout.valueSumAt(0)), 4);
  }

  // Codes of what is left, zero unless the block is an outlier; returns their sum.
  Value lowerResidual(ArrayRef<Value> left, Value out, Value isOutlier) {
    Value scale = l.constantLike(floats(), 1 / OperandLayout::residualScale), none = l.constantInt(ints(), 0);
    Values codes;
    for (Value value : left)
      codes.push_back(arith::SelectOp::create(l.b, isOutlier, round(l.mulf(value, scale)).first, none));
    Value sum = storeCodes(codes, out, layout.residualCodesAt(0));
    l.store(minus(sum), wordAt(out, layout.residualMinusSumAt(0)), 4);
    l.store(arith::ExtUIOp::create(l.b, l.i8(), isOutlier), l.at(l.at(out, token), layout.flagsAt(0)), 1);
    return sum;
  }

  // The block that only pads: its weights have scale 0, so anything finite will do.
  void lowerPadding(Value out) {
    Value zero = l.constantInt(l.i32(), 0);
    for (int64_t i = 0; i < OperandLayout::channels; i += 4)
      l.store(zero, codesAt(out, layout.codesAt(0) + i), 1);
    for (int64_t at : {layout.minusSumAt(0), layout.scaleAt(0), layout.valueSumAt(0)})
      l.store(zero, wordAt(out, at), 4);
    if (layout.outliers)
      l.store(l.constantInt(l.i8(), 0), l.at(l.at(out, token), layout.flagsAt(0)), 1);
  }

  const OperandLayout &layout;
  Lanes &l;
  int64_t n; // lanes
  Value tokenCodes, tokenWord, token; // offsets of the token in a block
};

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
          Quantizer(layout, l, inBlock).lower(at.at(prepare.getInput()), block, prepare.getOutlier().convertToDouble());
        else
          lowerKeep(layout, l, at.at(prepare.getInput()), block, inBlock);
      }
    }
  });
}
