//===- LowerToGpu.cpp - every phase becomes kernels, and the token one more ------------===//
//
// What is left is arith, math, scf, nvvm and llvm operations. What the runtime must know of the kernels is an attribute
// of the module, `sluice.device`, which emission turns into a sluice_device_variant.
//
//===-----------------------------------------------------------------------------------===//

#include "codegen/nvptx/Device.h"
#include "codegen/nvptx/Passes.h"
#include "codegen/nvptx/Scope.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include <cstddef>

namespace sluice::codegen {
#define GEN_PASS_DEF_LOWERPHASESTOGPU
#include "codegen/nvptx/Passes.h.inc"
} // namespace sluice::codegen

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

constexpr StringRef sharedName = "sluice_shared";

// The fields of sluice_device_args: pointers, but for two strides and the last two.
constexpr int64_t argsPointers = offsetof(sluice_device_args, cache_type) / 8;
static_assert(sizeof(sluice_device_args) == argsPointers * 8 + 8);

struct LowerPhasesToGpu : codegen::impl::LowerPhasesToGpuBase<LowerPhasesToGpu> {
  using LowerPhasesToGpuBase::LowerPhasesToGpuBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    facts = findGpu(gpu);
    auto models = llvm::to_vector(module.getOps<llama::ModelOp>());
    if (!facts || models.size() != 1) {
      module.emitError("expected a known gpu and one llama.model, got '") << gpu << "' and " << models.size();
      return signalPassFailure();
    }
    named.clear();
    model = models[0];
    schedule = Schedule::get(model);
    sync = SyncPlan::get(model);
    ring = 0;
    for (auto program : model.getOps<ProgramOp>())
      if (program.getMaxTokens() == 1)
        ring = std::max(ring, ringBytes(program));
    declareShared();
    DeviceKernels kernels;
    for (PhaseOp phase : schedule.kernels())
      kernels.steps.push_back(lowerPhase(phase));
    for (auto [index, program] : llvm::enumerate(model.getOps<ProgramOp>()))
      if (program.getSymName() == "decode")
        lowerToken(program, index, kernels);
    for (const auto &step : kernels.steps)
      kernels.preparedBytes = std::max(kernels.preparedBytes, step.preparedBytes);
    kernels.syncBytes = sync.slotsAt();
    kernels.syncBlockBytes = sync.blockBytes();
    for (const auto &step : kernels.steps)
      for (const DeviceKernel *kernel : {&step.prologue, &step.run})
        if (kernel->sharedBytes > facts->blockSharedBytes) {
          module.emitError("kernel '") << kernel->name << "' would need " << kernel->sharedBytes
                                       << " bytes of shared memory, and a block of " << facts->name << " has "
                                       << facts->blockSharedBytes;
          return signalPassFailure();
        }
    kernels.write(module);
    model.erase();
  }

  //===-- Functions ----------------------------------------------------------------------===//

  void declareShared() {
    OpBuilder builder = OpBuilder::atBlockBegin(getOperation().getBody());
    auto type = LLVM::LLVMArrayType::get(builder.getI8Type(), 0);
    LLVM::GlobalOp::create(builder, getOperation().getLoc(), type, /*isConstant=*/false, LLVM::Linkage::External,
                           sharedName, Attribute(), /*alignment=*/128, Shared);
  }

  // Emits a kernel of all threads of the grid, or of one block.
  DeviceKernel makeKernel(Location loc, const Twine &name, int64_t sharedBytes, bool oneBlock,
                          function_ref<void(Threads &, const KernelArgs &)> body) {
    std::string unique = name.str();
    for (char &c : unique)
      if (!llvm::isAlnum(c))
        c = '_';
    if (unsigned earlier = named[unique]++) // the same phase of another layer body
      unique += "_" + std::to_string(earlier);
    OpBuilder builder = OpBuilder::atBlockEnd(getOperation().getBody());
    MLIRContext *context = &getContext();
    Type pointer = LLVM::LLVMPointerType::get(context, Global);
    SmallVector<Type> fields(argsPointers, pointer);
    fields[offsetof(sluice_device_args, kv_layer_stride) / 8] = builder.getI64Type();
    fields[offsetof(sluice_device_args, kv_head_stride) / 8] = builder.getI64Type();
    fields.append({builder.getI32Type(), builder.getI32Type()});
    auto structure = LLVM::LLVMStructType::getLiteral(context, fields);
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), {LLVM::LLVMPointerType::get(context)});
    auto function = LLVM::LLVMFuncOp::create(builder, loc, unique, type);
    function.setArgAttr(0, LLVM::LLVMDialect::getByValAttrName(), TypeAttr::get(structure));
    function.setArgAttr(0, LLVM::LLVMDialect::getAlignAttrName(), builder.getI64IntegerAttr(8));
    function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), builder.getUnitAttr());
    function->setAttr(NVVM::NVVMDialect::getMaxntidAttrName(),
                      builder.getDenseI32ArrayAttr({int32_t(GpuFacts::threads)}));
    function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(), builder.getI32IntegerAttr(1));
    builder.setInsertionPointToEnd(function.addEntryBlock(builder));
    Threads t(builder, loc, *facts);
    auto field = [&](size_t offset) {
      Type type = fields[offset < argsPointers * 8 ? offset / 8 : argsPointers + (offset - argsPointers * 8) / 4];
      return Value(LLVM::LoadOp::create(t.b, type, t.at(function.getArgument(0), int64_t(offset)),
                                        isa<LLVM::LLVMPointerType>(type) ? 8 : type.getIntOrFloatBitWidth() / 8));
    };
#define FIELD(NAME) field(offsetof(sluice_device_args, NAME))
    KernelArgs args{.weights = FIELD(weights),
                    .arena = FIELD(arena),
                    .prepared = FIELD(prepared),
                    .kv = FIELD(kv),
                    .ids = FIELD(ids),
                    .state = FIELD(state),
                    .sync = FIELD(sync),
                    .logits = FIELD(logits),
                    .banned = FIELD(banned),
                    .chosen = FIELD(chosen),
                    .kvLayerStride = FIELD(kv_layer_stride),
                    .kvHeadStride = FIELD(kv_head_stride),
                    .cacheType = FIELD(cache_type),
                    .layer = FIELD(layer),
                    .shared = LLVM::AddressOfOp::create(t.b, t.pointer(Shared), sharedName)};
#undef FIELD
    body(t, args);
    LLVM::ReturnOp::create(t.b, ValueRange());
    return {unique, GpuFacts::threads, uint32_t(sharedBytes), oneBlock ? 0u : 1u};
  }

  //===-- Phases -------------------------------------------------------------------------===//

  DeviceStep lowerPhase(PhaseOp phase) {
    DeviceStep step;
    if (!phase.getBody().getOps<PeakOp>().empty())
      return step; // the processor's
    PhasePlan plan(phase, *facts);
    std::string name = (phase->getParentOfType<ProgramOp>().getSymName() + "_" + phase.getName()).str();
    step.preparedBytes = plan.preparedBytes;
    if (plan.maxTokens == 1) {
      const bool oneBlock = !phase.getBody().getOps<SoftmaxOp>().empty();
      step.run = makeKernel(phase.getLoc(), name, sharedOf(plan), oneBlock, [&](Threads &t, const KernelArgs &args) {
        Scope scope{plan, t, args, ring};
        if (!plan.groups.empty())
          beginCopies(scope, plan.groups[0], 0, 0, /*paced=*/false);
        lowerOneToken(scope, 1);
      });
      return step;
    }
    auto scopeOf = [&](Threads &t, const KernelArgs &args) { return Scope{plan, t, args, 0}; };
    auto appends = phase.getBody().getOps<AppendOp>();
    auto overTokens = [&](const Scope &scope) {
      Threads &t = scope.t;
      t.loop(t.add(scope.tokenBegin(), t.block()), scope.tokenEnd(), t.blocks(), [&](Value token) {
        lowerPrologue(scope, token);
        t.syncBlock();
      });
    };
    if (!plan.groups.empty())
      step.prologue = makeKernel(phase.getLoc(), name + "_prologue", plan.sharedBytes, false,
                                 [&](Threads &t, const KernelArgs &args) { overTokens(scopeOf(t, args)); });
    else if (!appends.empty())
      step.prologue = makeKernel(phase.getLoc(), name + "_prologue", 0, false, [&](Threads &t, const KernelArgs &args) {
        lowerAppends(scopeOf(t, args), *appends.begin());
      });
    step.run = makeKernel(phase.getLoc(), name, plan.sharedBytes, false, [&](Threads &t, const KernelArgs &args) {
      Scope scope = scopeOf(t, args);
      if (!plan.groups.empty())
        lowerManyTiles(scope);
      else if (hasWrites(phase))
        overTokens(scope);
      lowerOthers(scope);
    });
    return step;
  }

  static bool hasWrites(PhaseOp phase) { return !phase.getBody().getOps<WriteOp>().empty(); }

  int64_t sharedOf(const PhasePlan &plan) const { return ring * GpuFacts::warps + plan.sharedBytes; }

  // All of a phase for one token; so many parts of the copies for the first group are under way.
  void lowerOneToken(const Scope &scope, unsigned begun) {
    const std::vector<TileGroup> &groups = scope.plan.groups;
    auto copy = [&](unsigned part) {
      if (part >= begun)
        beginCopies(scope, groups[0], part, part, /*paced=*/false);
    };
    if (!groups.empty()) {
      scope.t.apart([&] { lowerPrologue(scope, scope.t.c(0), [&] { copy(1); }); });
      scope.t.apart([&] { copy(2); });
      scope.t.syncBlock();
    } else if (hasWrites(scope.phase())) {
      scope.t.when(scope.t.equal(scope.t.block(), 0),
                   [&] { scope.t.apart([&] { lowerPrologue(scope, scope.t.c(0)); }); });
    }
    for (unsigned i = 0; i < groups.size(); ++i) {
      if (i)
        beginCopies(scope, groups[i], 0, TileGroup::copyParts - 1, /*paced=*/false);
      lowerTiles(scope, i, sync.slotsAt());
    }
    lowerOthers(scope);
  }

  void lowerOthers(const Scope &scope) {
    for (Operation &op : scope.phase().getBody().front()) {
      if (auto attention = dyn_cast<AttentionOp>(op))
        lowerAttention(scope, attention, SyncPlan::countersAt);
      else if (auto embed = dyn_cast<EmbedOp>(op))
        lowerEmbed(scope, embed);
      else if (auto table = dyn_cast<RopeTableOp>(op))
        lowerRopeTable(scope, table);
      else if (auto softmax = dyn_cast<SoftmaxOp>(op))
        lowerSoftmax(scope, softmax);
      else if (!isa<ReadOp, RmsNormOp, SumOp, WriteOp, MergeOp, PrepareOp, TilesOp, AppendOp>(op))
        llvm::report_fatal_error("no lowering for '" + op.getName().getStringRef() + "' in a phase");
    }
  }

  //===-- A token ------------------------------------------------------------------------===//

  // `choose`, and all of @decode with it in one launch.
  void lowerToken(ProgramOp program, unsigned index, DeviceKernels &kernels);

  const GpuFacts *facts;
  llama::ModelOp model;
  Schedule schedule;
  SyncPlan sync;
  int64_t ring;
  llvm::StringMap<unsigned> named;
};

// The kernel of a whole token: the phases of @decode one after another, blocks meeting in between. Copies for the next
// phase with tiles begin when a block has arrived at the meeting, and go on across it and whatever lies between.
class TokenBuilder {
public:
  using Lower = function_ref<void(const Scope &, unsigned begun)>;
  TokenBuilder(Threads &t, const KernelArgs &args, const GpuFacts &facts, int64_t ringBytes, StringRef offsets,
               Lower lower)
      : t(t), args(args), facts(facts), ringBytes(ringBytes), offsets(offsets), lower(lower) {}

  void build(ProgramOp program) {
    target = t.c(0);
    if (Next first = firstIn(program.getBody().front().begin(), program.getBody().front().end(), 0))
      begin(first.phase, t.c(first.step), 0, 0);
    for (Operation &op : program.getBody().front()) {
      if (auto phase = dyn_cast<PhaseOp>(op)) {
        const Next next = after(op, step + 1);
        lowerPhase(phase, t.c(step), t.c(0), [&](unsigned first, unsigned last) { begin(next, first, last); });
        ++step;
      } else if (auto repeat = dyn_cast<RepeatOp>(op)) {
        lowerLayers(repeat);
      }
    }
  }

private:
  struct Next {
    PhaseOp phase;
    int64_t step = 0;
    explicit operator bool() const { return bool(phase); }
  };

  static bool hasTiles(PhaseOp phase) { return !phase.getBody().getOps<TilesOp>().empty(); }
  // The first phase with tiles in a list of phases and repeats, the first of which is step `step`.
  static Next firstIn(Block::iterator from, Block::iterator to, int64_t step) {
    for (; from != to; ++from) {
      if (auto phase = dyn_cast<PhaseOp>(*from)) {
        if (hasTiles(phase))
          return {phase, step};
        ++step;
      } else if (auto repeat = dyn_cast<RepeatOp>(*from)) {
        Block &body = repeat.getBody().front();
        if (Next inside = firstIn(body.begin(), body.end(), step))
          return inside;
        step += int64_t(repeat.getCount()) * int64_t(body.getOperations().size());
      }
    }
    return {};
  }
  static Next after(Operation &op, int64_t step) {
    return firstIn(std::next(op.getIterator()), op.getBlock()->end(), step);
  }

  KernelArgs argsOf(Value step, Value layer) {
    KernelArgs own = args;
    Value table = LLVM::AddressOfOp::create(t.b, t.pointer(Global), offsets);
    own.weights = t.at(args.weights, t.loadConstant(t.i64(), t.at(table, t.mul(step, 8)), 8));
    own.layer = layer;
    return own;
  }
  void begin(PhaseOp phase, Value step, unsigned firstPart, unsigned lastPart) {
    PhasePlan plan(phase, facts);
    KernelArgs own = argsOf(step, t.c(0));
    t.apart([&] {
      Scope scope{plan, t, own, ringBytes};
      if (firstPart == 0)
        prefetchVectors(scope);
      beginCopies(scope, plan.groups[0], firstPart, lastPart, /*paced=*/true);
    });
  }
  void begin(Next next, unsigned firstPart, unsigned lastPart) {
    if (next)
      begin(next.phase, t.c(next.step), firstPart, lastPart);
  }
  // A phase without tiles that lies between two with them, in one list: while its few blocks work, the ring is filled.
  static bool fillsRing(Operation *op) {
    auto hasTilesAt = [](Operation *other) {
      return isa_and_nonnull<PhaseOp>(other) && hasTiles(cast<PhaseOp>(other));
    };
    return op && isa<PhaseOp>(op) && !hasTilesAt(op) && hasTilesAt(op->getPrevNode()) && hasTilesAt(op->getNextNode());
  }
  // `beginNext` begins parts of the copies for the next phase with tiles.
  void lowerPhase(PhaseOp phase, Value step, Value layer,
                  function_ref<void(unsigned firstPart, unsigned lastPart)> beginNext) {
    constexpr unsigned last = TileGroup::copyParts - 1;
    PhasePlan plan(phase, facts);
    KernelArgs own = argsOf(step, layer);
    t.apart([&] { lower(Scope{plan, t, own, ringBytes}, fillsRing(phase->getPrevNode()) ? last + 1 : 1); });
    arrive(t, args);
    if (auto after = dyn_cast_or_null<PhaseOp>(phase->getNextNode()))
      for (auto attention : after.getBody().getOps<AttentionOp>()) {
        PhasePlan afterPlan(after, facts);
        t.apart([&] { prefetchCache(Scope{afterPlan, t, own, ringBytes}, attention); });
      }
    if (hasTiles(phase))
      beginNext(0, 0);
    else if (fillsRing(phase))
      beginNext(1, last);
    target = t.add(target, t.blocks());
    await(t, args, target);
  }

  void lowerLayers(RepeatOp repeat) {
    Block &body = repeat.getBody().front();
    const int64_t count = repeat.getCount(), phases = body.getOperations().size();
    const Next next = after(*repeat, step + count * phases);
    target = t.loop(t.c(0), t.c(count), t.c(1), target, [&](Value i, ValueRange state) {
      target = state[0];
      Value firstStep = t.add(t.mul(i, phases), step), nextLayer = t.add(firstStep, phases);
      for (auto [index, op] : llvm::enumerate(body)) {
        auto phase = cast<PhaseOp>(op);
        lowerPhase(phase, t.add(firstStep, index), t.add(i, layer), [&](unsigned firstPart, unsigned lastPart) {
          if (Next inLayer = after(op, int64_t(index) + 1))
            return begin(inLayer.phase, t.add(firstStep, inLayer.step), firstPart, lastPart);
          Next first = firstIn(body.begin(), body.end(), 0);
          Value isLast = t.equal(i, count - 1);
          t.when(t.isNot(isLast), [&] { begin(first.phase, t.add(nextLayer, first.step), firstPart, lastPart); });
          t.when(isLast, [&] { begin(next, firstPart, lastPart); });
        });
      }
      return Values{target};
    })[0];
    step += count * phases;
    layer += count;
  }

  Threads &t;
  const KernelArgs &args;
  const GpuFacts &facts;
  int64_t ringBytes;
  StringRef offsets; // the global with the steps' places in the packed weights
  Lower lower;
  Value target; // of the next meeting, once the blocks are added
  int64_t step = 0, layer = 0;
};

// The width of the buffer that a phase of the head writes.
int64_t vocabularyOf(ProgramOp program) {
  int64_t width = 0;
  program.walk([&](WriteRowsOp write) {
    if (write->getParentOfType<PhaseOp>().getHead())
      width = lookupBuffer(write, write.getBufferAttr()).getWidth();
  });
  return width;
}

void LowerPhasesToGpu::lowerToken(ProgramOp program, unsigned index, DeviceKernels &kernels) {
  const int64_t vocabulary = vocabularyOf(program);
  if (!vocabulary)
    return; // a part of a model
  kernels.choose = makeKernel(program.getLoc(), "choose", chooseBytes(), true, [&](Threads &t, const KernelArgs &args) {
    lowerChoose(t, args, args.shared, vocabulary);
  });

  SmallVector<int64_t> offsets;
  for (const Step &step : schedule.steps(index))
    offsets.push_back(step.weightsOffset);
  constexpr StringRef name = "decode_weights";
  OpBuilder top = OpBuilder::atBlockBegin(getOperation().getBody());
  auto type = RankedTensorType::get({int64_t(offsets.size())}, top.getI64Type());
  LLVM::GlobalOp::create(top, program.getLoc(), LLVM::LLVMArrayType::get(top.getI64Type(), offsets.size()),
                         /*isConstant=*/true, LLVM::Linkage::Internal, name,
                         DenseElementsAttr::get(type, ArrayRef<int64_t>(offsets)), /*alignment=*/8, Global);

  int64_t shared = chooseBytes();
  program.walk([&](PhaseOp phase) { shared = std::max(shared, sharedOf(PhasePlan(phase, *facts))); });
  kernels.token = makeKernel(program.getLoc(), "token", shared, false, [&](Threads &t, const KernelArgs &args) {
    TokenBuilder(t, args, *facts, ring, name, [&](const Scope &scope, unsigned begun) {
      lowerOneToken(scope, begun);
    }).build(program);
    t.when(t.equal(t.block(), 0), [&] { t.apart([&] { lowerChoose(t, args, args.shared, vocabulary); }); });
    // The last block to leave lets the next token begin with no one met.
    t.when(t.equal(t.thread(), 0), [&] {
      Value leaving = t.at(args.sync, SyncPlan::leavingAt);
      t.fenceDevice();
      t.when(t.equal(t.atomicAdd(leaving, t.c(1)), t.sub(t.blocks(), 1)), [&] {
        t.storeRelaxed(t.c(0), leaving);
        t.storeRelaxed(t.c(0), t.at(args.sync, SyncPlan::meetingAt));
      });
    });
  });
}
} // namespace
