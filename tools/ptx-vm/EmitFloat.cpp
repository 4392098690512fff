//===- EmitFloat.cpp - f32 and f64 ------------------------------------------------------===//
//
// Rounding to nearest is the host's arithmetic; the directed modes go to helpers. A NaN that arithmetic produces is the
// host's (PTX leaves payloads open except that f32 gives 0x7fffffff, which min and max do here).

#include "tools/ptx-vm/EmitFloat.h"
#include "tools/ptx-vm/Helpers.h"

using namespace llvm;

namespace ptxvm {

Value *flushSubnormals(Emitter &e, Value *v) {
  auto &ir = e.b;
  llvm::Type *ints = v->getType()->getWithNewType(ir.getInt32Ty());
  Value *bits = ir.CreateBitCast(v, ints);
  Value *isSmall =
      ir.CreateICmpEQ(ir.CreateAnd(bits, ConstantInt::get(ints, 0x7f800000)), Constant::getNullValue(ints));
  bits = ir.CreateSelect(isSmall, ir.CreateAnd(bits, ConstantInt::get(ints, 0x80000000)), bits);
  return ir.CreateBitCast(bits, v->getType());
}

Value *saturate(Emitter &e, Value *v) {
  llvm::Type *t = v->getType();
  Value *zero = ConstantFP::get(t, 0.0), *one = ConstantFP::get(t, 1.0);
  v = e.b.CreateSelect(e.b.CreateFCmpOGT(v, zero), v, zero); // NaN and -0 become +0
  return e.b.CreateSelect(e.b.CreateFCmpOLT(v, one), v, one);
}

Value *minMax(Emitter &e, Value *a, Value *b, bool isMax, bool nan, bool xorSign) {
  auto &ir = e.b;
  llvm::Type *t = a->getType(), *ints = t->getWithNewType(ir.getIntNTy(t->getScalarSizeInBits()));
  auto toBits = [&](Value *v) { return ir.CreateBitCast(v, ints); };
  auto toFloat = [&](Value *v) { return ir.CreateBitCast(v, t); };
  const unsigned bits = t->getScalarSizeInBits();
  Constant *signBit = ConstantInt::get(ints, uint64_t(1) << (bits - 1));
  Value *sign = nullptr;
  if (xorSign) {
    sign = ir.CreateAnd(ir.CreateXor(toBits(a), toBits(b)), signBit);
    a = ir.CreateUnaryIntrinsic(Intrinsic::fabs, a);
    b = ir.CreateUnaryIntrinsic(Intrinsic::fabs, b);
  }
  Value *first = isMax ? ir.CreateFCmpOGT(a, b) : ir.CreateFCmpOLT(a, b);
  Value *r = ir.CreateSelect(first, a, b);
  Value *same =
      toFloat(isMax ? ir.CreateAnd(toBits(a), toBits(b)) : ir.CreateOr(toBits(a), toBits(b))); // -0 is less than +0
  r = ir.CreateSelect(ir.CreateFCmpOEQ(a, b), same, r);
  Value *aNan = ir.CreateFCmpUNO(a, a), *bNan = ir.CreateFCmpUNO(b, b);
  Value *canonical = toFloat(ConstantInt::get(ints, bits == 64   ? 0x7ff8000000000000
                                                    : bits == 32 ? 0x7fffffff
                                                                 : 0x7fff));
  if (nan) {
    r = ir.CreateSelect(ir.CreateOr(aNan, bNan), canonical, r);
  } else {
    r = ir.CreateSelect(bNan, a, r);
    r = ir.CreateSelect(aNan, ir.CreateSelect(bNan, canonical, b), r);
  }
  return xorSign ? toFloat(ir.CreateOr(toBits(r), sign)) : r;
}

Value *compareFloat(Emitter &e, const std::string &how, Value *a, Value *b) {
  static const std::map<std::string, CmpInst::Predicate, std::less<>> predicates = {
      {"eq", CmpInst::FCMP_OEQ},  {"ne", CmpInst::FCMP_ONE},  {"lt", CmpInst::FCMP_OLT},  {"le", CmpInst::FCMP_OLE},
      {"gt", CmpInst::FCMP_OGT},  {"ge", CmpInst::FCMP_OGE},  {"equ", CmpInst::FCMP_UEQ}, {"neu", CmpInst::FCMP_UNE},
      {"ltu", CmpInst::FCMP_ULT}, {"leu", CmpInst::FCMP_ULE}, {"gtu", CmpInst::FCMP_UGT}, {"geu", CmpInst::FCMP_UGE},
      {"num", CmpInst::FCMP_ORD}, {"nan", CmpInst::FCMP_UNO}};
  auto it = predicates.find(how);
  if (it == predicates.end())
    e.fail("comparison '." + how + "' is not defined for floating point");
  return e.b.CreateFCmp(it->second, a, b);
}

int roundingOf(const Instruction &inst) {
  return inst.has("rz") ? kTowardZero : inst.has("rm") ? kDown : inst.has("rp") ? kUp : kNearest;
}

Value *floatIn(Emitter &e, size_t i) {
  Value *v = e.in(i);
  return e.inst->has("ftz") && e.inst->type != Type::F64 ? flushSubnormals(e, v) : v;
}
void floatOut(Emitter &e, Value *v) {
  if (e.inst->has("ftz") && e.inst->type != Type::F64)
    v = flushSubnormals(e, v);
  if (e.inst->has("sat"))
    v = saturate(e, v);
  e.out(v);
}

namespace {

/// An operation in a directed rounding mode, lane by lane.
Value *directed(Emitter &e, RoundedOperation operation, ArrayRef<Value *> operands) {
  Value *result = nullptr;
  const unsigned bits = operands[0]->getType()->getScalarSizeInBits();
  auto one = [&](ArrayRef<Value *> values) {
    for (size_t i = 0; i < values.size(); ++i)
      e.toSlot(i, values[i]);
    e.callHelper(roundedOperation, {e.b.getInt32(operation), e.b.getInt32(roundingOf(*e.inst)), e.b.getInt32(bits)});
    Value *v = e.fromSlot(0, bits);
    return e.wide ? v : e.b.CreateExtractElement(v, uint64_t(0));
  };
  if (e.inst->type == Type::F32x2)
    e.fail("f32x2 is supported with .rn only");
  result = one(operands);
  return e.b.CreateBitCast(result, operands[0]->getType());
}

enum Binary { Add, Subtract, Multiply, Divide };
template <Binary op> void binary(Emitter &e) {
  Value *a = floatIn(e, 1), *b = floatIn(e, 2);
  const bool exact = roundingOf(*e.inst) == kNearest;
  const RoundedOperation operations[] = {kRoundedAdd, kRoundedSubtract, kRoundedMultiply, kRoundedDivide};
  Value *r = !exact           ? directed(e, operations[op], {a, b})
             : op == Add      ? e.b.CreateFAdd(a, b)
             : op == Subtract ? e.b.CreateFSub(a, b)
             : op == Multiply ? e.b.CreateFMul(a, b)
                              : e.b.CreateFDiv(a, b);
  floatOut(e, r);
}
void fma(Emitter &e) {
  Value *a = floatIn(e, 1), *b = floatIn(e, 2), *c = floatIn(e, 3);
  floatOut(e, roundingOf(*e.inst) == kNearest ? e.b.CreateIntrinsic(Intrinsic::fma, {a->getType()}, {a, b, c})
                                              : directed(e, kRoundedFma, {a, b, c}));
}
template <RoundedOperation op> void unary(Emitter &e) {
  Value *a = floatIn(e, 1), *one = ConstantFP::get(a->getType(), 1.0);
  Value *r = roundingOf(*e.inst) != kNearest
                 ? (op == kRoundedSqrt ? directed(e, op, {a}) : directed(e, kRoundedDivide, {one, a}))
                 : (op == kRoundedSqrt ? e.b.CreateUnaryIntrinsic(Intrinsic::sqrt, a) : e.b.CreateFDiv(one, a));
  floatOut(e, r);
}
void negate(Emitter &e) { floatOut(e, e.b.CreateFNeg(floatIn(e, 1))); }
void absolute(Emitter &e) { floatOut(e, e.b.CreateUnaryIntrinsic(Intrinsic::fabs, floatIn(e, 1))); }
template <bool isMax> void minimum(Emitter &e) {
  Value *r = minMax(e, floatIn(e, 1), floatIn(e, 2), isMax, e.inst->has("NaN"), e.inst->has("abs"));
  floatOut(e, r);
}
template <bool isMax> void minimum3(Emitter &e) {
  Value *r = minMax(e, floatIn(e, 1), floatIn(e, 2), isMax, e.inst->has("NaN"), e.inst->has("abs"));
  floatOut(e, minMax(e, r, floatIn(e, 3), isMax, e.inst->has("NaN"), e.inst->has("abs")));
}
void copysign(Emitter &e) { e.out(e.b.CreateBinaryIntrinsic(Intrinsic::copysign, e.in(2), e.in(1))); }
void testp(Emitter &e) {
  auto &ir = e.b;
  Value *a = e.in(1), *magnitude = ir.CreateUnaryIntrinsic(Intrinsic::fabs, a);
  Value *infinity = ConstantFP::getInfinity(a->getType());
  bool isDouble = e.inst->type == Type::F64;
  Value *smallest = ConstantFP::get(a->getType(), isDouble ? 0x1p-1022 : 0x1p-126),
        *zero = ConstantFP::get(a->getType(), 0.0);
  Value *r = nullptr;
  if (e.inst->has("finite"))
    r = ir.CreateFCmpOLT(magnitude, infinity);
  else if (e.inst->has("infinite"))
    r = ir.CreateFCmpOEQ(magnitude, infinity);
  else if (e.inst->has("number"))
    r = ir.CreateFCmpORD(a, a);
  else if (e.inst->has("notanumber"))
    r = ir.CreateFCmpUNO(a, a);
  else if (e.inst->has("normal"))
    r = ir.CreateAnd(ir.CreateFCmpOGE(magnitude, smallest), ir.CreateFCmpOLT(magnitude, infinity));
  else
    r = ir.CreateAnd(ir.CreateFCmpOLT(magnitude, smallest), ir.CreateFCmpOGT(magnitude, zero));
  e.out(r);
}

const OpcodeRow rows[] = {
    {"add", "?$round ?ftz ?sat f32", "d s s", binary<Add>},
    {"add", "?$round f64", "d s s", binary<Add>},
    {"add", "?$round ?ftz f32x2", "d s s", binary<Add>, Result::Pure, 100},
    {"sub", "?$round ?ftz ?sat f32", "d s s", binary<Subtract>},
    {"sub", "?$round f64", "d s s", binary<Subtract>},
    {"sub", "?$round ?ftz f32x2", "d s s", binary<Subtract>, Result::Pure, 100},
    {"mul", "?$round ?ftz ?sat f32", "d s s", binary<Multiply>},
    {"mul", "?$round f64", "d s s", binary<Multiply>},
    {"mul", "?$round ?ftz f32x2", "d s s", binary<Multiply>, Result::Pure, 100},
    {"fma", "$round ?ftz ?sat f32", "d s s s", fma},
    {"fma", "$round f64", "d s s s", fma},
    {"fma", "$round ?ftz f32x2", "d s s s", fma, Result::Pure, 100},
    {"mad", "$round ?ftz ?sat f32", "d s s s", fma},
    {"mad", "$round f64", "d s s s", fma},
    {"div", "$round ?ftz f32", "d s s", binary<Divide>},
    {"div", "$round f64", "d s s", binary<Divide>},
    {"div", "approx|full ?ftz f32", "d s s", binary<Divide>},
    {"rcp", "$round ?ftz f32", "d s", unary<kRoundedDivide>},
    {"rcp", "$round f64", "d s", unary<kRoundedDivide>},
    {"sqrt", "$round ?ftz f32", "d s", unary<kRoundedSqrt>},
    {"sqrt", "$round f64", "d s", unary<kRoundedSqrt>},
    {"neg", "?ftz f32", "d s", negate},
    {"neg", "f64", "d s", negate},
    {"abs", "?ftz f32", "d s", absolute},
    {"abs", "f64", "d s", absolute},
    {"min", "?ftz ?NaN ?xorsign ?abs f32", "d s s", minimum<false>},
    {"min", "f64", "d s s", minimum<false>},
    {"min", "?ftz ?NaN ?abs f32", "d s s s", minimum3<false>, Result::Pure, 100},
    {"max", "?ftz ?NaN ?xorsign ?abs f32", "d s s", minimum<true>},
    {"max", "f64", "d s s", minimum<true>},
    {"max", "?ftz ?NaN ?abs f32", "d s s s", minimum3<true>, Result::Pure, 100},
    {"copysign", "f32|f64", "d s s", copysign},
    {"testp", "finite|infinite|number|notanumber|normal|subnormal f32|f64", "d s", testp},
};

} // namespace

std::span<const OpcodeRow> floatRows() { return rows; }

} // namespace ptxvm
