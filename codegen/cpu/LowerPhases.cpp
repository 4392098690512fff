//===- LowerPhases.cpp - every phase becomes functions, the model a table --------------===//
//
// What is left is arith, math, vector, scf and llvm operations: ordinary MLIR, with no trace of llama or stream.
//
//===------------------------------------------------------------------------------===//

#include "codegen/cpu/Passes.h"
#include "codegen/cpu/PhaseScope.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"

namespace sluice::codegen {
#define GEN_PASS_DEF_LOWERPHASES
#include "codegen/cpu/Passes.h.inc"
} // namespace sluice::codegen

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

struct LowerPhases : codegen::impl::LowerPhasesBase<LowerPhases> {
  using LowerPhasesBase::LowerPhasesBase;

  void runOnOperation() override {
    named.clear();
    ModuleOp module = getOperation();
    const CpuFacts *facts = findCpu(cpu);
    auto models = llvm::to_vector(module.getOps<llama::ModelOp>());
    if (!facts || models.size() != 1) {
      module.emitError("expected a known cpu and one llama.model, got '") << cpu << "' and " << models.size();
      return signalPassFailure();
    }
    SmallVector<Kernel> kernels;
    Schedule schedule = Schedule::get(models[0]);
    for (PhaseOp phase : schedule.kernels())
      kernels.push_back(lowerPhase(module, phase, *facts));
    emitTable(module, kernels);
    models[0].erase();
  }

  LLVM::LLVMFuncOp makeFunction(ModuleOp module, Location loc, const Twine &name, const CpuFacts &facts,
                                bool hasRange) {
    OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
    Type pointer = LLVM::LLVMPointerType::get(&getContext()), i64 = builder.getI64Type();
    SmallVector<Type> inputs{pointer};
    if (hasRange)
      inputs.append({i64, i64});
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()), inputs);
    auto function = LLVM::LLVMFuncOp::create(builder, loc, name.str(), type, LLVM::Linkage::Internal);
    function.addEntryBlock(builder);
    std::string width = std::to_string(facts.vectorBits);
    auto pair = [&](StringRef key, StringRef value) { return builder.getStrArrayAttr({key, value}); };
    // Without min-legal-vector-width LLVM splits 512-bit vectors. Without stackrealign, vectors that it spills lie
    // across cache lines: it decides to align the stack before it knows of them.
    function.setPassthroughAttr(
        builder.getArrayAttr({pair("target-cpu", facts.llvmCpu), pair("target-features", facts.llvmFeatures),
                              pair("prefer-vector-width", width), pair("min-legal-vector-width", width),
                              builder.getStringAttr("stackrealign"), builder.getStringAttr("nounwind")}));
    return function;
  }

  struct Kernel {
    LLVM::LLVMFuncOp prologue, run; // prologue may be null
    PhaseCost cost;
  };

  Kernel lowerPhase(ModuleOp module, PhaseOp phase, const CpuFacts &facts) {
    PhaseScope scope(phase, facts);
    std::string name = (phase->getParentOfType<ProgramOp>().getSymName() + "." + phase.getName()).str();
    if (unsigned earlier = named[name]++) // the same phase of another layer body
      name += "." + std::to_string(earlier);
    Location loc = phase.getLoc();
    auto emitInto = [&](LLVM::LLVMFuncOp function, function_ref<void(Lanes &)> body) {
      OpBuilder builder = OpBuilder::atBlockEnd(&function.getBody().front());
      Lanes lanes(builder, loc, facts);
      body(lanes);
      LLVM::ReturnOp::create(lanes.b, ValueRange());
    };

    LLVM::LLVMFuncOp prologue;
    if (!phase.getBody().getOps<PrepareOp>().empty()) {
      prologue = makeFunction(module, loc, name + ".prologue", facts, /*hasRange=*/false);
      emitInto(prologue, [&](Lanes &l) { lowerPrologue(scope, l, prologue.getArgument(0)); });
    }
    if (auto appends = phase.getBody().getOps<AppendOp>(); !appends.empty() && scope.maxTokens > 1) {
      prologue = makeFunction(module, loc, name + ".prologue", facts, /*hasRange=*/false);
      emitInto(prologue, [&](Lanes &l) { lowerAppends(scope, *appends.begin(), l, prologue.getArgument(0)); });
    }
    LLVM::LLVMFuncOp run = makeFunction(module, loc, name + ".run", facts, /*hasRange=*/true);
    Value args = run.getArgument(0), begin = run.getArgument(1), end = run.getArgument(2);
    emitInto(run, [&](Lanes &l) {
      if (!phase.getBody().getOps<TilesOp>().empty()) {
        lowerWritesOfFirst(scope, l, args, begin, end);
        lowerTiles(scope, l, args, begin, end);
      } else if (!phase.getBody().getOps<WriteOp>().empty()) {
        lowerWrites(scope, l, args, begin, end);
      }
      for (Operation &op : phase.getBody().front()) {
        if (auto attention = dyn_cast<AttentionOp>(op))
          lowerAttention(scope, attention, l, args, begin, end);
        else if (auto embed = dyn_cast<EmbedOp>(op))
          lowerEmbed(scope, embed, l, args, begin, end);
        else if (auto table = dyn_cast<RopeTableOp>(op))
          lowerRopeTable(scope, table, l, args, begin, end);
        else if (auto softmax = dyn_cast<SoftmaxOp>(op))
          lowerSoftmax(scope, softmax, l, args);
        else if (auto peak = dyn_cast<PeakOp>(op))
          lowerPeak(scope, peak, l, args, begin, end);
        else if (!isa<ReadOp, RmsNormOp, SumOp, WriteOp, MergeOp, PrepareOp, TilesOp, AppendOp>(op))
          llvm::report_fatal_error("no lowering for '" + op.getName().getStringRef() + "' in a phase");
      }
    });
    return {prologue, run, phaseCost(phase, facts)};
  }

  // sluice_kernel[].
  void emitTable(ModuleOp module, ArrayRef<Kernel> kernels) {
    Location loc = module.getLoc();
    OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
    Type pointer = LLVM::LLVMPointerType::get(&getContext()), number = builder.getF64Type();
    auto entry = LLVM::LLVMStructType::getLiteral(&getContext(), {pointer, pointer, number, number, number});
    auto type = LLVM::LLVMArrayType::get(entry, kernels.size());
    auto table = LLVM::GlobalOp::create(builder, loc, type, /*isConstant=*/true, LLVM::Linkage::External,
                                        "sluice_kernels." + cpu, Attribute());
    builder.createBlock(&table.getInitializerRegion());
    Value value = LLVM::UndefOp::create(builder, loc, type);
    for (auto [index, kernel] : llvm::enumerate(kernels)) {
      int64_t field = 0;
      auto insert = [&](Value x) {
        value = LLVM::InsertValueOp::create(builder, loc, value, x, ArrayRef<int64_t>{int64_t(index), field++});
      };
      for (LLVM::LLVMFuncOp function : {kernel.prologue, kernel.run})
        insert(function ? Value(LLVM::AddressOfOp::create(builder, loc, pointer, function.getSymName()))
                        : Value(LLVM::ZeroOp::create(builder, loc, pointer)));
      for (double cost : {kernel.cost.prologue, kernel.cost.run, kernel.cost.cache})
        insert(LLVM::ConstantOp::create(builder, loc, number, builder.getF64FloatAttr(cost)));
    }
    LLVM::ReturnOp::create(builder, loc, value);
  }

  llvm::StringMap<unsigned> named;
};
} // namespace
