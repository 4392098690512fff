//===- EmitMemory.cpp - ld and st ---------------------------------------------------------------===//
//
// The usual access is made inline: one address for all lanes, or lanes side by side, within the allocation that this
// instruction touched last. Everything else, faults included, goes to accessMemory (Access.cpp).

#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/Translate.h"

using namespace llvm;

namespace ptxvm {
namespace {

struct Access {
  Space space = Space::Generic;
  unsigned bytes = 0, count = 1; // of an element, elements a lane
  Value *address = nullptr;      // i64, scalar or vector
  unsigned total() const { return bytes * count; }
};

Space spaceOf(const Instruction &inst) {
  for (const std::string &m : inst.modifiers) {
    if (m == "global")
      return Space::Global;
    if (m == "shared" || m == "shared::cta")
      return Space::Shared;
    if (m == "local")
      return Space::Local;
    if (m == "const")
      return Space::Const;
    if (m.substr(0, 5) == "param")
      return Space::Param;
  }
  return Space::Generic;
}

Access access(Emitter &e, const Operand &memory, const Operand &data) {
  Access a;
  a.space = spaceOf(*e.inst);
  a.bytes = bitsOf(e.inst->type) / 8;
  for (const char *vector : {"v2", "v4", "v8"})
    if (e.inst->has(vector))
      a.count = vector[1] - '0';
  const unsigned given = data.kind == Operand::Vector ? data.elements.size() : 1;
  if (given != a.count)
    e.fail("expected " + std::to_string(a.count) + " elements, got " + std::to_string(given));
  if (a.total() > 32 || (a.count == 8 && a.bytes != 4))
    e.fail("access of " + std::to_string(a.total()) + " bytes a thread");
  if (memory.reg < 0) {
    uint64_t at = memory.offset;
    if (!memory.name.empty()) {
      Space declared = e.spaceOfSymbol(memory);
      if (a.space != declared && a.space != Space::Generic)
        e.fail("'" + memory.name + "' lies in ." + std::string(nameOf(declared)) + ", not in ." +
               std::string(nameOf(a.space)));
      at = e.addressOf(memory);
      a.space = declared;
    }
    a.address = e.constant(64, at);
    return a;
  }
  Operand base;
  base.kind = Operand::Register;
  base.reg = memory.reg;
  base.name = e.function.registers[memory.reg].name;
  unsigned bits = e.bitsOfOperand(base);
  if (bits == 32 &&
      (a.space == Space::Shared || a.space == Space::Local || a.space == Space::Param || a.space == Space::Const))
    a.address = e.b.CreateZExt(e.read(base, Type::B32), e.integer(64));
  else
    a.address = e.read(base, Type::B64);
  if (memory.offset)
    a.address = e.b.CreateAdd(a.address, e.constant(64, memory.offset));
  return a;
}

const std::vector<Operand> elementsOf(const Operand &o) {
  return o.kind == Operand::Vector ? o.elements : std::vector<Operand>{o};
}

Value *pointer(Emitter &e, Value *address) { return e.b.CreateIntToPtr(address, e.b.getPtrTy()); }

/// Whether `total` bytes at a scalar address are within bounds and aligned; shared: and, for loads, written.
Value *isFine(Emitter &e, const Access &a, Value *first, unsigned total, unsigned site, bool isLoad) {
  auto &ir = e.b;
  Value *aligned = ir.CreateICmpEQ(ir.CreateAnd(first, a.total() - 1), ir.getInt64(0));
  Value *low, *high;
  if (a.space == Space::Shared) {
    low = ir.getInt64(kSharedBase);
    high = ir.CreateZExt(e.field(offsetof(Warp, sharedEnd), ir.getInt32Ty()), ir.getInt64Ty());
  } else {
    Value *cache = ir.CreateConstInBoundsGEP1_64(ir.getInt8Ty(), e.field(offsetof(Warp, sites), ir.getPtrTy()),
                                                 site * sizeof(SiteCache));
    low = ir.CreateLoad(ir.getInt64Ty(), cache);
    high = ir.CreateLoad(ir.getInt64Ty(), ir.CreateConstInBoundsGEP1_64(ir.getInt8Ty(), cache, 8));
  }
  // low <= first and first + total <= high; first is far from overflow if it is below high.
  Value *fine = ir.CreateAnd(aligned, ir.CreateAnd(ir.CreateICmpUGE(first, low),
                                                   ir.CreateICmpULE(ir.CreateAdd(first, ir.getInt64(total)), high)));
  return ir.CreateAnd(fine, ir.CreateICmpULT(first, high));
}

Value *hostAddress(Emitter &e, const Access &a, Value *first, size_t window) {
  return pointer(e, a.space == Space::Shared ? e.b.CreateAdd(first, e.field(window, e.b.getInt64Ty())) : first);
}

/// Branches to `fast` if the access can be made inline. Returns the first lane's address.
Value *chooseFast(Emitter &e, const Access &a, unsigned site, bool isLoad, BasicBlock *fast, BasicBlock *slow) {
  auto &ir = e.b;
  Value *first = a.address, *usual = nullptr;
  unsigned total = a.total();
  if (e.wide) {
    first = ir.CreateExtractElement(a.address, uint64_t(0));
    Value *expected = ir.CreateAdd(ir.CreateVectorSplat(kLanes, first), e.laneVector(a.total(), 64));
    usual = ir.CreateICmpEQ(e.maskBits(ir.CreateICmpEQ(a.address, expected)), ir.getInt32(-1));
    if (!e.maskIsFull())
      usual = ir.CreateAnd(usual, ir.CreateICmpEQ(e.mask(), ir.getInt32(-1)));
    total *= kLanes;
  }
  Value *fine = isFine(e, a, first, total, site, isLoad);
  usual = usual ? ir.CreateAnd(usual, fine) : fine;
  if (isLoad && a.space == Space::Shared) {
    BasicBlock *inside = e.newBlock("inside");
    e.branchUnlikely(ir.CreateNot(usual), slow, inside);
    ir.SetInsertPoint(inside);
    Value *written = hostAddress(e, a, first, offsetof(Warp, written));
    auto *ints = ir.getIntNTy(8 * total);
    Value *flags = ir.CreateAlignedLoad(
        total <= 8 ? (llvm::Type *)ints : FixedVectorType::get(ir.getInt64Ty(), total / 8), written, Align(1));
    if (total > 8)
      flags = ir.CreateAndReduce(flags);
    usual = ir.CreateICmpEQ(flags, Constant::getAllOnesValue(flags->getType()));
  }
  e.branchUnlikely(ir.CreateNot(usual), slow, fast);
  return first;
}

constexpr unsigned kDataSlot = 2;

/// All lanes of the instruction, or one if it is the same in all.
Value *lanesFor(Emitter &e) { return e.wide || e.options.checkOrder ? e.mask() : (Value *)e.b.getInt32(1); }

void slowAccess(Emitter &e, const Access &a, unsigned site, void (*helper)(Warp *, uint32_t, uint32_t, uint32_t)) {
  e.toSlot(0, a.address);
  e.callHelper(helper, {e.b.getInt32(site), lanesFor(e), e.liveMask()});
}

void finishLoad(Emitter &e, ArrayRef<Value *> values) {
  const auto to = elementsOf(e.operand(0));
  for (size_t i = 0; i < to.size(); ++i)
    e.writeExtended(to[i], values[i], isSigned(e.inst->type));
}

void load(Emitter &e) {
  auto &ir = e.b;
  if (e.isGuarded())
    e.wide = true;
  Access a = access(e, e.operand(1), e.operand(0));
  const unsigned bits = 8 * a.bytes;
  SmallVector<Value *> values;
  if (a.space == Space::Param && e.operand(1).reg < 0) { // a parameter of the kernel: the same for all
    uint64_t at = e.addressOf(e.operand(1));
    if (at + a.total() > e.function.parameterBytes)
      e.fail("load of " + std::to_string(a.total()) + " bytes at offset " + std::to_string(at) + " of " +
             std::to_string(e.function.parameterBytes) + " bytes of parameters");
    if (at % a.total())
      e.fail("parameter at offset " + std::to_string(at) + " is not aligned to " + std::to_string(a.total()) +
             " bytes");
    Value *params = e.field(offsetof(Warp, params), ir.getPtrTy());
    for (unsigned i = 0; i < a.count; ++i)
      values.push_back(ir.CreateAlignedLoad(
          ir.getIntNTy(bits), ir.CreateConstInBoundsGEP1_64(ir.getInt8Ty(), params, at + i * a.bytes), Align(a.bytes)));
    return finishLoad(e, values);
  }
  const unsigned site = e.newSite(a.bytes, a.count, a.space);
  const bool strong = e.inst->has("volatile") || e.inst->has("relaxed") || e.inst->has("acquire");
  const bool isLocal = a.space == Space::Local || a.space == Space::Param;
  if (isLocal)
    e.wide = true, a.address = e.broadcast(a.address);
  auto slow = [&](SmallVectorImpl<Value *> &results) {
    slowAccess(e, a, site, loadMemory);
    for (unsigned i = 0; i < a.count; ++i) {
      Value *v = e.fromSlot(kDataSlot + i, bits);
      results.push_back(e.wide ? v : ir.CreateExtractElement(v, uint64_t(0)));
    }
  };
  if (strong || isLocal || e.options.checkOrder) {
    slow(values);
    return finishLoad(e, values);
  }
  BasicBlock *fast = e.newBlock("fast"), *slowBlock = e.newBlock("slow"), *after = e.newBlock("loaded");
  Value *first = chooseFast(e, a, site, true, fast, slowBlock);
  ir.SetInsertPoint(fast);
  Value *from = hostAddress(e, a, first, offsetof(Warp, shared));
  SmallVector<Value *> direct, indirect;
  const unsigned lanes = e.wide ? kLanes : 1;
  Value *all = ir.CreateAlignedLoad(a.count * lanes == 1 ? (llvm::Type *)ir.getIntNTy(bits)
                                                         : FixedVectorType::get(ir.getIntNTy(bits), a.count * lanes),
                                    from, Align(a.total()));
  for (unsigned i = 0; i < a.count; ++i) {
    if (a.count == 1) {
      direct.push_back(all);
    } else if (!e.wide) {
      direct.push_back(ir.CreateExtractElement(all, i));
    } else {
      SmallVector<int> order;
      for (unsigned lane = 0; lane < kLanes; ++lane)
        order.push_back(lane * a.count + i);
      direct.push_back(ir.CreateShuffleVector(all, order));
    }
  }
  BasicBlock *fastEnd = ir.GetInsertBlock();
  ir.CreateBr(after);
  ir.SetInsertPoint(slowBlock);
  slow(indirect);
  BasicBlock *slowEnd = ir.GetInsertBlock();
  ir.CreateBr(after);
  ir.SetInsertPoint(after);
  for (unsigned i = 0; i < a.count; ++i) {
    PHINode *phi = ir.CreatePHI(direct[i]->getType(), 2);
    phi->addIncoming(direct[i], fastEnd);
    phi->addIncoming(indirect[i], slowEnd);
    values.push_back(phi);
  }
  finishLoad(e, values);
}

void store(Emitter &e) {
  auto &ir = e.b;
  if (e.isGuarded())
    e.wide = true;
  Access a = access(e, e.operand(0), e.operand(1));
  if (a.space == Space::Const || (a.space == Space::Param && e.operand(0).reg < 0))
    e.fail("store to ." + std::string(nameOf(a.space)));
  const unsigned bits = 8 * a.bytes;
  const unsigned site = e.newSite(a.bytes, a.count, a.space);
  const bool strong = e.inst->has("volatile") || e.inst->has("relaxed") || e.inst->has("release");
  const bool isLocal = a.space == Space::Local || a.space == Space::Param;
  if (isLocal)
    e.wide = true, a.address = e.broadcast(a.address);
  SmallVector<Value *> values;
  for (const Operand &o : elementsOf(e.operand(1)))
    values.push_back(e.readLow(o, bits));
  auto slow = [&] {
    for (unsigned i = 0; i < a.count; ++i)
      e.toSlot(kDataSlot + i, values[i]);
    slowAccess(e, a, site, storeMemory);
  };
  if (strong || isLocal || e.options.checkOrder)
    return slow();
  BasicBlock *fast = e.newBlock("fast"), *slowBlock = e.newBlock("slow"), *after = e.newBlock("stored");
  Value *first = chooseFast(e, a, site, false, fast, slowBlock);
  ir.SetInsertPoint(fast);
  Value *to = hostAddress(e, a, first, offsetof(Warp, shared));
  const unsigned lanes = e.wide ? kLanes : 1;
  Value *all;
  if (!e.wide && a.count > 1) {
    all = PoisonValue::get(FixedVectorType::get(ir.getIntNTy(bits), a.count));
    for (unsigned i = 0; i < a.count; ++i)
      all = ir.CreateInsertElement(all, values[i], i);
  } else {
    // Put the elements of each lane side by side.
    all = values[0];
    SmallVector<Value *> parts(values.begin(), values.end());
    unsigned width = lanes;
    while (parts.size() > 1) { // concatenate, then permute once
      SmallVector<Value *> next;
      SmallVector<int> order;
      for (unsigned i = 0; i < 2 * width; ++i)
        order.push_back(i);
      for (size_t i = 0; i < parts.size(); i += 2)
        next.push_back(ir.CreateShuffleVector(parts[i], parts[i + 1], order));
      parts = next;
      width *= 2;
    }
    all = parts[0];
    if (a.count > 1) {
      SmallVector<int> order;
      for (unsigned i = 0; i < a.count * lanes; ++i)
        order.push_back(i % a.count * lanes + i / a.count);
      all = ir.CreateShuffleVector(all, order);
    }
  }
  ir.CreateAlignedStore(all, to, Align(a.total()));
  if (a.space == Space::Shared) {
    Value *written = hostAddress(e, a, first, offsetof(Warp, written));
    ir.CreateAlignedStore(Constant::getAllOnesValue(all->getType()), written, Align(1));
  }
  ir.CreateBr(after);
  ir.SetInsertPoint(slowBlock);
  slow();
  ir.CreateBr(after);
  ir.SetInsertPoint(after);
}

void nothing(Emitter &) {}
void policy(Emitter &e) { e.out(e.constant(64, 0)); }

const OpcodeRow rows[] = {
    {"ld", "?weak ?$space ?$cache ?$evict1 ?$evict2 ?L2::cache_hint ?$prefetch ?$vector $data", "D m ?s", load,
     Result::Load},
    {"ld", "volatile ?$space ?$prefetch ?$vector $data", "D m", load, Result::Load},
    {"ld", "relaxed|acquire $scope ?$space ?$evict1 ?$evict2 ?L2::cache_hint ?$prefetch ?$vector $data", "D m ?s", load,
     Result::Load, 70},
    {"ld", "global ?ca|cg|cs nc ?$evict1 ?$evict2 ?L2::cache_hint ?$prefetch ?$vector $data", "D m ?s", load,
     Result::Load},
    {"ldu", "?global ?$vector $data", "D m", load, Result::Load},
    {"st", "?weak ?$space ?$cache ?$evict1 ?$evict2 ?L2::cache_hint ?$vector $data", "m S ?s", store},
    {"st", "volatile ?$space ?$vector $data", "m S", store},
    {"st", "relaxed|release $scope ?$space ?$evict1 ?$evict2 ?L2::cache_hint ?$vector $data", "m S ?s", store,
     Result::Pure, 70},
    {"prefetch", "?global|local L1|L2", "m", nothing},
    {"prefetch", "global L2::evict_last|L2::evict_normal", "m", nothing},
    {"prefetchu", "L1", "m", nothing},
    {"createpolicy", "fractional $evict2 ?L2::evict_unchanged b64", "d ?s", policy, Result::Pure, 80},
};

} // namespace

std::span<const OpcodeRow> memoryRows() { return rows; }

} // namespace ptxvm
