//===- Workers.h - threads that run the steps of a program together ----------------===//
//
// A fixed team; the caller is worker 0. Between steps they meet at a barrier, where they spin, then yield, then
// sleep. Who computes which unit is left to chance; results are not, because a unit's bits do not depend on it.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_WORKERS_H
#define SLUICE_RUNTIME_WORKERS_H

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace sluice::runtime {

class Workers {
public:
  explicit Workers(unsigned count);
  Workers(const Workers &) = delete;
  ~Workers();
  unsigned count() const { return total; }

  // Calls job(worker) for every worker in [0, count()) at the same time; returns when all have returned. A job must not
  // throw, and every worker must pass the same barriers.
  void run(const std::function<void(unsigned worker)> &job);

  // In a job: waits until every worker is here.
  void barrier();

  // In a job: divides units [0, units) among the workers that call this between the same two barriers, each unit
  // exactly once, as calls of compute(begin, end). Most units go in contiguous shares; who is done early claims from
  // the rest. With `singly`, units are dear and unequal: all are claimed one by one.
  template <typename Compute> void share(unsigned worker, uint64_t units, bool singly, Compute compute) {
    if (total == 1) {
      if (units)
        compute(uint64_t(0), units);
      return;
    }
    uint64_t own = singly ? 0 : units / total * 7 / 8;
    if (own)
      compute(worker * own, (worker + 1) * own);
    uint64_t first = own * total, rest = units - first;
    uint64_t piece = singly ? 1 : std::max<uint64_t>(1, rest / (4 * total));
    for (uint64_t at; (at = claimed.fetch_add(piece, std::memory_order_relaxed)) < rest;)
      compute(first + at, first + std::min(at + piece, rest));
  }

private:
  void loop(unsigned worker);

  const unsigned total;
  uint64_t spinCycles; // how long to wait without yielding
  std::vector<std::thread> threads;
  const std::function<void(unsigned)> *job = nullptr; // null: go home
  alignas(64) std::atomic<uint32_t> arrived{0};
  alignas(64) std::atomic<uint32_t> generation{0}; // futex: counts barriers passed
  std::atomic<uint32_t> sleepers{0};
  alignas(64) std::atomic<uint64_t> claimed{0}; // units of the rest that are taken; the barrier clears it
};

} // namespace sluice::runtime
#endif
