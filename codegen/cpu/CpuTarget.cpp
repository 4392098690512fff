//===- CpuTarget.cpp - the targets of the x86-64 family ----------------------------------===//

#include "codegen/cpu/CpuTarget.h"
#include "codegen/cpu/CpuFacts.h"
#include "codegen/cpu/Passes.h"
#include "codegen/cpu/PhaseScope.h"
#include "mlir/Conversion/ConvertToLLVM/ToLLVMPass.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/X86TargetParser.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;

namespace {
class CpuTarget : public HostTarget {
public:
  explicit CpuTarget(const CpuFacts &facts) : facts(facts) {}
  StringRef name() const override { return facts.name; }
  StringRef summary() const override { return facts.summary; }
  uint64_t features() const override { return facts.features; }

  void addConfigurePasses(OpPassManager &manager) const override {
    manager.nest<llama::ModelOp>().addPass(createConfigureCpu({facts.name}));
  }

  void addLowerPasses(OpPassManager &manager) const override {
    manager.addPass(createLowerPhases({facts.name}));
    manager.addPass(createCanonicalizerPass());
    manager.addPass(createCSEPass());
    manager.addPass(createLoopInvariantCodeMotionPass());
    manager.addPass(createSCFToControlFlowPass());
    manager.addPass(createConvertVectorToLLVMPass());
    manager.addPass(createConvertToLLVMPass());
    manager.addPass(createCanonicalizerPass());
    manager.addPass(createCSEPass());
  }

  WorkerMemory workerMemory(stream::ProgramOp program) const override {
    WorkerMemory memory;
    program.walk([&](stream::PhaseOp phase) { memory = memory.max(PhaseScope(phase, facts).memory); });
    return memory;
  }

  double operationsPerCycle() const override { return peakPerCycle(facts); }
  PhaseCost cost(stream::PhaseOp phase) const override { return phaseCost(phase, facts); }

  LogicalResult emit(ModuleOp module, EmitKind kind, llvm::raw_pwrite_stream &out) const override {
    return emitCpuObject(module, facts.llvmCpu, facts.llvmFeatures, kind, out);
  }

  llvm::Error explain(llama::ModelOp model, const Workload &workload, const Machine &given,
                      llvm::raw_ostream &out) const override {
    Machine machine = given;
    constexpr double gigahertz = 3.5, gigabytes = 25;
    if (machine.gigabytesPerSecond == 0)
      machine.gigabytesPerSecond = gigabytes;
    if (machine.gigaoperationsPerSecond == 0)
      machine.gigaoperationsPerSecond = gigahertz * operationsPerCycle();
    printTraffic(
        model, out, name(), [&](stream::PhaseOp phase) { return cost(phase); }, workload, machine);
    return llvm::Error::success();
  }

private:
  const CpuFacts &facts;
};
} // namespace

std::vector<std::unique_ptr<Target>> sluice::codegen::makeCpuTargets() {
  std::vector<std::unique_ptr<Target>> targets;
  for (const CpuFacts &facts : allCpus())
    targets.push_back(std::make_unique<CpuTarget>(facts));
  return targets;
}

// The features that `has` says yes to, asked by LLVM's names of them, which are not always the kernel's.
static uint64_t featuresWhere(llvm::function_ref<bool(StringRef)> has) {
  auto llvmName = [](StringRef name) -> std::string {
    if (name == "abm")
      return "lzcnt";
    if (name == "bmi1")
      return "bmi";
    if (name == "sse4_1" || name == "sse4_2")
      return ("sse4." + name.take_back(1)).str();
    if (name == "avx_vnni")
      return "avxvnni";
    if (name.starts_with("avx512_"))
      return ("avx512" + name.drop_front(7)).str();
    return name.str();
  };
  uint64_t bits = 0;
#define X(NAME, BIT, TEXT) bits |= uint64_t(has(llvmName(TEXT))) << BIT;
  SLUICE_CPU_FEATURES(X)
#undef X
  return bits;
}

uint64_t sluice::codegen::hostFeatures() {
  llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  return featuresWhere([&](StringRef name) { return host.lookup(name); });
}

std::optional<uint64_t> sluice::codegen::processorFeatures(StringRef processor) {
  if (llvm::X86::parseArchX86(processor, /*Only64Bit=*/true) == llvm::X86::CK_None)
    return std::nullopt;
  SmallVector<StringRef> listed; // without some that others imply
  llvm::X86::getFeaturesForCPU(processor, listed);
  llvm::StringMap<bool> features;
  for (StringRef feature : listed) {
    features[feature] = true;
    llvm::X86::updateImpliedFeatures(feature, true, features);
  }
  return featuresWhere([&](StringRef name) { return features.lookup(name); });
}
