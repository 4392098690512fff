//===- Tiles.cpp - the lane program: dots of a tile's rows, then their epilogue ------===//
//
// A lane is a row. For each tile: for each block of rows held in registers: for each block of tokens: K is walked once,
// in one order, whatever the numbers of rows and tokens; so decode and prefill give the same bits.
//
//===------------------------------------------------------------------------------===//

#include "codegen/cpu/PhaseScope.h"
#include "codegen/cpu/WeightRecord.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <tuple>

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;
using llama::FormatInfo;

namespace {

// The rows and tokens whose sums live in registers together.
struct Tile {
  int64_t tileRows; // packed side by side
  Value firstRow;   // of the block, within the tile
  int64_t vectors;  // of `lanes` rows each
  int64_t lanes;
  int64_t tokens;
  int64_t passes; // over K that work on a tile for a whole chunk
  Value pass;     // number of this one
};

// Records start at multiples of their size, which 16-row tiles make a multiple of less than a vector.
unsigned alignmentIn(const PackedLayout &layout, int64_t wanted) {
  return std::min(wanted, layout.recordBytes & -layout.recordBytes);
}

// Sums of one weight's dot products: [vector][token], in that order.
using Sums = Values;

class TilesLowering {
public:
  TilesLowering(PhaseScope &scope, TilesOp op, unsigned index, Lanes &l, Value args)
      : scope(scope), op(op), segment(scope.weights.tiles(index)), l(l), args(args) {}

  void lowerTile(Value tile);

private:
  Sums dots(const Tile &tile, unsigned weight, Value weights, Value tokenBlock);
  // `block`: address of the operand's block of tokens.
  Sums integerDots(const Tile &tile, const PackedLayout &layout, const OperandLayout &operand, Value weights,
                   Value block);
  Sums floatDots(const Tile &tile, const PackedLayout &layout, const OperandLayout &operand, Value weights,
                 Value block);
  void prefetch(const Tile &tile, const PackedLayout &layout, Value weights, Value offset, int64_t bytes);
  void epilogue(const Tile &tile, ArrayRef<Sums> sums, Value tileRow, Value token, int64_t tokenInBlock);
  Values rope(RopeOp rope, const Tile &tile, ArrayRef<Value> rows, Value firstRow, Value token);

  PhaseScope &scope;
  TilesOp op;
  const Segment &segment;
  Lanes &l;
  Value args;
};

} // namespace

void TilesLowering::lowerTile(Value tile) {
  int64_t tileRows = op.getTileRows(), rowBlock = op.getRowBlock().value_or(tileRows);
  int64_t lanes = op.getLanes().value_or(l.facts.lanes()), tokens = op.getTokenBlock().value_or(1);
  int64_t stride = 0;
  for (const PackedLayout &layout : segment.layouts)
    stride += layout.tileBytes;
  Value weights = l.at(l.at(l.argPointer(args, WeightsArg), segment.offset), l.mul(tile, stride));
  Value tileRow = l.mul(tile, tileRows);
  Value tokenBegin = l.arg(args, TokenBeginArg, l.i64()), tokenEnd = l.arg(args, TokenEndArg, l.i64());

  auto rows = [&](Value firstRow) {
    const int64_t tokenBlocks = llvm::divideCeil(scope.maxTokens, tokens);
    Tile shape{tileRows, firstRow, rowBlock / lanes, lanes, tokens, tileRows / rowBlock * tokenBlocks, {}};
    auto tokenBlock = [&](Value firstToken) {
      shape.pass = l.add(l.mul(l.div(firstRow, rowBlock), tokenBlocks), l.div(firstToken, tokens));
      SmallVector<Sums> sums;
      int64_t at = 0;
      for (unsigned w = 0; w < segment.layouts.size(); ++w) {
        sums.push_back(dots(shape, w, l.at(weights, at), firstToken));
        at += segment.layouts[w].tileBytes;
      }
      for (int64_t t = 0; t < tokens; ++t) {
        Value token = l.add(firstToken, t);
        if (tokens == 1)
          epilogue(shape, sums, tileRow, token, t);
        else // tokens of the block outside the range hold leftovers
          l.when(l.andi(l.less(token, tokenEnd), l.lessOrEqual(tokenBegin, token)),
                 [&] { epilogue(shape, sums, tileRow, token, t); });
      }
    };
    if (scope.maxTokens == 1)
      return tokenBlock(l.c64(0));
    l.loop(l.mul(l.div(tokenBegin, tokens), tokens), tokenEnd, tokens, tokenBlock);
  };
  if (rowBlock == tileRows)
    rows(l.c64(0));
  else
    l.loop(l.c64(0), l.c64(tileRows), rowBlock, rows);
}

// Of one weight's tile, [offset, offset + bytes) is in use. One token: what lies as far ahead as configured is asked
// for. Many tokens, for which a tile is passed over again and again: of what lies ahead, a part that is as far in it as
// the work on the tile is done, so that the memory is busy all the time.
void TilesLowering::prefetch(const Tile &tile, const PackedLayout &layout, Value weights, Value offset, int64_t bytes) {
  constexpr int64_t line = 64;
  const int64_t ahead = op.getPrefetch().value_or(0);
  if (!ahead)
    return;
  if (scope.maxTokens > 1) {
    const int64_t part = llvm::alignTo(llvm::divideCeil(bytes, tile.passes), line);
    Value iteration = l.add(l.mul(tile.pass, layout.tileBytes / bytes), l.div(offset, bytes));
    offset = l.min(l.mul(iteration, part), l.c64(layout.tileBytes - line));
    bytes = part;
  }
  for (int64_t at = 0; at < bytes; at += line)
    l.prefetch(l.at(l.at(weights, offset), ahead + at), scope.maxTokens == 1 ? 1 : 2);
}

//===-- Dots ----------------------------------------------------------------------------===//

Sums TilesLowering::dots(const Tile &tile, unsigned weight, Value weights, Value firstToken) {
  const PackedLayout &layout = segment.layouts[weight];
  const OperandLayout &operand = scope.operand(op.getOperands()[weight]);
  Value block = l.at(l.argPointer(args, PreparedArg), operand.preparedAt);
  if (scope.maxTokens > 1)
    block = l.at(block, l.mul(l.div(firstToken, operand.tokens), operand.tokenBlockBytes()));
  return layout.format->isFloat ? floatDots(tile, layout, operand, weights, block)
                                : integerDots(tile, layout, operand, weights, block);
}

// The integer dot products of one record with one block of tokens. Weights are loaded where they are first used, so
// that a record is read in the order of its addresses, and stay in registers for the tokens after.
class RecordDots {
public:
  RecordDots(Lanes &l, const Tile &tile, const PackedLayout &layout, const OperandLayout &operand, Value packed,
             Value block, int64_t ahead)
      : RecordDots(l, tile, layout, operand, block, ahead,
                   WeightRecord(l, layout, tile.lanes, tile.firstRow, packed, /*usedOnce=*/tile.tokens == 1)) {}

  // sums + integer dots x weight scale x activation scale, + min x sum of activations: [vector][token].
  Sums addTo(Sums sums) {
    if (!format.hasSubScales())
      return addRun(sums);
    if (tile.tokens == 1)
      weights.begin(-1, tile.vectors, {}, ahead);
    Value scales = l.stack(weights.unpackedBytes(tile.vectors));
    weights.unpackScales(tile.vectors, scales);
    return l.loop(l.c64(0), l.c64(layout.runs), 1, sums, [&](Value run, ValueRange state) {
      Value runBlock = l.at(block, l.mul(run, layout.runBlocks * operand.blockBytes()));
      RecordDots dots(l, tile, layout, operand, runBlock, ahead, weights.run(run, tile.vectors, scales));
      return dots.addRun(Sums(state.begin(), state.end()));
    });
  }

private:
  RecordDots(Lanes &l, const Tile &tile, const PackedLayout &layout, const OperandLayout &operand, Value block,
             int64_t ahead, WeightRecord weights)
      : l(l), tile(tile), layout(layout), format(*layout.format), operand(operand), n(tile.lanes), block(block),
        weights(std::move(weights)), ahead(ahead) {}

  // Of the first run.
  Sums addRun(Sums sums) {
    addDots(sums);
    if (format.hasMin())
      addMins(sums);
    return sums;
  }

  void addDots(Sums &sums) {
    // For one token a run is read once, in the order of its addresses. For many, the registers hold the integer sums
    // of one part of a block at a time.
    const int64_t end = layout.runBlocks, together = tile.tokens == 1 ? layout.runBlocks : 1;
    // Blocks of a pair share the activation's scale: [pair][vector][token].
    SmallVector<Values> joined(llvm::divideCeil(layout.runBlocks, 2));
    for (int64_t pair = 0; pair < end; pair += std::max<int64_t>(together, 2))
      for (int64_t part = 0; part < weights.parts(); ++part)
        for (int64_t b = pair; b < std::min(pair + std::max<int64_t>(together, 2), end); b += together) {
          if (tile.tokens > 1 && last)
            weights.reloadAfter(last); // codes are loaded again, not kept in memory
          Values integers = partSums(b, together, part);
          for (int64_t i = 0; i < together; ++i)
            join(b + i, part, ArrayRef(integers).slice(i * sums.size(), sums.size()), joined[(b + i) / 2]);
        }
    for (auto [pair, values] : llvm::enumerate(joined))
      for (int64_t v = 0; v < tile.vectors; ++v)
        for (int64_t t = 0; t < tile.tokens; ++t) {
          Value &sum = sums[v * tile.tokens + t];
          Value scale = l.loadSplat(floats(), activationAt(2 * pair, operand.scaleAt(t)), 4);
          sum = l.fma(values[v * tile.tokens + t], scale, sum);
        }
  }

  // joined += integers x weight scale.
  void join(int64_t block, int64_t part, ArrayRef<Value> integers, Values &joined) {
    const bool isFirst = joined.empty();
    joined.resize(integers.size());
    for (int64_t v = 0; v < tile.vectors; ++v)
      for (int64_t t = 0; t < tile.tokens; ++t) {
        Value &sum = joined[v * tile.tokens + t];
        Value partSum = l.toFloat(integers[v * tile.tokens + t]), scale = weights.scale(block, part, v);
        sum = isFirst ? l.mulf(partSum, scale) : l.fma(partSum, scale, sum);
      }
    last = joined.back();
  }

  void addMins(Sums &sums) {
    for (int64_t b = 0; b < layout.runBlocks; ++b)
      for (int64_t part = 0; part < weights.parts(); ++part)
        for (int64_t v = 0; v < tile.vectors; ++v) {
          Value min = weights.min(b, part, v);
          for (int64_t t = 0; t < tile.tokens; ++t) {
            Value &sum = sums[v * tile.tokens + t];
            const int64_t at = operand.sumAt({.columns = format.scaleElements}, part, t);
            sum = l.fma(min, l.loadSplat(floats(), activationAt(b, at), 4), sum);
          }
        }
  }

  // Sums over a part of blocks [first, first + count): [block][vector][token].
  Values partSums(int64_t first, int64_t count, int64_t part) {
    Values sums(count * tile.vectors * tile.tokens), highs(sums.size(), l.constantInt(ints(), 0));
    // Tokens outside: a loaded activation meets the vectors one after another.
    auto forEach = [&](function_ref<void(int64_t index, int64_t b, int64_t v, int64_t t)> f) {
      for (int64_t t = 0; t < tile.tokens; ++t)
        for (int64_t v = 0; v < tile.vectors; ++v)
          for (int64_t b = first; b < first + count; ++b)
            f(((b - first) * tile.vectors + v) * tile.tokens + t, b, v, t);
    };
    forEach([&](int64_t i, int64_t b, int64_t, int64_t t) { sums[i] = start(b, part, t); });
    const int64_t groups = OperandLayout::groups / weights.parts();
    for (int64_t g = part * groups; g < (part + 1) * groups; ++g) {
      if (tile.tokens == 1)
        weights.begin(g, tile.vectors, sums.back(), ahead);
      forEach([&](int64_t i, int64_t b, int64_t v, int64_t t) {
        sums[i] = dot(sums[i], weights.codes(b, g, v), activationAt(b, operand.codesAt(t) + g * 4), b);
        if (operand.allHigh())
          highs[i] = dot(highs[i], weights.codes(b, g, v), activationAt(b, operand.highCodesAt(t) + g * 4), b);
      });
    }
    if (operand.allHigh())
      for (auto [sum, high] : llvm::zip_equal(sums, highs))
        sum = l.add(sum, l.shl(high, OperandLayout::highShift));
    else
      for (int64_t peak = 0; peak < operand.peaks; ++peak)
        forEach([&](int64_t i, int64_t b, int64_t v, int64_t t) { sums[i] = addPeak(sums[i], peak, v, b, part, t); });
    return sums;
  }

  // Sums start at minus the zero point times the sum of the activations' codes.
  Value start(int64_t block, int64_t part, int64_t token) {
    if (!format.zeroPoint)
      return l.constantInt(ints(), 0);
    const int64_t at = operand.sumAt({format.zeroPoint, format.scaleElements}, part, token);
    return l.shl(l.loadSplat(ints(), activationAt(block, at), 4), llvm::Log2_64(weights.factor(block)));
  }

  Value dot(Value sum, Value codes, Value four, int64_t block) {
    return l.dot4(sum, codes, activations(l.load(l.i32(), four, 4)), weights.maxCode(block));
  }
  Value activations(Value four) { return l.bitcast(l.splat(four, n), bytes()); }

  // The high bytes of a peak meet the group of columns that they belong to; they are zero in other parts of the block.
  // For one token, parts share the group's codes.
  Value addPeak(Value sum, int64_t peak, int64_t v, int64_t block, int64_t part, int64_t token) {
    constexpr int64_t times = 1 << OperandLayout::highShift;
    const bool inPlace =
        weights.factor(block) == 1 && weights.fitsTimes(times) && l.takesCodes(format.maxCode() * times);
    const int64_t factor = inPlace ? times : weights.factor(block);
    Value &codes = peakCodes[{peak, v, block}];
    if (!codes || tile.tokens > 1) {
      Value unit = l.load(l.i32(), activationAt(block, operand.groupAt(peak, token)), 4);
      Value group = l.div(arith::ExtUIOp::create(l.b, l.i64(), unit), OperandLayout::groupUnit);
      codes = weights.codesOfGroup(block, group, v, factor);
    }
    Value four = l.load(l.i32(), activationAt(block, operand.highAt(peak, format.scaleElements, part, token)), 4);
    Value high = activations(four);
    if (inPlace)
      return l.dot4(sum, codes, high, format.maxCode() * times);
    Value dots = l.dot4(l.constantInt(ints(), 0), codes, high, weights.maxCode(block));
    return l.add(sum, l.shl(dots, OperandLayout::highShift));
  }

  // Address in the block of activations that meets a block of weights.
  Value activationAt(int64_t b, int64_t offset) { return l.at(block, b * operand.blockBytes() + offset); }
  Type floats() { return l.vec(n, l.f32()); }
  Type ints() { return l.vec(n, l.i32()); }
  Type bytes() { return l.vec(4 * n, l.i8()); }

  Lanes &l;
  const Tile &tile;
  const PackedLayout &layout;
  const FormatInfo &format;
  const OperandLayout &operand;
  int64_t n;
  Value block; // address of the record's first block of activations
  WeightRecord weights;
  int64_t ahead;                                                    // of what is read, to prefetch; for one token
  Value last;                                                       // what the dots before gave
  std::map<std::tuple<int64_t, int64_t, int64_t>, Value> peakCodes; // of a peak, a vector and a block
};

Sums TilesLowering::integerDots(const Tile &tile, const PackedLayout &layout, const OperandLayout &operand,
                                Value weights, Value block) {
  Sums zero(tile.vectors * tile.tokens, l.constantLike(l.vec(tile.lanes, l.f32()), 0.0));
  return l.loop(l.c64(0), l.c64(layout.recordsPerTile), 1, zero, [&](Value record, ValueRange state) {
    Value packed = l.at(weights, l.mul(record, layout.recordBytes));
    const bool oneToken = scope.maxTokens == 1;
    if (!oneToken)
      prefetch(tile, layout, weights, l.mul(record, layout.recordBytes), layout.recordBytes);
    Value firstBlock = l.at(block, l.mul(record, layout.recordBlocks() * operand.blockBytes()));
    return RecordDots(l, tile, layout, operand, packed, firstBlock, oneToken ? op.getPrefetch().value_or(0) : 0)
        .addTo(Sums(state.begin(), state.end()));
  });
}

Sums TilesLowering::floatDots(const Tile &tile, const PackedLayout &layout, const OperandLayout &operand, Value weights,
                              Value block) {
  const int64_t n = tile.lanes, element = layout.recordBytes / layout.tileRows; // bytes of a row in a record
  Type floats = l.vec(n, l.f32()), words = l.vec(n, l.i32());
  Sums zero(tile.vectors * tile.tokens, l.constantLike(floats, 0.0));
  int64_t unroll = 1;
  while (unroll < 8 && layout.recordsPerTile % (unroll * 2) == 0)
    unroll *= 2;
  // Rows of activations to a record: one column's, or of two columns or a pair.
  const int64_t rows = operand.inPairs ? 1 : layout.recordK;
  return l.loop(l.c64(0), l.c64(layout.recordsPerTile), unroll, zero, [&](Value record, ValueRange state) {
    Sums sums(state.begin(), state.end());
    Value offset = l.mul(record, layout.recordBytes), records = l.at(weights, offset);
    prefetch(tile, layout, weights, offset, unroll * layout.recordBytes);
    Value columns = l.at(records, l.mul(tile.firstRow, element));
    Value activations = l.at(block, l.mul(record, rows * operand.tokens * 4));
    auto activation = [&](Type type, int64_t u, int64_t row, int64_t t) {
      return l.loadSplat(type, l.at(activations, ((u * rows + row) * operand.tokens + t) * 4), 4);
    };
    for (int64_t u = 0; u < unroll; ++u)
      for (int64_t v = 0; v < tile.vectors; ++v) {
        Value at = l.at(columns, u * layout.recordBytes + v * n * element);
        const unsigned alignment = alignmentIn(layout, n * element);
        Value column, second; // or a pair, if that is multiplied as it is
        if (layout.recordK == 1) {
          column = l.loadFloat(layout.format->format, n, at, alignment);
        } else {
          column = l.load(words, at, alignment);
          if (!operand.inPairs)
            std::tie(column, second) = std::pair(l.lowBFloat16(column), l.highBFloat16(column));
        }
        for (int64_t t = 0; t < tile.tokens; ++t) {
          Value &sum = sums[v * tile.tokens + t];
          if (operand.inPairs) {
            sum = l.dot2(sum, column, activation(words, u, 0, t));
            continue;
          }
          if (second)
            sum = l.fma(second, activation(floats, u, 1, t), sum);
          sum = l.fma(column, activation(floats, u, 0, t), sum);
        }
      }
    return sums;
  });
}

//===-- Epilogue ------------------------------------------------------------------------===//

void TilesLowering::epilogue(const Tile &tile, ArrayRef<Sums> sums, Value tileRow, Value token, int64_t tokenInBlock) {
  Value firstRow = l.add(tileRow, tile.firstRow);
  llvm::DenseMap<Value, Values> lanes; // !stream.lanes -> one vector per `lanes` rows
  for (auto [argument, sum] : llvm::zip_equal(op.getBody().getArguments(), sums))
    for (int64_t v = 0; v < tile.vectors; ++v)
      lanes[argument].push_back(sum[v * tile.tokens + tokenInBlock]);
  Type floats = l.vec(tile.lanes, l.f32());
  unsigned alignment = tile.lanes * 4; // buffers' rows and tiles start at multiples of 32 floats

  auto map = [&](function_ref<Value(int64_t)> f) {
    Values result;
    for (int64_t v = 0; v < tile.vectors; ++v)
      result.push_back(f(v));
    return result;
  };
  for (Operation &operation : op.getBody().front()) {
    if (auto read = dyn_cast<ReadRowsOp>(operation)) {
      Value row = l.at(scope.bufferRow(l, args, read.getBufferAttr(), token), l.mul(firstRow, 4));
      lanes[read] = map([&](int64_t v) { return l.load(floats, l.at(row, v * tile.lanes * 4), alignment); });
    } else if (auto write = dyn_cast<WriteRowsOp>(operation)) {
      Value row = l.at(scope.bufferRow(l, args, write.getBufferAttr(), token), l.mul(firstRow, 4));
      for (auto [v, value] : llvm::enumerate(lanes[write.getValue()]))
        l.store(value, l.at(row, v * tile.lanes * 4), alignment);
    } else if (auto add = dyn_cast<AddOp>(operation)) {
      Values x = lanes[add.getLhs()], y = lanes[add.getRhs()];
      lanes[add] = map([&](int64_t v) { return l.addf(x[v], y[v]); });
    } else if (auto swiglu = dyn_cast<SwigluOp>(operation)) {
      Values gate = lanes[swiglu.getGate()], up = lanes[swiglu.getUp()];
      lanes[swiglu] = map([&](int64_t v) {
        Value one = l.constantLike(floats, 1.0), zero = l.constantLike(floats, 0.0);
        Value denominator = l.addf(one, l.exp(l.subf(zero, gate[v])));
        return l.mulf(l.divf(gate[v], denominator), up[v]);
      });
    } else if (auto geglu = dyn_cast<GegluOp>(operation)) {
      Values gate = lanes[geglu.getGate()], up = lanes[geglu.getUp()];
      lanes[geglu] = map([&](int64_t v) {
        auto c = [&](double value) { return l.constantLike(floats, value); };
        Value x = gate[v], cube = l.mulf(l.mulf(x, x), x);
        // x / 2 * (1 + tanh(y)) is x / (1 + exp(-2y)).
        Value y = l.fma(cube, c(0.044715), x);
        Value denominator = l.addf(c(1.0), l.exp(l.mulf(y, c(-2 * 0.79788456080286536))));
        return l.mulf(l.divf(x, denominator), up[v]);
      });
    } else if (auto bias = dyn_cast<BiasOp>(operation)) {
      // Rows past the last read what follows the vector in the stream.
      Value at = l.at(l.at(l.argPointer(args, WeightsArg), scope.vectorAt(bias)), l.mul(firstRow, 4));
      Values x = lanes[bias.getInput()];
      lanes[bias] = map([&](int64_t v) { return l.addf(x[v], l.load(floats, l.at(at, v * tile.lanes * 4), 4)); });
    } else if (auto scale = dyn_cast<ScaleOp>(operation)) {
      Values x = lanes[scale.getInput()];
      Value factor = l.constantLike(floats, scale.getFactor().convertToDouble());
      lanes[scale] = map([&](int64_t v) { return l.mulf(x[v], factor); });
    } else if (auto softcap = dyn_cast<SoftcapOp>(operation)) {
      Values x = lanes[softcap.getInput()];
      lanes[softcap] = map([&](int64_t v) { return l.softcap(x[v], softcap.getCap().convertToDouble()); });
    } else if (auto ropeOp = dyn_cast<RopeOp>(operation)) {
      Values rows = lanes[ropeOp.getInput()];
      lanes[ropeOp] = rope(ropeOp, tile, rows, firstRow, token);
    } else {
      llvm::report_fatal_error("no lowering for '" + operation.getName().getStringRef() + "' after tiles");
    }
  }
}

Values TilesLowering::rope(RopeOp rope, const Tile &tile, ArrayRef<Value> rows, Value firstRow, Value token) {
  int64_t headDim = rope.getHeadDim();
  Value table = scope.bufferRow(l, args, rope.getTableAttr(), token);
  Type floats = l.vec(tile.lanes, l.f32());
  SmallVector<int64_t> swapped;
  for (int64_t i = 0; i < tile.lanes; ++i)
    swapped.push_back(i ^ 1);
  Values result;
  for (auto [v, x] : llvm::enumerate(rows)) {
    // The table is periodic, so that a vector that runs over the end of a head reads on.
    Value channel = l.rem(l.add(firstRow, v * tile.lanes), headDim);
    Value at = l.at(table, l.mul(channel, 4));
    Value cosine = l.load(floats, at, 4), sine = l.load(floats, l.at(at, (headDim + 32) * 4), 4);
    Value partner = vector::ShuffleOp::create(l.b, x, x, swapped);
    result.push_back(l.fma(partner, sine, l.mulf(x, cosine)));
  }
  return result;
}

void sluice::codegen::lowerTiles(PhaseScope &scope, Lanes &l, Value args, Value begin, Value end) {
  int64_t first = 0;
  for (auto [index, op] : llvm::enumerate(scope.phase.getBody().getOps<TilesOp>())) {
    int64_t tiles = scope.weights.tiles(index).layouts[0].tiles;
    TilesLowering lowering(scope, op, index, l, args);
    Value from = l.max(begin, l.c64(first)), to = l.min(end, l.c64(first + tiles));
    // An empty range must not wrap around zero.
    from = l.min(from, l.c64(first + tiles));
    to = l.max(to, from);
    l.loop(l.sub(from, l.c64(first)), l.sub(to, l.c64(first)), 1, [&](Value tile) { lowering.lowerTile(tile); });
    first += tiles;
  }
}
