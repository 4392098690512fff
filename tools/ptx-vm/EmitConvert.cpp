//===- EmitConvert.cpp - cvt --------------------------------------------------------------===//

#include "tools/ptx-vm/EmitFloat.h"
#include "tools/ptx-vm/Helpers.h"

using namespace llvm;

namespace ptxvm {
namespace {

void intToInt(Emitter &e) {
  auto &ir = e.b;
  const Type to = e.inst->type, from = e.inst->type2;
  Value *v = e.readLow(e.operand(1), bitsOf(from));
  const unsigned toBits = bitsOf(to), fromBits = bitsOf(from);
  auto ofBits = [&](unsigned n) { return v->getType()->getWithNewType(ir.getIntNTy(n)); };
  if (e.inst->has("sat")) {
    // In a type that holds both ranges: clamp to the destination's.
    const unsigned bits = std::max(toBits, fromBits) + 1;
    llvm::Type *t = ofBits(bits);
    Value *x = isSigned(from) ? ir.CreateSExt(v, t) : ir.CreateZExt(v, t);
    APInt low = isSigned(to) ? APInt::getSignedMinValue(toBits).sext(bits) : APInt(bits, 0);
    APInt high = isSigned(to) ? APInt::getSignedMaxValue(toBits).sext(bits) : APInt::getMaxValue(toBits).zext(bits);
    x = ir.CreateBinaryIntrinsic(Intrinsic::smax, x, ConstantInt::get(t, low));
    x = ir.CreateBinaryIntrinsic(Intrinsic::smin, x, ConstantInt::get(t, high));
    return e.writeExtended(e.operand(0), ir.CreateTrunc(x, ofBits(toBits)), isSigned(to));
  }
  v = isSigned(from) ? ir.CreateSExtOrTrunc(v, ofBits(toBits)) : ir.CreateZExtOrTrunc(v, ofBits(toBits));
  e.writeExtended(e.operand(0), v, isSigned(to));
}

/// The source as f32 or f64.
Value *floatSource(Emitter &e, const Operand &o, Type from) {
  auto &ir = e.b;
  Value *v = e.readLow(o, bitsOf(from));
  if (from == Type::F16 || from == Type::BF16)
    return toFloat(e, v, from == Type::BF16);
  v = ir.CreateBitCast(v, v->getType()->getWithNewType(from == Type::F64 ? ir.getDoubleTy() : ir.getFloatTy()));
  return from == Type::F32 && e.inst->has("ftz") ? flushSubnormals(e, v) : v;
}

Value *roundToIntegral(Emitter &e, Value *v) {
  const Instruction &i = *e.inst;
  return e.b.CreateUnaryIntrinsic(i.has("rzi")   ? Intrinsic::trunc
                                  : i.has("rmi") ? Intrinsic::floor
                                  : i.has("rpi") ? Intrinsic::ceil
                                                 : Intrinsic::rint,
                                  v);
}

void floatToInt(Emitter &e) {
  auto &ir = e.b;
  const Type to = e.inst->type, from = e.inst->type2;
  Value *v = roundToIntegral(e, floatSource(e, e.operand(1), from));
  const unsigned bits = bitsOf(to);
  llvm::Type *ints = v->getType()->getWithNewType(ir.getIntNTy(bits));
  Value *r =
      ir.CreateIntrinsic(isSigned(to) ? Intrinsic::fptosi_sat : Intrinsic::fptoui_sat, {ints, v->getType()}, {v});
  if (from == Type::F64 || bits == 64)
    r = ir.CreateSelect(ir.CreateFCmpUNO(v, v), ConstantInt::get(ints, uint64_t(1) << (bits - 1)), r);
  e.writeExtended(e.operand(0), r, isSigned(to));
}

/// f64 to f32 so that a second rounding to 16 bits is right: what is lost leaves the last bit set.
Value *narrowToOdd(Emitter &e, Value *v) {
  auto &ir = e.b;
  llvm::Type *floats = v->getType()->getWithNewType(ir.getFloatTy()),
             *ints = v->getType()->getWithNewType(ir.getInt32Ty());
  Value *f = ir.CreateFPTrunc(v, floats), *back = ir.CreateFPExt(f, v->getType()), *bits = ir.CreateBitCast(f, ints);
  Value *one = ConstantInt::get(ints, 1);
  Value *lost =
      ir.CreateAnd(ir.CreateFCmpONE(back, v), ir.CreateICmpEQ(ir.CreateAnd(bits, one), Constant::getNullValue(ints)));
  Value *less =
      ir.CreateFCmpOLT(ir.CreateUnaryIntrinsic(Intrinsic::fabs, back), ir.CreateUnaryIntrinsic(Intrinsic::fabs, v));
  bits = ir.CreateSelect(lost, ir.CreateSelect(less, ir.CreateAdd(bits, one), ir.CreateSub(bits, one)), bits);
  return ir.CreateBitCast(bits, floats);
}

Value *reluOf(Emitter &e, Value *f) {
  Value *zero = ConstantFP::get(f->getType(), 0.0);
  return e.b.CreateSelect(e.b.CreateFCmpOLE(f, zero), zero, f); // NaN stays
}

Value *finish16(Emitter &e, Value *f, Type to) {
  auto &ir = e.b;
  const bool brain = to == Type::BF16 || to == Type::BF16x2;
  if (e.inst->has("relu"))
    f = reluOf(e, f);
  if (e.inst->has("sat"))
    f = saturate(e, f);
  int rounding = roundingOf(*e.inst);
  if (rounding == kDown || rounding == kUp)
    e.fail("rounding '.rm' or '.rp' to 16 bits is not supported");
  Value *r = toHalf(e, f, brain, rounding);
  if (e.inst->has("satfinite")) {
    llvm::Type *t = r->getType();
    Value *magnitude = ir.CreateAnd(r, ConstantInt::get(t, 0x7fff)),
          *infinity = ConstantInt::get(t, brain ? 0x7f80 : 0x7c00);
    Value *limit =
        ir.CreateOr(ir.CreateAnd(r, ConstantInt::get(t, 0x8000)), ConstantInt::get(t, brain ? 0x7f7f : 0x7bff));
    r = ir.CreateSelect(ir.CreateICmpEQ(magnitude, infinity), limit, r);
  }
  return r;
}

void floatToFloat(Emitter &e) {
  auto &ir = e.b;
  const Type to = e.inst->type, from = e.inst->type2;
  const Instruction &i = *e.inst;
  Value *v = floatSource(e, e.operand(1), from);
  if (i.has("rni") || i.has("rzi") || i.has("rmi") || i.has("rpi"))
    v = roundToIntegral(e, v);
  if (bitsOf(to) == 16) {
    if (from == to && !i.has("sat"))
      return e.writeExtended(e.operand(0), toHalf(e, v, to == Type::BF16, kNearest), false);
    if (from == Type::F64)
      v = narrowToOdd(e, v);
    return e.writeExtended(e.operand(0), finish16(e, v, to), false);
  }
  if (to == Type::F64 && from != Type::F64)
    v = ir.CreateFPExt(v, v->getType()->getWithNewType(ir.getDoubleTy()));
  if (to == Type::F32 && from == Type::F64) {
    if (int rounding = roundingOf(i); rounding != kNearest) {
      e.toSlot(0, v);
      e.callHelper(roundedOperation, {ir.getInt32(kRoundedNarrow), ir.getInt32(rounding), ir.getInt32(64)});
      v = e.fromSlot(0, 32);
      v = e.wide ? v : ir.CreateExtractElement(v, uint64_t(0));
      v = ir.CreateBitCast(v, v->getType()->getWithNewType(ir.getFloatTy()));
    } else {
      v = ir.CreateFPTrunc(v, v->getType()->getWithNewType(ir.getFloatTy()));
    }
  }
  if (i.has("ftz") && to == Type::F32)
    v = flushSubnormals(e, v);
  if (i.has("sat"))
    v = saturate(e, v);
  if (i.has("relu"))
    v = reluOf(e, v);
  e.write(e.operand(0), v);
}

void intToFloat(Emitter &e) {
  auto &ir = e.b;
  const Type to = e.inst->type, from = e.inst->type2;
  Value *v = e.readLow(e.operand(1), bitsOf(from));
  auto convert = [&](llvm::Type *t) {
    return isSigned(from) ? ir.CreateSIToFP(v, v->getType()->getWithNewType(t))
                          : ir.CreateUIToFP(v, v->getType()->getWithNewType(t));
  };
  if (bitsOf(to) == 16) {
    if (bitsOf(from) == 64)
      e.fail("conversion of 64-bit integers to 16-bit floating point is not supported");
    return e.writeExtended(e.operand(0), finish16(e, narrowToOdd(e, convert(ir.getDoubleTy())), to), false);
  }
  Value *r;
  if (int rounding = roundingOf(*e.inst); rounding != kNearest) {
    v = isSigned(from) ? ir.CreateSExt(v, v->getType()->getWithNewType(ir.getInt64Ty()))
                       : ir.CreateZExt(v, v->getType()->getWithNewType(ir.getInt64Ty()));
    e.toSlot(0, v);
    int operation = isSigned(from) ? kRoundedFromSigned : kRoundedFromUnsigned;
    e.callHelper(roundedOperation, {ir.getInt32(operation), ir.getInt32(rounding), ir.getInt32(bitsOf(to))});
    r = e.fromSlot(0, bitsOf(to));
    r = e.wide ? r : ir.CreateExtractElement(r, uint64_t(0));
    r = ir.CreateBitCast(r, r->getType()->getWithNewType(to == Type::F64 ? ir.getDoubleTy() : ir.getFloatTy()));
  } else {
    r = convert(to == Type::F64 ? ir.getDoubleTy() : ir.getFloatTy());
  }
  if (e.inst->has("sat"))
    r = saturate(e, r);
  e.write(e.operand(0), r);
}

/// Two f32 to a pair; the first operand becomes the upper half.
void toPair(Emitter &e) {
  auto &ir = e.b;
  auto one = [&](size_t i) {
    Value *r = finish16(e, floatSource(e, e.operand(i), Type::F32), e.inst->type);
    return ir.CreateZExt(r, r->getType()->getWithNewType(ir.getInt32Ty()));
  };
  Value *upper = one(1), *lower = one(2);
  e.out(ir.CreateOr(ir.CreateShl(upper, 16), lower));
}

void toTf32(Emitter &e) {
  auto &ir = e.b;
  Value *v = floatSource(e, e.operand(1), Type::F32);
  if (e.inst->has("relu"))
    v = reluOf(e, v);
  llvm::Type *t = v->getType()->getWithNewType(ir.getInt32Ty());
  Value *bits = ir.CreateBitCast(v, t);
  Value *r = bits;
  if (e.inst->has("rna"))
    r = ir.CreateAdd(bits, ConstantInt::get(t, 0x1000));
  else if (e.inst->has("rn"))
    r = ir.CreateAdd(
        bits, ir.CreateAdd(ConstantInt::get(t, 0xfff), ir.CreateAnd(ir.CreateLShr(bits, 13), ConstantInt::get(t, 1))));
  r = ir.CreateAnd(r, ConstantInt::get(t, ~0x1fffu));
  Value *isFinite =
      ir.CreateFCmpONE(ir.CreateUnaryIntrinsic(Intrinsic::fabs, v), ConstantFP::getInfinity(v->getType()));
  Value *special = ir.CreateSelect(ir.CreateFCmpUNO(v, v), ConstantInt::get(t, 0x7fffffff), bits);
  e.out(ir.CreateSelect(isFinite, r, special));
}

void packSaturated(Emitter &e) { // cvt.pack.sat.{u16|s16}.s32 d, a, b; a becomes the upper half
  auto &ir = e.b;
  const bool s = e.inst->type == Type::S16;
  auto clamp = [&](size_t i) {
    Value *v = e.in(i, Type::S32);
    v = ir.CreateBinaryIntrinsic(Intrinsic::smax, v, e.constant(32, s ? uint32_t(-32768) : 0));
    v = ir.CreateBinaryIntrinsic(Intrinsic::smin, v, e.constant(32, s ? 32767 : 65535));
    return ir.CreateAnd(v, e.constant(32, 0xffff));
  };
  Value *upper = clamp(1), *lower = clamp(2);
  e.out(ir.CreateOr(ir.CreateShl(upper, 16), lower));
}
void packSaturated8(Emitter &e) { // two bytes above the low half of c
  auto &ir = e.b;
  const bool s = e.inst->type == Type::S8;
  auto clamp = [&](size_t i) {
    Value *v = e.in(i, Type::S32);
    v = ir.CreateBinaryIntrinsic(Intrinsic::smax, v, e.constant(32, s ? uint32_t(-128) : 0));
    v = ir.CreateBinaryIntrinsic(Intrinsic::smin, v, e.constant(32, s ? 127 : 255));
    return ir.CreateAnd(v, e.constant(32, 0xff));
  };
  Value *upper = clamp(1), *lower = clamp(2), *rest = e.in(3, Type::B32);
  e.out(ir.CreateOr(ir.CreateShl(rest, 16), ir.CreateOr(ir.CreateShl(upper, 8), lower)));
}

#define INTEGERS "u8|s8|u16|s16|u32|s32|u64|s64"
#define INTEGRAL "rni|rzi|rmi|rpi"
const OpcodeRow rows[] = {
    {"cvt", "?sat " INTEGERS " " INTEGERS, "d s", intToInt},
    {"cvt", INTEGRAL " ?ftz ?sat " INTEGERS " f16|f32|f64", "d s", floatToInt},
    {"cvt", INTEGRAL " " INTEGERS " bf16", "d s", floatToInt, Result::Pure, 90},
    {"cvt", "$round ?ftz ?sat f32|f64 " INTEGERS, "d s", intToFloat},
    {"cvt", "rn|rz ?sat f16 " INTEGERS, "d s", intToFloat},
    {"cvt", "rn|rz bf16 " INTEGERS, "d s", intToFloat, Result::Pure, 90},
    {"cvt", "?" INTEGRAL " ?ftz ?sat f32 f32", "d s", floatToFloat},
    {"cvt", "?" INTEGRAL " ?sat f64 f64", "d s", floatToFloat},
    {"cvt", "?" INTEGRAL " ?sat f16 f16", "d s", floatToFloat},
    {"cvt", "?ftz ?sat f32 f16", "d s", floatToFloat},
    {"cvt", "?ftz ?sat f64 f32", "d s", floatToFloat},
    {"cvt", "?sat f64 f16", "d s", floatToFloat},
    {"cvt", "?ftz f32 bf16", "d s", floatToFloat, Result::Pure, 80},
    {"cvt", "f64 bf16", "d s", floatToFloat, Result::Pure, 90},
    {"cvt", "$round ?ftz ?sat f32 f64", "d s", floatToFloat},
    {"cvt", "rn|rz ?ftz ?sat f16 f32|f64", "d s", floatToFloat},
    {"cvt", "rn|rz ?relu ?satfinite f16 f32", "d s", floatToFloat, Result::Pure, 80},
    {"cvt", "rn|rz ?relu ?satfinite bf16 f32", "d s", floatToFloat, Result::Pure, 80},
    {"cvt", "rn|rz bf16 f16|f64", "d s", floatToFloat, Result::Pure, 90},
    {"cvt", "rn|rz f16 bf16", "d s", floatToFloat, Result::Pure, 90},
    {"cvt", "rn|rz ?relu ?satfinite f16x2|bf16x2 f32", "d s s", toPair, Result::Pure, 80},
    {"cvt", "rna tf32 f32", "d s", toTf32, Result::Pure, 80},
    {"cvt", "rn|rz ?relu tf32 f32", "d s", toTf32, Result::Pure, 90},
    {"cvt", "pack sat u16|s16 s32", "d s s", packSaturated},
    {"cvt", "pack sat u8|s8 s32 b32", "d s s s", packSaturated8},
};

} // namespace

std::span<const OpcodeRow> convertRows() { return rows; }

} // namespace ptxvm
