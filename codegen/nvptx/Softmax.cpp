//===- Softmax.cpp - probabilities of logits, by one block -------------------------------===//

#include "codegen/nvptx/Scope.h"
#include <cmath>
#include <cstddef>

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

// log(x) for a normal f64 x: x = 2^e m with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh((m - 1) / (m + 1)).
static Value logarithm(Threads &t, Value x) {
  auto c = [&](double value) { return t.real(t.f64(), value); };
  // Shifts the boundary of the exponent from 1 to sqrt(1/2).
  const int64_t root = 0x3FE6A09E667F3BCD, one = 0x3FF0000000000000;
  Value bits = t.add(t.bitcast(x, t.i64()), one - root);
  Value exponent = t.sub(t.truncate(t.shr(bits, 52), t.i32()), 1023);
  Value m = t.bitcast(t.add(t.andi(bits, 0x000FFFFFFFFFFFFF), root), t.f64());
  Value s = t.divf(t.subf(m, c(1.0)), t.addf(m, c(1.0))), square = t.mulf(s, s);
  Value sum = c(1.0 / 21);
  for (int n = 19; n >= 1; n -= 2)
    sum = t.fma(sum, square, c(1.0 / n));
  return t.fma(t.toDouble(exponent), c(0.693147180559945309), t.mulf(t.mulf(s, c(2.0)), sum));
}

void sluice::codegen::lowerSoftmax(const Scope &scope, SoftmaxOp op) {
  Threads &t = scope.t;
  Value input = scope.bufferRow(op.getInputAttr(), t.c(0)), result = scope.bufferRow(op.getResultAttr(), t.c(0));
  auto state = [&](size_t offset, Type type) { return t.load(type, t.at(scope.args.state, int64_t(offset)), 4); };
  Value scale = t.divf(t.f(1), state(offsetof(sluice_device_state, temperature), t.f32()));
  Value count = state(offsetof(sluice_device_state, top_k), t.i32()), step = t.c(GpuFacts::threads);
  auto logit = [&](Value i) { return t.mulf(t.load(t.f32(), t.at(input, t.mul(i, 4)), 4), scale); };
  // Each thread has every 512th; the same all the way, so that nobody waits for what others write.
  Value largest = t.loop(t.thread(), count, step, t.f(-INFINITY),
                         [&](Value i, ValueRange state) { return Values{t.maxf(state[0], logit(i))}; })[0];
  Value maximum = scope.reduceBlock(
      largest, [&](Value x, Value y) { return t.maxf(x, y); }, 0);
  Value sum = t.loop(t.thread(), count, step, t.f(0), [&](Value i, ValueRange state) {
    Value p = t.exp(t.subf(logit(i), maximum));
    t.store(p, t.at(result, t.mul(i, 4)), 4);
    return Values{t.addf(state[0], p)};
  })[0];
  sum = scope.reduceBlock(
      sum, [&](Value x, Value y) { return t.addf(x, y); }, 1);
  Value factor = t.divf(t.f(1), sum);
  t.loop(t.thread(), count, step, [&](Value i) {
    Value at = t.at(result, t.mul(i, 4));
    t.store(t.mulf(t.load(t.f32(), at, 4), factor), at, 4);
  });
  t.when(t.equal(t.thread(), 0), [&] {
    Value log = t.toSingle(logarithm(t, t.toDoubleFromSingle(sum)));
    t.store(t.addf(maximum, log), t.at(result, lookupBuffer(op, op.getInputAttr()).getWidth() * 4), 4);
  });
}
