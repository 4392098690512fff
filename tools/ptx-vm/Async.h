// Copies of cp.async that wait to be made.
#pragma once
#include "tools/ptx-vm/Warp.h"

namespace ptxvm {

void finishAsync(Warp *w); // makes all of them: the warp has exited
void dropAsync(Warp *w);   // frees their list

} // namespace ptxvm
