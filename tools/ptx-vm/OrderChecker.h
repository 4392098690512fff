// The checker of memory order.
#pragma once
#include "tools/ptx-vm/Access.h"

namespace ptxvm {

class OrderChecker {
public:
  explicit OrderChecker(Launch &) {}
  void beginBlock(uint64_t) {}
  void barrier(uint64_t) {}
  void access(Warp *, uint32_t, unsigned, const Resolved &, unsigned, Use) {}
  void fence(Warp *, uint32_t) {}
};

} // namespace ptxvm
