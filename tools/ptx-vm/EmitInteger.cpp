//===- EmitInteger.cpp - integer arithmetic ------------------------------------------===//

#include "tools/ptx-vm/Translate.h"

using namespace llvm;

namespace ptxvm {
namespace {

Value *extend(Emitter &e, Value *v, bool isSigned, unsigned bits) {
  llvm::Type *to = v->getType()->getWithNewType(e.b.getIntNTy(bits));
  return isSigned ? e.b.CreateSExtOrTrunc(v, to) : e.b.CreateZExtOrTrunc(v, to);
}
unsigned elementBits(Value *v) { return v->getType()->getScalarSizeInBits(); }
bool isSignedType(Emitter &e) { return isSigned(e.inst->type); }

void add(Emitter &e) {
  Value *a = e.in(1), *b = e.in(2);
  e.out(e.inst->has("sat") ? e.b.CreateBinaryIntrinsic(Intrinsic::sadd_sat, a, b) : e.b.CreateAdd(a, b));
}
void sub(Emitter &e) {
  Value *a = e.in(1), *b = e.in(2);
  e.out(e.inst->has("sat") ? e.b.CreateBinaryIntrinsic(Intrinsic::ssub_sat, a, b) : e.b.CreateSub(a, b));
}

/// a + b + carry in, and the carry out; a - b - borrow likewise.
void withCarry(Emitter &e, bool subtract, bool carryIn, bool carryOut, Value *a, Value *b) {
  auto &ir = e.b;
  unsigned bits = elementBits(a);
  Value *x = extend(e, a, false, bits + 1), *y = extend(e, b, false, bits + 1);
  Value *sum = subtract ? ir.CreateSub(x, y) : ir.CreateAdd(x, y);
  if (carryIn) {
    Value *c = ir.CreateZExt(e.carry(), x->getType());
    sum = subtract ? ir.CreateSub(sum, c) : ir.CreateAdd(sum, c);
  }
  if (carryOut)
    e.setCarry(ir.CreateTrunc(ir.CreateLShr(sum, bits), a->getType()->getWithNewType(ir.getInt1Ty())));
  e.out(ir.CreateTrunc(sum, a->getType()));
}
template <bool subtract, bool carryIn> void carryForm(Emitter &e) {
  withCarry(e, subtract, carryIn, e.inst->has("cc"), e.in(1), e.in(2));
}

Value *high(Emitter &e, Value *a, Value *b, bool isSigned) {
  unsigned bits = elementBits(a);
  Value *wide = e.b.CreateMul(extend(e, a, isSigned, 2 * bits), extend(e, b, isSigned, 2 * bits));
  return e.b.CreateTrunc(e.b.CreateLShr(wide, bits), a->getType());
}
void mul(Emitter &e) {
  Value *a = e.in(1), *b = e.in(2);
  if (e.inst->has("wide")) {
    unsigned bits = 2 * elementBits(a);
    e.out(e.b.CreateMul(extend(e, a, isSignedType(e), bits), extend(e, b, isSignedType(e), bits)));
  } else {
    e.out(e.inst->has("hi") ? high(e, a, b, isSignedType(e)) : e.b.CreateMul(a, b));
  }
}
void mad(Emitter &e) {
  Value *a = e.in(1), *b = e.in(2);
  if (e.inst->has("wide")) {
    unsigned bits = 2 * elementBits(a);
    Value *c = e.readLow(e.operand(3), bits);
    e.out(e.b.CreateAdd(e.b.CreateMul(extend(e, a, isSignedType(e), bits), extend(e, b, isSignedType(e), bits)), c));
    return;
  }
  Value *c = e.in(3);
  Value *product = e.inst->has("hi") ? high(e, a, b, isSignedType(e)) : e.b.CreateMul(a, b);
  e.out(e.inst->has("sat") ? e.b.CreateBinaryIntrinsic(Intrinsic::sadd_sat, product, c) : e.b.CreateAdd(product, c));
}
template <bool carryIn> void madCarry(Emitter &e) {
  Value *a = e.in(1), *b = e.in(2);
  Value *product = e.inst->has("hi") ? high(e, a, b, isSignedType(e)) : e.b.CreateMul(a, b);
  withCarry(e, false, carryIn, e.inst->has("cc"), product, e.in(3));
}
Value *product24(Emitter &e) {
  auto cut = [&](Value *v) {
    v = e.b.CreateShl(v, e.constant(32, 8));
    v = isSignedType(e) ? e.b.CreateAShr(v, e.constant(32, 8)) : e.b.CreateLShr(v, e.constant(32, 8));
    return extend(e, v, isSignedType(e), 64);
  };
  Value *wide = e.b.CreateMul(cut(e.in(1)), cut(e.in(2)));
  return extend(e, e.inst->has("hi") ? e.b.CreateLShr(wide, e.constant(64, 16)) : wide, false, 32);
}
void mul24(Emitter &e) { e.out(product24(e)); }
void mad24(Emitter &e) { e.out(e.b.CreateAdd(product24(e), e.in(3))); }

void sad(Emitter &e) {
  Value *a = e.in(1), *b = e.in(2);
  Value *less = isSignedType(e) ? e.b.CreateICmpSLT(a, b) : e.b.CreateICmpULT(a, b);
  e.out(e.b.CreateAdd(e.in(3), e.b.CreateSelect(less, e.b.CreateSub(b, a), e.b.CreateSub(a, b))));
}

/// The document leaves division by zero open: all ones, as hardware gives; MIN / -1 wraps.
template <bool remainder> void divide(Emitter &e) {
  auto &ir = e.b;
  Value *a = e.in(1), *b = e.in(2);
  Value *zero = Constant::getNullValue(a->getType()), *ones = Constant::getAllOnesValue(a->getType());
  Value *isZero = ir.CreateICmpEQ(b, zero), *unsafe = isZero;
  if (isSignedType(e))
    unsafe = ir.CreateOr(unsafe, ir.CreateICmpEQ(b, ones));
  Value *safe = ir.CreateSelect(unsafe, e.constant(elementBits(a), 1), b);
  if (!isSignedType(e)) {
    Value *r = remainder ? ir.CreateURem(a, safe) : ir.CreateUDiv(a, safe);
    e.out(ir.CreateSelect(isZero, remainder ? a : ones, r));
    return;
  }
  Value *r = remainder ? ir.CreateSRem(a, safe) : ir.CreateSDiv(a, safe);
  Value *byMinusOne = ir.CreateICmpEQ(b, ones);
  r = ir.CreateSelect(byMinusOne, remainder ? zero : ir.CreateNeg(a), r);
  e.out(ir.CreateSelect(isZero, remainder ? a : ones, r));
}

void absolute(Emitter &e) { e.out(e.b.CreateBinaryIntrinsic(Intrinsic::abs, e.in(1), e.b.getFalse())); }
void negate(Emitter &e) { e.out(e.b.CreateNeg(e.in(1))); }
template <bool isMax> void minMax(Emitter &e) {
  bool s = isSignedType(e);
  Value *r = e.b.CreateBinaryIntrinsic(
      isMax ? (s ? Intrinsic::smax : Intrinsic::umax) : (s ? Intrinsic::smin : Intrinsic::umin), e.in(1), e.in(2));
  if (e.inst->has("relu"))
    r = e.b.CreateBinaryIntrinsic(Intrinsic::smax, r, Constant::getNullValue(r->getType()));
  e.out(r);
}

/// Bytes or halves of a word, extended to 32 bits.
Value *part(Emitter &e, Value *word, unsigned at, unsigned bits, bool isSigned) {
  Value *up = e.b.CreateShl(word, e.constant(32, 32 - bits - at)), *by = e.constant(32, 32 - bits);
  return isSigned ? e.b.CreateAShr(up, by) : e.b.CreateLShr(up, by);
}
void dp4a(Emitter &e) {
  Value *a = e.in(1, Type::B32), *b = e.in(2, Type::B32), *sum = e.in(3, Type::B32);
  for (unsigned i = 0; i < 4; ++i)
    sum = e.b.CreateAdd(sum, e.b.CreateMul(part(e, a, 8 * i, 8, isSigned(e.inst->type)),
                                           part(e, b, 8 * i, 8, isSigned(e.inst->type2))));
  e.out(sum);
}
void dp2a(Emitter &e) {
  Value *a = e.in(1, Type::B32), *b = e.in(2, Type::B32), *sum = e.in(3, Type::B32);
  unsigned from = e.inst->has("hi") ? 16 : 0;
  for (unsigned i = 0; i < 2; ++i)
    sum = e.b.CreateAdd(sum, e.b.CreateMul(part(e, a, 16 * i, 16, isSigned(e.inst->type)),
                                           part(e, b, from + 8 * i, 8, isSigned(e.inst->type2))));
  e.out(sum);
}

const OpcodeRow rows[] = {
    {"add", "u16|u32|u64|s16|s64", "d s s", add},
    {"add", "?sat s32", "d s s", add},
    {"add", "u16x2|s16x2", "d s s", add, Result::Pure, 90},
    {"sub", "u16|u32|u64|s16|s64", "d s s", sub},
    {"sub", "?sat s32", "d s s", sub},
    {"add", "cc u32|s32|u64|s64", "d s s", carryForm<false, false>},
    {"addc", "?cc u32|s32|u64|s64", "d s s", carryForm<false, true>},
    {"sub", "cc u32|s32|u64|s64", "d s s", carryForm<true, false>},
    {"subc", "?cc u32|s32|u64|s64", "d s s", carryForm<true, true>},
    {"mul", "lo|hi $int", "d s s", mul},
    {"mul", "wide u16|s16|u32|s32", "d s s", mul},
    {"mad", "lo $int", "d s s s", mad},
    {"mad", "hi u16|s16|u32|u64|s64", "d s s s", mad},
    {"mad", "hi ?sat s32", "d s s s", mad},
    {"mad", "wide u16|s16|u32|s32", "d s s s", mad},
    {"mad", "lo|hi cc u32|s32|u64|s64", "d s s s", madCarry<false>},
    {"madc", "lo|hi ?cc u32|s32|u64|s64", "d s s s", madCarry<true>},
    {"mul24", "lo|hi u32|s32", "d s s", mul24},
    {"mad24", "lo|hi u32|s32", "d s s s", mad24},
    {"sad", "$int", "d s s s", sad},
    {"div", "$int", "d s s", divide<false>},
    {"rem", "$int", "d s s", divide<true>},
    {"abs", "s16|s32|s64", "d s", absolute},
    {"neg", "s16|s32|s64", "d s", negate},
    {"min", "u16|u32|u64|s16|s64|u16x2", "d s s", minMax<false>},
    {"min", "?relu s16x2|s32", "d s s", minMax<false>},
    {"max", "u16|u32|u64|s16|s64|u16x2", "d s s", minMax<true>},
    {"max", "?relu s16x2|s32", "d s s", minMax<true>},
    {"dp4a", "u32|s32 u32|s32", "d s s s", dp4a},
    {"dp2a", "lo|hi u32|s32 u32|s32", "d s s s", dp2a},
};

} // namespace

std::span<const OpcodeRow> integerRows() { return rows; }

} // namespace ptxvm
