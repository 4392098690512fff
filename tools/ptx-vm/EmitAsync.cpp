//===- EmitAsync.cpp - cp.async ----------------------------------------------------------------------------===//
//
// A copy is only queued; it is made when the thread waits for its group, so that a missing wait reads stale shared
// memory.

#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/Translate.h"

using namespace llvm;

namespace ptxvm {
namespace {

Value *address(Emitter &e, const Operand &memory) {
  if (memory.reg < 0)
    return e.constant(64, memory.name.empty() ? memory.offset : e.addressOf(memory));
  Operand base;
  base.kind = Operand::Register;
  base.reg = memory.reg;
  base.name = e.function.registers[memory.reg].name;
  Value *v =
      e.bitsOfOperand(base) == 32 ? e.b.CreateZExt(e.read(base, Type::B32), e.integer(64)) : e.read(base, Type::B64);
  return e.b.CreateAdd(v, e.constant(64, memory.offset));
}

void copy(Emitter &e) {
  e.wide = true;
  auto size = e.constantOf(e.operand(2));
  if (!size || (*size != 4 && *size != 8 && *size != 16) || (e.inst->has("cg") && *size != 16))
    e.fail("cp.async copies 4, 8 or 16 bytes (.cg: 16)");
  e.toSlot(0, address(e, e.operand(0)));
  e.toSlot(1, address(e, e.operand(1)));
  Value *source = e.inst->operands.size() > 3 && e.bitsOfOperand(e.operand(3)) != 64 ? e.read(e.operand(3), Type::B32)
                                                                                     : e.constant(32, *size);
  e.toSlot(2, source);
  e.callHelper(asyncCopy, {e.site(*size, 1, Space::Shared), e.mask()});
}
void commit(Emitter &e) { e.callHelper(asyncCommit, {}); }
void wait(Emitter &e) {
  auto groups = e.inst->has("wait_all") ? std::optional<uint64_t>(0) : e.constantOf(e.operand(0));
  if (!groups)
    e.fail("cp.async.wait_group needs a constant");
  e.callHelper(asyncWait, {e.b.getInt32(*groups), e.b.getInt32(e.inst->has("wait_all")), e.mask()});
}

const OpcodeRow rows[] = {
    {"cp", "async ca shared|shared::cta global ?L2::cache_hint ?$prefetch", "m m s ?s ?s", copy, Result::Varying, 80},
    {"cp", "async cg shared|shared::cta global ?L2::cache_hint ?$prefetch", "m m s ?s ?s", copy, Result::Varying, 80},
    {"cp", "async commit_group", "", commit, Result::Pure, 80},
    {"cp", "async wait_group", "s", wait, Result::Pure, 80},
    {"cp", "async wait_all", "", wait, Result::Pure, 80},
};

} // namespace

std::span<const OpcodeRow> asyncRows() { return rows; }

} // namespace ptxvm
