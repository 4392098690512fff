//===- Embed.cpp - rows of a packed weight, and the table of rotations -----------------===//
//
// All threads of the grid share out the channels of all tokens.
//
//===-----------------------------------------------------------------------------------===//

#include "codegen/nvptx/PackedRecord.h"
#include "codegen/nvptx/Scope.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

// f(token, piece) for all pieces of all tokens of the chunk.
static void overPieces(const Scope &scope, int64_t pieces, function_ref<void(Value, Value)> f) {
  Threads &t = scope.t;
  Value first = t.add(t.mul(t.block(), GpuFacts::threads), t.thread());
  t.loop(first, t.mul(scope.tokenEnd(), pieces), t.mul(t.blocks(), GpuFacts::threads),
         [&](Value i) { f(t.div(i, pieces), t.rem(i, pieces)); });
}

void sluice::codegen::lowerEmbed(const Scope &scope, EmbedOp op) {
  Threads &t = scope.t;
  const PackedLayout &layout = scope.plan.weights.tiles(0).layouts[0];
  const llama::FormatInfo &format = *layout.format;
  const double factor = op.getScale().convertToDouble();
  auto scaled = [&](Value x) { return factor == 1 ? x : t.mulf(x, t.f(factor)); };
  auto place = [&](Value token, Value record) {
    Value id = t.load(t.i32(), t.at(scope.args.ids, t.mul(token, 4)), 4);
    Value tile = t.mul(t.extend(t.div(id, layout.tileRows), t.i64()), layout.tileBytes);
    Value at = t.at(t.at(scope.args.weights, tile), t.mul(record, layout.recordBytes));
    return std::pair(at, t.rem(id, layout.tileRows));
  };
  auto out = [&](Value token, Value column) {
    return t.at(scope.bufferRow(op.getBufferAttr(), token), t.mul(column, 4));
  };
  if (format.isFloat)
    return overPieces(scope, layout.cols, [&](Value token, Value column) {
      auto [record, lane] = place(token, t.div(column, layout.recordK));
      const int64_t bytes = format.codeBits / 8;
      Value at = t.at(record, t.mul(t.add(t.mul(lane, layout.recordK), t.rem(column, layout.recordK)), bytes));
      Value bits = t.loadConstant(bytes == 4 ? t.i32() : t.i16(), at, unsigned(bytes));
      Value value = bytes == 4                            ? t.bitcast(bits, t.f32())
                    : format.format == llama::Format::F16 ? t.halfToFloat(bits)
                                                          : t.bitcast(t.shl(t.extend(bits, t.i32()), 16), t.f32());
      t.store(scaled(value), out(token, column), 4);
    });
  // A piece is one group of four columns of all of a record's blocks.
  overPieces(scope, layout.recordsPerTile * PackedLayout::blockGroups, [&](Value token, Value piece) {
    Value number = t.div(piece, PackedLayout::blockGroups), group = t.rem(piece, PackedLayout::blockGroups);
    auto [at, row] = place(token, number);
    PackedRecord record(t, layout, {.record = at, .row = row, .rows = 1, .group = group, .constant = true});
    const int64_t parts = PackedRecord::parts(layout);
    Value isFirst = t.less(group, PackedLayout::blockGroups / 2); // of two parts
    for (int64_t block = 0; block < layout.recordBlocks(); ++block) {
      auto ofPart = [&](function_ref<Value(int64_t)> f) { return parts == 1 ? f(0) : t.select(isFirst, f(0), f(1)); };
      Value column = t.add(t.mul(number, layout.recordK), t.add(t.mul(group, 4), block * PackedLayout::blockColumns));
      Value codes = record.codes(block, 0)[0], min = t.f(0);
      Value scale = ofPart([&](int64_t part) { return record.scale(block, part)[0]; });
      if (format.hasMin())
        min = ofPart([&](int64_t part) { return record.min(block, part)[0]; });
      Values values;
      for (int64_t i = 0; i < 4; ++i) {
        Value code = t.sub(t.andi(t.shr(codes, 8 * i), 0xff), int64_t(format.zeroPoint) * record.factor(block));
        values.push_back(scaled(t.fma(t.toFloat(code), scale, min)));
      }
      auto store = [&] { t.store(t.pack(values), out(token, column), 16); };
      if (layout.cols % layout.recordK == 0)
        store();
      else // the last record's last blocks may be missing
        t.when(t.less(column, layout.cols), store);
    }
  });
}

// sin(2 pi x) and cos(2 pi x) for |x| <= 1/2, in f64, by their series: the error is below 1e-12.
static std::pair<Value, Value> sineCosine(Threads &t, Value x) {
  auto c = [&](double value) { return t.real(t.f64(), value); };
  Value angle = t.mulf(x, c(6.283185307179586477)), square = t.mulf(angle, angle);
  // Horner's scheme over 1/n!, alternating: 1 - s/(n(n-1)) (1 - ...).
  auto series = [&](int first) {
    Value sum = c(1.0);
    for (int n = first + 26; n > first; n -= 2)
      sum = t.fma(t.mulf(square, c(-1.0 / (double(n) * (n - 1)))), sum, c(1.0));
    return sum;
  };
  return {t.mulf(angle, series(1)), series(0)};
}

void sluice::codegen::lowerRopeTable(const Scope &scope, RopeTableOp op) {
  Threads &t = scope.t;
  const int64_t pairs = op.getHeadDim() / 2, columns = op.getHeadDim() + 32;
  // Of every pair the turn, then the magnitude: channels past the turns stay as they are.
  SmallVector<double> turns(op.getTurns());
  turns.resize(pairs, 0.0);
  turns.append(op.getTurns().size(), op.getMagnitude().convertToDouble());
  turns.resize(2 * pairs, 1.0);
  auto module = op->getParentOfType<ModuleOp>();
  std::string name = (op->getParentOfType<ProgramOp>().getSymName() + "_" + op.getBuffer() + "_turns").str();
  if (!module.lookupSymbol(name)) {
    OpBuilder top = OpBuilder::atBlockBegin(module.getBody());
    auto type = RankedTensorType::get({2 * pairs}, t.f64());
    LLVM::GlobalOp::create(top, op.getLoc(), LLVM::LLVMArrayType::get(t.f64(), 2 * pairs), /*isConstant=*/true,
                           LLVM::Linkage::Internal, name, DenseElementsAttr::get(type, ArrayRef<double>(turns)),
                           /*alignment=*/8, Global);
  }
  Value table = LLVM::AddressOfOp::create(t.b, t.pointer(Global), name);
  overPieces(scope, columns / 2, [&](Value token, Value pair) {
    Value position = t.toDouble(t.add(scope.position(), token));
    Value entry = t.at(table, t.mul(t.rem(pair, pairs), 8));
    Value turn = t.mulf(position, t.loadConstant(t.f64(), entry, 8));
    Value magnitude = t.loadConstant(t.f64(), t.at(entry, pairs * 8), 8);
    // Whole turns drop out: adding 1.5 * 2^52 rounds to an integer.
    Value magic = t.real(t.f64(), 6755399441055744.0);
    auto [sine, cosine] = sineCosine(t, t.subf(turn, t.subf(t.addf(turn, magic), magic)));
    Value s = t.toSingle(t.mulf(sine, magnitude)), c = t.toSingle(t.mulf(cosine, magnitude));
    Value out = t.at(scope.bufferRow(op.getBufferAttr(), token), t.mul(pair, 8));
    t.store(t.pack({c, c}), out, 8);
    t.store(t.pack({t.subf(t.f(-0.0), s), s}), t.at(out, columns * 4), 8);
  });
}
