//===- ControlFlow.cpp - blocks, regions under a mask, branches ----------------------===//
//
// The part of Emitter that walks the function: see Cfg.h for how lanes part and meet.

#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/Translate.h"

using namespace llvm;

namespace ptxvm {

void Emitter::run() {
  BasicBlock *entry = newBlock("entry");
  b.SetInsertPoint(entry);
  singles.resize(function.registers.size());
  for (size_t r = 0; r < function.registers.size(); ++r) {
    registers.push_back(nullptr);
    if (cfg.isSingle[r] || !cfg.isWritten[r])
      continue;
    llvm::Type *t = registerType(r);
    registers.back() = b.CreateAlloca(t, nullptr, function.registers[r].name);
    if (cfg.needsMerge[r])
      b.CreateStore(Constant::getNullValue(t), registers.back());
  }
  auto flag = [&](llvm::Type *t, Value *value, const char *name) {
    AllocaInst *a = b.CreateAlloca(t, nullptr, name);
    b.CreateStore(value, a);
    return a;
  };
  auto *flags = FixedVectorType::get(b.getInt1Ty(), kLanes);
  carryFlag = flag(flags, Constant::getNullValue(flags), "carry");
  live = flag(b.getInt32Ty(),
              options.shape.full ? (Value *)b.getInt32(-1) : field(offsetof(Warp, launched), b.getInt32Ty()), "live");
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
