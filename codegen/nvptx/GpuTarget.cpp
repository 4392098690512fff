//===- GpuTarget.cpp - the targets of the NVIDIA family ------------------------------===//

#include "codegen/nvptx/GpuTarget.h"
#include "codegen/nvptx/EmitPtx.h"
#include "codegen/nvptx/Passes.h"
#include "codegen/nvptx/Report.h"
#include "mlir/Conversion/ConvertToLLVM/ToLLVMPass.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;

namespace {
class GpuTarget : public Target {
public:
  explicit GpuTarget(const GpuFacts &facts) : facts(facts) {}
  StringRef name() const override { return facts.name; }
  StringRef summary() const override { return facts.summary; }

  void addConfigurePasses(OpPassManager &manager) const override {
    manager.nest<llama::ModelOp>().addPass(createConfigureGpu({facts.name}));
  }

  void addLowerPasses(OpPassManager &manager) const override { addGpuLowerPasses(manager, facts); }

  LogicalResult emit(ModuleOp module, EmitKind kind, llvm::raw_pwrite_stream &out) const override {
    return kind == EmitKind::Object ? emitDeviceObject(module, facts, out) : emitPtx(module, facts, kind, out);
  }

  llvm::Error explain(llama::ModelOp model, const Workload &workload, const Machine &machine,
                      llvm::raw_ostream &out) const override {
    if (workload.prompt)
      return llvm::createStringError("a prompt's time is not predicted for GPUs; leave --prefill out");
    GpuFacts chip = facts;
    if (machine.gigabytesPerSecond)
      chip.gigabytesPerSecond = machine.gigabytesPerSecond;
    llvm::Expected<TokenReport> report = reportToken(model->getParentOfType<ModuleOp>(), chip, workload);
    if (!report)
      return report.takeError();
    printReport(*report, chip, out);
    return llvm::Error::success();
  }

private:
  const GpuFacts &facts;
};
} // namespace

void sluice::codegen::addGpuLowerPasses(OpPassManager &manager, const GpuFacts &facts) {
  manager.addPass(createLowerPhasesToGpu({facts.name}));
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
  manager.addPass(createSCFToControlFlowPass());
  manager.addPass(createConvertToLLVMPass());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

std::vector<std::unique_ptr<Target>> sluice::codegen::makeGpuTargets() {
  std::vector<std::unique_ptr<Target>> targets;
  for (const GpuFacts &facts : allGpus())
    targets.push_back(std::make_unique<GpuTarget>(facts));
  return targets;
}
