// The table of opcodes: one row per form of an instruction. A row's pattern lists the modifiers in their order,
// separated by spaces: `a|b` one of these, `?a|b` perhaps one of these; `$int` and the like are classes (Opcodes.cpp).
// Operands, a letter each:
//   d  destination          q  destination, perhaps with a second after '|'     D  destination, scalar or {vector}
//   s  source               P  source predicate                                 S  source, scalar or {vector}
//   m  [address]            L  label or function                                ?  the next operand may be absent
// An instruction that no row matches is an error; nothing is guessed. To add an instruction, add a row to the Emit*.cpp
// of its group.
#pragma once
#include "tools/ptx-vm/Ptx.h"
#include <span>

namespace ptxvm {

class Emitter;

enum class Result : uint8_t {
  Pure,    // the same in all lanes if the sources are
  Varying, // may differ between lanes whatever the sources
  Load,    // the same in all lanes if the address is, except in .local
  Voted,   // the same in all lanes that execute it together
};

struct OpcodeRow {
  const char *opcode, *modifiers, *operands;
  void (*emit)(Emitter &);
  Result result = Result::Pure;
  int minChip = 0;
};

std::span<const OpcodeRow> integerRows(), bitRows(), floatRows(), halfRows(), approximateRows(), convertRows(),
    moveRows(), memoryRows(), atomicRows(), asyncRows(), controlRows(), warpRows(), matrixRows();

/// Finds the row of an instruction, fills row, choice, type and type2. Throws PtxError.
void matchOpcode(Instruction &inst);

bool isSpecialRegister(std::string_view name);

/// Calls back with every register that the instruction writes, and with every one that it reads (guard and addresses
/// included).
template <typename F> void forEachRegister(const Operand &o, F f) {
  if (o.reg >= 0)
    f(o.reg);
  for (const Operand &e : o.elements)
    forEachRegister(e, f);
  for (const Operand &e : o.paired)
    forEachRegister(e, f);
}
bool isDestination(const Instruction &inst, size_t operand);
template <typename F> void forEachWritten(const Instruction &inst, F f) {
  for (size_t i = 0; i < inst.operands.size(); ++i)
    if (isDestination(inst, i))
      forEachRegister(inst.operands[i], f);
}
template <typename F> void forEachRead(const Instruction &inst, F f) {
  if (inst.guard >= 0)
    f(inst.guard);
  for (size_t i = 0; i < inst.operands.size(); ++i)
    if (!isDestination(inst, i))
      forEachRegister(inst.operands[i], f);
}

} // namespace ptxvm
