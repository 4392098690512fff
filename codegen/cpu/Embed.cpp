//===- Embed.cpp - rows of a packed weight, and the table of rotations ---------------===//
//
// Both are cheap and run once per token of the chunk: a unit is one token.
//
//===------------------------------------------------------------------------------===//

#include "codegen/cpu/PhaseScope.h"
#include "codegen/cpu/WeightRecord.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

// Calls body with the chunk's token of every unit in [begin, end).
static void overTokens(Lanes &l, Value args, Value begin, Value end, function_ref<void(Value)> body) {
  Value first = l.arg(args, TokenBeginArg, l.i64());
  l.loop(begin, end, 1, [&](Value unit) { body(l.add(first, unit)); });
}

void sluice::codegen::lowerEmbed(PhaseScope &scope, EmbedOp op, Lanes &l, Value args, Value begin, Value end) {
  const PackedLayout &layout = scope.weights.tiles(0).layouts[0];
  const llama::FormatInfo &format = *layout.format;
  overTokens(l, args, begin, end, [&](Value token) {
    Value id =
        arith::ExtUIOp::create(l.b, l.i64(), l.load(l.i32(), l.at(l.argPointer(args, IdsArg), l.mul(token, 4)), 4));
    Value lane = l.rem(id, layout.tileRows);
    Value tile = l.at(l.argPointer(args, WeightsArg), l.mul(l.div(id, layout.tileRows), layout.tileBytes));
    Value row = scope.bufferRow(l, args, op.getBufferAttr(), token);

    if (format.isFloat) {
      int64_t element = format.codeBits / 8;
      l.loop(l.c64(0), l.c64(layout.cols), 1, [&](Value k) {
        Value inRecord = l.add(l.mul(lane, layout.recordK), l.rem(k, layout.recordK));
        Value at = l.at(tile, l.add(l.mul(l.div(k, layout.recordK), layout.recordBytes), l.mul(inRecord, element)));
        l.store(l.loadFloat(format.format, 1, at, element), l.at(row, l.mul(k, 4)), 4);
      });
      return;
    }
    // A vector of one row: four of its codes lie side by side.
    Type floats4 = l.vec(4, l.f32());
    for (int64_t b = 0; b < layout.recordBlocks(); ++b) {
      int64_t blocks = layout.cols / PackedLayout::blockColumns;             // of the row
      int64_t records = llvm::divideCeil(blocks - b, layout.recordBlocks()); // that have this one
      l.loop(l.c64(0), l.c64(records), 1, [&](Value record) {
        WeightRecord weights(l, layout, /*lanes=*/1, lane, l.at(tile, l.mul(record, layout.recordBytes)),
                             /*usedOnce=*/false);
        auto splat = [&](Value one) { return l.splat(l.extract(one, 0), 4); };
        Value out = l.at(row, l.mul(l.add(l.mul(record, layout.recordBlocks()), b), PackedLayout::blockColumns * 4));
        for (int64_t g = 0; g < PackedLayout::blockGroups; ++g) {
          const int64_t part = g * weights.parts() / PackedLayout::blockGroups;
          Value code = arith::ExtUIOp::create(l.b, l.vec(4, l.i32()), weights.codes(b, g, 0));
          Value value = l.toFloat(l.add(code, -int64_t(format.zeroPoint))), scale = splat(weights.scale(b, part, 0));
          Value min = format.hasMin() ? splat(weights.min(b, part, 0)) : l.constantLike(floats4, 0.0);
          l.store(l.fma(value, scale, min), l.at(out, g * 16), 4);
        }
      });
    }
  });
}

// sin(2 pi x) and cos(2 pi x) for |x| <= 1/2, in f64, by their series: the error is below 1e-12.
static std::pair<Value, Value> sineCosine(Lanes &l, Value x) {
  auto c = [&](double value) { return l.constantLike(l.f64(), value); };
  Value angle = l.mulf(x, c(6.283185307179586477)), square = l.mulf(angle, angle);
  // Horner's scheme over 1/n!, alternating: 1 - s/(n(n-1)) (1 - ...).
  auto series = [&](int first) {
    Value sum = c(1.0);
    for (int n = first + 26; n > first; n -= 2)
      sum = l.fma(l.mulf(square, c(-1.0 / (double(n) * (n - 1)))), sum, c(1.0));
    return sum;
  };
  return {l.mulf(angle, series(1)), series(0)};
}

void sluice::codegen::lowerRopeTable(PhaseScope &scope, RopeTableOp op, Lanes &l, Value args, Value begin, Value end) {
  int64_t pairs = op.getHeadDim() / 2, columns = op.getHeadDim() + 32;
  SmallVector<double> turns(op.getTurns());
  turns.resize(pairs, 0.0); // channels past the turns stay where they are

  auto module = op->getParentOfType<ModuleOp>();
  auto type = RankedTensorType::get({pairs}, l.f64());
  std::string name = (op->getParentOfType<ProgramOp>().getSymName() + "." + op.getBuffer() + ".turns").str();
  OpBuilder top = OpBuilder::atBlockBegin(module.getBody());
  LLVM::GlobalOp::create(top, op.getLoc(), LLVM::LLVMArrayType::get(l.f64(), pairs), /*isConstant=*/true,
                         LLVM::Linkage::Internal, name, DenseElementsAttr::get(type, ArrayRef<double>(turns)));
  Value table = LLVM::AddressOfOp::create(l.b, LLVM::LLVMPointerType::get(l.b.getContext()), name);

  overTokens(l, args, begin, end, [&](Value token) {
    Value position = arith::UIToFPOp::create(l.b, l.f64(), l.add(l.arg(args, PositionArg, l.i64()), token));
    Value row = scope.bufferRow(l, args, op.getBufferAttr(), token);
    l.loop(l.c64(0), l.c64(columns / 2), 1, [&](Value pair) {
      Value turn = l.mulf(position, l.load(l.f64(), l.at(table, l.mul(l.rem(pair, pairs), 8)), 8));
      // Whole turns drop out: adding 1.5 * 2^52 rounds to an integer.
      Value magic = l.constantLike(l.f64(), 6755399441055744.0);
      Value fraction = l.subf(turn, l.subf(l.addf(turn, magic), magic));
      auto [sine, cosine] = sineCosine(l, fraction);
      Value s = arith::TruncFOp::create(l.b, l.f32(), sine), c = arith::TruncFOp::create(l.b, l.f32(), cosine);
      Value out = l.at(row, l.mul(pair, 8));
      l.store(c, out, 4);
      l.store(c, l.at(out, 4), 4);
      l.store(l.subf(l.constantLike(l.f32(), -0.0), s), l.at(out, columns * 4), 4);
      l.store(s, l.at(out, columns * 4 + 4), 4);
    });
  });
}
