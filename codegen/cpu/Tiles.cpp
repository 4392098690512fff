//===- Tiles.cpp - the lane program: dots of a tile's rows, then their epilogue ------===//
//
// A lane is a row. For each tile: for each block of rows held in registers: for each block of tokens: K is walked once,
// in one order, whatever the numbers of rows and tokens; so decode and prefill give the same bits.
//
//===------------------------------------------------------------------------------===//

#include "codegen/cpu/PhaseScope.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <map>
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
             Value block)
      : l(l), tile(tile), layout(layout), format(*layout.format), operand(operand), n(tile.lanes), packed(packed),
        block(block) {}

  // sums + integer dots x weight scale x activation scale, + min x sum of activations: [vector][token].
  Sums addTo(Sums sums) {
    const int64_t planes = layout.recordBlocks();
    addDots(sums);
    if (format.hasMin())
      for (int64_t p = 0; p < planes; ++p)
        for (int64_t v = 0; v < tile.vectors; ++v) {
          Value min = halves(layout.minsAt, p, v);
          for (int64_t t = 0; t < tile.tokens; ++t) {
            Value &sum = sums[v * tile.tokens + t];
            sum = l.fma(min, l.loadSplat(floats(), activationAt(p, operand.valueSumAt(t)), 4), sum);
          }
        }
    return sums;
  }

private:
  void addDots(Sums &sums) {
    // For one token a record is read once, in the order of its addresses. For many, the registers hold the integer sums
    // of one plane at a time.
    const int64_t planes = layout.recordBlocks(), together = tile.tokens == 1 ? planes : 1;
    Values joined(sums.size());
    for (int64_t first = 0; first < planes; first += together) {
      if (first) {
        // Codes are loaded again, not kept in memory.
        packed = l.after(packed, joined.back());
        codes.clear();
      }
      Values integers = blockSums(first, together);
      for (int64_t p = first; p < first + together; ++p)
        for (int64_t v = 0; v < tile.vectors; ++v)
          for (int64_t t = 0; t < tile.tokens; ++t) {
            // Blocks of a record share the activation's scale.
            Value &sum = joined[v * tile.tokens + t];
            Value blockSum = l.toFloat(integers[((p - first) * tile.vectors + v) * tile.tokens + t]);
            sum = p ? l.fma(blockSum, scale(p, v), sum) : l.mulf(blockSum, scale(p, v));
          }
    }
    for (int64_t v = 0; v < tile.vectors; ++v)
      for (int64_t t = 0; t < tile.tokens; ++t) {
        Value &sum = sums[v * tile.tokens + t];
        sum = l.fma(joined[v * tile.tokens + t], l.loadSplat(floats(), activationAt(0, operand.scaleAt(t)), 4), sum);
      }
  }

  // Sums over the blocks of planes [first, first + count): [plane][vector][token].
  Values blockSums(int64_t first, int64_t count) {
    Values sums(count * tile.vectors * tile.tokens), highs(sums.size(), l.constantInt(ints(), 0));
    // Tokens outside: a loaded activation meets the vectors one after another.
    auto forEach = [&](function_ref<void(int64_t index, int64_t p, int64_t v, int64_t t)> f) {
      for (int64_t t = 0; t < tile.tokens; ++t)
        for (int64_t v = 0; v < tile.vectors; ++v)
          for (int64_t p = first; p < first + count; ++p)
            f(((p - first) * tile.vectors + v) * tile.tokens + t, p, v, t);
    };
    forEach([&](int64_t i, int64_t p, int64_t, int64_t t) { sums[i] = start(p, t); });
    for (int64_t g = 0; g < OperandLayout::groups; ++g)
      forEach([&](int64_t i, int64_t p, int64_t v, int64_t t) {
        sums[i] = dot(sums[i], code(g, v, p), activationAt(p, operand.codesAt(t) + g * 4), p);
        if (operand.allHigh())
          highs[i] = dot(highs[i], code(g, v, p), activationAt(p, operand.highCodesAt(t) + g * 4), p);
      });
    if (operand.allHigh())
      for (auto [sum, high] : llvm::zip_equal(sums, highs))
        sum = l.add(sum, l.shl(high, OperandLayout::highShift));
    else
      for (int64_t peak = 0; peak < operand.peaks; ++peak)
        forEach([&](int64_t i, int64_t p, int64_t v, int64_t t) { sums[i] = addPeak(sums[i], peak, v, p, t); });
    return sums;
  }

  // A plane that lies in the high bits may be used there: then its sums are this many times too large. Codes that are
  // used for many tokens are better shifted once, which leaves the high bits to those of peaks.
  int64_t factor(int64_t plane) { return plane && l.takesHighNibbles() && tile.tokens == 1 ? 16 : 1; }

  // Sums start at minus the zero point times the sum of the activations' codes.
  Value start(int64_t plane, int64_t token) {
    if (!format.zeroPoint)
      return l.constantInt(ints(), 0);
    Value start = l.loadSplat(ints(), activationAt(plane, operand.startAt(format.zeroPoint, token)), 4);
    return factor(plane) == 1 ? start : l.shl(start, llvm::Log2_64(factor(plane)));
  }

  Value dot(Value sum, Value codes, Value four, int64_t plane) {
    unsigned maxCode = ((1u << format.codeBits) - 1) * unsigned(factor(plane));
    return l.dot4(sum, codes, activations(four), maxCode);
  }
  Value activations(Value four) { return l.bitcast(l.loadSplat(ints(), four, 4), bytes()); }

  // The high bytes of a peak meet the group of columns that they belong to.
  Value addPeak(Value sum, int64_t peak, int64_t v, int64_t plane, int64_t token) {
    Value high = activationAt(plane, operand.highAt(peak, token));
    Value group = l.load(l.i32(), activationAt(plane, operand.groupAt(peak, token)), 4);
    Value groupAt = l.mul(arith::ExtUIOp::create(l.b, l.i64(), group), groupBytes() / OperandLayout::groupUnit);
    Value codes = load(l.at(packed, groupAt), v);
    static_assert(OperandLayout::highShift == 4, "what a high byte counts is what the upper half of a byte counts");
    if (layout.recordBlocks() > 1 && l.takesHighNibbles() && factor(plane) == 1)
      return l.dot4(sum, l.andi(plane ? codes : shiftBytes(codes, [&](Value x) { return l.shl(x, 4); }), 0xf0),
                    activations(high), 0xf0);
    Value dots = dot(l.constantInt(ints(), 0), extract(codes, plane), high, plane);
    return l.add(sum, l.shl(dots, OperandLayout::highShift));
  }

  Value code(int64_t group, int64_t v, int64_t plane) {
    Value &raw = codes[{group, v, -1}];
    if (!raw)
      raw = load(l.at(packed, group * groupBytes()), v);
    Value &extracted = codes[{group, v, plane}];
    if (!extracted)
      extracted = extract(codes[{group, v, -1}], plane);
    return extracted;
  }

  // Codes of vector v of a group of four columns, at `group`.
  Value load(Value group, int64_t v) {
    return l.load(bytes(), l.at(l.at(group, l.mul(tile.firstRow, 4)), v * n * 4), alignmentIn(layout, 4 * n));
  }
  int64_t groupBytes() const { return layout.tileRows * 4; }

  Value extract(Value codes, int64_t plane) {
    if (layout.recordBlocks() == 1)
      return codes;
    if (plane == 0)
      return l.andi(codes, 0x0f);
    if (factor(plane) != 1)
      return l.andi(codes, 0xf0);
    return l.andi(shiftBytes(codes, [&](Value x) { return l.shr(x, 4); }), 0x0f);
  }
  // There are no shifts of bytes; the bits that come in from neighbours are the caller's to clear.
  Value shiftBytes(Value codes, function_ref<Value(Value)> shift) {
    return l.bitcast(shift(l.bitcast(codes, l.vec(2 * n, l.i16()))), bytes());
  }

  Value scale(int64_t plane, int64_t v) {
    Value &scale = scales[{plane, v}];
    if (!scale) {
      scale = halves(layout.scalesAt, plane, v);
      if (factor(plane) != 1)
        scale = l.mulf(scale, l.constantLike(floats(), 1.0 / double(factor(plane))));
    }
    return scale;
  }
  // f16 scales or mins of vector v.
  Value halves(int64_t at, int64_t plane, int64_t v) {
    Value row = l.at(packed, l.mul(tile.firstRow, 2));
    return l.loadFloat(llama::Format::F16, n, l.at(row, at + (plane * layout.tileRows + v * n) * 2),
                       alignmentIn(layout, 2 * n));
  }

  // Address in the block of activations that meets a plane.
  Value activationAt(int64_t plane, int64_t offset) { return l.at(block, plane * operand.blockBytes() + offset); }
  Type floats() { return l.vec(n, l.f32()); }
  Type ints() { return l.vec(n, l.i32()); }
  Type bytes() { return l.vec(4 * n, l.i8()); }

  Lanes &l;
  const Tile &tile;
  const PackedLayout &layout;
  const FormatInfo &format;
  const OperandLayout &operand;
  int64_t n;
  Value packed, block; // addresses: of the record, of its first block of activations
  std::map<std::tuple<int64_t, int64_t, int64_t>, Value> codes; // of (group, vector, plane; -1: as packed)
  std::map<std::pair<int64_t, int64_t>, Value> scales;          // of (plane, vector)
};

Sums TilesLowering::integerDots(const Tile &tile, const PackedLayout &layout, const OperandLayout &operand,
                                Value weights, Value block) {
  Sums zero(tile.vectors * tile.tokens, l.constantLike(l.vec(tile.lanes, l.f32()), 0.0));
  return l.loop(l.c64(0), l.c64(layout.recordsPerTile), 1, zero, [&](Value record, ValueRange state) {
    Value packed = l.at(weights, l.mul(record, layout.recordBytes));
    prefetch(tile, layout, weights, l.mul(record, layout.recordBytes), layout.recordBytes);
    Value firstBlock = l.at(block, l.mul(record, layout.recordBlocks() * operand.blockBytes()));
    return RecordDots(l, tile, layout, operand, packed, firstBlock).addTo(Sums(state.begin(), state.end()));
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
