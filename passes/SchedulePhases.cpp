//===- SchedulePhases.cpp - stages become phases, values between them buffers -----------===//
//
// A stage's anchors decide what it becomes: an embedding look-up, attention, or tiles of linears, whose inputs make the
// prologue and whose users the epilogue. Decode and prefill are the same phases with another capacity.
//
//===------------------------------------------------------------------------------------===//

#include "dialects/stream/PackedLayout.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "passes/Passes.h"
#include "passes/StageFusion.h"
#include "runtime/abi.h"
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

namespace sluice {
#define GEN_PASS_DEF_SCHEDULEPHASES
#include "passes/Passes.h.inc"
} // namespace sluice

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

namespace {

constexpr int64_t ropeTablePadding = 32; // see stream.rope_table
constexpr int64_t attentionTokens = 8;   // of a work item of attention in prefill
constexpr int64_t prologueTokens = 16;   // that a worker prepares for all in prefill

// The operation whose weights or cache the rows of `value` come from: its name is the value's.
StringRef originOf(Value value) {
  Operation *op = value.getDefiningOp();
  if (auto linear = dyn_cast_or_null<LinearOp>(op))
    return baseName(linear.getWeight());
  if (isa_and_nonnull<AttentionOp>(op))
    return "attention";
  if (isa_and_nonnull<EmbedOp>(op))
    return "x";
  if (auto add = dyn_cast_or_null<AddOp>(op)) {
    StringRef rhs = originOf(add.getRhs());
    return rhs.empty() ? originOf(add.getLhs()) : rhs;
  }
  return op && op->getNumOperands() ? originOf(op->getOperand(0)) : StringRef();
}

// Builds one program.
class ProgramBuilder {
public:
  ProgramBuilder(ModelOp model, GraphOp graph, StringRef name, int64_t maxTokens, double outliers)
      : model(model), graph(graph), maxTokens(maxTokens), outliers(outliers), b(model.getLoc(), model.getContext()) {
    b.setInsertionPointToEnd(&model.getBody().front());
    program = stream::ProgramOp::create(b, name, maxTokens);
    bufferEnd = b.createBlock(&program.getBody());
  }

  LogicalResult build() {
    auto returned = cast<ReturnOp>(graph.getBody().front().getTerminator());
    if (producingStage(returned.getLogits()))
      scope.buffers[returned.getLogits()] = newBuffer("logits", widthOf(returned.getLogits()));
    ropes = distinctRopes(model);
    for (RopeOp rope : ropes)
      tables.push_back(newBuffer("rope", 2 * (rope.getHeadDim() + ropeTablePadding)));
    for (Operation &op : graph.getBody().front()) {
      b.setInsertionPointToEnd(bufferEnd);
      if (auto stage = dyn_cast<StageOp>(op)) {
        if (failed(schedule(stage, producingStage(returned.getLogits()) == stage)))
          return failure();
      } else if (auto layers = dyn_cast<LayersOp>(op)) {
        if (failed(schedule(layers)))
          return failure();
      }
    }
    if (!producingStage(returned.getLogits()))
      return returned.emitError("expected the logits to be made by a stage");
    return success();
  }

private:
  //===-- Buffers ----------------------------------------------------------------------===//

  // A buffer that nothing else in the scope uses, named `name`, or `name` and a number.
  FlatSymbolRefAttr newBuffer(StringRef name, int64_t width) {
    std::string unique = name.str();
    for (unsigned i = 2;; ++i) {
      auto [entry, isNew] = widths.try_emplace(unique, width);
      if (isNew) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(bufferEnd, firstPhase());
        stream::BufferOp::create(b, unique, width);
      }
      if (entry->second == width && scope.taken.insert(unique).second)
        return FlatSymbolRefAttr::get(b.getContext(), unique);
      unique = name.str() + std::to_string(i);
    }
  }
  Block::iterator firstPhase() {
    return llvm::find_if(*bufferEnd, [](Operation &op) { return !isa<stream::BufferOp>(op); });
  }
  FlatSymbolRefAttr bufferOf(Value value) {
    FlatSymbolRefAttr &symbol = scope.buffers[value];
    if (!symbol) {
      unsigned index = cast<OpResult>(value).getResultNumber();
      symbol = newBuffer(originOf(producingStage(value).getYield().getOperand(index)), widthOf(value));
    }
    return symbol;
  }

  //===-- Layers -----------------------------------------------------------------------===//

  LogicalResult schedule(LayersOp layers) {
    for (Operation *user : layers.getInput().getUsers())
      if (Operation *later = layers->getBlock()->findAncestorOpInBlock(*user); layers->isBeforeInBlock(later))
        return later->emitError("expected nothing after llama.layers to use its input, which the layers overwrite");
    for (RunAttr run : layers.getRuns().getAsRange<RunAttr>()) {
      auto block = cast<BlockOp>(SymbolTable::lookupSymbolIn(model, run.getBlock()));
      // Nothing of a layer but its output is left after it: other layers may use its buffers.
      Scope outer = scope;
      // Input and output of a layer share a buffer, which the next layer reads.
      auto yield = cast<YieldOp>(block.getBody().front().getTerminator());
      scope.buffers[block.getInput()] = bufferOf(layers.getInput());
      scope.buffers[yield.getOperand(0)] = bufferOf(layers.getInput());
      b.setLoc(layers.getLoc());
      auto repeat = stream::RepeatOp::create(b, run.getCount());
      Block *body = b.createBlock(&repeat.getBody());
      StageOp last = producingStage(yield.getOperand(0));
      for (Operation &op : block.getBody().front()) {
        b.setInsertionPointToEnd(body);
        auto stage = dyn_cast<StageOp>(op);
        if (stage && last && last->isBeforeInBlock(stage) && usesInside(stage, block.getInput()))
          return stage.emitError("expected the layer's input to be read before its output is written");
        if (stage && failed(schedule(stage, /*head=*/false)))
          return failure();
      }
      b.setInsertionPointToEnd(bufferEnd);
      scope = std::move(outer);
    }
    scope.buffers[layers.getResult()] = bufferOf(layers.getInput());
    return success();
  }

  static bool usesInside(StageOp stage, Value value) {
    return llvm::any_of(value.getUsers(), [&](Operation *user) { return stage->isProperAncestor(user); });
  }

  //===-- Stages -----------------------------------------------------------------------===//

  LogicalResult schedule(StageOp stage, bool head) {
    b.setLoc(stage.getLoc());
    auto phase = stream::PhaseOp::create(b, stage.getName(), head, IntegerAttr());
    b.createBlock(&phase.getBody());
    prologue.clear();
    Operation *anchor = stage.getAnchors()[0];
    Block &body = stage.getBody().front();
    bool alone = body.getOperations().size() == 2 && stage.getNumResults() == 1;
    if (auto embed = dyn_cast<EmbedOp>(anchor)) {
      if (!alone)
        return stage.emitError("expected an embedding alone in its stage");
      for (RopeOp rope : ropes)
        stream::RopeTableOp::create(b, tableOf(rope), rope.getHeadDimAttr(), rope.getTurnsAttr());
      stream::EmbedOp::create(b, embed.getWeightAttr(), bufferOf(stage.getResult(0)), b.getI64IntegerAttr(32));
      return success();
    }
    if (auto attention = dyn_cast<AttentionOp>(anchor)) {
      if (!alone)
        return stage.emitError("expected attention alone in its stage");
      CacheType cache = attention.getCache().getType();
      bool split = maxTokens == 1 && canSplit(stage);
      if (split)
        scope.buffers[stage.getResult(0)] =
            newBuffer("attention", stream::partsWidth(model, attention.getHeads(), cache.getHeadDim()));
      auto op = stream::AttentionOp::create(b, bufferOf(attention.getQuery()), bufferOf(stage.getResult(0)),
                                            attention.getHeadsAttr(), TypeAttr::get(cache), IntegerAttr(),
                                            IntegerAttr(), split ? b.getUnitAttr() : UnitAttr());
      op.setTokenBlock(maxTokens == 1 ? 1 : attentionTokens);
      if (AppendOp append = appendOf(attention.getCache())) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(op);
        stream::AppendOp::create(b, scope.buffers.lookup(append.getKey()), scope.buffers.lookup(append.getValue()),
                                 TypeAttr::get(cache));
        if (maxTokens > 1)
          phase.setPrologueTokens(prologueTokens);
      }
      return success();
    }
    if (maxTokens > 1)
      phase.setPrologueTokens(prologueTokens);
    return scheduleLinears(stage, head);
  }

  // Parts can be merged where channels are prepared for linears, and must fit memory for the longest context.
  bool canSplit(StageOp stage) {
    constexpr int64_t longest = 1 << 20;
    return int64_t(model.getContextLength()) <= longest &&
           llvm::all_of(stage.getResult(0).getUsers(), [](Operation *user) { return isa<LinearOp, RmsNormOp>(user); });
  }

  // What a stage appends to the cache that is its result; null for other values.
  static AppendOp appendOf(Value cache) {
    StageOp stage = producingStage(cache);
    return stage ? dyn_cast_or_null<AppendOp>(yieldedBy(cache)) : AppendOp();
  }

  // The rows that leave a stage, into buffers.
  static SmallVector<Value> leaving(StageOp stage) {
    SmallVector<Value> values;
    for (AppendOp append : stage.getBody().getOps<AppendOp>())
      values.append({append.getKey(), append.getValue()});
    for (Value value : stage.getYield().getValues())
      if (!isa<CacheType>(value.getType()))
        values.push_back(value);
    return values;
  }

  // What tiles can run: norms before the linears, operations on their rows after them.
  static LogicalResult checkLinears(StageOp stage) {
    for (Operation &op : stage.getBody().front()) {
      if (!isa<RmsNormOp, LinearOp, AddOp, SwigluOp, RopeOp, AppendOp, YieldOp>(op))
        return op.emitError("expected norms, linears and operations on their rows in a stage, got '")
               << op.getName() << "'";
      bool isBefore = isa<RmsNormOp, LinearOp>(op);
      for (Value operand : op.getOperands())
        if (Operation *maker = operand.getDefiningOp();
            maker && stage->isProperAncestor(maker) && isa<RmsNormOp>(maker) != isBefore)
          return op.emitError("expected norms before the linears of a stage and nothing else there: '")
                 << op.getName() << "' reads '" << maker->getName() << "'";
    }
    for (Value value : leaving(stage))
      if (linearsOf(value, stage).empty())
        return stage.emitError("expected every result of a stage to be made of rows of its linears");
    // What is appended is left in buffers: attention brings it into the cache.
    for (AppendOp append : stage.getBody().getOps<AppendOp>()) {
      auto results =
          llvm::make_filter_range(stage.getResults(), [&](Value result) { return appendOf(result) == append; });
      if (results.empty() || !llvm::hasSingleElement((*results.begin()).getUses()))
        return append.emitError("expected one attention to read the cache that is appended to");
    }
    return success();
  }

  LogicalResult scheduleLinears(StageOp stage, bool head) {
    if (failed(checkLinears(stage)))
      return failure();
    Block &body = stage.getBody().front();
    YieldOp yield = stage.getYield();

    // Linears that meet in what leaves the stage share their tiles.
    SmallVector<LinearOp> linears(body.getOps<LinearOp>());
    llvm::EquivalenceClasses<Operation *> joined;
    for (LinearOp linear : linears)
      joined.insert(linear);
    for (Value value : leaving(stage)) {
      SmallVector<LinearOp> sources = linearsOf(value, stage);
      for (LinearOp source : sources)
        joined.unionSets(sources[0], source);
    }
    SmallVector<std::pair<Value, FlatSymbolRefAttr>> writes;
    for (auto [value, result] : llvm::zip_equal(yield.getValues(), stage.getResults()))
      if (!isa<CacheType>(value.getType()))
        writes.push_back({value, bufferOf(result)});
    for (auto append : body.getOps<AppendOp>())
      for (Value value : {append.getKey(), append.getValue()})
        if (FlatSymbolRefAttr &buffer = scope.buffers[value]; !buffer) {
          buffer = newBuffer(originOf(value), widthOf(value));
          writes.push_back({value, buffer});
        }

    // Prologue.
    llvm::MapVector<std::pair<Value, int>, Value> prepared; // (input, operand kind)
    auto operandFor = [&](LinearOp linear) -> Value {
      WeightDeclOp weight = lookupWeight(linear, linear.getWeightAttr());
      auto kind = stream::operandKindOf(formatInfo(weight.getWeightType().getFormat()));
      Value &operand = prepared[{linear.getInput(), int(kind)}];
      if (!operand) {
        Value values = prologueValue(linear.getInput(), stage);
        const bool isInt8 = kind == stream::OperandKind::Int8;
        operand =
            stream::PrepareOp::create(b, stream::OperandType::get(b.getContext(), widthOf(linear.getInput()), kind),
                                      values, llvm::APFloat(isInt8 && !head && !isOfAttention(linear) ? outliers : 0.0),
                                      /*two_bytes=*/isInt8 && head);
      }
      return operand;
    };
    SmallVector<Value> operands;
    for (LinearOp linear : linears)
      operands.push_back(operandFor(linear));

    // Tiles.
    for (LinearOp first : linears) {
      SmallVector<Attribute> weights;
      SmallVector<Value> inputs;
      SmallVector<LinearOp> members;
      for (auto [linear, operand] : llvm::zip_equal(linears, operands))
        if (joined.isEquivalent(linear.getOperation(), first.getOperation())) {
          weights.push_back(linear.getWeightAttr());
          inputs.push_back(operand);
          members.push_back(linear);
        }
      if (members[0] != first)
        continue; // with an earlier one
      if (llvm::any_of(members, [&](LinearOp l) { return widthOf(l.getResult()) != widthOf(first.getResult()); }))
        return stage.emitError("expected linears that meet in one operation to have equally many rows");
      auto tiles = stream::TilesOp::create(b, inputs, b.getArrayAttr(weights), b.getI64IntegerAttr(32), IntegerAttr(),
                                           IntegerAttr(), IntegerAttr(), IntegerAttr());
      OpBuilder::InsertionGuard guard(b);
      Block *epilogue = b.createBlock(&tiles.getBody());
      auto lanes = stream::LanesType::get(b.getContext());
      llvm::DenseMap<Value, Value> lowered;
      for (LinearOp member : members)
        lowered[member] = epilogue->addArgument(lanes, member.getLoc());
      auto belongs = [&](Value value) { return llvm::is_contained(members, linearsOf(value, stage)[0]); };
      // All reads come before the first write, which may be to a buffer that is read (a layer's input and output).
      for (auto [value, symbol] : writes)
        if (belongs(value))
          epilogueValue(value, stage, lowered);
      for (auto [value, symbol] : writes)
        if (belongs(value))
          stream::WriteRowsOp::create(b, lowered.at(value), symbol);
    }
    return success();
  }

  // Means of values have no outliers that count.
  bool isOfAttention(LinearOp linear) { return isa_and_nonnull<AttentionOp>(yieldedBy(linear.getInput())); }

  // The operation in a stage that makes a stage's result; null for other values.
  static Operation *yieldedBy(Value value) {
    StageOp stage = producingStage(value);
    return stage ? stage.getYield().getOperand(cast<OpResult>(value).getResultNumber()).getDefiningOp() : nullptr;
  }

  // The linears of the stage that `value` is computed from, row by row.
  static SmallVector<LinearOp> linearsOf(Value value, StageOp stage) {
    Operation *op = value.getDefiningOp();
    if (!op || !stage->isProperAncestor(op))
      return {};
    if (auto linear = dyn_cast<LinearOp>(op))
      return {linear};
    SmallVector<LinearOp> sources;
    for (Value operand : op->getOperands())
      sources.append(linearsOf(operand, stage));
    return sources;
  }

  // The channels of `value` in the prologue, read or normalised once for all the forms that they are prepared in.
  Value prologueValue(Value value, StageOp stage) {
    if (Value done = prologue.lookup(value))
      return done;
    auto type = stream::ValuesType::get(b.getContext(), widthOf(value));
    Value result;
    if (auto norm = value.getDefiningOp<RmsNormOp>(); norm && stage->isProperAncestor(norm))
      result = stream::RmsNormOp::create(b, type, prologueValue(norm.getInput(), stage), norm.getWeightAttr(),
                                         norm.getEpsAttr());
    else if (auto attention = splitAttention(value))
      result = stream::MergeOp::create(b, type, bufferOf(value), attention.getHeadsAttr());
    else
      result = stream::ReadOp::create(b, type, bufferOf(value));
    prologue[value] = result;
    return result;
  }

  // The attention that leaves `value` in parts; null if none does.
  AttentionOp splitAttention(Value value) {
    auto stage = producingStage(value);
    auto attention = stage ? dyn_cast<AttentionOp>(stage.getAnchors()[0]) : AttentionOp();
    return attention && maxTokens == 1 && canSplit(stage) ? attention : AttentionOp();
  }

  Value epilogueValue(Value value, StageOp stage, llvm::DenseMap<Value, Value> &lowered) {
    if (Value done = lowered.lookup(value))
      return done;
    auto lanes = stream::LanesType::get(b.getContext());
    Operation *op = value.getDefiningOp();
    Value result;
    if (!op || !stage->isProperAncestor(op)) {
      result = stream::ReadRowsOp::create(b, lanes, bufferOf(value));
    } else if (auto add = dyn_cast<AddOp>(op)) {
      Value lhs = epilogueValue(add.getLhs(), stage, lowered), rhs = epilogueValue(add.getRhs(), stage, lowered);
      result = stream::AddOp::create(b, lanes, lhs, rhs);
    } else if (auto swiglu = dyn_cast<SwigluOp>(op)) {
      Value gate = epilogueValue(swiglu.getGate(), stage, lowered), up = epilogueValue(swiglu.getUp(), stage, lowered);
      result = stream::SwigluOp::create(b, lanes, gate, up);
    } else {
      auto rope = cast<RopeOp>(op);
      Value input = epilogueValue(rope.getInput(), stage, lowered);
      result = stream::RopeOp::create(b, lanes, input, tableOf(rope), rope.getHeadDimAttr());
    }
    lowered[value] = result;
    return result;
  }

  //===-- Tables of rotations ----------------------------------------------------------===//

  // One rope of each kind in the model.
  static SmallVector<RopeOp> distinctRopes(ModelOp model) {
    SmallVector<RopeOp> distinct;
    model.walk([&](RopeOp rope) {
      if (llvm::none_of(distinct, [&](RopeOp other) { return sameTable(rope, other); }))
        distinct.push_back(rope);
    });
    return distinct;
  }
  static bool sameTable(RopeOp x, RopeOp y) { return x.getHeadDim() == y.getHeadDim() && x.getTurns() == y.getTurns(); }
  FlatSymbolRefAttr tableOf(RopeOp rope) {
    return tables[llvm::find_if(ropes, [&](RopeOp other) { return sameTable(rope, other); }) - ropes.begin()];
  }

  // Which buffer each value is in, and those that may not be used for another.
  struct Scope {
    llvm::DenseMap<Value, FlatSymbolRefAttr> buffers;
    llvm::StringSet<> taken;
  };

  ModelOp model;
  GraphOp graph;
  int64_t maxTokens;
  double outliers;
  ImplicitLocOpBuilder b;
  stream::ProgramOp program;
  Block *bufferEnd;                // the program's block: buffers, then phases
  llvm::StringMap<int64_t> widths; // of the buffers declared
  Scope scope;                     // of the graph, or of the block at hand
  SmallVector<RopeOp> ropes;
  SmallVector<FlatSymbolRefAttr> tables; // of the ropes
  llvm::DenseMap<Value, Value> prologue; // of the phase at hand
};

struct SchedulePhases : sluice::impl::SchedulePhasesBase<SchedulePhases> {
  using SchedulePhasesBase::SchedulePhasesBase;

  void runOnOperation() override {
    ModelOp model = getOperation();
    auto graphs = llvm::to_vector(model.getOps<GraphOp>());
    if (graphs.size() != 1) {
      model.emitError("expected one llama.graph, got ") << graphs.size();
      return signalPassFailure();
    }
    if (failed(checkInStages(model)))
      return signalPassFailure();
    GraphOp graph = graphs[0];
    if (failed(ProgramBuilder(model, graph, "decode", 1, outliers).build()) ||
        failed(ProgramBuilder(model, graph, "prefill", prefillTokens, outliers).build()))
      return signalPassFailure();
    addSoftmax(model, widthOf(cast<ReturnOp>(graph.getBody().front().getTerminator()).getLogits()));
    addPeak(model);

    for (Operation &op : llvm::make_early_inc_range(model.getBody().front()))
      if (isa<GraphOp, BlockOp>(op))
        op.erase();
    auto decode = cast<stream::ProgramOp>(SymbolTable::lookupSymbolIn(model, "decode"));
    for (auto repeat : decode.getBody().getOps<stream::RepeatOp>())
      remark::passed(repeat.getLoc(), remark::RemarkOpts::name("SchedulePhases").category("schedule"))
          << std::to_string(llvm::range_size(repeat.getBody().getOps<stream::PhaseOp>())) + " barriers in each of " +
                 std::to_string(repeat.getCount()) + " layers";
  }

  static void addSoftmax(ModelOp model, int64_t vocabulary) {
    ImplicitLocOpBuilder b = ImplicitLocOpBuilder::atBlockEnd(model.getLoc(), &model.getBody().front());
    auto program = stream::ProgramOp::create(b, "softmax", 1);
    b.createBlock(&program.getBody());
    stream::BufferOp::create(b, "input", vocabulary);
    stream::BufferOp::create(b, "output", vocabulary + 1);
    auto phase = stream::PhaseOp::create(b, "softmax", /*head=*/false, IntegerAttr());
    b.createBlock(&phase.getBody());
    auto symbol = [&](StringRef name) { return FlatSymbolRefAttr::get(b.getContext(), name); };
    stream::SoftmaxOp::create(b, symbol("input"), symbol("output"));
  }

  static void addPeak(ModelOp model) {
    ImplicitLocOpBuilder b = ImplicitLocOpBuilder::atBlockEnd(model.getLoc(), &model.getBody().front());
    auto program = stream::ProgramOp::create(b, "peak", 1);
    b.createBlock(&program.getBody());
    stream::BufferOp::create(b, "data", SLUICE_PEAK_OPERATIONS / 2 / sizeof(float));
    auto phase = stream::PhaseOp::create(b, "peak", /*head=*/false, IntegerAttr());
    b.createBlock(&phase.getBody());
    stream::PeakOp::create(b, "data");
  }
};
} // namespace
