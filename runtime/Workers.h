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

  // In a job: waits until every worker is here, and meanwhile prefetches some of what lies at `ahead` (may be null).
  void barrier(const uint8_t *ahead = nullptr);

  // In a job: divides units [0, units) among the workers that call this between the same two barriers, each unit
  // exactly once, as calls of compute(begin, end). Everyone has a contiguous share, taken in pieces, and helps with the
  // others' when it is done. With `singly`, units are dear and unequal: a piece is one.
  template <typename Compute> void share(unsigned worker, uint64_t units, bool singly, Compute compute) {
    if (total == 1) {
      if (units)
        compute(uint64_t(0), units);
      return;
    }
    constexpr uint64_t pieces = 16; // of a share
    for (unsigned i = 0; i < total; ++i) {
      const unsigned owner = (worker + i) % total;
      const uint64_t first = units * owner / total, count = units * (owner + 1) / total - first;
      const uint64_t piece = singly ? 1 : std::max<uint64_t>(1, count / pieces);
      std::atomic<uint64_t> &taken = shares[owner].taken;
      for (uint64_t at; (at = taken.fetch_add(piece, std::memory_order_relaxed)) < count;)
        compute(first + at, first + std::min(at + piece, count));
    }
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
  struct alignas(64) Share {
    std::atomic<uint64_t> taken{0}; // units; the barrier clears it
  };
  std::vector<Share> shares; // of each worker
};

} // namespace sluice::runtime
#endif
