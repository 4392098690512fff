//===- CleanUp.h - the middle end, as all targets use it -----------------------------===//
#ifndef SLUICE_CODEGEN_CLEANUP_H
#define SLUICE_CODEGEN_CLEANUP_H

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace sluice::codegen {

// O1 without vectorisers or unrolling: lowerings unroll and order what matters.
void cleanUp(llvm::Module &module, llvm::TargetMachine &machine);

} // namespace sluice::codegen
#endif
