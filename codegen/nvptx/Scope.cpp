//===- Scope.cpp - what the lowering of one phase knows of its kernel -----------------===//

#include "codegen/nvptx/Scope.h"
#include "runtime/abi.h"
#include <cstddef>

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

Value Scope::bufferRow(FlatSymbolRefAttr symbol, Value token) const {
  BufferOp buffer = lookupBuffer(phase(), symbol);
  Value base = t.at(args.arena, plan.buffers.at(symbol.getValue().str()));
  return manyTokens() ? t.at(base, t.mul(token, paddedWidth(buffer.getWidth()) * 4)) : base;
}

Value Scope::operandAt(Value prepared, Value token) const {
  const int64_t at = plan.operandAt(prepared);
  return manyTokens() ? t.at(t.at(args.prepared, at), t.mul(token, plan.operand(prepared).bytes())) : sharedAt(at);
}

Value Scope::position() const {
  return t.truncate(t.load(t.i64(), t.at(args.state, offsetof(sluice_device_state, position)), 8), t.i32());
}
Value Scope::tokenBegin() const {
  if (!manyTokens() || !phase().getHead())
    return t.c(0);
  return t.load(t.i32(), t.at(args.state, offsetof(sluice_device_state, token_begin)), 4);
}
Value Scope::tokenEnd() const {
  return manyTokens() ? t.load(t.i32(), t.at(args.state, offsetof(sluice_device_state, tokens)), 4) : t.c(1);
}

Value Scope::reduceBlock(Value x, function_ref<Value(Value, Value)> join, unsigned place) const {
  Value words = sharedAt(plan.reduceAt() + place * GpuFacts::warps * 4);
  x = t.reduceWarp(x, join);
  t.when(t.equal(t.lane(), 0), [&] { t.store(x, t.at(words, t.mul(t.warp(), 4)), 4); });
  t.syncBlock();
  Value all;
  for (unsigned i = 0; i < GpuFacts::warps; ++i) {
    Value each = t.load(x.getType(), t.at(words, i * 4), 4);
    all = i ? join(all, each) : each;
  }
  return all;
}

// One thread's fence and load stand for its block: the barriers before and after make them cumulative.
void sluice::codegen::arrive(Threads &t, const KernelArgs &args) {
  t.syncBlock();
  t.when(t.equal(t.thread(), 0), [&] {
    t.fenceDevice();
    t.atomicAdd(t.at(args.sync, SyncPlan::meetingAt), t.c(1));
  });
}
void sluice::codegen::await(Threads &t, const KernelArgs &args, Value target) {
  t.when(t.equal(t.thread(), 0), [&] {
    Value count = t.at(args.sync, SyncPlan::meetingAt);
    t.whileTrue(
        t.loadAcquire(t.i32(), count), [&](ValueRange seen) { return t.less(seen[0], target); },
        [&](ValueRange) { return Values{t.loadAcquire(t.i32(), count)}; });
  });
  t.syncBlock();
}

SyncPlan SyncPlan::get(llama::ModelOp model) {
  SyncPlan plan{1, 1, 1};
  model.walk([&](PhaseOp phase) {
    if (phase->getParentOfType<ProgramOp>().getMaxTokens() > 1)
      return;
    std::vector<TileGroup> groups = groupsOf(phase);
    plan.groups = std::max<int64_t>(plan.groups, groups.size());
    for (const TileGroup &group : groups)
      plan.weights = std::max<int64_t>(plan.weights, group.weights.size());
    for (auto attention : phase.getBody().getOps<AttentionOp>())
      plan.kvHeads = std::max<int64_t>(plan.kvHeads, cast<llama::CacheType>(attention.getCache()).getKvHeads());
  });
  return plan;
}
