//===- WarpHelpers.cpp - what lanes of a warp tell each other -------------------------------------------------===//

#include "tools/ptx-vm/Access.h"
#include "tools/ptx-vm/Faults.h"
#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/OrderChecker.h"
#include <cstring>

namespace ptxvm {

static uint32_t *words(Warp *w, unsigned slot) { return reinterpret_cast<uint32_t *>(w->slots[slot]); }

void checkMembers(Warp *w, uint32_t site, uint32_t mask, uint32_t live) {
  for (uint32_t left = mask; left; left &= left - 1) {
    const unsigned lane = __builtin_ctz(left);
    const uint32_t members = words(w, 3)[lane];
    if (!(members >> lane & 1))
      fault(w, site, lane, CUDA_ERROR_ILLEGAL_INSTRUCTION,
            "lane " + std::to_string(lane) + " is not in its own member mask " + hex(members));
    if (members & live & ~mask)
      fault(w, site, lane, CUDA_ERROR_LAUNCH_FAILED,
            "warp divergence: member mask " + hex(members) + " names lanes " + hex(members & live & ~mask) +
                " that do not execute this instruction");
  }
}

void checkAligned(Warp *w, uint32_t site, uint32_t mask, uint32_t live) {
  if (mask && mask != 0xffffffff)
    fault(w, site, __builtin_ctz(mask), CUDA_ERROR_LAUNCH_FAILED,
          "warp divergence: an aligned instruction is executed by lanes " + hex(mask) + " only");
  (void)live;
}

/// A lane that does not take part gives a value that nobody should use.
static constexpr uint32_t kNobody = 0xffdead00;

void shuffleLanes(Warp *w, uint32_t site, uint32_t mask, uint32_t mode) {
  const uint32_t *a = words(w, 0), *b = words(w, 1), *c = words(w, 2);
  uint32_t result[kLanes] = {}, inRange = 0;
  for (uint32_t left = mask; left; left &= left - 1) {
    const int lane = __builtin_ctz(left);
    const int bval = b[lane] & 31, cval = c[lane] & 31, segments = c[lane] >> 8 & 31;
    const int maxLane = (lane & segments) | (cval & ~segments), minLane = lane & segments;
    int j = mode == 0   ? lane - bval
            : mode == 1 ? lane + bval
            : mode == 2 ? (minLane | (bval & ~segments))
                        : lane ^ bval;
    const bool p = mode == 0 ? j >= maxLane : j <= maxLane;
    if (!p)
      j = lane;
    result[lane] = mask >> j & 1 ? a[j] : kNobody;
    inRange |= uint32_t(p) << lane;
  }
  std::memcpy(w->slots[4], result, sizeof result);
  words(w, 5)[0] = inRange;
  (void)site;
}

void matchLanes(Warp *w, uint32_t mask, uint32_t all) {
  uint32_t result[kLanes] = {}, same = 0;
  for (uint32_t left = mask; left; left &= left - 1) {
    const unsigned lane = __builtin_ctz(left);
    const uint32_t members = words(w, 3)[lane] & mask;
    for (uint32_t other = members; other; other &= other - 1)
      if (w->slots[0][__builtin_ctz(other)] == w->slots[0][lane])
        result[lane] |= other & -other;
    if (all) {
      same |= uint32_t(result[lane] == members) << lane;
      result[lane] = result[lane] == members ? members : 0;
    }
  }
  std::memcpy(w->slots[4], result, sizeof result);
  words(w, 5)[0] = same;
}

void reduceLanes(Warp *w, uint32_t mask, uint32_t operation, uint32_t type) {
  uint32_t result[kLanes] = {};
  const uint32_t *a = words(w, 0);
  const bool isSigned = ptxvm::isSigned(Type(type));
  for (uint32_t left = mask; left; left &= left - 1) {
    const unsigned lane = __builtin_ctz(left);
    uint32_t members = words(w, 3)[lane] & mask, r = a[__builtin_ctz(members)];
    for (members &= members - 1; members; members &= members - 1) {
      const uint32_t v = a[__builtin_ctz(members)];
      const bool less = isSigned ? int32_t(v) < int32_t(r) : v < r;
      r = operation == kAdd   ? r + v
          : operation == kAnd ? r & v
          : operation == kOr  ? r | v
          : operation == kXor ? r ^ v
          : operation == kMin ? (less ? v : r)
                              : (less ? r : v);
    }
    result[lane] = r;
  }
  std::memcpy(w->slots[4], result, sizeof result);
}

void loadMatrix(Warp *w, uint32_t site, uint32_t count, uint32_t transpose) {
  OrderChecker *order = w->block->launch->order.get();
  for (unsigned m = 0; m < count; ++m) {
    uint16_t rows[8][8];
    for (unsigned r = 0; r < 8; ++r) {
      const unsigned lane = m * 8 + r;
      const Resolved at = resolve(w, site, lane, w->slots[0][lane], 16, Use::Load);
      if (order)
        order->access(w, site, lane, at, 16, Use::Load);
      std::memcpy(rows[r], at.host, 16);
    }
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      const unsigned r = lane / 4, c = lane % 4 * 2;
      words(w, 2 + m)[lane] =
          transpose ? rows[c][r] | uint32_t(rows[c + 1][r]) << 16 : rows[r][c] | uint32_t(rows[r][c + 1]) << 16;
    }
  }
}

void storeMatrix(Warp *w, uint32_t site, uint32_t count, uint32_t transpose) {
  OrderChecker *order = w->block->launch->order.get();
  for (unsigned m = 0; m < count; ++m) {
    uint16_t rows[8][8];
    for (unsigned lane = 0; lane < kLanes; ++lane)
      for (unsigned i = 0; i < 2; ++i) {
        const unsigned r = lane / 4, c = lane % 4 * 2 + i;
        (transpose ? rows[c][r] : rows[r][c]) = words(w, 2 + m)[lane] >> 16 * i;
      }
    for (unsigned r = 0; r < 8; ++r) {
      const unsigned lane = m * 8 + r;
      const Resolved at = resolve(w, site, lane, w->slots[0][lane], 16, Use::Store);
      if (order)
        order->access(w, site, lane, at, 16, Use::Store);
      std::memcpy(at.host, rows[r], 16);
    }
  }
}

} // namespace ptxvm
