// A stack of its own for each warp, so that it can wait in the middle of its code.
#pragma once
#include <cstddef>
#include <vector>

namespace ptxvm {

struct Fiber {
  void *stackPointer = nullptr; // while it does not run
  char *stack = nullptr;
};

/// Saves the running context to *from and continues the other.
extern "C" void ptxvmSwitch(void **from, void *to);

class FiberPool {
public:
  explicit FiberPool(size_t stackBytes) : stackBytes((stackBytes + 4095) / 4096 * 4096) {}
  ~FiberPool();
  /// Ready to run entry(argument) when it is switched to; entry must not return.
  void prepare(Fiber &fiber, void (*entry)(void *), void *argument);
  void release(Fiber &fiber);

private:
  const size_t stackBytes; // of address space; memory is what is touched
  std::vector<char *> free;
};

} // namespace ptxvm
