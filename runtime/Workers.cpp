//===- Workers.cpp - threads that run the steps of a program together --------------===//

#include "runtime/Workers.h"
#include "runtime/Error.h"
#include "runtime/ThreadCount.h"
#include <climits>
#include <csignal>
#include <immintrin.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>

using namespace sluice::runtime;

static void futex(std::atomic<uint32_t> &word, int operation, uint32_t value) {
  static_assert(sizeof word == sizeof(uint32_t));
  syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}

Workers::Workers(unsigned count) : total(count), shares(count) {
  // Where there are more workers than processors, the one who waits is in the way of the one waited for.
  spinCycles = count > allowedProcessors().size() ? 0 : 10'000;
  sigset_t all, before; // signals are for the first thread
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    for (unsigned worker = 1; worker < count; ++worker)
      threads.emplace_back([this, worker] { loop(worker); });
  } catch (const std::system_error &) {
    // Those that did start wait for a full team at their first barrier, so there is no orderly way back.
    static const char message[] = "error: cannot start so many threads; lower -t\n";
    [[maybe_unused]] ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
    _exit(1);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Workers::~Workers() {
  job = nullptr;
  barrier();
  for (std::thread &thread : threads)
    thread.join();
}

void Workers::loop(unsigned worker) {
  for (;;) {
    barrier();
    if (!job)
      return;
    (*job)(worker);
    barrier();
  }
}

void Workers::run(const std::function<void(unsigned)> &newJob) {
  job = &newJob;
  barrier();
  newJob(0);
  barrier();
}

void Workers::barrier(const uint8_t *ahead) {
  if (total == 1)
    return;
  uint32_t now = generation.load(std::memory_order_relaxed);
  if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == total) {
    arrived.store(0, std::memory_order_relaxed);
    for (Share &share : shares)
      share.taken.store(0, std::memory_order_relaxed);
    // Sequentially consistent, as below: either the last to arrive sees the sleeper, or the sleeper sees the new value.
    generation.store(now + 1, std::memory_order_seq_cst);
    if (sleepers.load(std::memory_order_seq_cst))
      futex(generation, FUTEX_WAKE, INT_MAX);
    return;
  }
  // A step is a few to a few hundred microseconds, and waking a sleeper costs about ten. On a busy machine the others
  // may have to run on this very processor: after a few microseconds it is offered to them.
  constexpr uint64_t yieldCycles = 150'000;
  // Four lines a turn are about what a core can fetch in its time; a wait is seldom long enough for more than this.
  const uint64_t prefetchBytes = ahead ? 16384 : 0;
  uint64_t prefetched = 0;
  const uint64_t start = __rdtsc();
  for (uint64_t passed = 0; passed < spinCycles + yieldCycles; passed = __rdtsc() - start) {
    if (generation.load(std::memory_order_acquire) != now)
      return;
    if (passed < spinCycles) {
      for (unsigned line = 0; line < 4 && prefetched < prefetchBytes; ++line, prefetched += 64)
        _mm_prefetch(reinterpret_cast<const char *>(ahead + prefetched), _MM_HINT_T1);
      _mm_pause();
    } else {
      sched_yield();
    }
  }
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  while (generation.load(std::memory_order_seq_cst) == now)
    futex(generation, FUTEX_WAIT, now);
  sleepers.fetch_sub(1, std::memory_order_relaxed);
}
