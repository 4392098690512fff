//===- EmitMove.cpp - mov, comparison and selection, addresses ----------------------------===//

#include "tools/ptx-vm/EmitFloat.h"
#include "tools/ptx-vm/Helpers.h"

using namespace llvm;

namespace ptxvm {
namespace {

Type bitsType(unsigned bits) {
  return bits == 8 ? Type::B8 : bits == 16 ? Type::B16 : bits == 32 ? Type::B32 : bits == 64 ? Type::B64 : Type::B128;
}

void move(Emitter &e) {
  const Operand &to = e.operand(0), &from = e.operand(1);
  const unsigned bits = bitsOf(e.inst->type);
  if (from.kind == Operand::Vector) { // pack, first element lowest
    const unsigned each = bits / from.elements.size();
    Value *r = e.constant(bits, 0);
    for (size_t i = 0; i < from.elements.size(); ++i)
      r = e.b.CreateOr(r, e.b.CreateShl(e.b.CreateZExt(e.read(from.elements[i], bitsType(each)), e.integer(bits)),
                                        e.constant(bits, i * each)));
    return e.write(to, r);
  }
  if (to.kind == Operand::Vector) {
    const unsigned each = bits / to.elements.size();
    Value *v = e.read(from, bitsType(bits));
    for (size_t i = 0; i < to.elements.size(); ++i)
      e.write(to.elements[i], e.b.CreateTrunc(e.b.CreateLShr(v, e.constant(bits, i * each)), e.integer(each)));
    return;
  }
  e.write(to, e.read(from, e.inst->type));
}

/// a compared with b; the comparison is the modifier at `how`.
Value *compare(Emitter &e, const std::string &how, Type type, Value *a, Value *b) {
  if (isFloat(type))
    return compareFloat(e, how, a, b);
  const bool s = isSigned(type);
  CmpInst::Predicate p;
  if (how == "eq" || how == "ne")
    p = how == "eq" ? CmpInst::ICMP_EQ : CmpInst::ICMP_NE;
  else if (info(type).kind == 'b')
    e.fail("comparison '." + how + "' needs a signed or unsigned type");
  else if (how == "lt" || how == "lo")
    p = s && how == "lt" ? CmpInst::ICMP_SLT : CmpInst::ICMP_ULT;
  else if (how == "le" || how == "ls")
    p = s && how == "le" ? CmpInst::ICMP_SLE : CmpInst::ICMP_ULE;
  else if (how == "gt" || how == "hi")
    p = s && how == "gt" ? CmpInst::ICMP_SGT : CmpInst::ICMP_UGT;
  else if (how == "ge" || how == "hs")
    p = s && how == "ge" ? CmpInst::ICMP_SGE : CmpInst::ICMP_UGE;
  else
    e.fail("comparison '." + how + "' needs a floating-point type");
  return e.b.CreateICmp(p, a, b);
}

Value *comparand(Emitter &e, size_t i, Type t) {
  Value *v = e.in(i, t);
  if (t == Type::F16 || t == Type::BF16 || t == Type::F16x2 || t == Type::BF16x2)
    return toFloat(e, v, t == Type::BF16 || t == Type::BF16x2);
  return t == Type::F32 && e.inst->has("ftz") ? flushSubnormals(e, v) : v;
}

Value *combine(Emitter &e, Value *p, size_t at) {
  if (e.inst->operands.size() <= at)
    return p;
  Value *c = e.readPredicate(e.operand(at));
  return e.inst->has("and") ? e.b.CreateAnd(p, c) : e.inst->has("or") ? e.b.CreateOr(p, c) : e.b.CreateXor(p, c);
}

void setp(Emitter &e) {
  const Type t = e.inst->type;
  Value *p = compare(e, e.inst->modifiers[0], t, comparand(e, 1, t), comparand(e, 2, t));
  if ((t == Type::F16x2 || t == Type::BF16x2)) {
    if (e.operand(0).paired.empty())
      e.fail("a comparison of pairs needs two predicates");
    SmallVector<int> even, odd;
    for (unsigned i = 0; i < e.lanes(); ++i)
      even.push_back(2 * i), odd.push_back(2 * i + 1);
    Value *low = e.b.CreateShuffleVector(p, even), *high = e.b.CreateShuffleVector(p, odd);
    if (!e.wide)
      low = e.b.CreateExtractElement(low, uint64_t(0)), high = e.b.CreateExtractElement(high, uint64_t(0));
    low = combine(e, low, 3), high = combine(e, high, 3);
    e.write(e.operand(0), low);
    return e.write(e.operand(0).paired[0], high);
  }
  Value *first = combine(e, p, 3);
  Value *second = e.operand(0).paired.empty() ? nullptr : combine(e, e.b.CreateNot(p), 3);
  e.write(e.operand(0), first);
  if (second)
    e.write(e.operand(0).paired[0], second);
}

void set(Emitter &e) {
  Value *p = combine(
      e,
      compare(e, e.inst->modifiers[0], e.inst->type2, comparand(e, 1, e.inst->type2), comparand(e, 2, e.inst->type2)),
      3);
  if (e.inst->type == Type::F32)
    e.out(e.b.CreateSelect(p, e.constantFloat(Type::F32, 1.0), e.constantFloat(Type::F32, 0.0)));
  else
    e.out(e.b.CreateSExt(p, e.integer(bitsOf(e.inst->type))));
}

void setHalf(Emitter &e) { // set.cmp.f16x2.f16x2 and set.cmp.u32.f16x2-like forms: per half
  const Type from = e.inst->type2, to = e.inst->type;
  Value *p = compareFloat(e, e.inst->modifiers[0], comparand(e, 1, from), comparand(e, 2, from));
  llvm::Type *shorts = p->getType()->getWithNewType(e.b.getInt16Ty());
  const bool isPair = from == Type::F16x2 || from == Type::BF16x2;
  if (isFloat(to))
    return e.out(e.b.CreateSelect(p,
                                  ConstantInt::get(shorts, from == Type::F16 || from == Type::F16x2 ? 0x3c00 : 0x3f80),
                                  Constant::getNullValue(shorts)));
  if (isPair)
    return e.out(e.b.CreateSExt(p, shorts));
  e.out(e.b.CreateSExt(p, e.integer(bitsOf(to))));
}

void selp(Emitter &e) { e.out(e.b.CreateSelect(e.readPredicate(e.operand(3)), e.in(1), e.in(2))); }
void slct(Emitter &e) {
  Value *c = e.in(3, e.inst->type2);
  if (e.inst->type2 == Type::F32 && e.inst->has("ftz"))
    c = flushSubnormals(e, c);
  Value *p = isFloat(e.inst->type2) ? e.b.CreateFCmpOGE(c, ConstantFP::get(c->getType(), 0.0))
                                    : e.b.CreateICmpSGE(c, Constant::getNullValue(c->getType()));
  e.out(e.b.CreateSelect(p, e.in(1), e.in(2)));
}

// --- generic addresses: global ones are themselves, .shared and .local have windows, .param lies where it lies ---

Value *windowOf(Emitter &e, const std::string &space) {
  Value *base = e.field(space == "shared"  ? offsetof(Warp, shared)
                        : space == "local" ? offsetof(Warp, local)
                                           : offsetof(Warp, params),
                        e.b.getInt64Ty());
  if (e.wide)
    base = e.broadcast(base);
  if (space == "local")
    base = e.b.CreateAdd(base,
                         e.b.CreateMul(e.laneVector(1, 64),
                                       e.broadcast(e.b.CreateZExt(e.field(offsetof(Warp, localBytes), e.b.getInt32Ty()),
                                                                  e.b.getInt64Ty()))));
  return base;
}

template <bool toSpace> void convertAddress(Emitter &e) {
  const std::string space = e.inst->modifiers[toSpace ? 1 : 0].substr(0, e.inst->modifiers[toSpace ? 1 : 0].find(':'));
  const unsigned bits = bitsOf(e.inst->type);
  if (bits != 64)
    e.fail("addresses are 64 bits wide");
  Value *v = e.in(1, Type::B64);
  if (space == "shared" || space == "local" || space == "param") {
    Value *window = windowOf(e, space);
    v = toSpace ? e.b.CreateSub(v, window) : e.b.CreateAdd(v, window);
  }
  e.out(v);
}

void isSpace(Emitter &e) {
  auto &ir = e.b;
  const std::string space = e.inst->modifiers[0].substr(0, e.inst->modifiers[0].find(':'));
  Value *v = e.in(1, Type::B64);
  auto inside = [&](const char *which, Value *bytes, uint64_t from) {
    Value *window = e.field(which[0] == 's'   ? offsetof(Warp, shared)
                            : which[0] == 'l' ? offsetof(Warp, local)
                                              : offsetof(Warp, params),
                            ir.getInt64Ty());
    Value *offset = ir.CreateSub(v, e.broadcast(ir.CreateAdd(window, ir.getInt64(from))));
    return ir.CreateICmpULT(offset, e.broadcast(bytes));
  };
  auto field32 = [&](size_t at) { return ir.CreateZExt(e.field(at, ir.getInt32Ty()), ir.getInt64Ty()); };
  Value *shared =
      inside("shared", ir.CreateSub(field32(offsetof(Warp, sharedEnd)), ir.getInt64(kSharedBase)), kSharedBase);
  Value *local = inside("local", ir.CreateMul(field32(offsetof(Warp, localBytes)), ir.getInt64(kLanes)), 0);
  Value *none = Constant::getNullValue(shared->getType());
  Value *r = space == "shared"   ? shared
             : space == "local"  ? local
             : space == "global" ? ir.CreateNot(ir.CreateOr(shared, local))
                                 : none;
  e.out(r);
}

#define BOOLEAN "and|or|xor"
const OpcodeRow rows[] = {
    {"mov", "pred|b16|b32|b64|b128|u16|u32|u64|s16|s32|s64|f32|f64", "D S", move},
    {"mov", "f16|bf16|f16x2|bf16x2", "D S", move},
    {"setp", "$compare ?ftz $any", "q s s", setp},
    {"setp", "$compare " BOOLEAN " ?ftz $any", "q s s P", setp},
    {"setp", "$compare ?ftz f16|f16x2", "q s s", setp},
    {"setp", "$compare bf16|bf16x2", "q s s", setp, Result::Pure, 90},
    {"setp", "$compare " BOOLEAN " ?ftz f16|f16x2", "q s s P", setp},
    {"setp", "$compare " BOOLEAN " bf16|bf16x2", "q s s P", setp, Result::Pure, 90},
    {"set", "$compare ?ftz u32|s32|f32 $any", "d s s", set},
    {"set", "$compare " BOOLEAN " ?ftz u32|s32|f32 $any", "d s s P", set},
    {"set", "$compare ?ftz f16|u16|s16|u32|s32 f16", "d s s", setHalf},
    {"set", "$compare ?ftz f16x2|u32|s32 f16x2", "d s s", setHalf},
    {"set", "$compare bf16|u16|s16|u32|s32 bf16", "d s s", setHalf, Result::Pure, 90},
    {"set", "$compare bf16x2|u32|s32 bf16x2", "d s s", setHalf, Result::Pure, 90},
    {"selp", "$any", "d s s P", selp},
    {"slct", "?ftz $any s32|f32", "d s s s", slct},
    {"cvta", "global|const|shared|shared::cta|param u32|u64", "d s", convertAddress<false>},
    {"cvta", "to global|const|shared|shared::cta|local|param u32|u64", "d s", convertAddress<true>},
    {"cvta", "local u32|u64", "d s", convertAddress<false>, Result::Varying},
    {"isspacep", "global|const|shared|shared::cta|local|param", "d s", isSpace},
};

} // namespace

std::span<const OpcodeRow> moveRows() { return rows; }

} // namespace ptxvm
