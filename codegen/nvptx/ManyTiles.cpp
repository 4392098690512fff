//===- ManyTiles.cpp - the tiles of a phase for many tokens -------------------------------===//
//
// A warp takes a tile and a block of tokens. Integer formats: tensor cores multiply 16 rows with 8 tokens over 32
// columns, whose sums are exact; what follows is done in the order of one token's program, so that both give the same
// bits. Float formats: the lane program of one token, for a few at a time.
//
// A thread's part of mma.m16n8k32 is rows l / 4 and l / 4 + 8, tokens 2 (l % 4) and the next (l: its lane). Which rows of
// the tile these are is ours to choose: a thread loads 16 bytes, four neighbouring rows of one group of columns, and so
// has rows 4 (l / 4) to 4 (l / 4) + 3 of the tile, as two times two rows. Of the eight groups of columns it multiplies
// numbers 2 (l % 4) and the next, of weights and activations alike.
//
//===--------------------------------------------------------------------------------------===//

#include "codegen/nvptx/Dots.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

constexpr int64_t mmaTokens = 8, mmaRows = 16, rowsOfThread = 4, tokensOfThread = 2;

class ManyTilesLowering {
public:
  ManyTilesLowering(const Scope &scope, const TileGroup &group) : scope(scope), t(scope.t), group(group) {}

  void lower() {
    const int64_t tokens = usesTensorCores() ? tokensOfWarp : tokensOfLanes;
    Value tokenBegin = t.div(scope.tokenBegin(), tokens), tokenEnd = scope.tokenEnd();
    Value blocks = t.sub(t.div(t.add(tokenEnd, tokens - 1), tokens), tokenBegin);
    Value first = t.add(t.mul(t.block(), GpuFacts::warps), t.warp());
    // Warps beside each other share a tile.
    t.loop(first, t.mul(blocks, group.tiles), t.mul(t.blocks(), GpuFacts::warps), [&](Value unit) {
      Value tile = t.div(unit, blocks), block = t.add(t.sub(unit, t.mul(tile, blocks)), tokenBegin);
      Value source = t.at(t.at(scope.args.weights, group.offset), t.mul(t.extend(tile, t.i64()), group.tileBytes));
      if (usesTensorCores())
        lowerInteger(tile, source, t.mul(block, tokens));
      else
        lowerFloat(tile, source, t.mul(block, tokens));
    });
  }

private:
  static constexpr int64_t tokensOfWarp = 16, tokensOfLanes = 4;
  bool usesTensorCores() const {
    return llvm::none_of(group.weights, [](const WeightPlan &weight) { return weight.layout.format->isFloat; });
  }
  // A token whose memory may be read.
  Value existing(Value token) { return t.min(token, t.c(scope.plan.maxTokens - 1)); }

  void lowerInteger(Value tile, Value source, Value firstToken);
  Values integerDots(const WeightPlan &weight, Value source, Value firstToken);
  Values integerRecord(const WeightPlan &weight, const OperandPlan &operand, ValueRange sums, Value packed,
                       ArrayRef<Value> rowsOfTokens, ArrayRef<Value> columnsOfTokens, Value record);
  Values multiply(ArrayRef<Value> a, ArrayRef<Value> b, ArrayRef<Value> c);

  void lowerFloat(Value tile, Value source, Value firstToken);

  void epilogue(Value tile, ArrayRef<Values> sums, Value rowInTile, Value token);

  const Scope &scope;
  Threads &t;
  const TileGroup &group;
};

void ManyTilesLowering::epilogue(Value tile, ArrayRef<Values> sums, Value rowInTile, Value token) {
  for (auto [i, op] : llvm::enumerate(group.ops)) {
    auto lower = [&] { lowerEpilogue(scope, op, sums, t.add(t.mul(t.sub(tile, group.firstTile[i]), 32), rowInTile), token); };
    const int64_t end = i + 1 < group.ops.size() ? group.firstTile[i + 1] : group.tiles;
    if (group.ops.size() == 1)
      lower();
    else
      t.when(t.andi(t.less(t.c(group.firstTile[i] - 1), tile), t.less(tile, end)), lower);
  }
}

//===-- Tensor cores -----------------------------------------------------------------------===//

Values ManyTilesLowering::multiply(ArrayRef<Value> a, ArrayRef<Value> b, ArrayRef<Value> c) {
  Type result = LLVM::LLVMStructType::getLiteral(t.b.getContext(), SmallVector<Type>(4, t.i32()));
  Values arguments(a);
  arguments.append(b.begin(), b.end());
  arguments.append(c.begin(), c.end());
  Value d = t.intrinsic("llvm.nvvm.mma.m16n8k32.row.col.u8.s8", result, arguments);
  Values words;
  for (int64_t i = 0; i < 4; ++i)
    words.push_back(LLVM::ExtractValueOp::create(t.b, d, i));
  return words;
}

// Sums of a warp: [8 tokens][row of the thread][token of the thread].
Values ManyTilesLowering::integerDots(const WeightPlan &weight, Value source, Value firstToken) {
  const PackedLayout &layout = weight.layout;
  const OperandPlan &operand = scope.plan.operand(weight.operand);
  const int64_t parts = tokensOfWarp / mmaTokens, count = parts * rowsOfThread * tokensOfThread;
  Value quarter = t.andi(t.lane(), 3), eighth = t.shr(t.lane(), 2);
  // Activations, from the operand's begin: of the tokens whose sums, and of the token whose codes this thread has.
  Values rows, columns;
  auto offsetOf = [&](Value token) { return t.mul(existing(token), operand.bytes()); };
  for (int64_t part = 0; part < parts; ++part) {
    for (int64_t i = 0; i < tokensOfThread; ++i) {
      Value token = t.add(firstToken, t.add(t.mul(quarter, tokensOfThread), part * mmaTokens + i));
      rows.push_back(offsetOf(token));
    }
    Value token = t.add(firstToken, t.add(eighth, part * mmaTokens));
    columns.push_back(t.add(offsetOf(token), t.mul(quarter, 8)));
  }
  Value packed = t.at(source, t.add(t.mul(quarter, 2 * layout.tileRows * 4), t.mul(eighth, 16)));
  Values zero(count, t.f(0));
  return t.loop(t.c(0), t.c(layout.recordsPerTile), t.c(weight.k.sliceRecords), zero, [&](Value first, ValueRange total) {
    Value end = t.min(t.add(first, weight.k.sliceRecords), t.c(layout.recordsPerTile));
    Values slice = t.loop(first, end, t.c(1), zero, [&](Value record, ValueRange sums) {
      return integerRecord(weight, operand, sums, packed, rows, columns, record);
    });
    Values next;
    for (auto [x, y] : llvm::zip_equal(total, slice))
      next.push_back(t.addf(x, y));
    return next;
  });
}

Values ManyTilesLowering::integerRecord(const WeightPlan &weight, const OperandPlan &operand, ValueRange sums,
                                        Value packed, ArrayRef<Value> rows, ArrayRef<Value> columns, Value record) {
  const PackedLayout &layout = weight.layout;
  const llama::FormatInfo &format = *layout.format;
  const int64_t planes = layout.recordBlocks(), parts = tokensOfWarp / mmaTokens;
  Value at = t.at(packed, t.mul(record, layout.recordBytes)); // this thread's codes
  // Two groups of columns of four rows.
  Values low = t.unpack(t.loadConstant(t.vec(4, t.i32()), at, 16));
  Values high = t.unpack(t.loadConstant(t.vec(4, t.i32()), t.at(at, layout.tileRows * 4), 16));
  Value quarter = t.andi(t.lane(), 3), eighth = t.shr(t.lane(), 2);
  // Undo the offset of codes: scales of four rows lie at 8 (l / 4).
  Value start = t.at(at, t.sub(t.c(0), t.add(t.mul(quarter, 2 * layout.tileRows * 4), t.mul(eighth, 16))));
  auto halves = [&](int64_t offset, int64_t plane) {
    Value pointer = t.at(t.at(start, t.mul(eighth, 8)), offset + plane * layout.tileRows * 2);
    Values all;
    for (Value bits : t.unpack(t.loadConstant(t.vec(rowsOfThread, t.i16()), pointer, 8)))
      all.push_back(t.halfToFloat(bits));
    return all;
  };
  SmallVector<Values> scales, mins;
  for (int64_t plane = 0; plane < planes; ++plane) {
    scales.push_back(halves(layout.scalesAt, plane));
    if (format.hasMin())
      mins.push_back(halves(layout.minsAt, plane));
  }
  Value activations = scope.operandAt(weight.operand, t.c(0));
  Value block = t.mul(record, planes), column = t.mul(block, OperandPlan::block);
  Value pairAt = t.add(t.mul(t.shr(block, 1), operand.pairBytes()), operand.pairsAt());
  Values next;
  for (int64_t part = 0; part < parts; ++part) {
    SmallVector<Value> pairWords;
    for (int64_t i = 0; i < tokensOfThread; ++i)
      pairWords.push_back(t.at(activations, t.add(rows[part * tokensOfThread + i], pairAt)));
    Values joined(rowsOfThread * tokensOfThread);
    for (int64_t plane = 0; plane < planes; ++plane) {
      auto planeOf = [&](Value word) {
        return planes == 1 ? word : t.andi(plane ? t.shr(word, 4) : word, 0x0f0f0f0f);
      };
      // Which of a pair this block is: the plane, or by the record's number.
      auto ofHalf = [&](Value words, int64_t offset, Type type) {
        Value pointer = t.at(words, offset);
        pointer = planes == 2 ? t.at(pointer, plane * 4) : t.at(pointer, t.mul(t.andi(block, 1), 4));
        return t.load(type, pointer, 4);
      };
      Value codes = t.at(activations, t.add(columns[part], t.add(column, plane * OperandPlan::block)));
      Values b = t.unpack(t.load(t.vec(2, t.i32()), codes, 8)), highB;
      if (operand.hasHighs())
        highB = t.unpack(t.load(t.vec(2, t.i32()), t.at(codes, operand.highsAt()), 8));
      Values starts(tokensOfThread, t.c(0));
      if (format.zeroPoint)
        for (int64_t i = 0; i < tokensOfThread; ++i)
          starts[i] = ofHalf(pairWords[i], operand.startAt(format.zeroPoint), t.i32());
      for (int64_t pairOfRows = 0; pairOfRows < rowsOfThread / 2; ++pairOfRows) {
        const int64_t r = pairOfRows * 2;
        Values a{planeOf(low[r]), planeOf(low[r + 1]), planeOf(high[r]), planeOf(high[r + 1])};
        Values c{starts[0], starts[1], starts[0], starts[1]};
        if (operand.hasHighs()) {
          Values highs = multiply(a, highB, Values(4, t.c(0)));
          for (auto [x, y] : llvm::zip_equal(c, highs))
            x = t.add(x, t.shl(y, OperandPlan::highShift));
        }
        Values d = multiply(a, b, c);
        for (int64_t i = 0; i < 4; ++i) { // [row][token]
          const int64_t row = r + i / tokensOfThread;
          Value &sum = joined[row * tokensOfThread + i % tokensOfThread];
          Value integer = t.toFloat(d[i]);
          sum = plane ? t.fma(integer, scales[plane][row], sum) : t.mulf(integer, scales[plane][row]);
        }
      }
    }
    for (int64_t row = 0; row < rowsOfThread; ++row)
      for (int64_t i = 0; i < tokensOfThread; ++i) {
        Value sum = sums[(part * rowsOfThread + row) * tokensOfThread + i];
        sum = t.fma(joined[row * tokensOfThread + i], t.load(t.f32(), pairWords[i], 4), sum);
        if (format.hasMin())
          for (int64_t plane = 0; plane < planes; ++plane) {
            Value pointer = t.at(pairWords[i], operand.valueSumAt());
            pointer = planes == 2 ? t.at(pointer, plane * 4) : t.at(pointer, t.mul(t.andi(block, 1), 4));
            sum = t.fma(mins[plane][row], t.load(t.f32(), pointer, 4), sum);
          }
        next.push_back(sum);
      }
  }
  return next;
}

void ManyTilesLowering::lowerInteger(Value tile, Value source, Value firstToken) {
  SmallVector<Values> dots;
  int64_t at = 0;
  for (const WeightPlan &weight : group.weights)
    dots.push_back(integerDots(weight, t.at(source, std::exchange(at, at + weight.layout.tileBytes)), firstToken));
  Value quarter = t.andi(t.lane(), 3), rowInTile = t.mul(t.shr(t.lane(), 2), rowsOfThread);
  Value begin = scope.tokenBegin(), end = scope.tokenEnd();
  for (int64_t part = 0; part < tokensOfWarp / mmaTokens; ++part)
    for (int64_t i = 0; i < tokensOfThread; ++i) {
      Value token = t.add(firstToken, t.add(t.mul(quarter, tokensOfThread), part * mmaTokens + i));
      t.when(t.andi(t.isNot(t.less(token, begin)), t.less(token, end)), [&] {
        SmallVector<Values> sums;
        for (const Values &all : dots) {
          Values rows;
          for (int64_t row = 0; row < rowsOfThread; ++row)
            rows.push_back(all[(part * rowsOfThread + row) * tokensOfThread + i]);
          sums.push_back(rows);
        }
        epilogue(tile, sums, rowInTile, token);
      });
    }
}

//===-- Lanes ------------------------------------------------------------------------------===//

void ManyTilesLowering::lowerFloat(Value tile, Value source, Value firstToken) {
  SmallVector<SmallVector<Values>> totals(tokensOfLanes); // [token][weight]{the lane's row}
  int64_t at = 0;
  for (const WeightPlan &weight : group.weights) {
    const int64_t bytes = weight.layout.recordsPerTile * weight.layout.recordBytes;
    Dots dots(t, weight, scope.plan.operand(weight.operand));
    Value packed = t.at(source, std::exchange(at, at + weight.layout.tileBytes));
    const int64_t each = int64_t(dots.zero().size());
    SmallVector<Value> activations;
    for (int64_t i = 0; i < tokensOfLanes; ++i)
      activations.push_back(scope.operandAt(weight.operand, existing(t.add(firstToken, i))));
    Values sums = t.loop(t.c(0), t.c(weight.k.slices), t.c(1), Values(tokensOfLanes, t.f(0)),
                         [&](Value slice, ValueRange totals) {
      Value chunks = t.select(t.equal(slice, weight.k.slices - 1), t.c(weight.chunksOfLastSlice()),
                              t.c(weight.chunksOfSlice()));
      Values zero(tokensOfLanes * each, t.f(0));
      Values state = t.loop(t.c(0), chunks, t.c(1), zero, [&](Value chunk, ValueRange state) {
        Value number = t.add(t.mul(slice, weight.chunksOfSlice()), chunk);
        Value offset = t.mul(number, weight.chunkBytes());
        return dots.addTokens(state, t.at(packed, offset), activations, t.mul(number, weight.chunkColumns()),
                              t.sub(t.c(bytes), offset));
      });
      Values next;
      for (int64_t i = 0; i < tokensOfLanes; ++i)
        next.push_back(t.addf(totals[i], dots.finish(ValueRange(state).slice(i * each, each))));
      return next;
    });
    for (int64_t i = 0; i < tokensOfLanes; ++i)
      totals[i].push_back({sums[i]});
  }
  for (int64_t i = 0; i < tokensOfLanes; ++i) {
    Value token = t.add(firstToken, i);
    t.when(t.andi(t.isNot(t.less(token, scope.tokenBegin())), t.less(token, scope.tokenEnd())),
           [&] { epilogue(tile, totals[i], t.lane(), token); });
  }
}
} // namespace

void sluice::codegen::lowerManyTiles(const Scope &scope) {
  for (const TileGroup &group : scope.plan.groups)
    ManyTilesLowering(scope, group).lower();
}
