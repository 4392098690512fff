//===- Prologue.cpp - norms and quantised activations, on every worker ---------------===//
//
// One loop over the tokens of the chunk; for each, the prologue's operations one after another over the whole width.
//
//===------------------------------------------------------------------------------===//

#include "codegen/cpu/PhaseScope.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

// f(offset in floats, lanes that count) over `width` floats in vectors: a loop, then the tail.
void overVectors(Lanes &l, int64_t width, int64_t n, function_ref<void(Value, int64_t)> f) {
  int64_t whole = width / n * n;
  if (whole)
    l.loop(l.c64(0), l.c64(whole), n, [&](Value i) { f(i, n); });
  if (whole != width)
    f(l.c64(whole), width - whole);
}

Value maskTail(Lanes &l, Value vector, int64_t valid, int64_t n) {
  if (valid == n)
    return vector;
  SmallVector<bool> bits(n);
  for (int64_t i = 0; i < valid; ++i)
    bits[i] = true;
  auto type = VectorType::get({n}, l.b.getI1Type());
  Value mask = arith::ConstantOp::create(l.b, type, DenseElementsAttr::get(type, ArrayRef<bool>(bits)));
  return l.select(mask, vector, l.constantLike(vector.getType(), 0.0));
}

// The mean of the squares of `width` floats. Rows are padded to 32 floats, so whole vectors may be read; what lies past
// the width counts for nothing.
Value meanSquare(Lanes &l, Value input, int64_t width) {
  int64_t n = l.facts.lanes(), whole = width / n * n;
  Type vector = l.vec(n, l.f32());
  Value sum = l.constantLike(vector, 0.0);
  if (whole)
    sum = l.loop(l.c64(0), l.c64(whole), n, sum, [&](Value i, ValueRange state) {
      Value x = l.load(vector, l.at(input, l.mul(i, 4)), 4);
      return Values{l.fma(x, x, state[0])};
    })[0];
  if (whole != width) {
    Value x = maskTail(l, l.load(vector, l.at(input, whole * 4), 4), width - whole, n);
    sum = l.fma(x, x, sum);
  }
  return l.divf(l.reduceAdd(sum), l.constantLike(l.f32(), static_cast<double>(width)));
}

void lowerNorm(RmsNormOp op, Lanes &l, Value input, Value weight, Value output) {
  int64_t width = op.getInput().getType().getWidth(), n = l.facts.lanes();
  Type vector = l.vec(n, l.f32());
  Value mean = meanSquare(l, input, width);
  Value factor = l.splat(l.rsqrt(l.addf(mean, l.constantLike(l.f32(), op.getEps().convertToDouble()))), n);
  overVectors(l, width, n, [&](Value i, int64_t) {
    Value bytes = l.mul(i, 4);
    Value x = l.load(vector, l.at(input, bytes), 4), w = l.load(vector, l.at(weight, bytes), 4);
    l.store(l.mulf(l.mulf(x, factor), w), l.at(output, bytes), 4);
  });
}

void lowerSum(SumOp op, Lanes &l, Value lhs, Value rhs, Value output) {
  Type vector = l.vec(l.facts.lanes(), l.f32());
  overVectors(l, op.getResult().getType().getWidth(), l.facts.lanes(), [&](Value i, int64_t) {
    Value bytes = l.mul(i, 4);
    l.store(l.addf(l.load(vector, l.at(lhs, bytes), 4), l.load(vector, l.at(rhs, bytes), 4)), l.at(output, bytes), 4);
  });
}

// Rows of buffers are padded, so whole vectors may be written.
void lowerWrite(WriteOp op, Lanes &l, Value input, Value row) {
  Type vector = l.vec(l.facts.lanes(), l.f32());
  overVectors(l, op.getValue().getType().getWidth(), l.facts.lanes(), [&](Value i, int64_t) {
    l.store(l.load(vector, l.at(input, l.mul(i, 4)), 4), l.at(row, l.mul(i, 4)), 4);
  });
}

void lowerMerge(MergeOp op, Lanes &l, Value parts, Value position, Value output) {
  const int64_t width = op.getResult().getType().getWidth(), heads = op.getHeads(), channels = width / heads;
  Value state = l.at(output, paddedWidth(width) * 4); // of each head the maximum, then the sum
  Value segments = l.add(l.div(position, SLUICE_KV_SEGMENT), 1);
  l.loop(l.c64(0), l.c64(heads), 1, [&](Value head) {
    Value maximum = l.at(state, l.mul(head, 8));
    AttentionPart merged{maximum, l.at(maximum, 4), l.at(output, l.mul(head, channels * 4))};
    clearAttention(l, channels, merged);
    l.loop(l.div(firstSeen(l, op.getWindow(), position), SLUICE_KV_SEGMENT), segments, 1, [&](Value segment) {
      mergeAttention(l, channels, storedPart(l, parts, l.add(l.mul(segment, heads), head), channels), merged);
    });
    divideAttention(l, channels, merged, merged.output);
  });
}

// Symmetric int8 quantisation of one token; see stream.prepare and OperandLayout.
class Quantizer {
public:
  Quantizer(const OperandLayout &layout, Lanes &l, Value tokenInBlock)
      : layout(layout), l(l), n(std::min<int64_t>(l.facts.lanes(), OperandLayout::channels)),
        tokenCodes(l.mul(tokenInBlock, OperandLayout::channels)), tokenWord(l.mul(tokenInBlock, 4)) {}

  // Pairs of blocks share a scale. Two pairs are worked on at a time: one alone is a chain of short reductions, which
  // leaves the processor waiting.
  void lower(Value input, Value block) {
    constexpr int64_t together = 2;
    const int64_t blocks = layout.width / OperandLayout::channels, pairs = blocks / 2;
    auto lowerAt = [&](Value pair, int64_t pairCount, int64_t blocksOfPair) {
      Value first = l.mul(pair, 2);
      lowerPairs(l.at(input, l.mul(first, OperandLayout::channels * 4)), l.at(block, l.mul(first, layout.blockBytes())),
                 pairCount, blocksOfPair);
    };
    const int64_t whole = pairs / together * together;
    if (whole)
      l.loop(l.c64(0), l.c64(whole), together, [&](Value pair) { lowerAt(pair, together, 2); });
    for (int64_t pair = whole; pair < pairs; ++pair)
      lowerAt(l.c64(pair), 1, 2);
    if (blocks % 2) {
      lowerAt(l.c64(pairs), 1, 1);
      lowerPadding(l.at(block, blocks * layout.blockBytes()));
    }
  }

private:
  int64_t vectors() const { return OperandLayout::channels / n; }
  Type floats() { return l.vec(n, l.f32()); }
  Type ints() { return l.vec(n, l.i32()); }
  Value codesAt(Value block, int64_t offset) { return l.at(l.at(block, tokenCodes), offset); }
  Value wordAt(Value block, int64_t offset) { return l.at(l.at(block, tokenWord), offset); }

  // Each lane's largest of its group of four lanes.
  Value largestOfGroup(Value x) {
    for (int64_t distance : {1, 2}) {
      SmallVector<int64_t> partner(n);
      for (int64_t i = 0; i < n; ++i)
        partner[i] = i ^ distance;
      x = arith::MaxSIOp::create(l.b, x, vector::ShuffleOp::create(l.b, x, x, partner));
    }
    return x;
  }
  Value reduceMax(ArrayRef<Value> xs) {
    Value largest = xs[0];
    for (Value x : xs.drop_front())
      largest = arith::MaxSIOp::create(l.b, largest, x);
    return l.reduceMax(largest);
  }

  struct Peak {
    Values lanes; // [vector] of i1: the lanes of the group
    Value group;  // i32, in units
  };
  struct Block {
    Values x, magnitudes; // magnitudes: bits of |x|, ordered like the floats
    SmallVector<Peak> peaks;
  };

  // `pairs` of `each` blocks, one or two, that share a scale.
  void lowerPairs(Value in, Value out, int64_t pairs, int64_t each) {
    SmallVector<Block> blocks(pairs * each);
    for (auto [b, block] : llvm::enumerate(blocks)) {
      for (int64_t v = 0; v < vectors(); ++v) {
        block.x.push_back(l.load(floats(), l.at(in, (b * vectors() + v) * n * 4), 4));
        block.magnitudes.push_back(l.andi(l.bitcast(block.x.back(), ints()), 0x7fffffff));
      }
      if (!layout.allHigh())
        block.peaks = findPeaks(block.magnitudes);
    }
    Values scales, factors; // of the pairs
    for (int64_t pair = 0; pair < pairs; ++pair) {
      scales.push_back(scaleOf(ArrayRef(blocks).slice(pair * each, each)));
      factors.push_back(inverse(scales[pair]));
    }
    for (auto [b, block] : llvm::enumerate(blocks))
      quantize(block, l.splat(factors[b / each], n), scales[b / each], l.at(out, b * layout.blockBytes()));
  }

  // What is below the smallest normal numbers counts as zero: its inverse might not be finite. As a vector, so that no
  // branch goes around the division.
  Value inverse(Value scale) {
    constexpr int64_t lanes = 4;
    auto splat = [&](double value) { return l.constantLike(l.vec(lanes, l.f32()), value); };
    Value divisor = l.splat(scale, lanes);
    Value isZero = arith::CmpFOp::create(l.b, arith::CmpFPredicate::OLT, divisor, splat(1e-37));
    return l.extract(l.select(isZero, splat(0.0), l.divf(splat(1.0), divisor)), 0);
  }

  Value scaleOf(ArrayRef<Block> blocks) {
    Values all, rest; // magnitudes, and those that one byte must hold
    for (const Block &block : blocks)
      for (auto [v, magnitude] : llvm::enumerate(block.magnitudes)) {
        all.push_back(magnitude);
        rest.push_back(magnitude);
        for (const Peak &peak : block.peaks)
          rest.back() = l.select(peak.lanes[v], l.constantInt(ints(), 0), rest.back());
      }
    auto scaleFor = [&](ArrayRef<Value> magnitudes, double most) {
      return l.mulf(l.bitcast(reduceMax(magnitudes), l.f32()), l.constantLike(l.f32(), 1 / most));
    };
    constexpr double most = 127, mostOfTwo = 127 << OperandLayout::highShift;
    if (layout.allHigh())
      return scaleFor(all, mostOfTwo);
    Value scale = scaleFor(rest, most);
    return layout.peaks ? l.maxf(scale, scaleFor(all, mostOfTwo)) : scale;
  }

  void quantize(const Block &block, Value factor, Value scale, Value out) {
    Values codes, highs(vectors());
    for (auto [v, value] : llvm::enumerate(block.x)) {
      codes.push_back(l.round(l.mulf(value, factor)));
      if (layout.peaks)
        highs[v] = l.sar(l.add(codes[v], 1 << (OperandLayout::highShift - 1)), OperandLayout::highShift);
    }
    storeSums(codes, scale, out);
    for (auto [i, peak] : llvm::enumerate(block.peaks)) {
      Value four;
      for (int64_t v = 0; v < vectors(); ++v) {
        Value high = l.select(peak.lanes[v], highs[v], l.constantInt(ints(), 0));
        codes[v] = l.sub(codes[v], l.shl(high, OperandLayout::highShift));
        four = v ? l.add(four, high) : high; // only one of the vectors has the group
      }
      storePeak(i, peak.group, l.extract(l.bitcast(bytes(foldToGroup(four)), l.vec(1, l.i32())), 0), out);
    }
    if (layout.allHigh())
      for (auto [v, code] : llvm::enumerate(codes)) {
        code = l.sub(code, l.shl(highs[v], OperandLayout::highShift));
        l.store(bytes(highs[v]), codesAt(out, layout.highCodesAt(0) + v * n), 1);
      }
    for (auto [v, code] : llvm::enumerate(codes))
      l.store(bytes(code), codesAt(out, layout.codesAt(0) + v * n), 1);
    l.store(scale, wordAt(out, layout.scaleAt(0)), 4);
  }

  void storePeak(int64_t index, Value group, Value four, Value out) {
    l.store(group, wordAt(out, layout.groupAt(index, 0)), 4);
    for (int64_t columns : layout.partColumns) {
      const int64_t parts = OperandLayout::channels / columns;
      Value inPart = l.div(group, OperandLayout::groupUnit * OperandLayout::groups / parts);
      for (int64_t part = 0; part < parts; ++part) {
        Value isIn = l.equal(inPart, l.constantInt(l.i32(), part));
        l.store(parts == 1 ? four : l.select(isIn, four, l.constantInt(l.i32(), 0)),
                wordAt(out, layout.highAt(index, columns, part, 0)), 4);
      }
    }
  }

  // Sums of whole codes, high bytes included.
  void storeSums(ArrayRef<Value> codes, Value scale, Value out) {
    llvm::SmallMapVector<std::pair<int64_t, int64_t>, Value, 4> sums; // of [begin, end) of the vectors
    auto sumOf = [&](int64_t begin, int64_t end) {
      Value &sum = sums[{begin, end}];
      if (!sum) {
        Value lanes = codes[begin];
        for (Value more : codes.slice(begin + 1, end - begin - 1))
          lanes = l.add(lanes, more);
        sum = l.reduceAdd(lanes);
      }
      return sum;
    };
    for (const ActivationSum &wanted : layout.sums) {
      const int64_t parts = OperandLayout::channels / wanted.columns, each = vectors() / parts;
      for (int64_t part = 0; part < parts; ++part) {
        Value sum = sumOf(part * each, (part + 1) * each);
        sum = wanted.zeroPoint ? l.mul(sum, -wanted.zeroPoint) : l.mulf(scale, l.toFloat(sum));
        l.store(sum, wordAt(out, layout.sumAt(wanted, part, 0)), 4);
      }
    }
  }

  SmallVector<Peak> findPeaks(ArrayRef<Value> magnitudes) {
    // A group's key is its largest magnitude, with the number of the group in the last bits so that no two are equal.
    constexpr int64_t mask = OperandLayout::groups - 1;
    Values keys;
    for (int64_t v = 0; v < vectors() && layout.peaks; ++v) {
      Value group = l.shr(l.add(l.iota(n), v * n), 2);
      keys.push_back(arith::OrIOp::create(l.b, l.andi(largestOfGroup(magnitudes[v]), ~mask), group));
    }
    SmallVector<Peak> peaks;
    for (int64_t i = 0; i < layout.peaks; ++i) {
      Value key = reduceMax(keys), splat = l.splat(key, n);
      Peak peak{{}, l.mul(l.andi(key, mask), OperandLayout::groupUnit)};
      for (Value &lanes : keys) {
        peak.lanes.push_back(l.equal(lanes, splat));
        lanes = l.select(peak.lanes.back(), l.constantInt(ints(), -1), lanes);
      }
      peaks.push_back(peak);
    }
    return peaks;
  }

  Value bytes(Value codes) { return arith::TruncIOp::create(l.b, withLanes(codes, l.i8()), codes); }
  Type withLanes(Value like, Type element) { return l.vec(cast<VectorType>(like.getType()).getNumElements(), element); }
  // Of a vector that is zero outside one group of four lanes, those four.
  Value foldToGroup(Value x) {
    for (int64_t lanes = n; lanes > 4; lanes /= 2) {
      auto low = llvm::to_vector(llvm::seq<int64_t>(0, lanes / 2)),
           high = llvm::to_vector(llvm::seq<int64_t>(lanes / 2, lanes));
      x = l.add(vector::ShuffleOp::create(l.b, x, x, low), vector::ShuffleOp::create(l.b, x, x, high));
    }
    return x;
  }

  // The block that only pads: its weights have scale 0, so anything finite will do.
  void lowerPadding(Value out) {
    Value zero = l.constantInt(l.i32(), 0);
    for (int64_t i = 0; i < OperandLayout::channels; i += 4) {
      l.store(zero, codesAt(out, layout.codesAt(0) + i), 1);
      if (layout.allHigh())
        l.store(zero, codesAt(out, layout.highCodesAt(0) + i), 1);
    }
    for (int64_t at = layout.scaleAt(0); at < layout.blockBytes(); at += layout.tokens * 4)
      l.store(zero, wordAt(out, at), 4);
  }

  const OperandLayout &layout;
  Lanes &l;
  int64_t n;                   // lanes
  Value tokenCodes, tokenWord; // offsets of the token in a block
};

// f32 and bf16 operands.
void lowerKeep(const OperandLayout &layout, Lanes &l, Value input, Value block, Value tokenInBlock) {
  Value out = l.at(block, l.mul(tokenInBlock, 4));
  const int64_t n = std::max<int64_t>(l.facts.lanes(), 2), each = layout.inPairs ? 2 : 1;
  // Rows are padded to 32 floats, so whole vectors may be read.
  overVectors(l, layout.width, n, [&](Value i, int64_t valid) {
    Value x = maskTail(l, l.load(l.vec(n, l.f32()), l.at(input, l.mul(i, 4)), 4), valid, n);
    if (layout.kind == OperandKind::BFloat16)
      x = l.roundToBFloat16(x);
    if (layout.inPairs)
      x = l.packBFloat16(x);
    Value first = l.at(out, l.mul(l.div(i, each), layout.tokens * 4));
    const int64_t padded = llvm::alignTo(valid, layout.kind == OperandKind::BFloat16 ? 2 : 1);
    if (layout.tokens == 1 && valid == n)
      return l.store(x, first, 4);
    for (int64_t word = 0; word < padded / each; ++word)
      l.store(l.extract(x, word), l.at(first, word * layout.tokens * 4), 4);
  });
}

} // namespace

// The prologue's operations for tokens [first, end); whether `write` does is the caller's to say.
static void lowerTokens(PhaseScope &scope, Lanes &l, Value args, Value first, Value end, bool writes);

void sluice::codegen::lowerPrologue(PhaseScope &scope, Lanes &l, Value args) {
  // Tokens that share a block of tiles with those of the range are prepared too, whatever they hold: their peaks must
  // lie in a record. Blocks divide the program's capacity.
  Value first = l.arg(args, TokenBeginArg, l.i64()), end = l.arg(args, TokenEndArg, l.i64());
  if (int64_t block = scope.tokenBlock(); block > 1) {
    first = l.mul(l.div(first, block), block);
    end = l.mul(l.div(l.add(end, block - 1), block), block);
  }
  lowerTokens(scope, l, args, first, end, /*writes=*/scope.phase.getPrologueTokens().has_value());
}

void sluice::codegen::lowerWrites(PhaseScope &scope, Lanes &l, Value args, Value begin, Value end) {
  Value first = l.arg(args, TokenBeginArg, l.i64());
  lowerTokens(scope, l, args, l.add(first, begin), l.add(first, end), /*writes=*/true);
}

void sluice::codegen::lowerWritesOfFirst(PhaseScope &scope, Lanes &l, Value args, Value begin, Value end) {
  auto writes = scope.phase.getBody().getOps<WriteOp>();
  if (writes.empty() || scope.phase.getPrologueTokens())
    return;
  assert(scope.maxTokens == 1 && "the scratch holds one token");
  l.when(l.andi(l.equal(begin, l.c64(0)), l.less(begin, end)), [&] {
    for (WriteOp write : writes)
      lowerWrite(write, l, l.at(l.argPointer(args, ScratchArg), scope.scratchAt(write.getValue().getDefiningOp())),
                 scope.bufferRow(l, args, write.getBufferAttr(), l.c64(0)));
  });
}

static void lowerTokens(PhaseScope &scope, Lanes &l, Value args, Value first, Value end, bool writes) {
  Value scratch = l.argPointer(args, ScratchArg), weights = l.argPointer(args, WeightsArg);
  l.loop(first, end, 1, [&](Value token) {
    llvm::DenseMap<Value, Value> at; // !stream.values -> address of this token's channels
    for (Operation &op : scope.phase.getBody().front()) {
      if (auto read = dyn_cast<ReadOp>(op)) {
        at[read] = scope.bufferRow(l, args, read.getBufferAttr(), token);
      } else if (auto merge = dyn_cast<MergeOp>(op)) {
        at[merge] = l.at(scratch, scope.scratchAt(merge));
        lowerMerge(merge, l, scope.bufferRow(l, args, merge.getBufferAttr(), token),
                   l.add(l.arg(args, PositionArg, l.i64()), token), at[merge]);
      } else if (auto norm = dyn_cast<RmsNormOp>(op)) {
        at[norm] = l.at(scratch, scope.scratchAt(norm));
        lowerNorm(norm, l, at.at(norm.getInput()), l.at(weights, scope.vectorAt(norm)), at[norm]);
      } else if (auto sum = dyn_cast<SumOp>(op)) {
        at[sum] = l.at(scratch, scope.scratchAt(sum));
        lowerSum(sum, l, at.at(sum.getLhs()), at.at(sum.getRhs()), at[sum]);
      } else if (auto write = dyn_cast<WriteOp>(op)) {
        if (writes)
          lowerWrite(write, l, at.at(write.getValue()), scope.bufferRow(l, args, write.getBufferAttr(), token));
      } else if (auto prepare = dyn_cast<PrepareOp>(op)) {
        const OperandLayout &layout = scope.operand(prepare);
        Value block = l.at(l.argPointer(args, PreparedArg), layout.preparedAt);
        Value inBlock = l.c64(0);
        if (scope.maxTokens > 1) {
          block = l.at(block, l.mul(l.div(token, layout.tokens), layout.tokenBlockBytes()));
          inBlock = l.rem(token, layout.tokens);
        }
        if (layout.kind == OperandKind::Int8)
          Quantizer(layout, l, inBlock).lower(at.at(prepare.getInput()), block);
        else
          lowerKeep(layout, l, at.at(prepare.getInput()), block, inBlock);
      }
    }
  });
}
