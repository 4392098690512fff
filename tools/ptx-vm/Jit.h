// Compiles LLVM modules for the host.
#pragma once
#include "llvm/IR/Module.h"
#include <memory>
#include <string>

namespace ptxvm {

/// The address of function `name` of the module, optimised and compiled. Throws std::runtime_error.
void *compileForHost(std::unique_ptr<llvm::LLVMContext> context, std::unique_ptr<llvm::Module> module, const std::string &name);

} // namespace ptxvm
