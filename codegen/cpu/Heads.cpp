//===- Heads.cpp - a head is normalised and rotated before attention uses it ----------===//

#include "codegen/cpu/PhaseScope.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;

void sluice::codegen::lowerHead(PhaseScope &scope, const HeadSteps &steps, Lanes &l, Value args, Value token,
                                int64_t channels, double scale, Value input, Value output) {
  // Vectors divide a head: what lies past it is another's.
  const int64_t n = std::min<int64_t>(l.facts.lanes(), channels & -channels);
  Type vector = l.vec(n, l.f32());
  auto load = [&](Value base, Value channel) { return l.load(vector, l.at(base, l.mul(channel, 4)), 4); };
  Value factor, weight, table;
  if (steps.norm) {
    Value squares = l.loop(l.c64(0), l.c64(channels), n, l.constantLike(vector, 0.0), [&](Value c, ValueRange state) {
      Value x = load(input, c);
      return Values{l.fma(x, x, state[0])};
    })[0];
    Value mean = l.divf(l.reduceAdd(squares), l.constantLike(l.f32(), double(channels)));
    factor = l.splat(l.rsqrt(l.addf(mean, l.constantLike(l.f32(), steps.eps))), n);
    weight = l.at(l.argPointer(args, WeightsArg), scope.vectorAt(steps.op));
  }
  if (steps.rope)
    table = scope.bufferRow(l, args, steps.rope, token);
  SmallVector<int64_t> swapped;
  for (int64_t i = 0; i < n; ++i)
    swapped.push_back(i ^ 1);
  l.loop(l.c64(0), l.c64(channels), n, [&](Value c) {
    Value x = load(input, c);
    if (steps.norm)
      x = l.mulf(l.mulf(x, factor), load(weight, c));
    if (steps.rope) {
      Value cosine = load(table, c), sine = load(l.at(table, (channels + 32) * 4), c);
      x = l.fma(vector::ShuffleOp::create(l.b, x, x, swapped), sine, l.mulf(x, cosine));
    }
    if (scale != 1)
      x = l.mulf(x, l.constantLike(vector, scale));
    l.store(x, l.at(output, l.mul(c, 4)), 4);
  });
}
