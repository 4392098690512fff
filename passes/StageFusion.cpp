//===- StageFusion.cpp - moving an operation into a stage -------------------------------===//

#include "passes/StageFusion.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

StageOp sluice::producingStage(Value value) { return value.getDefiningOp<StageOp>(); }

// A stage in place of `stage`, with its body, that yields those of `values` (defined in the body) that are used outside.
// `outside[i]` is the value whose uses outside the stage become the result for `values[i]`.
static StageOp rebuild(StageOp stage, StringRef name, ArrayRef<Value> values, ArrayRef<Value> outside) {
  Block *body = &stage.getBody().front();
  SmallVector<Value> yielded, replaced;
  SmallVector<Type> types;
  for (auto [value, old] : llvm::zip_equal(values, outside)) {
    bool used = llvm::any_of(old.getUses(), [&](OpOperand &use) { return use.getOwner()->getBlock() != body; });
    if (!used)
      continue;
    yielded.push_back(value);
    replaced.push_back(old);
    types.push_back(value.getType());
  }
  OpBuilder builder(stage);
  auto result = StageOp::create(builder, stage.getLoc(), types, name);
  result.getBody().takeBody(stage.getBody());
  Operation *yield = result.getYield();
  builder.setInsertionPoint(yield);
  YieldOp::create(builder, yield->getLoc(), yielded);
  yield->erase();
  for (auto [old, now] : llvm::zip_equal(replaced, result.getResults()))
    old.replaceUsesWithIf(now, [&](OpOperand &use) { return use.getOwner()->getBlock() != &result.getBody().front(); });
  return result;
}

StageOp sluice::absorb(StageOp stage, Operation *op, std::string &reason) {
  DominanceInfo dominance;
  for (Value operand : op->getOperands())
    if (producingStage(operand) != stage && !dominance.properlyDominates(operand, stage)) {
      reason = "an operand is made after the stage '" + stage.getName().str() + "'";
      return {};
    }
  SmallVector<Value> values(stage.getYield().getValues()), outside(stage.getResults());
  IRMapping inside;
  inside.map(stage.getResults(), stage.getYield().getValues());
  for (OpOperand &operand : op->getOpOperands())
    operand.set(inside.lookupOrDefault(operand.get()));
  op->moveBefore(stage.getYield());
  for (Value result : op->getResults()) {
    values.push_back(result);
    outside.push_back(result);
  }
  StageOp result = rebuild(stage, stage.getName(), values, outside);
  stage.erase();
  return result;
}

StageOp sluice::merge(StageOp stage, StageOp other, StringRef name) {
  SmallVector<Value> values(stage.getYield().getValues()), outside(stage.getResults());
  llvm::append_range(values, other.getYield().getValues());
  llvm::append_range(outside, other.getResults());
  Operation *otherYield = other.getYield();
  for (Operation &op : llvm::make_early_inc_range(other.getBody().front()))
    if (&op != otherYield)
      op.moveBefore(stage.getYield());
  StageOp result = rebuild(stage, name, values, outside);
  other.erase();
  stage.erase();
  return result;
}

remark::detail::InFlightRemark sluice::fused(Operation *op, StringRef pass) {
  return remark::passed(op->getLoc(), remark::RemarkOpts::name(pass).category("fuse"));
}
remark::detail::InFlightRemark sluice::notFused(Operation *op, StringRef pass) {
  return remark::missed(op->getLoc(), remark::RemarkOpts::name(pass).category("fuse"));
}
