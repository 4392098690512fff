//===- Verifiers.cpp - the numbered constraints of the stream dialect --------------===//
//
// Each message begins with what its constraint in StreamOps.td says.
//
//===------------------------------------------------------------------------------===//

#include "dialects/stream/PackedLayout.h"
#include "dialects/stream/Stream.h"
#include "runtime/abi.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::stream;
using llama::WeightDeclOp;

//===-- Structure --------------------------------------------------------------------===//

LogicalResult ProgramOp::verify() {
  if (getMaxTokens() <= 0)
    return emitOpError("(1) expected positive max_tokens, got ") << getMaxTokens();
  for (Operation &op : getBody().front())
    if (!isa<BufferOp, PhaseOp, RepeatOp>(op))
      return emitOpError("(2) expected only buffers, phases and repeats, got ") << op.getName();
  return success();
}

LogicalResult BufferOp::verify() {
  if (getWidth() <= 0)
    return emitOpError("(1) expected a positive width, got ") << getWidth();
  return success();
}

LogicalResult RepeatOp::verify() {
  if (getCount() <= 0)
    return emitOpError("(1) expected a positive count, got ") << getCount();
  for (Operation &op : getBody().front())
    if (!isa<PhaseOp>(op))
      return emitOpError("(2) expected only phases, got ") << op.getName();
  return success();
}

LogicalResult PhaseOp::verify() {
  Block &block = getBody().front();
  auto has = [&](auto kind) { return llvm::any_of(block, [](Operation &op) { return isa<decltype(kind)>(op); }); };
  auto count = [&](auto kind) { return llvm::range_size(block.getOps<decltype(kind)>()); };
  auto kinds = has(TilesOp()) + count(AttentionOp()) + count(SoftmaxOp()) + count(PeakOp()) + count(EmbedOp());
  if (kinds != 1)
    return emitOpError("(1) expected one of tiles, attention, softmax, peak, embed, got ") << kinds << " kinds";
  if (has(RopeTableOp()) && !has(EmbedOp()))
    return emitOpError("(1) expected rope_table beside embed only");
  if (count(AppendOp()) > count(AttentionOp()))
    return emitOpError("(1) expected append once, beside attention only");

  llvm::StringMap<TilesOp> writers;
  for (auto tiles : getBody().getOps<TilesOp>())
    for (auto write : tiles.getBody().getOps<WriteRowsOp>())
      if (writers.try_emplace(write.getBuffer(), tiles).first->second != tiles)
        return emitOpError("(3) expected one tiles to write @") << write.getBuffer() << ", got several";
  for (auto read : getBody().getOps<ReadOp>())
    if (writers.contains(read.getBuffer()))
      return emitOpError("(2) expected no write to @") << read.getBuffer() << ", which the prologue reads";
  llvm::DenseMap<Value, int64_t> tokenBlocks; // of operands
  for (auto tiles : getBody().getOps<TilesOp>()) {
    for (auto rope : tiles.getBody().getOps<RopeOp>())
      if (writers.contains(rope.getTable()))
        return emitOpError("(2) expected no write to @") << rope.getTable() << ", which a rope reads";
    for (auto read : tiles.getBody().getOps<ReadRowsOp>())
      if (TilesOp writer = writers.lookup(read.getBuffer()); writer && writer != tiles)
        return emitOpError("(3) expected no read of @") << read.getBuffer() << ", which another tiles writes";
    if (std::optional<int64_t> tokens = tiles.getTokenBlock())
      for (Value operand : tiles.getOperands())
        if (int64_t other = tokenBlocks.try_emplace(operand, *tokens).first->second; other != *tokens)
          return emitOpError("(4) expected one token_block for an operand, got ") << other << " and " << *tokens;
    if (std::optional<int64_t> shared = getPrologueTokens(); shared && *shared % tiles.getTokenBlock().value_or(1) != 0)
      return emitOpError("(5) expected prologue_tokens to be a multiple of every token_block, got ")
             << *shared << " and " << *tiles.getTokenBlock();
  }
  if (std::optional<int64_t> shared = getPrologueTokens(); shared && *shared <= 0)
    return emitOpError("(5) expected positive prologue_tokens, got ") << *shared;
  return success();
}

//===-- Buffers and weights ------------------------------------------------------------===//

static FailureOr<int64_t> bufferWidth(Operation *op, FlatSymbolRefAttr symbol) {
  BufferOp buffer = lookupBuffer(op, symbol);
  if (!buffer)
    return op->emitOpError("expected a stream.buffer of this program, got ") << symbol;
  return static_cast<int64_t>(buffer.getWidth());
}

static LogicalResult expectWidth(Operation *op, FlatSymbolRefAttr symbol, int64_t width) {
  FailureOr<int64_t> actual = bufferWidth(op, symbol);
  if (failed(actual))
    return failure();
  if (*actual != width)
    return op->emitOpError("(1) expected buffer ") << symbol << " to be " << width << " wide, got " << *actual;
  return success();
}

static FailureOr<llama::WeightType> weightOf(Operation *op, FlatSymbolRefAttr symbol) {
  WeightDeclOp decl = llama::lookupWeight(op, symbol);
  if (!decl)
    return op->emitOpError("expected a llama.weight of this model, got ") << symbol;
  return decl.getWeightType();
}

LogicalResult ReadOp::verifySymbolUses(SymbolTableCollection &) {
  return expectWidth(*this, getBufferAttr(), getResult().getType().getWidth());
}

LogicalResult RmsNormOp::verifySymbolUses(SymbolTableCollection &) {
  FailureOr<llama::WeightType> weight = weightOf(*this, getWeightAttr());
  if (failed(weight))
    return failure();
  int64_t width = getInput().getType().getWidth();
  if (weight->getRows() != 1 || weight->getCols() != width)
    return emitOpError("(1) expected a weight 1x") << width << ", got " << *weight;
  return success();
}

LogicalResult RmsNormOp::verify() {
  if (!(getEps().convertToFloat() > 0))
    return emitOpError("(2) expected a positive eps");
  return success();
}

LogicalResult PrepareOp::verify() {
  if (getInput().getType().getWidth() != getResult().getType().getWidth())
    return emitOpError("(1) expected a result ")
           << getInput().getType().getWidth() << " wide, got " << getResult().getType().getWidth();
  const double outliers = getOutliers().convertToDouble();
  if (outliers && !(outliers >= 1 && outliers <= 1000))
    return emitOpError("(2) expected outliers of 0 or from 1 to 1000, got ") << outliers;
  if (outliers && getTwoBytes())
    return emitOpError("(3) expected outliers or two_bytes, got both");
  if ((outliers || getTwoBytes()) && getResult().getType().getKind() != OperandKind::Int8)
    return emitOpError("(4) expected an i8 operand for ") << (outliers ? "outliers" : "two_bytes");
  return success();
}

LogicalResult TilesOp::verify() {
  size_t count = getWeights().size();
  Block &block = getBody().front();
  if (count == 0 || getOperands().size() != count || block.getNumArguments() != count)
    return emitOpError("(1) expected as many operands and arguments as weights, got ")
           << getOperands().size() << ", " << block.getNumArguments() << " and " << count;
  for (BlockArgument argument : block.getArguments())
    if (!isa<LanesType>(argument.getType()))
      return emitOpError("(1) expected arguments of type !stream.lanes, got ") << argument.getType();
  if (int64_t prefetch = getPrefetch().value_or(0); prefetch < 0)
    return emitOpError("(5) expected a prefetch of at least 0, got ") << prefetch;
  int64_t tile = getTileRows(), rows = getRowBlock().value_or(tile), lanes = getLanes().value_or(rows);
  if ((tile != 16 && tile != 32) || rows <= 0 || tile % rows != 0 || lanes <= 0 || rows % lanes != 0)
    return emitOpError("(4) expected tile_rows 16 or 32, divisible by row_block, divisible by lanes, got ")
           << tile << ", " << rows << ", " << lanes;
  if (int64_t tokens = getTokenBlock().value_or(1); tokens <= 0)
    return emitOpError("(4) expected a positive token_block, got ") << tokens;
  if (int64_t most = (*this)->getParentOfType<ProgramOp>().getMaxTokens(); most % getTokenBlock().value_or(1) != 0)
    return emitOpError("(4) expected a token_block that divides the program's max_tokens, ")
           << most << ", got " << *getTokenBlock();
  return success();
}

LogicalResult TilesOp::verifySymbolUses(SymbolTableCollection &) {
  std::optional<int64_t> rows;
  for (auto [symbol, operand] : llvm::zip_equal(getWeights().getAsRange<FlatSymbolRefAttr>(), getOperands())) {
    FailureOr<llama::WeightType> weight = weightOf(*this, symbol);
    if (failed(weight))
      return failure();
    auto type = cast<OperandType>(operand.getType());
    if (rows.value_or(weight->getRows()) != weight->getRows() || weight->getCols() != type.getWidth())
      return emitOpError("(2) expected ") << symbol << " to be " << rows.value_or(weight->getRows()) << "x"
                                          << type.getWidth() << ", got " << *weight;
    rows = weight->getRows();
    OperandKind kind = operandKindOf(llama::formatInfo(weight->getFormat()));
    if (kind != type.getKind())
      return emitOpError("(3) expected an operand of ") << stringifyOperandKind(kind) << " for " << symbol << " in "
                                                        << llama::stringifyFormat(weight->getFormat());
  }
  return success();
}

//===-- Epilogues -----------------------------------------------------------------------===//

static int64_t rowsOf(Operation *epilogueOp) {
  auto tiles = cast<TilesOp>(epilogueOp->getParentOp());
  WeightDeclOp decl = llama::lookupWeight(tiles, cast<FlatSymbolRefAttr>(tiles.getWeights()[0]));
  return decl ? decl.getWeightType().getRows() : 0;
}

LogicalResult ReadRowsOp::verifySymbolUses(SymbolTableCollection &) {
  return expectWidth(*this, getBufferAttr(), rowsOf(*this));
}

LogicalResult WriteRowsOp::verifySymbolUses(SymbolTableCollection &) {
  return expectWidth(*this, getBufferAttr(), rowsOf(*this));
}

LogicalResult RopeOp::verifySymbolUses(SymbolTableCollection &) {
  int64_t head = getHeadDim(), rows = rowsOf(*this);
  if (head <= 0 || head % 2 != 0 || rows % head != 0)
    return emitOpError("(2) expected rows divisible by an even head_dim, got ") << rows << " and " << head;
  if (int64_t lanes = cast<TilesOp>((*this)->getParentOp()).getLanes().value_or(2); lanes % 2 != 0)
    return emitOpError("(3) expected even lanes, got ") << lanes;
  return expectWidth(*this, getTableAttr(), 2 * (head + 32));
}

//===-- Phases of other kinds -------------------------------------------------------------===//

LogicalResult EmbedOp::verify() {
  if (int64_t tile = getTileRows(); tile != 16 && tile != 32)
    return emitOpError("(2) expected tile_rows 16 or 32, got ") << tile;
  return success();
}

LogicalResult EmbedOp::verifySymbolUses(SymbolTableCollection &) {
  FailureOr<llama::WeightType> weight = weightOf(*this, getWeightAttr());
  return failed(weight) ? failure() : expectWidth(*this, getBufferAttr(), weight->getCols());
}

LogicalResult RopeTableOp::verify() {
  int64_t head = getHeadDim(), turns = getTurns().size();
  if (head <= 0 || head % 2 != 0 || turns > head / 2)
    return emitOpError("(2) expected a positive even head_dim and at most half as many turns, got ")
           << head << " and " << turns;
  return success();
}

LogicalResult RopeTableOp::verifySymbolUses(SymbolTableCollection &) {
  return expectWidth(*this, getBufferAttr(), 2 * (getHeadDim() + 32));
}

LogicalResult AppendOp::verifySymbolUses(SymbolTableCollection &) {
  auto attentions = (*this)->getParentOfType<PhaseOp>().getBody().getOps<AttentionOp>();
  if (AttentionOp attention = *attentions.begin(); attention.getCache() != getCache())
    return emitOpError("(2) expected the cache that attention reads, ")
           << attention.getCache() << ", got " << getCache();
  auto cache = dyn_cast<llama::CacheType>(getCache());
  if (!cache)
    return emitOpError("(2) expected a cache, got ") << getCache();
  int64_t width = cache.getKvHeads() * cache.getHeadDim();
  return failure(failed(expectWidth(*this, getKeyAttr(), width)) || failed(expectWidth(*this, getValueAttr(), width)));
}

LogicalResult AttentionOp::verify() {
  if (int64_t tokens = getTokenBlock().value_or(1); tokens <= 0)
    return emitOpError("(3) expected a positive token_block, got ") << tokens;
  if (int64_t tokens = (*this)->getParentOfType<ProgramOp>().getMaxTokens(); getSplit() && tokens != 1)
    return emitOpError("(4) expected split in a program of one token, got one of ") << tokens;
  if (int64_t prefetch = getPrefetch().value_or(0); prefetch < 0)
    return emitOpError("(5) expected a prefetch of at least 0, got ") << prefetch;
  return success();
}

LogicalResult AttentionOp::verifySymbolUses(SymbolTableCollection &) {
  auto cache = dyn_cast<llama::CacheType>(getCache());
  if (!cache || getHeads() <= 0 || getHeads() % cache.getKvHeads() != 0)
    return emitOpError("(2) expected heads divisible by the cache's KV heads, got ")
           << getHeads() << " and " << getCache();
  int64_t width = getHeads() * cache.getHeadDim();
  return failure(failed(expectWidth(*this, getQueryAttr(), width)) ||
                 failed(expectWidth(
                     *this, getResultAttr(),
                     getSplit() ? partsWidth((*this)->getParentOfType<llama::ModelOp>(), getHeads(), cache.getHeadDim())
                                : width)));
}

LogicalResult MergeOp::verifySymbolUses(SymbolTableCollection &) {
  int64_t width = getResult().getType().getWidth(), heads = getHeads();
  if (heads <= 0 || width % heads != 0)
    return emitOpError("(1) expected heads that divide ") << width << ", got " << heads;
  return expectWidth(*this, getBufferAttr(),
                     partsWidth((*this)->getParentOfType<llama::ModelOp>(), heads, width / heads));
}

LogicalResult SoftmaxOp::verifySymbolUses(SymbolTableCollection &) {
  FailureOr<int64_t> input = bufferWidth(*this, getInputAttr()), result = bufferWidth(*this, getResultAttr());
  if (failed(input) || failed(result))
    return failure();
  if (*result <= *input)
    return emitOpError("(1) expected a result wider than the input's ") << *input << ", got " << *result;
  return success();
}

LogicalResult PeakOp::verifySymbolUses(SymbolTableCollection &) {
  return expectWidth(*this, getBufferAttr(), SLUICE_PEAK_OPERATIONS / 2 / sizeof(float));
}
