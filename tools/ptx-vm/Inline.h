// Calls, replaced by the bodies of what is called.
#pragma once
#include "tools/ptx-vm/Ptx.h"
#include <memory>

namespace ptxvm {

/// The kernel as one function without calls. Throws PtxError: undefined functions, recursion, indirect calls.
std::unique_ptr<Function> withCallsInlined(const Module &module, const Function &kernel);

} // namespace ptxvm
