//===- ManyTiles.cpp - the tiles of a phase for many tokens -------------------------------===//
//
// A warp takes a tile and a block of tokens. Integer formats: tensor cores multiply 16 rows with 8 tokens over 32
// columns, whose sums are exact; what follows is done in the order of one token's program, so that both give the same
// bits. Float formats: the lane program of one token, for a few at a time.
//
// A thread's part of mma.m16n8k32 is rows l / 4 and l / 4 + 8, tokens 2 (l % 4) and the next (l: its lane). Which rows
// of the tile these are is ours to choose: a thread loads 16 bytes, four neighbouring rows of one group of columns, and
// so has rows 4 (l / 4) to 4 (l / 4) + 3 of the tile, as two times two rows. Of a block's eight groups of columns it
// multiplies numbers 2 (l % 4) and the next, of weights and activations alike. Where half a block has a scale of its
// own, mma.m16n8k16 multiplies that: of each half, group l % 4.
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
  ManyTilesLowering(const Scope &scope, const TileGroup &group)
      : scope(scope), t(scope.t), group(group), tokensOfWarp(isUnpackedInFewSteps() ? 2 * mmaTokens : mmaTokens) {}

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
  static constexpr int64_t tokensOfLanes = 4;
  // Otherwise registers are needed for what the codes come from.
  bool isUnpackedInFewSteps() const {
    return llvm::none_of(group.weights, [](const WeightPlan &weight) {
      const llama::FormatInfo &format = *weight.layout.format;
      return format.hasSubScales() || weight.layout.codes.highBits || !format.table.empty();
    });
  }
  bool usesTensorCores() const {
    return llvm::none_of(group.weights, [](const WeightPlan &weight) { return weight.layout.format->isFloat; });
  }
  // A token whose memory may be read.
  Value existing(Value token) { return t.min(token, t.c(scope.plan.maxTokens - 1)); }

  void lowerInteger(Value tile, Value source, Value firstToken);
  Values integerDots(const WeightPlan &weight, Value source, Value firstToken);
  Values integerRecord(const WeightPlan &weight, const OperandPlan &operand, ValueRange before, Value source,
                       ArrayRef<Value> rowsOfTokens, ArrayRef<Value> columnsOfTokens, Value number);
  Values partSums(PackedRecord &record, const OperandPlan &operand, int64_t block, int64_t part, int64_t parts,
                  Value codes, ArrayRef<Value> start);
  Values multiply(ArrayRef<Value> a, ArrayRef<Value> b, ArrayRef<Value> c);

  void lowerFloat(Value tile, Value source, Value firstToken);

  void epilogue(Value tile, ArrayRef<Values> sums, Value rowInTile, Value token);

  const Scope &scope;
  Threads &t;
  const TileGroup &group;
  const int64_t tokensOfWarp;
};

void ManyTilesLowering::epilogue(Value tile, ArrayRef<Values> sums, Value rowInTile, Value token) {
  for (auto [i, op] : llvm::enumerate(group.ops)) {
    auto lower = [&] {
      lowerEpilogue(scope, op, sums, t.add(t.mul(t.sub(tile, group.firstTile[i]), 32), rowInTile), token);
    };
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
  Value d = t.intrinsic(b.size() == 2 ? "llvm.nvvm.mma.m16n8k32.row.col.u8.s8" : "llvm.nvvm.mma.m16n8k16.row.col.u8.s8",
                        result, arguments);
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
    columns.push_back(t.add(offsetOf(token), t.mul(quarter, 8 / PackedRecord::parts(layout))));
  }
  Values zero(count, t.f(0));
  return t.loop(t.c(0), t.c(layout.recordsPerTile), t.c(weight.k.sliceRecords), zero,
                [&](Value first, ValueRange total) {
                  Value end = t.min(t.add(first, weight.k.sliceRecords), t.c(layout.recordsPerTile));
                  Values slice = t.loop(first, end, t.c(1), zero, [&](Value record, ValueRange sums) {
                    return integerRecord(weight, operand, sums, source, rows, columns, record);
                  });
                  Values next;
                  for (auto [x, y] : llvm::zip_equal(total, slice))
                    next.push_back(t.addf(x, y));
                  return next;
                });
}

// sums + those of a record: run by run, and in it pair by pair of blocks, which share the activations' scale.
Values ManyTilesLowering::integerRecord(const WeightPlan &weight, const OperandPlan &operand, ValueRange before,
                                        Value source, ArrayRef<Value> rows, ArrayRef<Value> columns, Value number) {
  const PackedLayout &layout = weight.layout;
  const llama::FormatInfo &format = *layout.format;
  const int64_t blocks = layout.recordBlocks(), parts = PackedRecord::parts(layout);
  Value quarter = t.andi(t.lane(), 3), eighth = t.shr(t.lane(), 2);
  PackedRecord record(t, layout,
                      {.record = t.at(source, t.mul(number, layout.recordBytes)),
                       .row = t.mul(eighth, rowsOfThread),
                       .rows = rowsOfThread,
                       .group = t.mul(quarter, 2 / parts),
                       .constant = true});
  Value activations = scope.operandAt(weight.operand, t.c(0));
  Value firstBlock = t.mul(number, blocks), firstColumn = t.mul(firstBlock, OperandPlan::block);
  Value firstPair = t.add(t.mul(t.shr(firstBlock, 1), operand.pairBytes()), operand.pairsAt());
  auto pairWords = [&](int64_t tokens, int64_t i, int64_t block) {
    return t.at(activations,
                t.add(rows[tokens * tokensOfThread + i], t.add(firstPair, block / 2 * operand.pairBytes())));
  };
  auto wordOf = [&](Value words, OperandPlan::Sum kind, int64_t block, int64_t part, Type type) {
    Value at = t.at(words, operand.sumAt(kind) + part * 4);
    // Which of a pair a block is, or a record of one block.
    Value half = blocks > 1 ? t.c(block % 2) : t.andi(number, 1);
    return t.load(type, t.at(at, t.mul(half, kind.parts() * 4)), 4);
  };
  Values sums(before);
  auto sumOf = [&](int64_t tokens, int64_t row, int64_t i) -> Value & {
    return sums[(tokens * rowsOfThread + row) * tokensOfThread + i];
  };
  const OperandPlan::Sum starts{format.zeroPoint, format.scaleElements}, valueSums{0, format.scaleElements};
  for (int64_t run = 0; run < layout.runs; ++run) {
    const int64_t begin = run * layout.runBlocks, end = begin + layout.runBlocks;
    for (int64_t first = begin; first < end; first += 2)
      for (int64_t tokens = 0; tokens < tokensOfWarp / mmaTokens; ++tokens) {
        Values joined(rowsOfThread * tokensOfThread);
        for (int64_t part = 0; part < parts; ++part)
          for (int64_t block = first; block < std::min(first + 2, end); ++block) {
            Values start;
            for (int64_t i = 0; i < tokensOfThread; ++i)
              start.push_back(format.zeroPoint
                                  ? t.shl(wordOf(pairWords(tokens, i, block), starts, block, part, t.i32()),
                                          llvm::Log2_64(record.factor(block)))
                                  : t.c(0));
            Value column = t.add(firstColumn, block * OperandPlan::block);
            Value codes = t.at(activations, t.add(columns[tokens], column));
            Values integers = partSums(record, operand, block, part, parts, codes, start);
            for (int64_t row = 0; row < rowsOfThread; ++row)
              for (int64_t i = 0; i < tokensOfThread; ++i) {
                Value &sum = joined[row * tokensOfThread + i];
                Value integer = t.toFloat(integers[row * tokensOfThread + i]), scale = record.scale(block, part)[row];
                sum = sum ? t.fma(integer, scale, sum) : t.mulf(integer, scale);
              }
          }
        for (int64_t row = 0; row < rowsOfThread; ++row)
          for (int64_t i = 0; i < tokensOfThread; ++i) {
            Value &sum = sumOf(tokens, row, i);
            sum = t.fma(joined[row * tokensOfThread + i], t.load(t.f32(), pairWords(tokens, i, first), 4), sum);
          }
      }
    if (format.hasMin())
      for (int64_t block = begin; block < end; ++block)
        for (int64_t part = 0; part < parts; ++part) {
          Values mins = record.min(block, part);
          for (int64_t tokens = 0; tokens < tokensOfWarp / mmaTokens; ++tokens)
            for (int64_t i = 0; i < tokensOfThread; ++i) {
              Value value = wordOf(pairWords(tokens, i, block), valueSums, block, part, t.f32());
              for (int64_t row = 0; row < rowsOfThread; ++row)
                sumOf(tokens, row, i) = t.fma(mins[row], value, sumOf(tokens, row, i));
            }
        }
  }
  return sums;
}

// [row][token], of a part of a block. `codes`: this thread's of the block's activations; `start`: what a token begins
// with.
Values ManyTilesLowering::partSums(PackedRecord &record, const OperandPlan &operand, int64_t block, int64_t part,
                                   int64_t parts, Value codes, ArrayRef<Value> start) {
  // Half a block has a group a thread, a whole one two that lie side by side.
  const int64_t group = part * OperandPlan::groups / 2;
  auto activations = [&](int64_t at) {
    Value from = t.at(codes, at + group * 4);
    return parts == 1 ? t.unpack(t.load(t.vec(2, t.i32()), from, 8)) : Values{t.load(t.i32(), from, 4)};
  };
  Values low = activations(operand.codesAt()), high, sums;
  if (operand.hasHighs())
    high = activations(operand.highsAt());
  for (int64_t row = 0; row < rowsOfThread; row += 2) {
    Values weights;
    for (int64_t g = group; g < group + 2 / parts; ++g) {
      const Values codes = record.codes(block, g);
      weights.append({codes[row], codes[row + 1]});
    }
    Values begin{start[0], start[1], start[0], start[1]};
    if (operand.hasHighs())
      for (auto [x, y] : llvm::zip_equal(begin, multiply(weights, high, Values(4, t.c(0)))))
        x = t.add(x, t.shl(y, OperandPlan::highShift));
    sums.append(multiply(weights, low, begin));
  }
  return sums;
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
                             return dots.addTokens(state, t.at(packed, offset), activations,
                                                   t.mul(number, weight.chunkColumns()), t.sub(t.c(bytes), offset));
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
