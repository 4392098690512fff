//===- ReadBandwidth.cpp - how fast this machine reads memory ------------------------===//

#include "runtime/ReadBandwidth.h"
#include "runtime/Memory.h"
#include <chrono>
#include <cstring>
#include <emmintrin.h>

using namespace sluice::runtime;

// Eight independent sums, so that the loads are all that takes time; what lies `ahead` is prefetched, nothing if 0.
static uint64_t sumOf(const uint8_t *bytes, uint64_t count, uint64_t ahead) {
  __m128i sums[8] = {};
  for (uint64_t at = 0; at + 128 <= count; at += 128) {
    for (uint64_t line = 0; ahead && line < 128; line += 64)
      _mm_prefetch(reinterpret_cast<const char *>(bytes + at + ahead + line), _MM_HINT_T0);
    for (int i = 0; i < 8; ++i)
      sums[i] = _mm_add_epi64(sums[i], _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes + at + i * 16)));
  }
  uint64_t total = 0;
  for (__m128i sum : sums)
    total += uint64_t(_mm_cvtsi128_si64(sum)) + uint64_t(_mm_cvtsi128_si64(_mm_unpackhi_epi64(sum, sum)));
  return total;
}

double sluice::runtime::readBandwidth(Workers &team, std::span<const uint8_t> weights) {
  constexpr uint64_t enough = uint64_t(512) << 20; // well beyond any last-level cache
  Memory own;
  if (weights.size() < enough) {
    own = Memory(enough, true, "measuring the read bandwidth");
    uint8_t *start = own.data();
    team.run([&](unsigned worker) { std::memset(start + enough / team.count() * worker, 1, enough / team.count()); });
    weights = {start, enough};
  }
  using Clock = std::chrono::steady_clock;
  const uint64_t share = weights.size() / team.count() / 4096 * 4096;
  double best = 0;
  std::atomic<uint64_t> sink{0}; // the sums are used, or there would be no loop
  // Processors differ in what gets most out of their memory. The first pass only warms up.
  constexpr uint64_t distances[] = {0, 4096, 8192};
  for (int pass = 0; pass < 13; ++pass) {
    const uint64_t ahead = distances[pass % std::size(distances)];
    Clock::time_point start = Clock::now();
    team.run([&](unsigned worker) {
      sink.fetch_add(sumOf(weights.data() + worker * share, share, ahead), std::memory_order_relaxed);
    });
    double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (pass)
      best = std::max(best, double(share * team.count()) / seconds);
  }
  return best;
}
