//===- Lanes.cpp - the vocabulary of the lane program on a CPU ----------------------===//

#include "codegen/cpu/Lanes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace sluice::codegen;

static int64_t laneCount(Value vector) { return cast<VectorType>(vector.getType()).getNumElements(); }
static Type withElement(Type like, Type element) {
  auto vector = dyn_cast<VectorType>(like);
  return vector ? VectorType::get(vector.getShape(), element) : element;
}

//===-- Types and constants ----------------------------------------------------------===//

Value Lanes::c64(int64_t value) { return constantInt(i64(), value); }

Value Lanes::constantLike(Type type, double value) {
  auto element = cast<FloatType>(getElementTypeOrSelf(type));
  TypedAttr attr = FloatAttr::get(element, value);
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return arith::ConstantOp::create(b, type, attr);
}

Value Lanes::constantInt(Type type, int64_t value) {
  TypedAttr attr =
      IntegerAttr::get(getElementTypeOrSelf(type), APInt(getElementTypeOrSelf(type).getIntOrFloatBitWidth(), value,
                                                         /*isSigned=*/true, /*implicitTrunc=*/true));
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return arith::ConstantOp::create(b, type, attr);
}

Value Lanes::iota(int64_t n) {
  SmallVector<int32_t> values(n);
  for (int64_t i = 0; i < n; ++i)
    values[i] = static_cast<int32_t>(i);
  auto type = VectorType::get({n}, i32());
  return arith::ConstantOp::create(b, type, DenseElementsAttr::get(type, ArrayRef<int32_t>(values)));
}

//===-- Integers ----------------------------------------------------------------------===//

Value Lanes::add(Value x, Value y) { return arith::AddIOp::create(b, x, y); }
Value Lanes::add(Value x, int64_t y) { return y == 0 ? x : add(x, constantInt(x.getType(), y)); }
Value Lanes::sub(Value x, Value y) { return arith::SubIOp::create(b, x, y); }
Value Lanes::mul(Value x, Value y) { return arith::MulIOp::create(b, x, y); }
Value Lanes::mul(Value x, int64_t y) { return y == 1 ? x : mul(x, constantInt(x.getType(), y)); }
Value Lanes::div(Value x, int64_t y) { return arith::DivUIOp::create(b, x, constantInt(x.getType(), y)); }
Value Lanes::rem(Value x, int64_t y) { return arith::RemUIOp::create(b, x, constantInt(x.getType(), y)); }
Value Lanes::min(Value x, Value y) { return arith::MinUIOp::create(b, x, y); }
Value Lanes::max(Value x, Value y) { return arith::MaxUIOp::create(b, x, y); }
Value Lanes::andi(Value x, Value y) { return arith::AndIOp::create(b, x, y); }
Value Lanes::andi(Value x, int64_t y) { return arith::AndIOp::create(b, x, constantInt(x.getType(), y)); }
Value Lanes::ori(Value x, Value y) { return arith::OrIOp::create(b, x, y); }
Value Lanes::smax(Value x, Value y) { return arith::MaxSIOp::create(b, x, y); }
Value Lanes::shl(Value x, int64_t y) {
  return y == 0 ? x : Value(arith::ShLIOp::create(b, x, constantInt(x.getType(), y)));
}
Value Lanes::shr(Value x, int64_t y) {
  return y == 0 ? x : Value(arith::ShRUIOp::create(b, x, constantInt(x.getType(), y)));
}
Value Lanes::sar(Value x, int64_t y) { return arith::ShRSIOp::create(b, x, constantInt(x.getType(), y)); }
Value Lanes::less(Value x, Value y) { return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, x, y); }
Value Lanes::equal(Value x, Value y) { return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, x, y); }
Value Lanes::select(Value condition, Value yes, Value no) { return arith::SelectOp::create(b, condition, yes, no); }
Value Lanes::lessOrEqual(Value x, Value y) { return arith::CmpIOp::create(b, arith::CmpIPredicate::ule, x, y); }

//===-- Memory ------------------------------------------------------------------------===//

Value Lanes::at(Value pointer, Value bytes) {
  return LLVM::GEPOp::create(b, pointer.getType(), i8(), pointer, ArrayRef<LLVM::GEPArg>{bytes},
                             LLVM::GEPNoWrapFlags::inbounds);
}
Value Lanes::at(Value pointer, int64_t bytes) {
  if (bytes == 0)
    return pointer;
  if (bytes != static_cast<int32_t>(bytes))
    return at(pointer, c64(bytes));
  return LLVM::GEPOp::create(b, pointer.getType(), i8(), pointer, ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(bytes)},
                             LLVM::GEPNoWrapFlags::inbounds);
}
Value Lanes::load(Type type, Value pointer, unsigned alignment) {
  return LLVM::LoadOp::create(b, type, pointer, alignment);
}
void Lanes::store(Value value, Value pointer, unsigned alignment) {
  LLVM::StoreOp::create(b, value, pointer, alignment);
}
Value Lanes::arg(Value args, ArgsOffset offset, Type type) {
  return LLVM::LoadOp::create(b, type, at(args, offset), type.getIntOrFloatBitWidth() / 8, /*isVolatile=*/false,
                              /*isNonTemporal=*/false, /*isInvariant=*/true);
}
Value Lanes::argPointer(Value args, ArgsOffset offset) {
  return LLVM::LoadOp::create(b, LLVM::LLVMPointerType::get(b.getContext()), at(args, offset), 8, false, false, true);
}
Value Lanes::stack(int64_t bytes) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(
      &b.getInsertionBlock()->getParentOp()->getParentOfType<LLVM::LLVMFuncOp>().getBody().front());
  return LLVM::AllocaOp::create(b, LLVM::LLVMPointerType::get(b.getContext()), i8(), c64(bytes), /*alignment=*/64);
}
Value Lanes::after(Value pointer, ValueRange values, ArrayRef<int64_t> prefetched) {
  std::string instructions;
  for (int64_t bytes : prefetched)
    instructions += "prefetcht0 " + std::to_string(bytes) + "($0)\n";
  std::string constraints = "=r,0";
  for (size_t i = 0; i < values.size(); ++i)
    constraints += facts.vectorBits == 512 ? ",v" : ",x";
  SmallVector<Value> operands{pointer};
  llvm::append_range(operands, values);
  return LLVM::InlineAsmOp::create(b, pointer.getType(), operands, instructions, constraints,
                                   /*has_side_effects=*/false, /*is_align_stack=*/false, LLVM::TailCallKind::None,
                                   LLVM::AsmDialectAttr(), ArrayAttr())
      .getResult(0);
}
void Lanes::prefetch(Value pointer, int64_t level) {
  LLVM::Prefetch::create(b, pointer, /*rw=*/0, /*hint=*/4 - level, /*cache=*/1);
}
Value Lanes::loadSplat(Type vectorType, Value pointer, unsigned alignment) {
  auto vector = cast<VectorType>(vectorType);
  return splat(load(vector.getElementType(), pointer, alignment), vector.getNumElements());
}

//===-- Floats ------------------------------------------------------------------------===//

Value Lanes::addf(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
Value Lanes::subf(Value x, Value y) { return arith::SubFOp::create(b, x, y); }
Value Lanes::mulf(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
Value Lanes::divf(Value x, Value y) { return arith::DivFOp::create(b, x, y); }
Value Lanes::maxf(Value x, Value y) {
  // A compare and a select is maxps; maxnumf would add code for NaN.
  return arith::SelectOp::create(b, arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, y), x, y);
}
Value Lanes::fma(Value x, Value y, Value z) {
  return facts.hasFma ? Value(math::FmaOp::create(b, x, y, z)) : addf(mulf(x, y), z);
}
Value Lanes::splat(Value scalar, int64_t n) { return vector::BroadcastOp::create(b, vec(n, scalar.getType()), scalar); }
Value Lanes::extract(Value vector, int64_t lane) { return vector::ExtractOp::create(b, vector, lane); }
Value Lanes::bitcast(Value x, Type type) {
  if (isa<VectorType>(type))
    return vector::BitCastOp::create(b, cast<VectorType>(type), x);
  return arith::BitcastOp::create(b, type, x);
}

// Folds a vector to a scalar by adding (or whatever `join` does) its upper half to its lower. The last four lanes stay
// a vector, in which each meets its partner: as scalars, integers would go through the general registers.
static Value foldHalves(Lanes &l, Value vector, function_ref<Value(Value, Value)> join) {
  auto shuffled = [&](function_ref<int64_t(int64_t)> from, int64_t n) {
    SmallVector<int64_t> lanes;
    for (int64_t i = 0; i < n; ++i)
      lanes.push_back(from(i));
    return vector::ShuffleOp::create(l.b, vector, vector, lanes);
  };
  int64_t n = laneCount(vector);
  for (; n > 4; n /= 2)
    vector = join(shuffled([](int64_t i) { return i; }, n / 2), shuffled([&](int64_t i) { return i + n / 2; }, n / 2));
  for (int64_t distance = n / 2; distance; distance /= 2)
    vector = join(vector, shuffled([&](int64_t i) { return i ^ distance; }, n));
  return l.extract(vector, 0);
}
Value Lanes::reduceAdd(Value vector) {
  return foldHalves(*this, vector, [&](Value x, Value y) {
    return isa<FloatType>(getElementTypeOrSelf(x.getType())) ? addf(x, y) : add(x, y);
  });
}
Value Lanes::reduceMax(Value vector) {
  return foldHalves(*this, vector, [&](Value x, Value y) {
    return isa<FloatType>(getElementTypeOrSelf(x.getType())) ? maxf(x, y) : Value(arith::MaxSIOp::create(b, x, y));
  });
}
Value Lanes::toFloat(Value x) { return arith::SIToFPOp::create(b, withElement(x.getType(), f32()), x); }

Value Lanes::exp(Value x) {
  Type type = x.getType(), ints = withElement(type, i32());
  auto c = [&](double value) { return constantLike(type, value); };
  Value lowest = c(-87.3);
  Value clamped = maxf(x, lowest);
  clamped = arith::SelectOp::create(b, arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, clamped, c(88.3)), clamped,
                                    c(88.3));
  // Adding 1.5 * 2^23 rounds to an integer, which the sum's low bits then hold.
  Value shifted = fma(clamped, c(1.44269504088896341), c(12582912.0));
  Value n = subf(shifted, c(12582912.0));
  Value r = fma(n, c(-0.693359375), clamped);
  r = fma(n, c(2.12194440e-4), r);
  Value p = c(1.9875691500e-4);
  for (double coefficient : {1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1})
    p = fma(p, r, c(coefficient));
  Value y = addf(fma(p, mulf(r, r), r), c(1.0));
  Value exponent = add(bitcast(shifted, ints), 127 - 0x4B400000);
  Value result = mulf(y, bitcast(shl(exponent, 23), type));
  Value inRange = arith::CmpFOp::create(b, arith::CmpFPredicate::UGE, x, lowest);
  return arith::SelectOp::create(b, inRange, result, c(0.0));
}

Value Lanes::tanh(Value x) {
  auto c = [&](double value) { return constantLike(x.getType(), value); };
  return subf(c(1.0), divf(c(2.0), addf(exp(mulf(x, c(2.0))), c(1.0))));
}

Value Lanes::softcap(Value x, double cap) {
  auto c = [&](double value) { return constantLike(x.getType(), value); };
  return mulf(tanh(mulf(x, c(1 / cap))), c(cap));
}

Value Lanes::rsqrt(Value x) { return divf(constantLike(x.getType(), 1.0), math::SqrtOp::create(b, x)); }

//===-- Weights -----------------------------------------------------------------------===//

// Adding 1.5 * 2^23 leaves the integer in the sum's low bits.
Value Lanes::round(Value x) {
  Type ints = vec(laneCount(x), i32());
  return add(bitcast(addf(x, constantLike(x.getType(), 12582912.0)), ints), -int64_t(0x4B400000));
}

Value Lanes::fromHalf(Value bits) {
  int64_t n = laneCount(bits);
  if (facts.hasHalf)
    return arith::ExtFOp::create(b, vec(n, f32()), bitcast(bits, vec(n, b.getF16Type())));
  // Shifted into place, a half is the float times 2^-112; exponent 31 (infinity, NaN) becomes 255.
  Type ints = vec(n, i32()), floats = vec(n, f32());
  Value wide = arith::ExtUIOp::create(b, ints, bits);
  Value magnitude = shl(andi(wide, 0x7fff), 13);
  Value scaled = bitcast(mulf(bitcast(magnitude, floats), constantLike(floats, 0x1p112)), ints);
  Value special = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, magnitude, constantInt(ints, 0x0f800000));
  Value full = arith::OrIOp::create(b, magnitude, constantInt(ints, 0x7f800000));
  Value value = arith::SelectOp::create(b, special, full, scaled);
  return bitcast(arith::OrIOp::create(b, value, shl(andi(wide, 0x8000), 16)), floats);
}

Value Lanes::loadFloat(llama::Format format, int64_t n, Value pointer, unsigned alignment) {
  if (format == llama::Format::F32)
    return load(vec(n, f32()), pointer, alignment);
  Value bits = load(vec(n, i16()), pointer, alignment);
  if (format == llama::Format::F16)
    return fromHalf(bits);
  return bitcast(shl(arith::ExtUIOp::create(b, vec(n, i32()), bits), 16), vec(n, f32()));
}

Value Lanes::toHalf(Value x) {
  int64_t n = laneCount(x);
  Type halves = vec(n, i16());
  if (facts.hasHalf)
    return bitcast(arith::TruncFOp::create(b, vec(n, b.getF16Type()), x), halves);
  Type ints = vec(n, i32()), floats = vec(n, f32());
  auto c = [&](int64_t value) { return constantInt(ints, value); };
  Value bits = bitcast(x, ints), sign = andi(bits, 0x80000000), magnitude = andi(bits, 0x7fffffff);
  // Normal: rebias the exponent, round the 13 lost bits to nearest even.
  Value odd = andi(shr(magnitude, 13), 1);
  Value normal = shr(add(add(magnitude, (112LL << 23) * -1 + 0xfff), odd), 13);
  // Subnormal: an addition aligns and rounds the mantissa.
  Value magic = c(126LL << 23);
  Value subnormal = sub(bitcast(addf(bitcast(magnitude, floats), bitcast(magic, floats)), ints), magic);
  auto select = [&](arith::CmpIPredicate predicate, int64_t bound, Value yes, Value no) -> Value {
    return arith::SelectOp::create(b, arith::CmpIOp::create(b, predicate, magnitude, c(bound)), yes, no);
  };
  Value result = select(arith::CmpIPredicate::ult, 113LL << 23, subnormal, normal);
  result = select(arith::CmpIPredicate::uge, 143LL << 23, c(0x7c00), result);
  result = select(arith::CmpIPredicate::ugt, 255LL << 23, c(0x7e00), result);
  return arith::TruncIOp::create(b, halves, arith::OrIOp::create(b, result, shr(sign, 16)));
}

Value Lanes::intrinsic(StringRef name, Type result, ValueRange arguments) {
  return LLVM::CallIntrinsicOp::create(b, result, b.getStringAttr(name), arguments).getResult(0);
}

// Sums of neighbouring products of 16-bit lanes.
Value Lanes::pairDots(Value weights, Value activations) {
  int64_t bits = laneCount(weights) * 16;
  StringRef name = bits == 512   ? "llvm.x86.avx512.pmaddw.d.512"
                   : bits == 256 ? "llvm.x86.avx2.pmadd.wd"
                                 : "llvm.x86.sse2.pmadd.wd";
  return intrinsic(name, vec(bits / 32, i32()), {weights, activations});
}

Type Lanes::withFloats(Value vector) { return withElement(vector.getType(), f32()); }

Value Lanes::roundToBFloat16(Value x) {
  Type ints = withElement(x.getType(), i32());
  Value bits = bitcast(x, ints);
  Value rounded = add(add(bits, 0x7fff), andi(shr(bits, 16), 1));
  // Not a number stays one: it must not be carried over to infinity or zero.
  Value isNan =
      arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, andi(bits, 0x7fffffff), constantInt(ints, 0x7f800000));
  Value quiet = arith::OrIOp::create(b, bits, constantInt(ints, 0x400000));
  return bitcast(andi(select(isNan, quiet, rounded), 0xffff0000), x.getType());
}

Value Lanes::packBFloat16(Value rounded) {
  int64_t n = laneCount(rounded);
  Value halves = arith::TruncIOp::create(b, vec(n, i16()), shr(bitcast(rounded, vec(n, i32())), 16));
  return bitcast(halves, vec(n / 2, i32()));
}

Value Lanes::dot2(Value acc, Value weights, Value activations) {
  int64_t n = laneCount(acc);
  Type pairs = vec(2 * n, b.getBF16Type());
  return intrinsic("llvm.x86.avx512bf16.dpbf16ps." + std::to_string(32 * n), acc.getType(),
                   {acc, bitcast(weights, pairs), bitcast(activations, pairs)});
}

Value Lanes::dot4(Value acc, Value weights, Value activations, unsigned maxCode) {
  int64_t n = laneCount(acc), bits = n * 32;
  if (facts.dot == DotKind::Vpdpbusd)
    return intrinsic("llvm.x86.avx512.vpdpbusd." + std::to_string(bits), acc.getType(), {acc, weights, activations});
  Type shorts = vec(2 * n, i16());
  if (facts.dot == DotKind::Maddubs && maxCode <= maddubsMost && bits >= 256) {
    StringRef name = bits == 512 ? "llvm.x86.avx512.pmaddubs.w.512" : "llvm.x86.avx2.pmadd.ub.sw";
    return add(acc, pairDots(intrinsic(name, shorts, {weights, activations}), constantInt(shorts, 1)));
  }
  Value w = bitcast(weights, shorts), a = bitcast(activations, shorts);
  Value even = pairDots(andi(w, 0xff), sar(shl(a, 8), 8));
  Value odd = pairDots(shr(w, 8), sar(a, 8));
  return add(acc, add(even, odd));
}

Value Lanes::shiftBytes(Value bytes, int64_t right) {
  if (!right)
    return bytes;
  Value words = bitcast(bytes, vec(laneCount(bytes) / 2, i16()));
  return bitcast(right > 0 ? shr(words, right) : shl(words, -right), bytes.getType());
}

Value Lanes::shiftBytesRight(Value bytes, Value bits) {
  Type words = vec(laneCount(bytes) / 2, i16());
  Value amount = splat(arith::TruncIOp::create(b, i16(), bits), laneCount(bytes) / 2);
  return bitcast(arith::ShRUIOp::create(b, bitcast(bytes, words), amount), bytes.getType());
}

Value Lanes::lookup(ArrayRef<int8_t> table, unsigned zeroPoint, Value codes) {
  const int64_t n = laneCount(codes);
  auto entry = [&](int64_t i) { return int8_t(table[i % 16] + int(zeroPoint)); };
  if (facts.hasByteShuffle) {
    auto resized = [&](Value x, int64_t size) -> Value {
      SmallVector<int64_t> from;
      for (int64_t i = 0; i < size; ++i)
        from.push_back(i % laneCount(x));
      return vector::ShuffleOp::create(b, x, x, from);
    };
    if (n < 16)
      return resized(lookup(table, zeroPoint, resized(codes, 16)), n);
    SmallVector<int8_t> entries;
    for (int64_t i = 0; i < n; ++i)
      entries.push_back(entry(i));
    auto type = cast<VectorType>(codes.getType());
    Value splat = arith::ConstantOp::create(b, type, DenseElementsAttr::get(type, ArrayRef<int8_t>(entries)));
    StringRef name = n == 64   ? "llvm.x86.avx512.pshuf.b.512"
                     : n == 32 ? "llvm.x86.avx2.pshuf.b"
                               : "llvm.x86.ssse3.pshuf.b.128";
    return intrinsic(name, type, {splat, codes});
  }
  // Bit by bit: of two entries each, that which the codes' bit says.
  Values entries;
  for (int64_t i = 0; i < 16; ++i)
    entries.push_back(constantInt(codes.getType(), entry(i)));
  for (int64_t bit = 1; bit < 16; bit *= 2) {
    Value chosen =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ne, andi(codes, bit), constantInt(codes.getType(), 0));
    Values next;
    for (size_t i = 0; i < entries.size(); i += 2)
      next.push_back(select(chosen, entries[i + 1], entries[i]));
    entries = next;
  }
  return entries[0];
}

Value Lanes::powerOfTwo(Value exponents) {
  // (e - 1) << 23, and for e of 0 and 1, whose powers are no normal numbers, (e + 1) << 21: each where it is the
  // larger.
  Value normal = add(shl(exponents, 23), -(int64_t(1) << 23)), small = add(shl(exponents, 21), int64_t(1) << 21);
  return bitcast(smax(normal, small), withFloats(exponents));
}

//===-- Control -----------------------------------------------------------------------===//

Values Lanes::loop(Value from, Value to, int64_t step, ValueRange init, function_ref<Values(Value, ValueRange)> body) {
  auto op = scf::ForOp::create(b, from, to, constantInt(from.getType(), step), init,
                               [&](OpBuilder &, Location, Value i, ValueRange state) {
                                 // The nested builder shares our insertion point only if we move ours.
                               });
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(op.getBody());
  Values next = body(op.getInductionVar(), op.getRegionIterArgs());
  scf::YieldOp::create(b, next);
  return Values(op.getResults().begin(), op.getResults().end());
}

void Lanes::loop(Value from, Value to, int64_t step, function_ref<void(Value)> body) {
  loop(from, to, step, ValueRange{}, [&](Value i, ValueRange) {
    body(i);
    return Values{};
  });
}

void Lanes::when(Value condition, function_ref<void()> body) {
  auto op = scf::IfOp::create(b, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  body();
}
