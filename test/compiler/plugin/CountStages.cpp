//===- CountStages.cpp - a pass plugin, as a user would write one ------------------===//

#include "dialects/llama/Llama.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Tools/Plugins/PassPlugin.h"

namespace {
struct CountStages : mlir::PassWrapper<CountStages, mlir::OperationPass<sluice::llama::ModelOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(CountStages)
  llvm::StringRef getArgument() const override { return "count-stages"; }
  llvm::StringRef getDescription() const override { return "says how many stages a model has"; }

  void runOnOperation() override {
    int count = 0;
    getOperation().walk([&](sluice::llama::StageOp) { ++count; });
    getOperation().emitRemark("stages: ") << count;
  }
};
} // namespace

extern "C" LLVM_ATTRIBUTE_WEAK mlir::PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "CountStages", "1", [] { mlir::PassRegistration<CountStages>(); }};
}
