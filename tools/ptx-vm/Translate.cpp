//===- Translate.cpp - types, registers, lanes, calls of helpers --------------------------------===//

#include "tools/ptx-vm/Translate.h"
#include "tools/ptx-vm/Helpers.h"
#include "llvm/IR/IntrinsicsX86.h"
#include "llvm/IR/MDBuilder.h"

using namespace llvm;

namespace ptxvm {

Emitter::Emitter(llvm::Module &module, const Function &function, const Addresses &addresses, TranslateOptions options,
                 std::vector<Site> &sites, std::string name)
    : b(module.getContext()), options(options), addresses(addresses), function(function), context(module.getContext()),
      module(module), cfg(function, options.shape), sites(sites) {
  auto *type = FunctionType::get(b.getVoidTy(), {b.getPtrTy()}, false);
  llvmFunction = llvm::Function::Create(type, llvm::Function::ExternalLinkage, name, module);
  llvmFunction->addFnAttr(Attribute::NoUnwind);
  llvmFunction->addParamAttr(0, Attribute::NoAlias);
  warp = llvmFunction->getArg(0);
  std::vector<int> writes(function.registers.size());
  constants.resize(function.registers.size());
  for (const Instruction &i : function.body)
    forEachWritten(i, [&](int r) {
      ++writes[r];
      bool isConstant = i.opcode == "mov" && i.guard < 0 && i.operands[0].kind == Operand::Register &&
                        i.operands[1].kind == Operand::Integer;
      constants[r] = isConstant && writes[r] == 1 ? std::optional(i.operands[1].bits) : std::nullopt;
    });
}

std::optional<uint64_t> Emitter::constantOf(const Operand &o) const {
  if (o.kind == Operand::Integer)
    return o.bits;
  return o.kind == Operand::Register && !o.negated ? constants[o.reg] : std::nullopt;
}

void Emitter::fail(const std::string &message) const { throw PtxError(inst ? inst->line : function.line, message); }

// --- types ---

llvm::Type *Emitter::scalar(Type t) {
  auto pair = [&](llvm::Type *element) { return FixedVectorType::get(element, 2); };
  switch (t) {
  case Type::F16:
    return b.getHalfTy();
  case Type::F16x2:
    return pair(b.getHalfTy());
  case Type::BF16x2: // as integers: the host's own conversions flush subnormals
  case Type::U16x2:
  case Type::S16x2:
    return pair(b.getInt16Ty());
  case Type::F32x2:
    return pair(b.getFloatTy());
  case Type::F32:
  case Type::TF32:
    return b.getFloatTy();
  case Type::F64:
    return b.getDoubleTy();
  default: // integers, and bf16, which EmitHalf.cpp handles as such
    return b.getIntNTy(bitsOf(t));
  }
}

llvm::Type *Emitter::type(llvm::Type *t) {
  if (!wide)
    return t;
  if (auto *pair = dyn_cast<FixedVectorType>(t))
    return FixedVectorType::get(pair->getElementType(), kLanes * pair->getNumElements());
  return FixedVectorType::get(t, kLanes);
}

Value *Emitter::constantFloat(Type t, double value) { return ConstantFP::get(type(t), value); }

llvm::Type *Emitter::registerType(int reg) {
  llvm::Type *t = scalar(function.registers[reg].type);
  if (t->isVectorTy())
    t = b.getIntNTy(t->getPrimitiveSizeInBits());
  return cfg.varies(reg) ? FixedVectorType::get(t, kLanes) : t;
}

// --- operands ---

static unsigned sizeInBits(Value *v) { return v->getType()->getPrimitiveSizeInBits(); }

Value *Emitter::broadcast(Value *value) {
  if (auto *pair = dyn_cast<FixedVectorType>(value->getType())) {
    if (pair->getNumElements() >= kLanes)
      return value;
    Value *bits = b.CreateBitCast(value, b.getIntNTy(sizeInBits(value)));
    return b.CreateBitCast(b.CreateVectorSplat(kLanes, bits),
                           FixedVectorType::get(pair->getElementType(), kLanes * pair->getNumElements()));
  }
  return b.CreateVectorSplat(kLanes, value);
}

Value *Emitter::readRegister(int reg) {
  if (singles[reg])
    return singles[reg];
  if (!registers[reg]) // never written
    return Constant::getNullValue(registerType(reg));
  return b.CreateLoad(registers[reg]->getAllocatedType(), registers[reg]);
}

unsigned Emitter::bitsOfOperand(const Operand &o) const {
  return o.kind == Operand::Register ? bitsOf(function.registers[o.reg].type) : 0;
}

Value *Emitter::read(const Operand &o, Type t) {
  const unsigned bits = bitsOf(t);
  switch (o.kind) {
  case Operand::Register: {
    if (bitsOf(function.registers[o.reg].type) != bits)
      fail("register '" + o.name + "' has " + std::to_string(bitsOf(function.registers[o.reg].type)) +
           " bits, expected " + std::to_string(bits));
    expectKind(o, t);
    if (auto value = constantOf(o); value && bits > 1)
      return b.CreateBitCast(ConstantInt::get(integer(bits), bits < 64 ? *value & ((uint64_t(1) << bits) - 1) : *value),
                             type(t));
    Value *v = readRegister(o.reg);
    if (wide && !cfg.varies(o.reg))
      v = b.CreateVectorSplat(kLanes, v);
    else if (!wide && cfg.varies(o.reg)) // what is read does not depend on the lane
      v = b.CreateExtractElement(v, maskIsFull() ? (Value *)b.getInt32(0)
                                                 : b.CreateBinaryIntrinsic(Intrinsic::cttz, mask(), b.getTrue()));
    if (o.negated)
      v = t == Type::Pred ? b.CreateNot(v) : b.CreateNeg(v);
    return v->getType() == type(t) ? v : b.CreateBitCast(v, type(t));
  }
  case Operand::Integer:
    if (isFloat(t) && bits != 16 && t != Type::F16x2 && t != Type::BF16x2 && o.bits != 0)
      fail("expected a floating-point literal, got an integer");
    return b.CreateBitCast(ConstantInt::get(integer(bits), bits < 64 ? o.bits & ((uint64_t(1) << bits) - 1) : o.bits),
                           type(t));
  case Operand::Float: {
    bool isSingle = bits == 32, isDouble = bits == 64;
    if (!isSingle && !isDouble)
      fail("floating-point literal where " + std::to_string(bits) + " bits are expected");
    return b.CreateBitCast(ConstantInt::get(integer(bits), floatBits(o, isDouble ? Type::F64 : Type::F32)), type(t));
  }
  case Operand::Symbol: {
    if (bits != 64 && !(bits == 32 && spaceOfSymbol(o) != Space::Global && spaceOfSymbol(o) != Space::Const))
      fail("address of '" + o.name + "' does not fit " + std::to_string(bits) + " bits");
    return constant(bits, addressOf(o));
  }
  case Operand::Special: {
    Value *v = special(o);
    if (v->getType()->getScalarSizeInBits() != bits)
      v = b.CreateZExtOrTrunc(v, integer(bits));
    return b.CreateBitCast(v, type(t));
  }
  default:
    fail("operand is no value");
  }
}

/// Registers of a number type go with opcodes of that kind; .bN goes with all.
void Emitter::expectKind(const Operand &o, Type t) const {
  if (o.kind != Operand::Register)
    return;
  const char has = info(function.registers[o.reg].type).kind, wants = info(t).kind;
  if (has == 'f' && (wants == 's' || wants == 'u'))
    fail("floating-point register '" + o.name + "' in an integer instruction");
  if ((has == 's' || has == 'u') && wants == 'f')
    fail("integer register '" + o.name + "' in a floating-point instruction");
}

Value *Emitter::readLow(const Operand &o, unsigned bits) {
  unsigned has = bitsOfOperand(o);
  auto typeOf = [](unsigned n) {
    return n == 8 ? Type::B8 : n == 16 ? Type::B16 : n == 32 ? Type::B32 : n == 64 ? Type::B64 : Type::B128;
  };
  if (has == 0 || has == bits) {
    if (o.kind == Operand::Float)
      return b.CreateBitCast(read(o, bits == 64 ? Type::F64 : Type::F32), integer(bits));
    return read(o, typeOf(bits));
  }
  if (has < bits)
    fail("register '" + o.name + "' has " + std::to_string(has) + " bits, expected at least " + std::to_string(bits));
  return b.CreateTrunc(read(o, typeOf(has)), integer(bits));
}

Value *Emitter::readPredicate(const Operand &o) {
  if (o.kind == Operand::Integer)
    return ConstantInt::get(type(b.getInt1Ty()), o.bits != 0);
  return read(o, Type::Pred);
}

void Emitter::out(Value *value, size_t i) {
  if (bitsOf(inst->type) == bitsOfOperand(operand(i)))
    expectKind(operand(i), inst->type);
  write(operand(i), value);
}

void Emitter::write(const Operand &o, Value *value) {
  if (o.kind == Operand::Sink)
    return;
  if (o.kind != Operand::Register)
    fail("destination is no register");
  const unsigned bits = bitsOf(function.registers[o.reg].type);
  const bool isWide = sizeInBits(value) != bits;
  if (isWide && sizeInBits(value) != bits * kLanes)
    fail("register '" + o.name + "' has " + std::to_string(bits) + " bits, expected " +
         std::to_string(wide ? sizeInBits(value) / kLanes : sizeInBits(value)));
  llvm::Type *const to = registerType(o.reg);
  if (cfg.varies(o.reg) && !isWide) {
    value = b.CreateVectorSplat(kLanes, b.CreateBitCast(value, to->getScalarType()));
  } else if (!cfg.varies(o.reg) && isWide) {
    value = b.CreateBitCast(value, FixedVectorType::get(to, kLanes));
    value = b.CreateExtractElement(value, maskIsFull() ? (Value *)b.getInt32(0)
                                                       : b.CreateBinaryIntrinsic(Intrinsic::cttz, mask(), b.getTrue()));
  }
  value = b.CreateBitCast(value, to);
  if (cfg.isSingle[o.reg]) {
    singles[o.reg] = value;
    return;
  }
  if (cfg.varies(o.reg) && (guardMask || (cfg.blocks[block].region >= 0 && cfg.needsMerge[o.reg])))
    value = b.CreateSelect(maskVector(mask()), value, readRegister(o.reg));
  b.CreateStore(value, registers[o.reg]);
}

void Emitter::writeExtended(const Operand &o, Value *value, bool isSigned) {
  if (o.kind == Operand::Sink)
    return;
  unsigned bits = bitsOfOperand(o), has = value->getType()->getScalarSizeInBits();
  if (bits < has)
    fail("register '" + o.name + "' has " + std::to_string(bits) + " bits, expected at least " + std::to_string(has));
  if (bits > has) {
    value = b.CreateBitCast(value, value->getType()->getWithNewType(b.getIntNTy(has)));
    llvm::Type *to = value->getType()->getWithNewType(b.getIntNTy(bits));
    value = isSigned ? b.CreateSExt(value, to) : b.CreateZExt(value, to);
  }
  write(o, value);
}

/// The carry flag is kept per lane: it is written rarely.
Value *Emitter::carry() {
  Value *v = b.CreateLoad(carryFlag->getAllocatedType(), carryFlag);
  return wide ? v
              : b.CreateExtractElement(v, maskIsFull() ? (Value *)b.getInt32(0)
                                                       : b.CreateBinaryIntrinsic(Intrinsic::cttz, mask(), b.getTrue()));
}
void Emitter::setCarry(Value *value) {
  value = broadcast(value);
  if (!maskIsFull())
    value = b.CreateSelect(maskVector(mask()), value, b.CreateLoad(carryFlag->getAllocatedType(), carryFlag));
  b.CreateStore(value, carryFlag);
}

uint64_t Emitter::addressOf(const Operand &o) const {
  auto it = addresses.symbols.find(o.name);
  if (it == addresses.symbols.end())
    fail("undefined variable '" + o.name + "'");
  return it->second + o.offset;
}

Space Emitter::spaceOfSymbol(const Operand &o) const {
  auto it = addresses.variables.find(o.name);
  if (it == addresses.variables.end())
    fail("undefined variable '" + o.name + "'");
  return it->second->space;
}

Value *Emitter::special(const Operand &o) {
  std::string_view n = o.name;
  auto dimension = [&](size_t offset) { return field(offset + 4 * (n.back() - 'x'), b.getInt32Ty()); };
  auto spread = [&](Value *v) { return wide ? broadcast(v) : v; };
  auto lane = [&]() -> Value * {
    return wide           ? laneVector(1, 32)
           : maskIsFull() ? b.getInt32(0)
                          : b.CreateBinaryIntrinsic(Intrinsic::cttz, mask(), b.getTrue());
  };
  if (n.substr(0, 5) == "%tid.") {
    size_t at = offsetof(Warp, tid) + (n.back() - 'x') * kLanes * 4;
    bool isLinear = options.shape.isRow;
    if (isLinear)
      return n.back() == 'x' ? b.CreateAdd(spread(field(at, b.getInt32Ty())), lane())
                             : spread(field(at, b.getInt32Ty()));
    Value *all = field(at, FixedVectorType::get(b.getInt32Ty(), kLanes));
    return wide ? all : b.CreateExtractElement(all, lane());
  }
  if (n == "%laneid")
    return lane();
  if (n.substr(0, 6) == "%ntid.")
    return spread(dimension(offsetof(Warp, ntid)));
  if (n.substr(0, 7) == "%ctaid.")
    return spread(dimension(offsetof(Warp, ctaid)));
  if (n.substr(0, 8) == "%nctaid.")
    return spread(dimension(offsetof(Warp, nctaid)));
  if (n == "%warpid")
    return spread(field(offsetof(Warp, warpId), b.getInt32Ty()));
  if (n == "%smid")
    return spread(field(offsetof(Warp, smId), b.getInt32Ty()));
  if (n == "%gridid")
    return spread(field(offsetof(Warp, gridId), b.getInt64Ty()));
  if (n == "%dynamic_smem_size")
    return spread(field(offsetof(Warp, dynamicShared), b.getInt32Ty()));
  if (n == "%total_smem_size")
    return spread(field(offsetof(Warp, totalShared), b.getInt32Ty()));
  if (n.substr(0, 9) == "%lanemask") {
    Value *one = b.CreateShl(constant(32, 1), lane());
    Value *below = b.CreateSub(one, constant(32, 1));
    std::string_view which = n.substr(10);
    return which == "eq"   ? one
           : which == "lt" ? below
           : which == "le" ? b.CreateOr(below, one)
           : which == "gt" ? b.CreateNot(b.CreateOr(below, one))
                           : b.CreateNot(below);
  }
  if (n == "%nwarpid" || n == "%nsmid")
    return spread(callHelper(n == "%nsmid" ? processors : maxWarps, {}));
  if (n == "%clock64" || n == "%globaltimer")
    return spread(callHelper(n == "%clock64" ? clockCycles : globalTimer, {}));
  if (n == "%clock" || n == "%clock_hi" || n == "%globaltimer_lo" || n == "%globaltimer_hi") {
    Value *v = callHelper(n[1] == 'c' ? clockCycles : globalTimer, {});
    if (n.substr(n.size() - 3) == "_hi")
      v = b.CreateLShr(v, 32);
    return spread(b.CreateTrunc(v, b.getInt32Ty()));
  }
  fail("special register '" + o.name + "' is not supported");
}

// --- lanes ---

Value *Emitter::liveMask() {
  if (options.shape.full && !cfg.lanesMayExit)
    return b.getInt32(-1);
  return b.CreateLoad(b.getInt32Ty(), live);
}
Value *Emitter::mask() {
  if (guardMask)
    return guardMask;
  return cfg.blocks[block].region >= 0 ? b.CreateLoad(b.getInt32Ty(), current) : liveMask();
}
bool Emitter::maskIsFull() const {
  return !guardMask && cfg.blocks[block].region < 0 && options.shape.full && !cfg.lanesMayExit;
}

Value *Emitter::laneVector(uint64_t stride, unsigned bits) {
  SmallVector<Constant *> lanes;
  for (unsigned i = 0; i < kLanes; ++i)
    lanes.push_back(ConstantInt::get(b.getIntNTy(bits), i * stride));
  return ConstantVector::get(lanes);
}

// --- the warp ---

Value *Emitter::fieldPointer(size_t offset) { return b.CreateConstInBoundsGEP1_64(b.getInt8Ty(), warp, offset); }
Value *Emitter::field(size_t offset, llvm::Type *t) {
  return b.CreateAlignedLoad(t, fieldPointer(offset),
                             Align(t->isVectorTy()    ? 64
                                   : t->isPointerTy() ? 8
                                                      : t->getScalarSizeInBits() / 8));
}
void Emitter::store(size_t offset, Value *value) { b.CreateStore(value, fieldPointer(offset)); }
Value *Emitter::slotPointer(unsigned slot) { return fieldPointer(offsetof(Warp, slots) + slot * kLanes * 8); }

void Emitter::toSlot(unsigned slot, Value *value) {
  value = broadcast(value);
  if (value->getType()->getScalarSizeInBits() == 1)
    value = maskBits(value);
  else if (value->getType()->getScalarType()->isFloatingPointTy() ||
           sizeInBits(value) / kLanes != value->getType()->getScalarSizeInBits())
    value = b.CreateBitCast(value, FixedVectorType::get(b.getIntNTy(sizeInBits(value) / kLanes), kLanes));
  if (value->getType()->isVectorTy() && value->getType()->getScalarSizeInBits() < 32)
    value = b.CreateZExt(value, FixedVectorType::get(b.getInt32Ty(), kLanes));
  b.CreateAlignedStore(value, slotPointer(slot), Align(4));
}

Value *Emitter::fromSlot(unsigned slot, unsigned bits) {
  if (bits == 1)
    return maskVector(b.CreateLoad(b.getInt32Ty(), slotPointer(slot)));
  Value *v =
      b.CreateAlignedLoad(FixedVectorType::get(b.getIntNTy(std::max(32u, bits)), kLanes), slotPointer(slot), Align(64));
  return bits < 32 ? b.CreateTrunc(v, FixedVectorType::get(b.getIntNTy(bits), kLanes)) : v;
}

Value *Emitter::call(const void *helper, ArrayRef<Value *> arguments, llvm::Type *result) {
  SmallVector<llvm::Type *> types;
  for (Value *a : arguments)
    types.push_back(a->getType());
  auto *type = FunctionType::get(result ? result : b.getVoidTy(), types, false);
  auto *call = b.CreateCall(type, ConstantExpr::getIntToPtr(b.getInt64(uintptr_t(helper)), b.getPtrTy()), arguments);
  call->addFnAttr(Attribute::NoUnwind);
  return call;
}

unsigned Emitter::newSite(unsigned elementBytes, unsigned elements, Space space) {
  Site s;
  s.line = inst->line;
  s.function = &function;
  s.space = space;
  s.elementBytes = elementBytes;
  s.elements = elements;
  s.isNonCoherent = inst->has("nc");
  s.isAcquire = inst->has("acquire") || inst->has("acq_rel");
  s.isRelease = inst->has("release") || inst->has("acq_rel");
  s.isStrong = s.isAcquire || s.isRelease || inst->has("relaxed") || inst->has("volatile") || inst->opcode == "atom" ||
               inst->opcode == "red";
  s.scope = inst->has("cta")                            ? 0
            : inst->has("cluster")                      ? 1
            : inst->has("gpu")                          ? 2
            : inst->has("sys") || inst->has("volatile") ? 3
                                                        : 2;
  s.inst = inst;
  sites.push_back(s);
  return sites.size() - 1;
}
Value *Emitter::site(unsigned elementBytes, unsigned elements, Space space) {
  return b.getInt32(newSite(elementBytes, elements, space));
}

void Emitter::branchUnlikely(Value *condition, BasicBlock *then, BasicBlock *otherwise) {
  b.CreateCondBr(condition, then, otherwise, MDBuilder(context).createBranchWeights(1, 2000));
}

void Emitter::ifAnyLane(const std::function<void()> &body) {
  if (!guardMask)
    return body();
  BasicBlock *then = newBlock("guarded"), *after = newBlock("after");
  b.CreateCondBr(b.CreateICmpNE(guardMask, b.getInt32(0)), then, after);
  b.SetInsertPoint(then);
  body();
  b.CreateBr(after);
  b.SetInsertPoint(after);
}

} // namespace ptxvm
