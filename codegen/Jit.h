//===- Jit.h - kernels of a model, loaded into this process -------------------------===//
//
// For tests and measurements; a compiled model contains its kernels.
//
//===--------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_JIT_H
#define SLUICE_CODEGEN_JIT_H

#include "codegen/Target.h"
#include "runtime/abi.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"

namespace sluice::codegen {

class Jit {
public:
  // Lowers and emits a copy of `configured`, a module with one configured llama.model. Errors are the diagnostics' or
  // LLVM's.
  static llvm::Expected<Jit> load(mlir::ModuleOp configured, const Target &target);

  // In the order of stream::Schedule::kernels(); null where this machine cannot run the target.
  const sluice_kernel *kernels() const { return table; }

private:
  std::unique_ptr<llvm::orc::LLJIT> jit; // owns the code
  const sluice_kernel *table = nullptr;
};

} // namespace sluice::codegen
#endif
