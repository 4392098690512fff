//===- Pipeline.cpp - the table of phases, from checkpoint to executable -----------===//

#include "compiler/Pipeline.h"
#include "compiler/Compilation.h"
#include "dialects/stream/Stream.h"
#include "mlir/Target/LLVMIR/LLVMTranslationInterface.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"
#include "passes/StageFusion.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace sluice;
using codegen::Target;

//===-- Passes ----------------------------------------------------------------------===//

static void addFusion(OpPassManager &manager, const Target *, const Options &) {
  OpPassManager &model = manager.nest<llama::ModelOp>();
  model.addPass(createFormStages());
  // Siblings first: what follows them is fused into the joined stage.
  model.addPass(createFuseSiblings());
  model.addPass(createFuseElementwise());
  // Heads that are normalised are rotated where that happens, not where their rows are made.
  model.addPass(createFuseHeadNorm());
  model.addPass(createFuseRope());
  model.addPass(createFuseSwiglu());
  model.addPass(createFuseResidual());
  // Last: norms are copied into the stages that are left; then sums with norms follow those that read them.
  model.addPass(createFuseNorm());
  model.addPass(createFusePostNorm());
}

static void addScheduling(OpPassManager &manager, const Target *, const Options &options) {
  SchedulePhasesOptions schedule;
  schedule.peaks = options.peaks;
  manager.nest<llama::ModelOp>().addPass(createSchedulePhases(schedule));
}

static void addConfiguration(OpPassManager &manager, const Target *target, const Options &options) {
  if (!options.tuning.empty())
    manager.nest<llama::ModelOp>().addPass(createApplyTuning({options.tuning, target->name().str()}));
  target->addConfigurePasses(manager);
}

static void addLowering(OpPassManager &manager, const Target *target, const Options &) {
  target->addLowerPasses(manager);
}

//===-- What holds after them -------------------------------------------------------===//

// Reports operations that `isLeft` finds, and fails if there are any.
static LogicalResult expectNone(ModuleOp module, llvm::function_ref<bool(Operation *)> isLeft, const Twine &rule) {
  WalkResult result = module.walk([&](Operation *op) {
    if (!isLeft(op))
      return WalkResult::advance();
    op->emitOpError(rule);
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

static LogicalResult checkFused(ModuleOp module) {
  auto isFused = [](llama::ModelOp model) { return succeeded(checkInStages(model)); };
  return success(llvm::all_of(module.getOps<llama::ModelOp>(), isFused));
}

static LogicalResult checkScheduled(ModuleOp module) {
  auto isLeft = [](Operation *op) {
    return isa_and_nonnull<llama::LlamaDialect>(op->getDialect()) && !isa<llama::ModelOp, llama::WeightDeclOp>(op);
  };
  return expectNone(module, isLeft, "must be gone after scheduling: only declarations and stream operations are left");
}

static LogicalResult checkConfigured(ModuleOp module) {
  auto isLeft = [](Operation *op) {
    auto tiles = dyn_cast<stream::TilesOp>(op);
    return tiles && !(tiles.getRowBlock() && tiles.getLanes() && tiles.getTokenBlock());
  };
  return expectNone(module, isLeft, "must have row_block, lanes and token_block after configuring");
}

static LogicalResult checkLowered(ModuleOp module) {
  auto isLeft = [](Operation *op) {
    // A dialect that can be translated to LLVM IR, this one or a target's.
    return !isa<ModuleOp>(op) &&
           !(op->getDialect() && op->getDialect()->getRegisteredInterface<LLVMTranslationDialectInterface>());
  };
  return expectNone(module, isLeft, "must be gone after lowering: only what LLVM IR has is left");
}

//===-- The table -------------------------------------------------------------------===//

static constexpr Phase table[] = {
    {"import", "read the checkpoint as one operation per mathematical step; layers of one signature share a body",
     PhaseScope::Model, nullptr, &Compilation::importCheckpoint, nullptr, nullptr},
    {"fuse", "gather the operations into stages, each around the weights it reads", PhaseScope::Model, addFusion,
     nullptr, checkFused, nullptr},
    {"schedule", "turn stages into phases between barriers, for one token and for a chunk of tokens", PhaseScope::Model,
     addScheduling, nullptr, checkScheduled, nullptr},
    {"configure", "choose blocking, vectors and prefetch for the target, as attributes", PhaseScope::Target,
     addConfiguration, nullptr, checkConfigured, nullptr},
    {"pack", "give every weight its place in the file, in the order in which a token reads it", PhaseScope::File,
     nullptr, &Compilation::placeWeights, nullptr, &Compilation::placementArtifacts},
    {"lower", "write every phase as functions of vectors, loops and arithmetic, in the LLVM dialect",
     PhaseScope::Target, addLowering, nullptr, checkLowered, nullptr},
    {"emit", "generate the target's machine code", PhaseScope::File, nullptr, &Compilation::emitObjects, nullptr,
     &Compilation::objectArtifacts},
    {"link", "link code and runtime, and copy the weights behind them", PhaseScope::File, nullptr,
     &Compilation::linkFile, nullptr, nullptr},
};

llvm::ArrayRef<Phase> sluice::phases() { return table; }

const Phase *sluice::findPhase(llvm::StringRef name) {
  const Phase *found = llvm::find_if(table, [&](const Phase &phase) { return phase.name == name; });
  return found == std::end(table) ? nullptr : found;
}

std::string sluice::phaseNames() {
  return llvm::join(llvm::map_range(table, [](const Phase &phase) { return phase.name; }), ", ");
}
