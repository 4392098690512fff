//===- Softmax.cpp - probabilities of logits ------------------------------------------===//

#include "codegen/cpu/PhaseScope.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <cmath>

using namespace mlir;
using namespace sluice::codegen;
using namespace sluice::stream;

// log(x) for a normal f64 x: x = 2^e m with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh((m - 1) / (m + 1)).
static Value logarithm(Lanes &l, Value x) {
  auto c = [&](double value) { return l.constantLike(l.f64(), value); };
  // Shifts the boundary of the exponent from 1 to sqrt(1/2).
  const int64_t root = 0x3FE6A09E667F3BCD, one = 0x3FF0000000000000;
  Value bits = l.add(l.bitcast(x, l.i64()), one - root);
  Value exponent = l.add(l.sar(bits, 52), -1023);
  Value m = l.bitcast(l.add(l.andi(bits, 0x000FFFFFFFFFFFFF), root), l.f64());
  Value s = l.divf(l.subf(m, c(1.0)), l.addf(m, c(1.0))), square = l.mulf(s, s);
  Value sum = c(1.0 / 21);
  for (int n = 19; n >= 1; n -= 2)
    sum = l.fma(sum, square, c(1.0 / n));
  Value e = arith::SIToFPOp::create(l.b, l.f64(), exponent);
  return l.fma(e, c(0.693147180559945309), l.mulf(l.mulf(s, c(2.0)), sum));
}

void sluice::codegen::lowerSoftmax(PhaseScope &scope, SoftmaxOp op, Lanes &l, Value args) {
  const int64_t n = l.facts.lanes();
  Type floats = l.vec(n, l.f32());
  Value zero = l.c64(0);
  Value input = scope.bufferRow(l, args, op.getInputAttr(), zero),
        result = scope.bufferRow(l, args, op.getResultAttr(), zero);
  Value count32 = l.arg(args, CountArg, l.i32());
  Value count = arith::ExtUIOp::create(l.b, l.i64(), count32);
  Value scale = l.arg(args, ParameterArg, l.f32());

  // Rows are padded to whole vectors; lanes past the count are masked.
  auto logits = [&](Value i) {
    Value index = l.add(l.iota(n), l.splat(arith::TruncIOp::create(l.b, l.i32(), i), n));
    Value valid = arith::CmpIOp::create(l.b, arith::CmpIPredicate::ult, index, l.splat(count32, n));
    Value x = l.mulf(l.load(floats, l.at(input, l.mul(i, 4)), 4), l.splat(scale, n));
    return Value(arith::SelectOp::create(l.b, valid, x, l.constantLike(floats, -INFINITY)));
  };
  Value largest = l.loop(zero, count, n, l.constantLike(floats, -INFINITY),
                         [&](Value i, ValueRange state) { return Values{l.maxf(logits(i), state[0])}; })[0];
  Value maximum = l.reduceMax(largest);
  Value sums = l.loop(zero, count, n, l.constantLike(floats, 0.0), [&](Value i, ValueRange state) {
    Value p = l.exp(l.subf(logits(i), l.splat(maximum, n)));
    l.store(p, l.at(result, l.mul(i, 4)), 4);
    return Values{l.addf(state[0], p)};
  })[0];
  Value sum = l.reduceAdd(sums);
  Value factor = l.splat(l.divf(l.constantLike(l.f32(), 1.0), sum), n);
  l.loop(zero, count, n, [&](Value i) {
    Value at = l.at(result, l.mul(i, 4));
    l.store(l.mulf(l.load(floats, at, 4), factor), at, 4);
  });
  Value log = arith::TruncFOp::create(l.b, l.f32(), logarithm(l, arith::ExtFOp::create(l.b, l.f64(), sum)));
  l.store(l.addf(maximum, log), l.at(result, lookupBuffer(op, op.getInputAttr()).getWidth() * 4), 4);
}
