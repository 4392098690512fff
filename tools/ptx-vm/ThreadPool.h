// Host threads that execute blocks. A launch always has its own thread too, so that one launch cannot starve another.
#pragma once
#include <functional>

namespace ptxvm {

class ThreadPool {
public:
  static ThreadPool &get();
  unsigned size() const { return threads; } // PTX_VM_THREADS, or all cores
  /// Calls f on the calling thread and on up to n - 1 others as they are free; returns when all calls have.
  void runTogether(unsigned n, const std::function<void()> &f);

private:
  ThreadPool();
  unsigned threads;
  struct State;
  State *state;
};

} // namespace ptxvm
