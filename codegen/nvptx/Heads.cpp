//===- Heads.cpp - a head is normalised and rotated before attention uses it ------------===//

#include "codegen/nvptx/Heads.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;

Value HeadSteps::factorOf(Value input) {
  if (!norm)
    return {};
  Value sum = t.loop(t.lane(), t.c(channels), t.c(32), t.f(0), [&](Value channel, ValueRange state) {
    Value x = t.load(t.f32(), t.at(input, t.mul(channel, 4)), 4);
    return Values{t.fma(x, x, state[0])};
  })[0];
  sum = t.reduceWarp(sum, [&](Value x, Value y) { return t.addf(x, y); });
  return t.rsqrt(t.addf(t.divf(sum, t.f(double(channels))), t.f(eps)));
}

Value HeadSteps::channel(Value input, Value factor, Value token, Value first) {
  Value channel = t.add(first, t.lane());
  // Lanes past the last channel read it again.
  const bool isWhole = channels % 32 == 0;
  Value at = t.mul(isWhole ? channel : t.min(channel, t.c(channels - 1)), 4);
  Value x = t.load(t.f32(), t.at(input, at), 4);
  if (norm) {
    Value weights = t.at(scope.args.weights, scope.plan.weights.vectorAt(op));
    x = t.mulf(t.mulf(x, factor), t.loadConstant(t.f32(), t.at(weights, at), 4));
  }
  if (rope) {
    Value table = t.at(scope.bufferRow(rope, token), at);
    Value cosine = t.load(t.f32(), table, 4), sine = t.load(t.f32(), t.at(table, (channels + 32) * 4), 4);
    x = t.fma(t.shuffleXor(x, 1), sine, t.mulf(x, cosine));
  }
  return isWhole ? x : t.select(t.less(channel, channels), x, t.f(0));
}
