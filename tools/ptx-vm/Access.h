// Addresses of lanes to host memory, with every check.
#pragma once
#include "tools/ptx-vm/Scheduler.h"

namespace ptxvm {

enum class Use { Load, Store, Atomic };

struct Resolved {
  uint8_t *host;
  bool isShared;
  uint64_t offset; // in .shared, if it is
};

const Site &siteOf(const Warp *w, uint32_t site);
/// Faults if the lane may not use `bytes` bytes (aligned to as many) at the address.
Resolved resolve(Warp *w, uint32_t site, unsigned lane, uint64_t address, unsigned bytes, Use use);
/// A strong load or an atomic gave these bits: for finding warps that wait forever.
void polled(Warp *w, uint32_t site, uint64_t hash);

} // namespace ptxvm
