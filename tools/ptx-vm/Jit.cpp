//===- Jit.cpp - LLVM module to code ------------------------------------------------------------------------===//
//
// The passes are the few that pay for this code: registers to SSA, common subexpressions, dead code. The code generator
// is most of the time, and of that its register allocation: a kernel is compiled at -O0 first, and at -O1 when it turns
// out to be worth it.

#include "tools/ptx-vm/Jit.h"
#include "llvm/ExecutionEngine/Orc/CompileUtils.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/InstCombine/InstCombine.h"
#include "llvm/Transforms/Scalar/ADCE.h"
#include "llvm/Transforms/Scalar/EarlyCSE.h"
#include "llvm/Transforms/Scalar/SROA.h"
#include "llvm/Transforms/Scalar/SimplifyCFG.h"
#include <cstdlib>
#include <mutex>

using namespace llvm;

namespace ptxvm {
namespace {

template <typename T> T need(Expected<T> value) {
  if (!value)
    throw std::runtime_error(toString(value.takeError()));
  return static_cast<T &&>(*value); // T may be a reference
}

struct Host {
  std::unique_ptr<orc::LLJIT> jit;
  std::unique_ptr<TargetMachine> machine;
  std::mutex mutex;
  unsigned modules = 0;

  explicit Host(CodeGenOptLevel level) {
    InitializeNativeTarget();
    InitializeNativeTargetAsmPrinter();
    auto builder = need(orc::JITTargetMachineBuilder::detectHost());
    builder.setCodeGenOptLevel(level);
    machine = need(builder.createTargetMachine());
    jit = need(orc::LLJITBuilder().setJITTargetMachineBuilder(builder).create());
    jit->getMainJITDylib().addGenerator(
        need(orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(jit->getDataLayout().getGlobalPrefix())));
  }
};

void optimize(llvm::Module &module, TargetMachine &machine) {
  PassBuilder builder(&machine);
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager graph;
  ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graph, modules);
  FunctionPassManager passes;
  passes.addPass(SROAPass(SROAOptions::ModifyCFG));
  passes.addPass(EarlyCSEPass(false));
  passes.addPass(InstCombinePass(InstCombineOptions().setMaxIterations(1)));
  passes.addPass(SimplifyCFGPass());
  passes.addPass(EarlyCSEPass(true));
  passes.addPass(ADCEPass());
  for (llvm::Function &f : module)
    if (!f.isDeclaration())
      passes.run(f, functions);
}

} // namespace

void *compileForHost(std::unique_ptr<LLVMContext> context, std::unique_ptr<llvm::Module> module,
                     const std::string &name, Effort effort) {
  // They live as long as the process: their code may run until the end.
  static Host *const quick = new Host(CodeGenOptLevel::None), *const good = new Host(CodeGenOptLevel::Less);
  Host *host = effort == Effort::Quick ? quick : good;
  std::lock_guard lock(host->mutex);
  module->setDataLayout(host->jit->getDataLayout());
  module->setTargetTriple(host->machine->getTargetTriple());
  for (llvm::Function &f : *module)
    f.addFnAttr("prefer-vector-width", "512");
  const char *dump = std::getenv("PTX_VM_DUMP_IR");
  if (dump && *dump == '1')
    module->print(errs(), nullptr);
  std::string problem;
  raw_string_ostream stream(problem);
  if (verifyModule(*module, &stream))
    throw std::runtime_error("the translation is not valid LLVM IR: " + problem);
  optimize(*module, *host->machine);
  if (dump && *dump == '2')
    module->print(errs(), nullptr);
  orc::JITDylib &library = need<orc::JITDylib &>(host->jit->createJITDylib("module" + std::to_string(host->modules++)));
  library.addToLinkOrder(host->jit->getMainJITDylib());
  if (Error error = host->jit->addIRModule(library, orc::ThreadSafeModule(std::move(module), std::move(context))))
    throw std::runtime_error(toString(std::move(error)));
  return need(host->jit->lookup(library, name)).toPtr<void *>();
}

} // namespace ptxvm
