//===- EmitBits.cpp - logic, shifts, fields, permutations ----------------------------===//

#include "tools/ptx-vm/Translate.h"

using namespace llvm;

namespace ptxvm {
namespace {

unsigned bitsOfType(Emitter &e) { return bitsOf(e.inst->type); }
Value *toResult(Emitter &e, Value *v, unsigned bits) {
  return e.b.CreateZExtOrTrunc(v, v->getType()->getWithNewType(e.b.getIntNTy(bits)));
}

template <unsigned op> void logic(Emitter &e) {
  Value *a = e.in(1), *b = e.in(2);
  e.out(op == 0 ? e.b.CreateAnd(a, b) : op == 1 ? e.b.CreateOr(a, b) : e.b.CreateXor(a, b));
}
void logicNot(Emitter &e) { e.out(e.b.CreateNot(e.in(1))); }
void logicCnot(Emitter &e) {
  Value *a = e.in(1);
  e.out(e.b.CreateZExt(e.b.CreateICmpEQ(a, Constant::getNullValue(a->getType())), a->getType()));
}

/// Any function of three bits, by its truth table.
void lop3(Emitter &e) {
  const Operand &table = e.operand(4);
  if (table.kind != Operand::Integer || table.bits > 255)
    e.fail("the truth table of lop3 must be a constant from 0 to 255");
  Value *a = e.in(1), *b = e.in(2), *c = e.in(3);
  Value *zero = Constant::getNullValue(a->getType()), *ones = Constant::getAllOnesValue(a->getType());
  auto choose = [&](Value *by, Value *ifSet, Value *ifClear) -> Value * {
    if (ifSet == ifClear)
      return ifSet;
    if (ifSet == ones && ifClear == zero)
      return by;
    if (ifSet == zero && ifClear == ones)
      return e.b.CreateNot(by);
    return e.b.CreateXor(ifClear, e.b.CreateAnd(by, e.b.CreateXor(ifSet, ifClear)));
  };
  auto entry = [&](unsigned i) { return table.bits >> i & 1 ? ones : zero; };
  auto byC = [&](unsigned i) { return choose(c, entry(i + 1), entry(i)); };
  auto byB = [&](unsigned i) { return choose(b, byC(i + 2), byC(i)); };
  e.out(choose(a, byB(4), byB(0)));
}

/// Shifts by more than the width give zero, or the sign.
template <bool left> void shift(Emitter &e) {
  auto &ir = e.b;
  const unsigned bits = bitsOfType(e);
  Value *a = e.in(1), *amount = e.in(2, Type::B32);
  Value *tooFar = ir.CreateICmpUGT(amount, e.constant(32, bits - 1));
  Value *by = toResult(e, ir.CreateSelect(tooFar, e.constant(32, bits - 1), amount), bits);
  if (!left && isSigned(e.inst->type)) {
    e.out(ir.CreateAShr(a, by));
    return;
  }
  Value *r = left ? ir.CreateShl(a, by) : ir.CreateLShr(a, by);
  e.out(ir.CreateSelect(tooFar, Constant::getNullValue(a->getType()), r));
}

void funnel(Emitter &e) {
  auto &ir = e.b;
  Value *a = e.in(1), *b = e.in(2), *amount = e.in(3);
  bool left = e.inst->has("l");
  Value *r = ir.CreateIntrinsic(left ? Intrinsic::fshl : Intrinsic::fshr, {a->getType()}, {b, a, amount});
  if (e.inst->has("clamp"))
    r = ir.CreateSelect(ir.CreateICmpUGT(amount, e.constant(32, 31)), left ? a : b, r);
  e.out(r);
}

Value *countZeros(Emitter &e, Value *v) { return e.b.CreateBinaryIntrinsic(Intrinsic::ctlz, v, e.b.getFalse()); }
void popc(Emitter &e) { e.out(toResult(e, e.b.CreateUnaryIntrinsic(Intrinsic::ctpop, e.in(1)), 32)); }
void clz(Emitter &e) { e.out(toResult(e, countZeros(e, e.in(1)), 32)); }
void brev(Emitter &e) { e.out(e.b.CreateUnaryIntrinsic(Intrinsic::bitreverse, e.in(1))); }
void bfind(Emitter &e) {
  auto &ir = e.b;
  const unsigned bits = bitsOfType(e);
  Value *a = e.in(1);
  if (isSigned(e.inst->type))
    a = ir.CreateXor(a, ir.CreateAShr(a, e.constant(bits, bits - 1)));
  Value *zeros = toResult(e, countZeros(e, a), 32);
  Value *none = ir.CreateICmpEQ(a, Constant::getNullValue(a->getType()));
  Value *r = e.inst->has("shiftamt") ? zeros : ir.CreateSub(e.constant(32, bits - 1), zeros);
  e.out(ir.CreateSelect(none, e.constant(32, ~0u), r));
}
void fns(Emitter &e) {
  auto &ir = e.b;
  // The n-th set bit from `base`, upwards or downwards: walk the 32 bits.
  Value *mask = e.in(1, Type::B32), *base = e.in(2, Type::B32), *offset = e.in(3, Type::B32);
  Value *zero = e.constant(32, 0), *found = e.constant(32, ~0u);
  Value *up = ir.CreateICmpSGE(offset, zero);
  Value *atBase = ir.CreateICmpEQ(offset, zero);
  Value *wanted =
      ir.CreateSelect(atBase, e.constant(32, 1), ir.CreateBinaryIntrinsic(Intrinsic::abs, offset, ir.getFalse()));
  Value *count = zero;
  for (unsigned i = 0; i < 32; ++i) {
    Value *at = ir.CreateSelect(up, ir.CreateAdd(base, e.constant(32, i)), ir.CreateSub(base, e.constant(32, i)));
    Value *inside = ir.CreateICmpULT(at, e.constant(32, 32));
    Value *bit = ir.CreateAnd(ir.CreateLShr(mask, ir.CreateAnd(at, e.constant(32, 31))), e.constant(32, 1));
    Value *set = ir.CreateAnd(inside, ir.CreateICmpNE(bit, zero));
    count = ir.CreateAdd(count, ir.CreateZExt(set, count->getType()));
    Value *here = ir.CreateAnd(set, ir.CreateICmpEQ(count, wanted));
    if (i)
      here = ir.CreateAnd(here, ir.CreateNot(atBase));
    found = ir.CreateSelect(ir.CreateAnd(here, ir.CreateICmpEQ(found, e.constant(32, ~0u))), at, found);
  }
  e.out(found);
}

Value *lowByte(Emitter &e, size_t i) {
  return toResult(e, e.b.CreateAnd(e.in(i, Type::B32), e.constant(32, 255)), bitsOfType(e));
}

void bfe(Emitter &e) {
  auto &ir = e.b;
  const unsigned bits = bitsOfType(e);
  const bool s = isSigned(e.inst->type);
  Value *a = e.in(1), *position = lowByte(e, 2), *length = lowByte(e, 3);
  Value *last = e.constant(bits, bits - 1), *zero = e.constant(bits, 0);
  Value *tooFar = ir.CreateICmpUGT(position, last);
  Value *from = ir.CreateSelect(tooFar, last, position);
  Value *field = s ? ir.CreateAShr(a, from) : ir.CreateSelect(tooFar, zero, ir.CreateLShr(a, from));
  Value *isShort = ir.CreateICmpULT(length, e.constant(bits, bits));
  Value *unused = ir.CreateSelect(isShort, ir.CreateSub(e.constant(bits, bits), length), zero);
  unused = ir.CreateSelect(ir.CreateICmpEQ(length, zero), last, unused); // result replaced below
  Value *up = ir.CreateShl(field, unused);
  Value *r = s ? ir.CreateAShr(up, unused) : ir.CreateLShr(up, unused);
  e.out(ir.CreateSelect(ir.CreateICmpEQ(length, zero), zero, r));
}

void bfi(Emitter &e) {
  auto &ir = e.b;
  const unsigned bits = bitsOfType(e);
  Value *a = e.in(1), *into = e.in(2), *position = lowByte(e, 3), *length = lowByte(e, 4);
  Value *last = e.constant(bits, bits - 1), *zero = e.constant(bits, 0), *one = e.constant(bits, 1);
  Value *all = Constant::getAllOnesValue(a->getType());
  Value *isLong = ir.CreateICmpUGT(length, last), *tooFar = ir.CreateICmpUGT(position, last);
  Value *mask =
      ir.CreateSelect(isLong, all, ir.CreateSub(ir.CreateShl(one, ir.CreateSelect(isLong, zero, length)), one));
  Value *by = ir.CreateSelect(tooFar, zero, position);
  mask = ir.CreateSelect(tooFar, zero, ir.CreateShl(mask, by));
  e.out(ir.CreateOr(ir.CreateAnd(into, ir.CreateNot(mask)), ir.CreateAnd(ir.CreateShl(a, by), mask)));
}

void bmsk(Emitter &e) {
  auto &ir = e.b;
  Value *a = e.in(1), *width = e.in(2), *limit = e.constant(32, 31);
  if (e.inst->has("wrap")) {
    a = ir.CreateAnd(a, limit), width = ir.CreateAnd(width, limit);
  }
  Value *a1 = ir.CreateBinaryIntrinsic(Intrinsic::umin, a, limit),
        *w1 = ir.CreateBinaryIntrinsic(Intrinsic::umin, width, limit);
  Value *ones = ir.CreateSelect(ir.CreateICmpUGT(width, limit), e.constant(32, ~0u),
                                ir.CreateSub(ir.CreateShl(e.constant(32, 1), w1), e.constant(32, 1)));
  e.out(ir.CreateSelect(ir.CreateICmpUGT(a, limit), e.constant(32, 0), ir.CreateShl(ones, a1)));
}

/// Bytes of {b, a} chosen by four nibbles; a nibble's top bit replicates the chosen byte's sign.
void permute(Emitter &e, Value *a, Value *b, Value *selector) {
  auto &ir = e.b;
  if (auto *constant = dyn_cast<Constant>(selector)) {
    if (e.wide)
      constant = constant->getSplatValue();
    if (auto *value = dyn_cast_or_null<ConstantInt>(constant)) {
      const uint64_t s = value->getZExtValue();
      auto *bytes = FixedVectorType::get(ir.getInt8Ty(), 4 * e.lanes());
      auto toBytes = [&](Value *v) { return ir.CreateBitCast(v, bytes); };
      SmallVector<int> order, signs;
      bool anySign = false;
      for (unsigned lane = 0; lane < e.lanes(); ++lane)
        for (unsigned i = 0; i < 4; ++i) {
          unsigned n = s >> 4 * i & 7;
          order.push_back(lane * 4 + (n & 3) + (n & 4 ? 4 * e.lanes() : 0));
          bool sign = s >> 4 * i & 8;
          anySign |= sign;
          signs.push_back(lane * 4 + i + (sign ? 4 * e.lanes() : 0));
        }
      Value *r = ir.CreateShuffleVector(toBytes(a), toBytes(b), order);
      if (anySign)
        r = ir.CreateShuffleVector(r, ir.CreateAShr(r, ConstantInt::get(bytes, 7)), signs);
      e.out(ir.CreateBitCast(r, a->getType()));
      return;
    }
  }
  llvm::Type *wide = a->getType()->getWithNewType(ir.getInt64Ty());
  Value *both = ir.CreateOr(ir.CreateShl(ir.CreateZExt(b, wide), 32), ir.CreateZExt(a, wide));
  Value *result = e.constant(32, 0);
  for (unsigned i = 0; i < 4; ++i) {
    Value *nibble = ir.CreateAnd(ir.CreateLShr(selector, e.constant(32, 4 * i)), e.constant(32, 15));
    Value *by = ir.CreateZExt(ir.CreateShl(ir.CreateAnd(nibble, e.constant(32, 7)), e.constant(32, 3)), wide);
    Value *byte = ir.CreateAnd(ir.CreateTrunc(ir.CreateLShr(both, by), a->getType()), e.constant(32, 255));
    Value *sign = ir.CreateSelect(ir.CreateICmpUGT(byte, e.constant(32, 127)), e.constant(32, 255), e.constant(32, 0));
    byte = ir.CreateSelect(ir.CreateICmpUGT(nibble, e.constant(32, 7)), sign, byte);
    result = ir.CreateOr(result, ir.CreateShl(byte, e.constant(32, 8 * i)));
  }
  e.out(result);
}
void prmt(Emitter &e) { permute(e, e.in(1), e.in(2), e.in(3, Type::B32)); }
void prmtMode(Emitter &e) {
  // Selectors of each mode for c mod 4, most significant nibble first.
  static const struct {
    const char *name;
    uint16_t selector[4];
  } modes[] = {{"f4e", {0x3210, 0x4321, 0x5432, 0x6543}}, {"b4e", {0x5670, 0x6701, 0x7012, 0x0123}},
               {"rc8", {0x0000, 0x1111, 0x2222, 0x3333}}, {"ecl", {0x3210, 0x3211, 0x3222, 0x3333}},
               {"ecr", {0x0000, 0x1110, 0x2210, 0x3210}}, {"rc16", {0x1010, 0x3232, 0x1010, 0x3232}}};
  for (const auto &mode : modes) {
    if (!e.inst->has(mode.name))
      continue;
    Value *c = e.b.CreateAnd(e.in(3, Type::B32), e.constant(32, 3)), *selector = e.constant(32, mode.selector[0]);
    for (unsigned i = 1; i < 4; ++i)
      selector = e.b.CreateSelect(e.b.CreateICmpEQ(c, e.constant(32, i)), e.constant(32, mode.selector[i]), selector);
    permute(e, e.in(1), e.in(2), selector);
  }
}

void szext(Emitter &e) {
  auto &ir = e.b;
  Value *a = e.in(1), *n = e.in(2, Type::B32), *limit = e.constant(32, 31);
  if (e.inst->has("wrap"))
    n = ir.CreateAnd(n, limit);
  Value *isWide = ir.CreateICmpUGT(n, limit), *isZero = ir.CreateICmpEQ(n, e.constant(32, 0));
  Value *unused = ir.CreateSub(e.constant(32, 32), ir.CreateSelect(ir.CreateOr(isWide, isZero), e.constant(32, 32), n));
  Value *up = ir.CreateShl(a, unused);
  Value *r = isSigned(e.inst->type) ? ir.CreateAShr(up, unused) : ir.CreateLShr(up, unused);
  r = ir.CreateSelect(isWide, a, r);
  e.out(ir.CreateSelect(isZero, e.constant(32, 0), r));
}

const OpcodeRow rows[] = {
    {"and", "pred|b16|b32|b64", "d s s", logic<0>},
    {"or", "pred|b16|b32|b64", "d s s", logic<1>},
    {"xor", "pred|b16|b32|b64", "d s s", logic<2>},
    {"not", "pred|b16|b32|b64", "d s", logicNot},
    {"cnot", "b16|b32|b64", "d s", logicCnot},
    {"lop3", "b32", "d s s s s", lop3},
    {"shl", "b16|b32|b64", "d s s", shift<true>},
    {"shr", "b16|b32|b64|u16|u32|u64|s16|s32|s64", "d s s", shift<false>},
    {"shf", "l|r clamp|wrap b32", "d s s s", funnel},
    {"popc", "b32|b64", "d s", popc},
    {"clz", "b32|b64", "d s", clz},
    {"brev", "b32|b64", "d s", brev},
    {"bfind", "?shiftamt u32|u64|s32|s64", "d s", bfind},
    {"fns", "b32", "d s s s", fns},
    {"bfe", "u32|u64|s32|s64", "d s s s", bfe},
    {"bfi", "b32|b64", "d s s s s", bfi},
    {"bmsk", "clamp|wrap b32", "d s s", bmsk},
    {"szext", "clamp|wrap u32|s32", "d s s", szext},
    {"prmt", "b32", "d s s s", prmt},
    {"prmt", "b32 f4e|b4e|rc8|ecl|ecr|rc16", "d s s s", prmtMode},
};

} // namespace

std::span<const OpcodeRow> bitRows() { return rows; }

} // namespace ptxvm
