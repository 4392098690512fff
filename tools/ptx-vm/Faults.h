// A fault ends the launch: one line on stderr with the PTX line and text, kernel, block and thread, and the driver's
// error code.
#pragma once
#include "runtime/CudaDriver.h"
#include "tools/ptx-vm/Warp.h"
#include <string>

namespace ptxvm {

/// Does not return: the warp's stack is abandoned. Callers must hold nothing that needs a destructor.
[[noreturn]] void fault(Warp *w, uint32_t site, unsigned lane, CUresult code, const std::string &message);
std::string hex(uint64_t value);

} // namespace ptxvm
