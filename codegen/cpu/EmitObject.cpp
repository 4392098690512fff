//===- EmitObject.cpp - LLVM dialect to assembly or an object ----------------------------===//
//
// The lowering unrolls and orders what matters, so the middle end only cleans up (O1 without vectorisers or unrolling).
//
//===------------------------------------------------------------------------------------===//

#include "codegen/cpu/CpuTarget.h"
#include "codegen/CleanUp.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Triple.h"

using namespace mlir;
using namespace sluice::codegen;

LogicalResult sluice::codegen::emitCpuObject(ModuleOp module, StringRef cpu, StringRef features, EmitKind kind,
                                             llvm::raw_pwrite_stream &out) {
  static const bool initialized = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    return true;
  }();
  (void)initialized;

  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> translated = translateModuleToLLVMIR(module, context);
  if (!translated)
    return module.emitError("could not be translated to LLVM IR");
  llvm::Triple triple("x86_64-unknown-linux-gnu");
  std::string error;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return module.emitError("no code generator for x86-64: ") << error;
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(
      triple, cpu, features, llvm::TargetOptions(), llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Default));
  translated->setTargetTriple(triple);
  translated->setDataLayout(machine->createDataLayout());
  cleanUp(*translated, *machine);
  if (kind == EmitKind::LlvmIr) {
    translated->print(out, nullptr);
    return success();
  }
  llvm::legacy::PassManager passes;
  auto fileType = kind == EmitKind::Object ? llvm::CodeGenFileType::ObjectFile : llvm::CodeGenFileType::AssemblyFile;
  if (machine->addPassesToEmitFile(passes, out, nullptr, fileType))
    return module.emitError("the code generator cannot emit this kind of file");
  passes.run(*translated);
  return success();
}
