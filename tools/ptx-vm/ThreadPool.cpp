//===- ThreadPool.cpp ------------------------------------------------------------------------------------===//

#include "tools/ptx-vm/ThreadPool.h"
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>

namespace ptxvm {

struct Call {
  const std::function<void()> *f;
  unsigned waiting, running = 0; // not yet begun; begun and not ended
};

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable work, done;
  std::deque<Call *> calls;
};

ThreadPool &ThreadPool::get() {
  static ThreadPool *pool = new ThreadPool; // its threads live as long as the process
  return *pool;
}

ThreadPool::ThreadPool() : state(new State) {
  const char *text = std::getenv("PTX_VM_THREADS");
  threads = text && std::atoi(text) > 0 ? std::atoi(text) : std::max(1u, std::thread::hardware_concurrency());
  for (unsigned i = 1; i < threads; ++i)
    std::thread([this] {
      std::unique_lock lock(state->mutex);
      for (;;) {
        state->work.wait(lock, [&] { return !state->calls.empty(); });
        Call *call = state->calls.front();
        ++call->running;
        if (--call->waiting == 0)
          state->calls.pop_front();
        lock.unlock();
        (*call->f)();
        lock.lock();
        --call->running;
        state->done.notify_all();
      }
    }).detach();
}

void ThreadPool::runTogether(unsigned n, const std::function<void()> &f) {
  Call call{&f, n - 1};
  if (n > 1) {
    std::lock_guard lock(state->mutex);
    state->calls.push_back(&call);
    n == 2 ? state->work.notify_one() : state->work.notify_all();
  }
  f();
  if (n < 2)
    return;
  std::unique_lock lock(state->mutex);
  if (call.waiting)
    std::erase(state->calls, &call);
  state->done.wait(lock, [&] { return call.running == 0; });
}

} // namespace ptxvm
