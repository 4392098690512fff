//===- EmitWarp.cpp - shuffles, votes, matches, reductions over a warp ----------------------------------===//

#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/Translate.h"

using namespace llvm;

namespace ptxvm {
namespace {

/// Every lane named must be here (or have exited), and every lane here must be named. Checked by a helper unless all 32
/// are.
void members(Emitter &e, const Operand &o) {
  auto named = e.constantOf(o);
  if (named && uint32_t(*named) == ~0u && e.maskIsFull())
    return;
  e.wide = true;
  e.toSlot(3, e.read(o, Type::B32));
  e.callHelper(checkMembers, {e.site(), e.mask(), e.liveMask()});
}

/// By the document: the source lane of each mode, and whether it is in range.
void shuffle(Emitter &e) {
  auto &ir = e.b;
  e.wide = true;
  members(e, e.operand(4));
  const bool idx = e.inst->has("idx"), up = e.inst->has("up"), down = e.inst->has("down");
  Value *a = e.read(e.operand(1), Type::B32);
  auto constantB = e.constantOf(e.operand(2)), constantC = e.constantOf(e.operand(3));
  Value *result, *inRange;
  if (constantB && constantC && e.maskIsFull()) {
    const int bval = *constantB & 31, cval = *constantC & 31, segments = *constantC >> 8 & 31;
    SmallVector<int> order;
    SmallVector<Constant *> flags;
    for (int lane = 0; lane < int(kLanes); ++lane) {
      int maxLane = (lane & segments) | (cval & ~segments), minLane = lane & segments;
      int j = up ? lane - bval : down ? lane + bval : idx ? (minLane | (bval & ~segments)) : lane ^ bval;
      bool p = up ? j >= maxLane : j <= maxLane;
      order.push_back(p ? j : lane);
      flags.push_back(ir.getInt1(p));
    }
    result = ir.CreateShuffleVector(a, order);
    inRange = ConstantVector::get(flags);
  } else {
    e.toSlot(0, a);
    e.toSlot(1, e.read(e.operand(2), Type::B32));
    e.toSlot(2, e.read(e.operand(3), Type::B32));
    e.callHelper(shuffleLanes, {e.site(), e.mask(), ir.getInt32(up ? 0 : down ? 1 : idx ? 2 : 3)});
    result = e.fromSlot(4, 32);
    inRange = e.fromSlot(5, 1);
  }
  e.write(e.operand(0), result);
  for (const Operand &p : e.operand(0).paired)
    e.write(p, inRange);
}

void vote(Emitter &e) {
  auto &ir = e.b;
  e.wide = true;
  members(e, e.operand(2));
  Value *p = ir.CreateAnd(e.maskBits(e.broadcast(e.readPredicate(e.operand(1)))), e.mask());
  auto named = e.constantOf(e.operand(2));
  Value *here = e.mask(), *result;
  if (named) {
    Value *who = ir.CreateAnd(here, ir.getInt32(*named));
    p = ir.CreateAnd(p, who);
    if (e.inst->has("ballot"))
      return e.write(e.operand(0), p);
    Value *all = ir.CreateICmpEQ(p, who), *any = ir.CreateICmpNE(p, ir.getInt32(0));
    result = e.inst->has("all") ? all : e.inst->has("any") ? any : ir.CreateOr(all, ir.CreateNot(any));
    return e.write(e.operand(0), result);
  }
  // Members by lane.
  Value *who = ir.CreateAnd(e.read(e.operand(2), Type::B32), e.broadcast(here));
  Value *set = ir.CreateAnd(who, e.broadcast(p));
  if (e.inst->has("ballot"))
    return e.write(e.operand(0), set);
  Value *all = ir.CreateICmpEQ(set, who), *any = ir.CreateICmpNE(set, Constant::getNullValue(set->getType()));
  e.write(e.operand(0), e.inst->has("all") ? all : e.inst->has("any") ? any : ir.CreateOr(all, ir.CreateNot(any)));
}

void activeMask(Emitter &e) {
  e.wide = false;
  e.write(e.operand(0), e.mask());
}

void match(Emitter &e) {
  e.wide = true;
  members(e, e.operand(2));
  const unsigned bits = bitsOf(e.inst->type);
  Value *v = e.in(1);
  e.toSlot(0, e.b.CreateZExt(v, v->getType()->getWithNewType(e.b.getInt64Ty())));
  e.toSlot(3, e.read(e.operand(2), Type::B32));
  e.callHelper(matchLanes, {e.mask(), e.b.getInt32(e.inst->has("all"))});
  (void)bits;
  e.write(e.operand(0), e.fromSlot(4, 32));
  for (const Operand &p : e.operand(0).paired)
    e.write(p, e.fromSlot(5, 1));
}

void reduce(Emitter &e) {
  e.wide = true;
  members(e, e.operand(2));
  e.toSlot(0, e.in(1));
  e.toSlot(3, e.read(e.operand(2), Type::B32));
  static const std::pair<const char *, AtomicOperation> names[] = {{"add", kAdd}, {"min", kMin}, {"max", kMax},
                                                                   {"and", kAnd}, {"or", kOr},   {"xor", kXor}};
  for (auto [name, op] : names)
    if (e.inst->has(name))
      e.callHelper(reduceLanes, {e.mask(), e.b.getInt32(op), e.b.getInt32(uint32_t(e.inst->type))});
  e.write(e.operand(0), e.fromSlot(4, 32));
}

void elect(Emitter &e) {
  auto &ir = e.b;
  e.wide = true;
  members(e, e.operand(1));
  Value *who = ir.CreateAnd(e.read(e.operand(1), Type::B32), e.broadcast(e.mask()));
  Value *leader = ir.CreateBinaryIntrinsic(Intrinsic::cttz, who, ir.getFalse());
  e.write(e.operand(0), leader);
  for (const Operand &p : e.operand(0).paired)
    e.write(p, ir.CreateICmpEQ(leader, e.laneVector(1, 32)));
}

const OpcodeRow rows[] = {
    {"shfl", "sync up|down|bfly|idx b32", "q s s s s", shuffle, Result::Varying},
    {"vote", "sync all|any|uni pred", "d P s", vote, Result::Voted},
    {"vote", "sync ballot b32", "d P s", vote, Result::Voted},
    {"activemask", "b32", "d", activeMask},
    {"match", "any sync b32|b64", "d s s", match, Result::Varying, 70},
    {"match", "all sync b32|b64", "q s s", match, Result::Varying, 70},
    {"redux", "sync add|min|max u32|s32", "d s s", reduce, Result::Voted, 80},
    {"redux", "sync and|or|xor b32", "d s s", reduce, Result::Voted, 80},
    {"elect", "sync", "q s", elect, Result::Varying, 90},
};

} // namespace

std::span<const OpcodeRow> warpRows() { return rows; }

} // namespace ptxvm
