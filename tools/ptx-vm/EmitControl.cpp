//===- EmitControl.cpp - barriers, traps, hints; branches are Translate.cpp's ------------------------===//

#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/Translate.h"

using namespace llvm;

namespace ptxvm {
namespace {

void terminator(Emitter &) {}

Value *uniformOperand(Emitter &e, const Operand &o) {
  e.wide = false;
  return e.read(o, Type::B32);
}

void barrier(Emitter &e) {
  auto &ir = e.b;
  const bool arrive = e.inst->has("arrive");
  Value *id = uniformOperand(e, e.operand(0));
  Value *threads = e.inst->operands.size() > 1 ? uniformOperand(e, e.operand(1)) : ir.getInt32(0);
  Value *site = e.site();
  e.callHelper(arrive ? barrierArrive : barrierSync, {site, e.mask(), e.liveMask(), id, threads});
}

void barrierReduce(Emitter &e) {
  auto &ir = e.b;
  const bool hasThreads = e.inst->operands.size() == 4;
  e.wide = true;
  Value *p = e.maskBits(e.broadcast(e.readPredicate(e.operand(hasThreads ? 3 : 2))));
  Value *id = uniformOperand(e, e.operand(1));
  Value *threads = hasThreads ? uniformOperand(e, e.operand(2)) : ir.getInt32(0);
  int how = e.inst->has("popc") ? 0 : e.inst->has("and") ? 1 : 2;
  Value *r = e.callHelper(barrierReduction,
                          {e.site(), e.mask(), e.liveMask(), id, threads, ir.CreateAnd(p, e.mask()), ir.getInt32(how)});
  e.write(e.operand(0), how == 0 ? r : ir.CreateICmpNE(r, ir.getInt32(0)));
}

void barrierWarp(Emitter &e) {
  e.wide = true;
  Value *members = e.broadcast(e.read(e.operand(0), Type::B32));
  e.toSlot(3, members);
  e.callHelper(checkMembers, {e.site(), e.mask(), e.liveMask()});
}

void trap(Emitter &e) {
  e.ifAnyLane([&] { e.callHelper(trapped, {e.site(), e.mask()}); });
}
void nothing(Emitter &) {}
void sleep(Emitter &e) { e.callHelper(yieldTurn, {}); }

#define SYNC "?cta sync ?aligned"
const OpcodeRow rows[] = {
    {"bra", "?uni", "L", terminator},
    {"ret", "?uni", "", terminator},
    {"exit", "", "", terminator},
    {"call", "?uni", "L ?L L", terminator}, // replaced by Inline.cpp
    {"bar", "sync|arrive", "s ?s", barrier},
    {"bar", "cta sync|arrive", "s ?s", barrier},
    {"barrier", "?cta sync|arrive ?aligned", "s ?s", barrier},
    {"bar", "?cta red popc u32", "d s P", barrierReduce, Result::Varying},
    {"bar", "?cta red popc u32", "d s s P", barrierReduce, Result::Varying},
    {"bar", "?cta red and|or pred", "d s P", barrierReduce, Result::Varying},
    {"bar", "?cta red and|or pred", "d s s P", barrierReduce, Result::Varying},
    {"barrier", "?cta red popc ?aligned u32", "d s P", barrierReduce, Result::Varying},
    {"barrier", "?cta red and|or ?aligned pred", "d s P", barrierReduce, Result::Varying},
    {"bar", "warp sync", "s", barrierWarp},
    {"trap", "", "", trap},
    {"brkpt", "", "", nothing},
    {"pmevent", "", "s", nothing},
    {"nanosleep", "u32", "s", sleep, Result::Pure, 70},
    {"griddepcontrol", "launch_dependents|wait", "", nothing, Result::Pure, 90},
    {"setmaxnreg", "inc|dec sync aligned u32", "s", nothing, Result::Pure, 90},
};

} // namespace

std::span<const OpcodeRow> controlRows() { return rows; }

} // namespace ptxvm
