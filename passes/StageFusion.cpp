//===- StageFusion.cpp - moving an operation into a stage -------------------------------===//

#include "passes/StageFusion.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

StageOp sluice::producingStage(Value value) { return value.getDefiningOp<StageOp>(); }

// A stage in place of `stage`, with its body, that yields those of `values` (defined in the body) that are used
// outside. `outside[i]` is the value whose uses outside the stage become the result for `values[i]`.
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

//===-- What is left ---------------------------------------------------------------------===//

// The pass that brings an operation into a stage; "" if none does.
static StringRef passFor(Operation *op) {
  return llvm::TypeSwitch<Operation *, StringRef>(op)
      .Case<EmbedOp, LinearOp, AttentionOp>([](auto) { return "form-stages"; })
      .Case<RopeOp, AppendOp>([](auto) { return "fuse-rope"; })
      .Case<SwigluOp, GegluOp>([](auto) { return "fuse-swiglu"; })
      .Case<BiasOp, ScaleOp, SoftcapOp>([](auto) { return "fuse-elementwise"; })
      .Case<AddOp>([](auto) { return "fuse-residual"; })
      .Case<RmsNormOp>([](auto) { return "fuse-norm"; })
      .Default([](Operation *) { return ""; });
}

LogicalResult sluice::checkInStages(ModelOp model) {
  for (Operation &body : model.getBody().front()) {
    if (!isa<BlockOp, GraphOp>(body))
      continue;
    for (Operation &op : body.getRegion(0).front().without_terminator()) {
      if (isa<StageOp, LayersOp>(op))
        continue;
      StringRef pass = passFor(&op);
      return op.emitError("expected every operation to be in a stage, got '")
             << op.getName() << "' alone; " << (pass.empty() ? "no pass" : pass) << " takes it in"
             << (pass.starts_with("fuse") ? ", or its remark says why not" : "");
    }
  }
  return success();
}

//===-- Remarks --------------------------------------------------------------------------===//

static bool isActivations(Value value) {
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  return tensor && tensor.getRank() == 2;
}

BlockCost BlockCost::of(Block &block) {
  BlockCost cost;
  for (Operation &op : block.without_terminator()) {
    if (isa<LayersOp>(op)) // many phases, which no fusion in this block changes
      continue;
    ++cost.barriers;
    llvm::SmallPtrSet<Value, 4> read;
    op.walk([&](Operation *inner) {
      for (Value operand : inner->getOperands()) {
        Operation *maker = operand.getDefiningOp();
        if (isActivations(operand) && !(maker && op.isAncestor(maker)) && read.insert(operand).second)
          cost.bytes += widthOf(operand) * sizeof(float);
      }
    });
    for (Value result : llvm::make_filter_range(op.getResults(), isActivations)) {
      ++cost.vectors;
      cost.bytes += widthOf(result) * sizeof(float);
    }
  }
  return cost;
}

FusionRemark::FusionRemark(Operation *op, StringRef pass)
    : loc(op->getLoc()), pass(pass), block(op->getBlock()), before(BlockCost::of(*block)) {}

void FusionRemark::fused(const Twine &text) {
  BlockCost after = BlockCost::of(*block);
  remark::passed(loc, remark::RemarkOpts::name(pass).category("fuse"))
      << text.str() << remark::metric("BarriersSaved", before.barriers - after.barriers)
      << remark::metric("VectorsNotWritten", before.vectors - after.vectors)
      << remark::metric("BytesSaved", before.bytes - after.bytes);
}

void FusionRemark::declined(const Twine &reason) {
  remark::missed(loc, remark::RemarkOpts::name(pass).category("fuse")) << reason.str();
}
