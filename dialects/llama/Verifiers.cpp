//===- Verifiers.cpp - the numbered constraints of the llama dialect ---------------===//
//
// Each message begins with what its constraint in LlamaOps.td or LlamaDialect.td says.
//
//===------------------------------------------------------------------------------===//

#include "dialects/llama/Llama.h"

using namespace mlir;
using namespace sluice::llama;

LogicalResult WeightType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t rows, int64_t cols,
                                 Format format) {
  if (rows <= 0 || cols <= 0)
    return emitError() << "(1) expected positive rows and cols, got " << rows << "x" << cols;
  unsigned block = formatInfo(format).blockElements;
  if (cols % block != 0)
    return emitError() << "(2) expected cols divisible by " << block << " for " << stringifyFormat(format) << ", got "
                       << cols;
  return success();
}

LogicalResult CacheType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t kvHeads, int64_t headDim) {
  if (kvHeads <= 0 || headDim <= 0)
    return emitError() << "expected positive KV heads and head size, got " << kvHeads << "x" << headDim;
  return success();
}

LogicalResult HalfSplitAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t headDim, int64_t rotated) {
  if (rotated <= 0 || rotated % 2 != 0 || headDim < rotated)
    return emitError() << "expected an even number of channels of a head, got " << rotated << " of " << headDim;
  return success();
}

LogicalResult WeightDeclOp::verify() {
  for (StringRef name : {getFrom(), getScaleFrom().value_or("")})
    if (name.count("{layer}") > 1)
      return emitOpError("(1) expected '{layer}' at most once in the tensor's name, got '") << name << "'";
  if (int64_t first = getFirstRow(); first < 0)
    return emitOpError("(2) expected a first_row of at least 0, got ") << first;
  const bool isVector = getWeightType().getRows() == 1;
  if (std::optional<HalfSplitAttr> split = getHalfSplit())
    if (int64_t channels = isVector ? getWeightType().getCols() : getWeightType().getRows();
        channels % split->getHeadDim() != 0)
      return emitOpError("(3) expected whole heads of ") << split->getHeadDim() << " channels, got " << channels;
  if (!isVector && !getPlus().isZero())
    return emitOpError("(4) expected 'plus' of a vector only");
  return success();
}

static bool isActivations(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() == 2 && tensor.isDynamicDim(0) && !tensor.isDynamicDim(1) &&
         tensor.getElementType().isF32();
}

static bool isIds(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() == 1 && tensor.isDynamicDim(0) && tensor.getElementType().isSignlessInteger(32);
}

// (first, index, cache)
static bool hasArguments(Block &block, bool (*isFirst)(Type)) {
  return block.getNumArguments() == 3 && isFirst(block.getArgument(0).getType()) &&
         block.getArgument(1).getType().isIndex() && isa<CacheType>(block.getArgument(2).getType());
}

LogicalResult BlockOp::verify() {
  Block &block = getBody().front();
  if (!hasArguments(block, isActivations))
    return emitOpError("(1) expected arguments (activations, index, cache)");
  auto yield = cast<YieldOp>(block.getTerminator());
  if (yield.getNumOperands() != 1 || yield.getOperand(0).getType() != block.getArgument(0).getType())
    return emitOpError("(2) expected to yield one value of the input's type ") << block.getArgument(0).getType();
  return success();
}

LogicalResult GraphOp::verify() {
  Block &block = getBody().front();
  if (!hasArguments(block, isIds))
    return emitOpError("(1) expected arguments (ids, index, cache)");
  if (block.empty() || !isa<ReturnOp>(block.back()))
    return emitOpError("(2) expected to end with llama.return");
  return success();
}

LogicalResult LayersOp::verifySymbolUses(SymbolTableCollection &symbols) {
  for (RunAttr run : getRuns().getAsRange<RunAttr>()) {
    auto model = (*this)->getParentOfType<ModelOp>();
    if (!model || !symbols.lookupSymbolIn<BlockOp>(model, run.getBlock()))
      return emitOpError("(1) expected a llama.block, got ") << run.getBlock();
    if (run.getCount() <= 0)
      return emitOpError("(1) expected a positive count of layers, got ") << run.getCount();
  }
  return success();
}

static FailureOr<WeightType> weightOf(Operation *op, FlatSymbolRefAttr symbol, SymbolTableCollection &symbols) {
  auto model = op->getParentOfType<ModelOp>();
  auto decl = model ? symbols.lookupSymbolIn<WeightDeclOp>(model, symbol) : WeightDeclOp();
  if (!decl)
    return op->emitOpError("expected a llama.weight of this model, got ") << symbol;
  return decl.getWeightType();
}

LogicalResult EmbedOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<WeightType> weight = weightOf(*this, getWeightAttr(), symbols);
  if (failed(weight))
    return failure();
  if (weight->getCols() != widthOf(getResult()))
    return emitOpError("(1) expected a result as wide as the weight's cols ")
           << weight->getCols() << ", got " << widthOf(getResult());
  return success();
}

LogicalResult RmsNormOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<WeightType> weight = weightOf(*this, getWeightAttr(), symbols);
  if (failed(weight))
    return failure();
  if (weight->getRows() != 1 || widthOf(getInput()) % weight->getCols() != 0)
    return emitOpError("(1) expected a weight of 1 x a divisor of ") << widthOf(getInput()) << ", got " << *weight;
  return success();
}

LogicalResult BiasOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<WeightType> weight = weightOf(*this, getWeightAttr(), symbols);
  if (failed(weight))
    return failure();
  if (weight->getRows() != 1 || weight->getCols() != widthOf(getInput()))
    return emitOpError("(1) expected a weight 1x") << widthOf(getInput()) << ", got " << *weight;
  return success();
}

LogicalResult SoftcapOp::verify() {
  if (!(getCap().convertToFloat() > 0))
    return emitOpError("(1) expected a positive cap");
  return success();
}

LogicalResult RmsNormOp::verify() {
  if (!(getEps().convertToFloat() > 0))
    return emitOpError("(2) expected a positive eps");
  return success();
}

LogicalResult LinearOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<WeightType> weight = weightOf(*this, getWeightAttr(), symbols);
  if (failed(weight))
    return failure();
  if (weight->getCols() != widthOf(getInput()))
    return emitOpError("(1) expected an input as wide as the weight's cols ")
           << weight->getCols() << ", got " << widthOf(getInput());
  if (weight->getRows() != widthOf(getResult()))
    return emitOpError("(2) expected a result as wide as the weight's rows ")
           << weight->getRows() << ", got " << widthOf(getResult());
  return success();
}

LogicalResult RopeOp::verify() {
  int64_t head = getHeadDim();
  if (head <= 0 || head % 2 != 0 || widthOf(getInput()) % head != 0)
    return emitOpError("(1) expected a width divisible by an even head_dim, got ")
           << widthOf(getInput()) << " and " << head;
  if (static_cast<int64_t>(getTurns().size()) > head / 2)
    return emitOpError("(2) expected at most ") << head / 2 << " turns, got " << getTurns().size();
  return success();
}

LogicalResult AppendOp::verify() {
  int64_t width = getCache().getType().getKvHeads() * getCache().getType().getHeadDim();
  for (Value value : {getKey(), getValue()})
    if (widthOf(value) != width)
      return emitOpError("(1) expected key and value ") << width << " wide, got " << widthOf(value);
  return success();
}

LogicalResult AttentionOp::verify() {
  CacheType cache = getCache().getType();
  int64_t heads = getHeads();
  if (widthOf(getQuery()) != heads * cache.getHeadDim())
    return emitOpError("(1) expected a query ") << heads * cache.getHeadDim() << " wide, got " << widthOf(getQuery());
  if (heads <= 0 || heads % cache.getKvHeads() != 0)
    return emitOpError("(2) expected heads divisible by the cache's ")
           << cache.getKvHeads() << " KV heads, got " << heads;
  if (int64_t window = getWindow().value_or(1); window <= 0)
    return emitOpError("(3) expected a positive window, got ") << window;
  for (std::optional<APFloat> number : {getScale(), getSoftcap()})
    if (number && !(number->convertToFloat() > 0))
      return emitOpError("(3) expected a positive scale and softcap");
  return success();
}

LogicalResult StageOp::verify() {
  SmallVector<Operation *> anchors = getAnchors();
  if (anchors.empty() && !llvm::all_of(getBody().front(), llvm::IsaPred<RmsNormOp, AddOp, YieldOp>))
    return emitOpError("(1) expected an anchor: linear, embed or attention");
  Value input;
  for (Operation *anchor : anchors) {
    auto linear = dyn_cast<LinearOp>(anchor);
    if (anchors.size() > 1 && (!linear || (input && input != linear.getInput())))
      return emitOpError("(2) expected linears of one input, or a single anchor");
    if (linear)
      input = linear.getInput();
  }
  for (Operation &op : getBody().front())
    if (isa<StageOp, LayersOp>(op))
      return emitOpError("(3) expected no ") << op.getName() << " inside";
  ValueRange yielded = getYield().getValues();
  if (yielded.getTypes() != getResultTypes())
    return emitOpError("expected to yield ") << getResultTypes() << ", got " << yielded.getTypes();
  return success();
}
