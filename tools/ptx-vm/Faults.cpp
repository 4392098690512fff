//===- Faults.cpp - what is said of a fault --------------------------------------------===//

#include "tools/ptx-vm/Faults.h"
#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/Worker.h"
#include <cstdio>

namespace ptxvm {

std::string hex(uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

void reportFault(Warp *w, uint32_t site, unsigned lane, CUresult code, const std::string &message) {
  Launch &launch = *w->block->launch;
  std::lock_guard lock(launch.faultMutex);
  if (launch.failed.exchange(true))
    return;
  launch.result = code;
  const Site &s = launch.compiled.sites[site];
  std::fprintf(stderr, "ptx-vm: %s; line %d: %s; kernel %s, block (%u,%u,%u), thread (%u,%u,%u)\n", message.c_str(),
               s.line, launch.config.kernel->module.ptx.textOf(s.line).c_str(),
               launch.config.kernel->function.name.c_str(), w->ctaid[0], w->ctaid[1], w->ctaid[2], w->tid[0][lane],
               w->tid[1][lane], w->tid[2][lane]);
}

void fault(Warp *w, uint32_t site, unsigned lane, CUresult code, const std::string &message) {
  reportFault(w, site, lane, code, message);
  const_cast<std::string &>(message).~basic_string(); // nobody returns to do it
  Worker &worker = *w->block->worker;
  worker.leave(worker.current);
}

void trapped(Warp *w, uint32_t site, uint32_t mask) {
  fault(w, site, __builtin_ctz(mask), CUDA_ERROR_LAUNCH_FAILED, "trap");
}

} // namespace ptxvm
