// Compiles LLVM modules for the host.
#pragma once
#include "llvm/IR/Module.h"
#include <memory>
#include <string>

namespace ptxvm {

/// How much time to spend: `Quick` code is made three to four times as fast as `Good` code, which runs 1.5 times as
/// fast.
enum class Effort { Quick, Good };

/// The address of function `name` of the module, optimised and compiled. Throws std::runtime_error.
void *compileForHost(std::unique_ptr<llvm::LLVMContext> context, std::unique_ptr<llvm::Module> module,
                     const std::string &name, Effort effort);

} // namespace ptxvm
