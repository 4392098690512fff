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
  ~FiberPool();
  /// Ready to run entry(argument) when it is switched to; entry must not return.
  void prepare(Fiber &fiber, void (*entry)(void *), void *argument);
  void release(Fiber &fiber);

private:
  static constexpr size_t kStackBytes = 1 << 20;
  std::vector<char *> free;
};

} // namespace ptxvm
