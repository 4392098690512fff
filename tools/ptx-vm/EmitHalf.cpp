//===- EmitHalf.cpp - f16, bf16 and pairs of them -----------------------------------------===//
//
// Sums and products of two halves are exact enough in f32 that rounding twice rounds once; fma is computed in f64, its
// sum rounded to odd, which makes the second rounding right.

#include "tools/ptx-vm/EmitFloat.h"

using namespace llvm;

namespace ptxvm {

Value *toFloat(Emitter &e, Value *v, bool isBrain) {
  auto &ir = e.b;
  llvm::Type *floats = v->getType()->getWithNewType(ir.getFloatTy());
  if (!isBrain)
    return ir.CreateFPExt(ir.CreateBitCast(v, v->getType()->getWithNewType(ir.getHalfTy())), floats);
  llvm::Type *ints = v->getType()->getWithNewType(ir.getInt32Ty());
  return ir.CreateBitCast(
      ir.CreateShl(ir.CreateZExt(ir.CreateBitCast(v, v->getType()->getWithNewType(ir.getInt16Ty())), ints), 16),
      floats);
}

Value *toHalf(Emitter &e, Value *v, bool isBrain, int rounding) {
  auto &ir = e.b;
  llvm::Type *ints = v->getType()->getWithNewType(ir.getInt32Ty()),
             *shorts = v->getType()->getWithNewType(ir.getInt16Ty());
  auto number = [&](uint32_t n) { return ConstantInt::get(ints, n); };
  Value *isNan = ir.CreateFCmpUNO(v, v);
  Value *canonical = ConstantInt::get(shorts, 0x7fff);
  Value *bits = ir.CreateBitCast(v, ints);
  if (isBrain) {
    Value *r = bits;
    if (rounding == kNearest) {
      Value *odd = ir.CreateAnd(ir.CreateLShr(bits, number(16)), number(1));
      r = ir.CreateAdd(bits, ir.CreateAdd(number(0x7fff), odd));
    }
    r = ir.CreateTrunc(ir.CreateLShr(r, number(16)), shorts);
    return ir.CreateSelect(isNan, canonical, r);
  }
  llvm::Type *halves = v->getType()->getWithNewType(ir.getHalfTy());
  Value *r = ir.CreateFPTrunc(v, halves);
  if (rounding == kTowardZero) { // one step back where rounding went outwards
    Value *back = ir.CreateFPExt(r, v->getType());
    Value *outside =
        ir.CreateFCmpOGT(ir.CreateUnaryIntrinsic(Intrinsic::fabs, back), ir.CreateUnaryIntrinsic(Intrinsic::fabs, v));
    Value *rBits = ir.CreateBitCast(r, shorts);
    r = ir.CreateSelect(outside, ir.CreateSub(rBits, ConstantInt::get(shorts, 1)), rBits);
    return ir.CreateSelect(isNan, canonical, r);
  }
  return ir.CreateSelect(isNan, canonical, ir.CreateBitCast(r, shorts));
}

namespace {

bool isBrain(Emitter &e) { return e.inst->type == Type::BF16 || e.inst->type == Type::BF16x2; }
Value *half(Emitter &e, size_t i) { return toFloat(e, e.in(i), isBrain(e)); }

void finish(Emitter &e, Value *f32) {
  auto &ir = e.b;
  if (e.inst->has("sat"))
    f32 = saturate(e, f32);
  Value *r = toHalf(e, f32, isBrain(e), kNearest);
  llvm::Type *shorts = r->getType();
  if (e.inst->has("ftz")) {
    Value *isSmall = ir.CreateICmpEQ(ir.CreateAnd(r, ConstantInt::get(shorts, 0x7c00)), Constant::getNullValue(shorts));
    r = ir.CreateSelect(isSmall, ir.CreateAnd(r, ConstantInt::get(shorts, 0x8000)), r);
  }
  if (e.inst->has("relu")) { // negative becomes zero, NaN stays
    Value *isNegative = ir.CreateICmpSLT(r, Constant::getNullValue(shorts));
    r = ir.CreateSelect(ir.CreateAnd(isNegative, ir.CreateFCmpORD(f32, f32)), Constant::getNullValue(shorts), r);
  }
  e.out(r);
}

Value *flushed(Emitter &e, size_t i) {
  auto &ir = e.b;
  Value *v = half(e, i);
  if (!e.inst->has("ftz"))
    return v;
  Value *isSmall =
      ir.CreateFCmpOLT(ir.CreateUnaryIntrinsic(Intrinsic::fabs, v), ConstantFP::get(v->getType(), 0x1p-14));
  return ir.CreateSelect(isSmall, ir.CreateBinaryIntrinsic(Intrinsic::copysign, ConstantFP::get(v->getType(), 0.0), v),
                         v);
}

template <char op> void binary(Emitter &e) {
  Value *a = flushed(e, 1), *b = flushed(e, 2);
  finish(e, op == '+' ? e.b.CreateFAdd(a, b) : op == '-' ? e.b.CreateFSub(a, b) : e.b.CreateFMul(a, b));
}

void fma(Emitter &e) {
  auto &ir = e.b;
  Value *a = flushed(e, 1), *b = flushed(e, 2), *c = flushed(e, 3);
  llvm::Type *doubles = a->getType()->getWithNewType(ir.getDoubleTy()),
             *longs = a->getType()->getWithNewType(ir.getInt64Ty());
  Value *product = ir.CreateFMul(ir.CreateFPExt(a, doubles), ir.CreateFPExt(b, doubles)); // exact
  Value *addend = ir.CreateFPExt(c, doubles);
  Value *sum = ir.CreateFAdd(product, addend);
  // The exact error of the sum; if it is not zero and the sum's last bit is even, step towards the exact value.
  Value *part = ir.CreateFSub(sum, product);
  Value *error = ir.CreateFAdd(ir.CreateFSub(product, ir.CreateFSub(sum, part)), ir.CreateFSub(addend, part));
  Value *bits = ir.CreateBitCast(sum, longs), *zero = ConstantFP::get(doubles, 0.0);
  Value *inexact = ir.CreateFCmpONE(error, zero);
  Value *even = ir.CreateICmpEQ(ir.CreateAnd(bits, ConstantInt::get(longs, 1)), Constant::getNullValue(longs));
  Value *outwards = ir.CreateICmpEQ(ir.CreateFCmpOGT(error, zero), ir.CreateFCmpOGT(sum, zero));
  Value *odd = ir.CreateSelect(outwards, ir.CreateAdd(bits, ConstantInt::get(longs, 1)),
                               ir.CreateSub(bits, ConstantInt::get(longs, 1)));
  bits = ir.CreateSelect(ir.CreateAnd(inexact, even), odd, bits);
  // The same from f64 to f32: cut, with the lost bits kept in the last one.
  Value *exact = ir.CreateBitCast(bits, doubles);
  Value *f32 = ir.CreateFPTrunc(exact, a->getType());
  Value *back = ir.CreateFPExt(f32, doubles);
  llvm::Type *ints = a->getType()->getWithNewType(ir.getInt32Ty());
  Value *f32Bits = ir.CreateBitCast(f32, ints);
  Value *lost = ir.CreateFCmpONE(back, exact);
  Value *f32Even = ir.CreateICmpEQ(ir.CreateAnd(f32Bits, ConstantInt::get(ints, 1)), Constant::getNullValue(ints));
  Value *isLess =
      ir.CreateFCmpOLT(ir.CreateUnaryIntrinsic(Intrinsic::fabs, back), ir.CreateUnaryIntrinsic(Intrinsic::fabs, exact));
  Value *f32Odd = ir.CreateSelect(isLess, ir.CreateAdd(f32Bits, ConstantInt::get(ints, 1)),
                                  ir.CreateSub(f32Bits, ConstantInt::get(ints, 1)));
  f32Bits = ir.CreateSelect(ir.CreateAnd(lost, f32Even), f32Odd, f32Bits);
  finish(e, ir.CreateBitCast(f32Bits, a->getType()));
}

void negate(Emitter &e) {
  llvm::Type *t = e.in(1)->getType()->getWithNewType(e.b.getInt16Ty());
  e.out(e.b.CreateXor(e.b.CreateBitCast(e.in(1), t), ConstantInt::get(t, 0x8000)));
}
void absolute(Emitter &e) {
  llvm::Type *t = e.in(1)->getType()->getWithNewType(e.b.getInt16Ty());
  e.out(e.b.CreateAnd(e.b.CreateBitCast(e.in(1), t), ConstantInt::get(t, 0x7fff)));
}
template <bool isMax> void minimum(Emitter &e) {
  finish(e, minMax(e, flushed(e, 1), flushed(e, 2), isMax, e.inst->has("NaN"), e.inst->has("abs")));
}

const OpcodeRow rows[] = {
    {"add", "?rn ?ftz ?sat f16|f16x2", "d s s", binary<'+'>},
    {"add", "?rn bf16|bf16x2", "d s s", binary<'+'>, Result::Pure, 90},
    {"sub", "?rn ?ftz ?sat f16|f16x2", "d s s", binary<'-'>},
    {"sub", "?rn bf16|bf16x2", "d s s", binary<'-'>, Result::Pure, 90},
    {"mul", "?rn ?ftz ?sat f16|f16x2", "d s s", binary<'*'>},
    {"mul", "?rn bf16|bf16x2", "d s s", binary<'*'>, Result::Pure, 90},
    {"fma", "rn ?ftz ?sat f16|f16x2", "d s s s", fma},
    {"fma", "rn ?ftz ?relu f16|f16x2", "d s s s", fma, Result::Pure, 80},
    {"fma", "rn ?relu bf16|bf16x2", "d s s s", fma, Result::Pure, 80},
    {"neg", "?ftz f16|f16x2", "d s", negate},
    {"neg", "bf16|bf16x2", "d s", negate, Result::Pure, 80},
    {"abs", "?ftz f16|f16x2", "d s", absolute},
    {"abs", "bf16|bf16x2", "d s", absolute, Result::Pure, 80},
    {"min", "?ftz ?NaN ?xorsign ?abs f16|f16x2", "d s s", minimum<false>, Result::Pure, 80},
    {"min", "?NaN ?xorsign ?abs bf16|bf16x2", "d s s", minimum<false>, Result::Pure, 80},
    {"max", "?ftz ?NaN ?xorsign ?abs f16|f16x2", "d s s", minimum<true>, Result::Pure, 80},
    {"max", "?NaN ?xorsign ?abs bf16|bf16x2", "d s s", minimum<true>, Result::Pure, 80},
};

} // namespace

std::span<const OpcodeRow> halfRows() { return rows; }

} // namespace ptxvm
