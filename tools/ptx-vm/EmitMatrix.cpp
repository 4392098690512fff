//===- EmitMatrix.cpp - mma.sync, ldmatrix, stmatrix, movmatrix ---------------------------------------------===//

#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/Translate.h"

using namespace llvm;

namespace ptxvm {
namespace {

std::vector<Operand> elementsOf(const Operand &o) {
  return o.kind == Operand::Vector ? o.elements : std::vector<Operand>{o};
}

void expectFull(Emitter &e) {
  // .aligned: all threads of the warp execute it.
  if (!e.maskIsFull())
    e.callHelper(checkAligned, {e.site(), e.mask(), e.liveMask()});
}

void mma(Emitter &e) {
  e.wide = true;
  expectFull(e);
  const auto d = elementsOf(e.operand(0)), a = elementsOf(e.operand(1)), b = elementsOf(e.operand(2)),
             c = elementsOf(e.operand(3));
  const std::string &shape = e.inst->modifiers[2];
  const unsigned k = std::stoi(shape.substr(shape.rfind('k') + 1));
  std::vector<Type> types;
  for (const std::string &m : e.inst->modifiers)
    if (auto t = typeNamed(m))
      types.push_back(*t);
  const unsigned aBits = types[1] == Type::TF32 ? 32 : bitsOf(types[1]);
  const size_t aRegisters = 16 * k * aBits / 1024, bRegisters = 8 * k * aBits / 1024,
               cRegisters = types[3] == Type::F16 ? 2 : 4;
  if (a.size() != aRegisters || b.size() != bRegisters || c.size() != cRegisters ||
      d.size() != (types[0] == Type::F16 ? 2u : 4u))
    e.fail("mma of this shape takes " + std::to_string(aRegisters) + ", " + std::to_string(bRegisters) + " and " +
           std::to_string(cRegisters) + " registers");
  auto put = [&](unsigned slot, const std::vector<Operand> &from) {
    for (const Operand &o : from)
      e.toSlot(slot++, e.read(o, Type::B32));
  };
  put(0, a), put(4, b), put(6, c);
  e.callHelper(multiplyMatrices, {e.b.getInt32(k), e.b.getInt32(uint32_t(types[1])), e.b.getInt32(uint32_t(types[2])),
                                  e.b.getInt32(uint32_t(types[3])), e.b.getInt32(uint32_t(types[0])),
                                  e.b.getInt32(e.inst->has("satfinite"))});
  for (size_t i = 0; i < d.size(); ++i)
    e.write(d[i], e.fromSlot(10 + i, 32));
}

Value *sharedAddress(Emitter &e, const Operand &memory) {
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

void matrixAccess(Emitter &e) {
  e.wide = true;
  expectFull(e);
  const bool isLoad = e.inst->opcode == "ldmatrix";
  const auto data = elementsOf(e.operand(isLoad ? 0 : 1));
  const unsigned count = e.inst->has("x1") ? 1 : e.inst->has("x2") ? 2 : 4;
  if (data.size() != count)
    e.fail("expected " + std::to_string(count) + " registers, got " + std::to_string(data.size()));
  e.toSlot(0, sharedAddress(e, e.operand(isLoad ? 1 : 0)));
  if (!isLoad)
    for (unsigned i = 0; i < count; ++i)
      e.toSlot(2 + i, e.read(data[i], Type::B32));
  e.callHelper(isLoad ? loadMatrix : storeMatrix,
               {e.site(16, 1, Space::Shared), e.b.getInt32(count), e.b.getInt32(e.inst->has("trans"))});
  if (isLoad)
    for (unsigned i = 0; i < count; ++i)
      e.write(data[i], e.fromSlot(2 + i, 32));
}

void moveMatrix(Emitter &e) {
  e.wide = true;
  expectFull(e);
  e.toSlot(0, e.read(e.operand(1), Type::B32));
  e.callHelper(transposeMatrix, {});
  e.write(e.operand(0), e.fromSlot(1, 32));
}

#define SHAPE(shapes) "sync aligned " shapes " row col "
const OpcodeRow rows[] = {
    {"mma", SHAPE("m16n8k8|m16n8k16") "f16|f32 f16 f16 f16|f32", "D S S S", mma, Result::Varying, 80},
    {"mma", SHAPE("m16n8k8|m16n8k16") "f32 bf16 bf16 f32", "D S S S", mma, Result::Varying, 80},
    {"mma", SHAPE("m16n8k4|m16n8k8") "f32 tf32 tf32 f32", "D S S S", mma, Result::Varying, 80},
    {"mma", SHAPE("m16n8k16|m16n8k32") "?satfinite s32 u8|s8 u8|s8 s32", "D S S S", mma, Result::Varying, 80},
    {"ldmatrix", "sync aligned m8n8 x1|x2|x4 ?trans shared|shared::cta b16", "D m", matrixAccess, Result::Varying, 75},
    {"stmatrix", "sync aligned m8n8 x1|x2|x4 ?trans shared|shared::cta b16", "m S", matrixAccess, Result::Varying, 90},
    {"movmatrix", "sync aligned m8n8 trans b16", "d s", moveMatrix, Result::Varying, 75},
};

} // namespace

std::span<const OpcodeRow> matrixRows() { return rows; }

} // namespace ptxvm
