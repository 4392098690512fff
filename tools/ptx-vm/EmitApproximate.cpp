//===- EmitApproximate.cpp - the .approx functions -------------------------------------------===//
//
// PTX gives bounds, not values. Here rcp, sqrt, div are correctly rounded, rsqrt is 1/sqrt (under 1.6 ulp), ex2 and lg2
// are within 2 ulp, sin, cos and tanh are the C library's.

#include "tools/ptx-vm/EmitFloat.h"
#include "tools/ptx-vm/Helpers.h"

using namespace llvm;

namespace ptxvm {
namespace {

void rcp(Emitter &e) {
  Value *a = floatIn(e, 1);
  floatOut(e, e.b.CreateFDiv(ConstantFP::get(a->getType(), 1.0), a));
}
void squareRoot(Emitter &e) { floatOut(e, e.b.CreateUnaryIntrinsic(Intrinsic::sqrt, floatIn(e, 1))); }
void rsqrt(Emitter &e) {
  Value *a = floatIn(e, 1);
  floatOut(e, e.b.CreateFDiv(ConstantFP::get(a->getType(), 1.0), e.b.CreateUnaryIntrinsic(Intrinsic::sqrt, a)));
}

/// 2^n 2^f, n the nearest integer, f in [-1/2, 1/2]: the Taylor polynomial of degree 7 of exp(f ln 2) is within 2^-26.
Value *exp2(Emitter &e, Value *x) {
  auto &ir = e.b;
  llvm::Type *t = x->getType(), *ints = t->getWithNewType(ir.getInt32Ty());
  auto number = [&](double v) { return ConstantFP::get(t, v); };
  Value *clamped = ir.CreateSelect(ir.CreateFCmpOLT(x, number(-160)), number(-160), x);
  clamped = ir.CreateSelect(ir.CreateFCmpOGT(clamped, number(160)), number(160), clamped);
  clamped = ir.CreateSelect(ir.CreateFCmpUNO(x, x), number(0), clamped);
  Value *n = ir.CreateUnaryIntrinsic(Intrinsic::rint, clamped);
  Value *f = ir.CreateFSub(clamped, n);
  static const double c[] = {1.5252733804059841e-5, 1.5403530393381609e-4, 1.3333558146428443e-3, 9.6181291076284772e-3,
                             5.5504108664821580e-2, 2.4022650695910071e-1, 6.9314718055994531e-1, 1.0};
  Value *p = number(c[0]);
  for (unsigned i = 1; i < std::size(c); ++i)
    p = ir.CreateIntrinsic(Intrinsic::fma, {t}, {p, f, number(c[i])});
  // Two factors, since 2^n alone may be subnormal or too large.
  Value *whole = ir.CreateFPToSI(n, ints), *first = ir.CreateAShr(whole, 1), *second = ir.CreateSub(whole, first);
  auto power = [&](Value *k) {
    return ir.CreateBitCast(ir.CreateShl(ir.CreateAdd(k, ConstantInt::get(ints, 127)), 23), t);
  };
  Value *r = ir.CreateFMul(ir.CreateFMul(p, power(first)), power(second));
  return ir.CreateSelect(ir.CreateFCmpUNO(x, x), x, r);
}
void ex2(Emitter &e) {
  if (bitsOf(e.inst->type) == 16 || e.inst->type == Type::F16x2 || e.inst->type == Type::BF16x2) {
    bool brain = e.inst->type == Type::BF16 || e.inst->type == Type::BF16x2;
    e.out(toHalf(e, exp2(e, toFloat(e, e.in(1), brain)), brain, kNearest));
    return;
  }
  floatOut(e, exp2(e, floatIn(e, 1)));
}

Value *library(Emitter &e, MathFunction f, Value *v) {
  const unsigned count = v->getType()->isVectorTy() ? cast<FixedVectorType>(v->getType())->getNumElements() : 1;
  // The slots hold up to 64 floats, as pairs of halves make.
  e.b.CreateAlignedStore(v, e.slotPointer(0), Align(4));
  e.callHelper(mathFunction, {e.b.getInt32(f), e.b.getInt32(count)});
  return e.b.CreateAlignedLoad(v->getType(), e.slotPointer(0), Align(4));
}
template <MathFunction f> void function(Emitter &e) {
  if (bitsOf(e.inst->type) == 16 || e.inst->type == Type::F16x2 || e.inst->type == Type::BF16x2) {
    bool brain = e.inst->type == Type::BF16 || e.inst->type == Type::BF16x2;
    e.out(toHalf(e, library(e, f, toFloat(e, e.in(1), brain)), brain, kNearest));
    return;
  }
  floatOut(e, library(e, f, floatIn(e, 1)));
}

const OpcodeRow rows[] = {
    {"rcp", "approx ?ftz f32", "d s", rcp},
    {"rcp", "approx ftz f64", "d s", rcp},
    {"sqrt", "approx ?ftz f32", "d s", squareRoot},
    {"rsqrt", "approx ?ftz f32|f64", "d s", rsqrt},
    {"ex2", "approx ?ftz f32", "d s", ex2},
    {"ex2", "approx f16|f16x2", "d s", ex2},
    {"ex2", "approx ftz bf16|bf16x2", "d s", ex2, Result::Pure, 90},
    {"lg2", "approx ?ftz f32", "d s", function<kLog2>},
    {"sin", "approx ?ftz f32", "d s", function<kSin>},
    {"cos", "approx ?ftz f32", "d s", function<kCos>},
    {"tanh", "approx f32|f16|f16x2", "d s", function<kTanh>},
    {"tanh", "approx bf16|bf16x2", "d s", function<kTanh>, Result::Pure, 90},
};

} // namespace

std::span<const OpcodeRow> approximateRows() { return rows; }

} // namespace ptxvm
