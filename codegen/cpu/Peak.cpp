//===- Peak.cpp - as many dot products as the processor can do -----------------------===//
//
// Sums enough to hide a dot product's latency, one operand in a register, the other read from the nearest cache: what
// the inner loop of tiles does for many tokens.
//
//===----------------------------------------------------------------------------------===//

#include "codegen/cpu/PhaseScope.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "runtime/abi.h"

using namespace mlir;
using namespace sluice::codegen;
using namespace sluice::stream;

void sluice::codegen::lowerPeak(PhaseScope &scope, PeakOp op, Lanes &l, Value args, Value begin, Value end) {
  const int64_t n = l.facts.lanes(), bytes = SLUICE_PEAK_OPERATIONS / 2, sums = l.facts.vectorRegisters / 2;
  Type codes = l.vec(4 * n, l.i8());
  Value data = scope.bufferRow(l, args, op.getBufferAttr(), l.c64(0));
  // Not a constant, or LLVM would multiply in advance.
  Value weights = l.bitcast(l.andi(l.load(l.vec(n, l.i32()), data, 64), 0x0F0F0F0F), codes);
  Value count = arith::ExtUIOp::create(l.b, l.i64(), l.arg(args, CountArg, l.i32()));
  Values state(sums, l.constantInt(l.vec(n, l.i32()), 0));
  // The one unit, or none.
  state = l.loop(l.c64(0), l.mul(count, l.sub(end, begin)), 1, state, [&](Value, ValueRange before) {
    Values acc(before.begin(), before.end());
    Value again = l.after(data, acc); // a round's products are not the last one's
    for (int64_t at = 0, index = 0; at < bytes; at += 4 * n, ++index)
      acc[index % sums] = l.dot4(acc[index % sums], weights, l.load(codes, l.at(again, at), 64), /*maxCode=*/15);
    return acc;
  });
  for (int64_t i = 1; i < sums; ++i)
    state[0] = l.add(state[0], state[i]);
  l.when(l.less(begin, end), [&] { l.store(state[0], data, 64); });
}
