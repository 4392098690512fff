//===- EmitAtomic.cpp - atom, red, fences ---------------------------------------------------------===//

#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/Translate.h"

using namespace llvm;

namespace ptxvm {
namespace {

AtomicOperation operationOf(const Instruction &inst) {
  static const std::pair<const char *, AtomicOperation> names[] = {
      {"and", kAnd}, {"or", kOr},   {"xor", kXor}, {"cas", kCas}, {"exch", kExchange},
      {"add", kAdd}, {"inc", kInc}, {"dec", kDec}, {"min", kMin}, {"max", kMax}};
  for (auto [name, op] : names)
    if (inst.has(name))
      return op;
  return kAdd;
}

void atomic(Emitter &e) {
  auto &ir = e.b;
  e.wide = true;
  const bool returns = e.inst->opcode == "atom";
  const Operand &memory = e.operand(returns ? 1 : 0);
  const size_t source = returns ? 2 : 1;
  Space space = e.inst->has("shared") || e.inst->has("shared::cta") ? Space::Shared
                : e.inst->has("global")                             ? Space::Global
                                                                    : Space::Generic;
  Value *address;
  if (memory.reg >= 0) {
    Operand base;
    base.kind = Operand::Register;
    base.reg = memory.reg;
    base.name = e.function.registers[memory.reg].name;
    address = e.bitsOfOperand(base) == 32 && space == Space::Shared
                  ? ir.CreateZExt(e.read(base, Type::B32), e.integer(64))
                  : e.read(base, Type::B64);
    address = ir.CreateAdd(address, e.constant(64, memory.offset));
  } else if (memory.name.empty()) {
    address = e.constant(64, memory.offset);
  } else {
    address = e.constant(64, e.addressOf(memory));
    space = e.spaceOfSymbol(memory);
  }
  const unsigned bits = bitsOf(e.inst->type);
  e.toSlot(0, address);
  e.toSlot(1, e.readLow(e.operand(source), bits));
  if (e.operand(source).kind != Operand::Register && e.operand(source).kind != Operand::Integer &&
      e.operand(source).kind != Operand::Float)
    e.fail("operand of an atomic is no value");
  AtomicOperation op = operationOf(*e.inst);
  if (op == kCas)
    e.toSlot(2, e.readLow(e.operand(source + 1), bits));
  e.callHelper(atomicMemory, {e.site(bits / 8, 1, space), e.mask(), e.liveMask(), ir.getInt32(op),
                              ir.getInt32(uint32_t(e.inst->type))});
  if (returns)
    e.write(e.operand(0), e.fromSlot(3, bits));
}

void fence(Emitter &e) { e.callHelper(fenceMemory, {e.site(), e.mask()}); }

#define SEMANTICS "?relaxed|acquire|release|acq_rel ?$scope ?global|shared|shared::cta "
#define HINT " ?L2::cache_hint "
const OpcodeRow rows[] = {
    {"atom", SEMANTICS "and|or|xor|exch" HINT "b32|b64", "d m s ?s", atomic, Result::Varying},
    {"atom", SEMANTICS "cas" HINT "b16|b32|b64", "d m s s ?s", atomic, Result::Varying},
    {"atom", SEMANTICS "add" HINT "u32|s32|u64|f32|f64", "d m s ?s", atomic, Result::Varying},
    {"atom", SEMANTICS "add noftz" HINT "f16|f16x2|bf16|bf16x2", "d m s ?s", atomic, Result::Varying},
    {"atom", SEMANTICS "inc|dec" HINT "u32", "d m s ?s", atomic, Result::Varying},
    {"atom", SEMANTICS "min|max" HINT "u32|s32|u64|s64", "d m s ?s", atomic, Result::Varying},
    {"red", SEMANTICS "and|or|xor" HINT "b32|b64", "m s ?s", atomic, Result::Varying},
    {"red", SEMANTICS "add" HINT "u32|s32|u64|f32|f64", "m s ?s", atomic, Result::Varying},
    {"red", SEMANTICS "add noftz" HINT "f16|f16x2|bf16|bf16x2", "m s ?s", atomic, Result::Varying},
    {"red", SEMANTICS "inc|dec" HINT "u32", "m s ?s", atomic, Result::Varying},
    {"red", SEMANTICS "min|max" HINT "u32|s32|u64|s64", "m s ?s", atomic, Result::Varying},
    {"membar", "cta|gl|sys", "", fence},
    {"fence", "?sc|acq_rel $scope", "", fence},
    {"fence", "acquire|release $scope", "", fence, Result::Pure, 90},
    {"fence", "proxy alias|async|async.global|async.shared::cta", "", fence},
};

} // namespace

std::span<const OpcodeRow> atomicRows() { return rows; }

} // namespace ptxvm
