//===- Translate.cpp - control flow, masks, registers --------------------------------===//

#include "tools/ptx-vm/Translate.h"
#include "tools/ptx-vm/Helpers.h"
#include "llvm/IR/IntrinsicsX86.h"
#include "llvm/IR/MDBuilder.h"

using namespace llvm;

namespace ptxvm {

Emitter::Emitter(llvm::Module &module, const Function &function, const Addresses &addresses, TranslateOptions options,
                 std::vector<Site> &sites, std::string name)
    : b(module.getContext()), options(options), addresses(addresses), function(function), context(module.getContext()), module(module),
      cfg(function, options.shape), sites(sites) {
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
      bool isConstant = i.opcode == "mov" && i.guard < 0 && i.operands[0].kind == Operand::Register && i.operands[1].kind == Operand::Integer;
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
    return b.CreateBitCast(b.CreateVectorSplat(kLanes, bits), FixedVectorType::get(pair->getElementType(), kLanes * pair->getNumElements()));
  }
  return b.CreateVectorSplat(kLanes, value);
}

Value *Emitter::readRegister(int reg) { return b.CreateLoad(registers[reg]->getAllocatedType(), registers[reg]); }

unsigned Emitter::bitsOfOperand(const Operand &o) const {
  return o.kind == Operand::Register ? bitsOf(function.registers[o.reg].type) : 0;
}

Value *Emitter::read(const Operand &o, Type t) {
  const unsigned bits = bitsOf(t);
  switch (o.kind) {
  case Operand::Register: {
    if (bitsOf(function.registers[o.reg].type) != bits)
      fail("register '" + o.name + "' has " + std::to_string(bitsOf(function.registers[o.reg].type)) + " bits, expected " + std::to_string(bits));
    if (auto value = constantOf(o); value && bits > 1)
      return b.CreateBitCast(ConstantInt::get(integer(bits), bits < 64 ? *value & ((uint64_t(1) << bits) - 1) : *value), type(t));
    Value *v = readRegister(o.reg);
    if (wide && !cfg.varies(o.reg))
      v = b.CreateVectorSplat(kLanes, v);
    else if (!wide && cfg.varies(o.reg)) // what is read does not depend on the lane
      v = b.CreateExtractElement(v, maskIsFull() ? (Value *)b.getInt32(0) : b.CreateBinaryIntrinsic(Intrinsic::cttz, mask(), b.getTrue()));
    if (o.negated)
      v = t == Type::Pred ? b.CreateNot(v) : b.CreateNeg(v);
    return v->getType() == type(t) ? v : b.CreateBitCast(v, type(t));
  }
  case Operand::Integer:
    if (isFloat(t) && bits != 16 && t != Type::F16x2 && t != Type::BF16x2 && o.bits != 0)
      fail("expected a floating-point literal, got an integer");
    return b.CreateBitCast(ConstantInt::get(integer(bits), bits < 64 ? o.bits & ((uint64_t(1) << bits) - 1) : o.bits), type(t));
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
  AllocaInst *to = registers[o.reg];
  if (cfg.varies(o.reg) && !isWide) {
    value = b.CreateVectorSplat(kLanes, b.CreateBitCast(value, to->getAllocatedType()->getScalarType()));
  } else if (!cfg.varies(o.reg) && isWide) {
    value = b.CreateBitCast(value, FixedVectorType::get(to->getAllocatedType(), kLanes));
    value = b.CreateExtractElement(value, maskIsFull() ? (Value *)b.getInt32(0) : b.CreateBinaryIntrinsic(Intrinsic::cttz, mask(), b.getTrue()));
  }
  value = b.CreateBitCast(value, to->getAllocatedType());
  if (cfg.varies(o.reg) && (guardMask || (cfg.blocks[block].region >= 0 && cfg.needsMerge[o.reg])))
    value = b.CreateSelect(maskVector(mask()), value, readRegister(o.reg));
  b.CreateStore(value, to);
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
  return wide ? v : b.CreateExtractElement(v, maskIsFull() ? (Value *)b.getInt32(0) : b.CreateBinaryIntrinsic(Intrinsic::cttz, mask(), b.getTrue()));
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
  auto lane = [&]() -> Value * { return wide ? laneVector(1, 32) : maskIsFull() ? b.getInt32(0) : b.CreateBinaryIntrinsic(Intrinsic::cttz, mask(), b.getTrue()); };
  if (n.substr(0, 5) == "%tid.") {
    size_t at = offsetof(Warp, tid) + (n.back() - 'x') * kLanes * 4;
    bool isLinear = options.shape.isRow;
    if (isLinear)
      return n.back() == 'x' ? b.CreateAdd(spread(field(at, b.getInt32Ty())), lane()) : spread(field(at, b.getInt32Ty()));
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
Value *Emitter::field(size_t offset, llvm::Type *t) { return b.CreateAlignedLoad(t, fieldPointer(offset), Align(t->isVectorTy() ? 64 : t->isPointerTy() ? 8 : t->getScalarSizeInBits() / 8)); }
void Emitter::store(size_t offset, Value *value) { b.CreateStore(value, fieldPointer(offset)); }
Value *Emitter::slotPointer(unsigned slot) { return fieldPointer(offsetof(Warp, slots) + slot * kLanes * 8); }

void Emitter::toSlot(unsigned slot, Value *value) {
  value = broadcast(value);
  if (value->getType()->getScalarSizeInBits() == 1)
    value = maskBits(value);
  else if (value->getType()->getScalarType()->isFloatingPointTy() || sizeInBits(value) / kLanes != value->getType()->getScalarSizeInBits())
    value = b.CreateBitCast(value, FixedVectorType::get(b.getIntNTy(sizeInBits(value) / kLanes), kLanes));
  if (value->getType()->isVectorTy() && value->getType()->getScalarSizeInBits() < 32)
    value = b.CreateZExt(value, FixedVectorType::get(b.getInt32Ty(), kLanes));
  b.CreateAlignedStore(value, slotPointer(slot), Align(4));
}

Value *Emitter::fromSlot(unsigned slot, unsigned bits) {
  if (bits == 1)
    return maskVector(b.CreateLoad(b.getInt32Ty(), slotPointer(slot)));
  Value *v = b.CreateAlignedLoad(FixedVectorType::get(b.getIntNTy(std::max(32u, bits)), kLanes), slotPointer(slot), Align(64));
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
  s.isStrong = s.isAcquire || s.isRelease || inst->has("relaxed") || inst->has("volatile") || inst->opcode == "atom" || inst->opcode == "red";
  s.scope = inst->has("cta") ? 0 : inst->has("cluster") ? 1 : inst->has("gpu") ? 2 : inst->has("sys") || inst->has("volatile") ? 3 : 2;
  s.inst = inst;
  sites.push_back(s);
  return sites.size() - 1;
}
Value *Emitter::site(unsigned elementBytes, unsigned elements, Space space) { return b.getInt32(newSite(elementBytes, elements, space)); }

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

// --- the function ---

void Emitter::run() {
  BasicBlock *entry = newBlock("entry");
  b.SetInsertPoint(entry);
  for (size_t r = 0; r < function.registers.size(); ++r) {
    llvm::Type *t = registerType(r);
    registers.push_back(b.CreateAlloca(t, nullptr, function.registers[r].name));
    b.CreateStore(Constant::getNullValue(t), registers.back());
  }
  auto flag = [&](llvm::Type *t, Value *value, const char *name) {
    AllocaInst *a = b.CreateAlloca(t, nullptr, name);
    b.CreateStore(value, a);
    return a;
  };
  auto *flags = FixedVectorType::get(b.getInt1Ty(), kLanes);
  carryFlag = flag(flags, Constant::getNullValue(flags), "carry");
  live = flag(b.getInt32Ty(), options.shape.full ? (Value *)b.getInt32(-1) : field(offsetof(Warp, launched), b.getInt32Ty()), "live");
  current = flag(b.getInt32Ty(), b.getInt32(0), "mask");
  bodies.resize(cfg.blocks.size());
  checks.resize(cfg.blocks.size());
  waiting.resize(cfg.blocks.size());
  exitBlock = newBlock("exit");
  for (int i : cfg.order) {
    bodies[i] = newBlock("block" + Twine(i));
    if (cfg.blocks[i].region >= 0) {
      checks[i] = newBlock("check" + Twine(i));
      waiting[i] = flag(b.getInt32Ty(), b.getInt32(0), "waiting");
    }
  }
  if (cfg.blocks[0].terminator && cfg.blocks[0].first == cfg.blocks[0].last && cfg.blocks[0].terminator->guard < 0 &&
      cfg.blocks[0].terminator->opcode != "bra")
    b.CreateBr(exitBlock);
  else
    enter(0, liveMask());
  for (int i : cfg.order) {
    block = i;
    const CfgBlock &current = cfg.blocks[i];
    BasicBlock *after = nullptr;
    if (current.region >= 0) {
      after = newBlock("past" + Twine(i));
      b.SetInsertPoint(checks[i]);
      Value *lanes = b.CreateLoad(b.getInt32Ty(), waiting[i]);
      b.CreateStore(b.getInt32(0), waiting[i]);
      b.CreateStore(lanes, this->current);
      b.CreateCondBr(b.CreateICmpNE(lanes, b.getInt32(0)), bodies[i], after);
    }
    b.SetInsertPoint(bodies[i]);
    for (size_t n = current.first; n < current.last; ++n)
      emitInstruction(function.body[n]);
    inst = current.terminator;
    guardMask = nullptr;
    emitTerminator(i);
    if (after) {
      b.CreateBr(after);
      b.SetInsertPoint(after);
      leaveRegionBlock(i);
    }
  }
  b.SetInsertPoint(exitBlock);
  b.CreateRetVoid();
}

void Emitter::emitInstruction(const Instruction &instruction) {
  inst = &instruction;
  guardMask = nullptr;
  bool anyDestination = false, anyVaries = false;
  forEachWritten(*inst, [&](int r) { anyDestination = true, anyVaries |= cfg.varies(r); });
  wide = inst->row->result == Result::Varying || inst->row->result == Result::Voted ||
         (cfg.sourcesVary(*inst) && (!anyDestination || anyVaries));
  BasicBlock *after = nullptr;
  if (inst->guard >= 0) {
    Value *p = readRegister(inst->guard);
    if (inst->guardNegated)
      p = b.CreateNot(p);
    if (cfg.varies(inst->guard)) {
      guardMask = b.CreateAnd(mask(), maskBits(p));
    } else {
      BasicBlock *then = newBlock("guarded");
      after = newBlock("after");
      b.CreateCondBr(p, then, after);
      b.SetInsertPoint(then);
    }
  }
  inst->row->emit(*this);
  if (after) {
    b.CreateBr(after);
    b.SetInsertPoint(after);
  }
}

/// Goes to a block with these lanes; no others wait anywhere.
void Emitter::enter(int to, Value *lanes) {
  if (to == kExit) {
    b.CreateBr(exitBlock);
  } else if (cfg.blocks[to].region >= 0) {
    b.CreateStore(b.CreateOr(b.CreateLoad(b.getInt32Ty(), waiting[to]), lanes), waiting[to]);
    b.CreateBr(checks[to]);
  } else {
    b.CreateBr(bodies[to]);
  }
}

/// A turn of a loop: now and then the warp lets others run.
void Emitter::tick() {
  BasicBlock *yield = newBlock("yield"), *after = newBlock("turn");
  Value *turns = b.CreateSub(field(offsetof(Warp, turns), b.getInt64Ty()), b.getInt64(1));
  store(offsetof(Warp, turns), turns);
  branchUnlikely(b.CreateICmpSLT(turns, b.getInt64(0)), yield, after);
  b.SetInsertPoint(yield);
  callHelper(yieldTurn, {});
  b.CreateBr(after);
  b.SetInsertPoint(after);
}

void Emitter::emitTerminator(int index) {
  const CfgBlock &from = cfg.blocks[index];
  wide = from.isConditional && cfg.isVaryingBranch(from);
  auto goesBack = [&](int to) { return to != kExit && cfg.blocks[to].order <= from.order; };
  Value *predicate = nullptr;
  if (from.isConditional) {
    predicate = readRegister(from.terminator->guard);
    if (from.terminator->guardNegated)
      predicate = b.CreateNot(predicate);
  }
  auto exitLanes = [&](Value *lanes) {
    b.CreateStore(b.CreateAnd(b.CreateLoad(b.getInt32Ty(), live), b.CreateNot(lanes)), live);
  };

  if (from.region >= 0) { // under a mask: lanes wait at their targets
    Value *lanes = mask();
    const Region &region = cfg.regions[from.region];
    auto park = [&](int to, Value *which) {
      if (to == kExit)
        exitLanes(which);
      else if (to != region.join)
        b.CreateStore(b.CreateOr(b.CreateLoad(b.getInt32Ty(), waiting[to]), which), waiting[to]);
    };
    if (!from.isConditional)
      return park(from.takenIsValid ? from.taken : from.fall, lanes);
    Value *bits = predicate->getType()->isVectorTy() ? maskBits(predicate) : b.CreateSExt(predicate, b.getInt32Ty());
    park(from.taken, b.CreateAnd(lanes, bits));
    park(from.fall, b.CreateAnd(lanes, b.CreateNot(bits)));
    return;
  }

  auto go = [&](int to) {
    if (goesBack(to))
      tick();
    enter(to, liveMask());
  };
  if (!from.isConditional)
    return go(from.takenIsValid ? from.taken : from.fall);
  if (!wide) {
    BasicBlock *taken = newBlock("taken"), *fall = newBlock("fall");
    b.CreateCondBr(predicate, taken, fall);
    b.SetInsertPoint(taken);
    go(from.taken);
    b.SetInsertPoint(fall);
    go(from.fall);
    return;
  }
  Value *lanes = liveMask(), *bits = maskBits(predicate);
  Value *taken = b.CreateAnd(lanes, bits), *fall = b.CreateAnd(lanes, b.CreateNot(bits));
  if (from.taken == kExit || from.fall == kExit) {
    int to = from.taken == kExit ? from.fall : from.taken;
    exitLanes(from.taken == kExit ? taken : fall);
    BasicBlock *some = newBlock("stay");
    b.CreateCondBr(b.CreateICmpNE(from.taken == kExit ? fall : taken, b.getInt32(0)), some, exitBlock);
    b.SetInsertPoint(some);
    go(to);
    return;
  }
  int first = kExit;
  const int inside = from.taken != from.postDominator ? from.taken : from.fall;
  const Region &region = cfg.regions[cfg.blocks[inside].region];
  for (auto [to, which] : {std::pair(from.taken, taken), std::pair(from.fall, fall)}) {
    if (to == region.join)
      continue; // whoever goes there need not be kept
    b.CreateStore(b.CreateOr(b.CreateLoad(b.getInt32Ty(), waiting[to]), which), waiting[to]);
    if (first == kExit || cfg.blocks[to].order < cfg.blocks[first].order)
      first = to;
  }
  if (goesBack(from.taken) || goesBack(from.fall))
    tick();
  b.CreateBr(checks[first]);
}

/// Past a block of a region: back to the head of a loop that ends here if lanes wait there, else on to the next block.
void Emitter::leaveRegionBlock(int index) {
  const Region &region = cfg.regions[cfg.blocks[index].region];
  size_t at = std::find(region.blocks.begin(), region.blocks.end(), index) - region.blocks.begin();
  int nextOrder = at + 1 < region.blocks.size() ? cfg.blocks[region.blocks[at + 1]].order : 1 << 30;
  for (size_t i = at + 1; i-- > 0;) {
    int head = region.blocks[i];
    int end = cfg.loopEnd[head];
    if (end < cfg.blocks[index].order || end >= nextOrder)
      continue;
    BasicBlock *back = newBlock("again"), *on = newBlock("done");
    b.CreateCondBr(b.CreateICmpNE(b.CreateLoad(b.getInt32Ty(), waiting[head]), b.getInt32(0)), back, on);
    b.SetInsertPoint(back);
    tick();
    b.CreateBr(checks[head]);
    b.SetInsertPoint(on);
  }
  if (at + 1 < region.blocks.size()) {
    b.CreateBr(checks[region.blocks[at + 1]]);
    return;
  }
  if (region.join == kExit) {
    b.CreateBr(exitBlock);
    return;
  }
  if (cfg.lanesMayExit) {
    BasicBlock *some = newBlock("stay");
    b.CreateCondBr(b.CreateICmpNE(liveMask(), b.getInt32(0)), some, exitBlock);
    b.SetInsertPoint(some);
  }
  enter(region.join, liveMask());
}

} // namespace ptxvm
