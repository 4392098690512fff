// What compiled code sees of the warp that it executes. The compiled function of a kernel takes a Warp and returns when
// all of its lanes have exited; it calls helpers (Helpers.h) for everything that is not plain arithmetic or a
// contiguous access.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ptxvm {

constexpr unsigned kLanes = 32;
/// Where .shared begins, as on hardware that reserves the first KiB for itself; what lies below is never valid.
constexpr uint32_t kSharedBase = 1024;

/// The allocation that an instruction touched last, per host thread: makes the usual bounds check two comparisons.
struct SiteCache {
  uint64_t low, high;
};

struct Block;
struct Fiber;

struct alignas(64) Warp {
  /// Operands and results of helpers: slot s holds one value per lane, 8 bytes apart for 64-bit values, 4 bytes for
  /// others (a predicate is a mask in its first 4 bytes).
  alignas(64) uint64_t slots[20][kLanes];
  alignas(64) uint32_t tid[3][kLanes];
  uint32_t ntid[3], ctaid[3], nctaid[3];
  uint32_t warpId, smId, dynamicShared, totalShared;
  uint64_t gridId;
  uint32_t launched; // lanes that have a thread
  uint32_t live;     // lanes that have not exited, when a helper runs
  int64_t turns;     // loop turns until the warp lets others run
  uint8_t *params;
  uint8_t *shared;  // of the block, biased: byte for address a is shared[a]
  uint8_t *written; // likewise: 0xff for bytes that were written
  uint32_t sharedEnd;
  uint32_t localBytes; // of a lane
  uint8_t *local;      // lane l's frame begins at local + l * localBytes
  SiteCache *sites;
  Block *block;
  Fiber *fiber;
  void *asyncCopies; // a list of copies not yet done, of Async.cpp
  uint64_t pollSite, polls,
      pollHash; // the last barrier or strong load, how many since the warp yielded, what they gave
};

} // namespace ptxvm
