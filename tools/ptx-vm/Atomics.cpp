//===- Atomics.cpp - atom, red, fences ----------------------------------------------------------------------===//
//
// Lanes take their turn in order. Each operation is a compare-and-exchange loop on host memory, so that blocks on other
// host threads see it whole.

#include "tools/ptx-vm/Access.h"
#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/OrderChecker.h"
#include <bit>
#include <cmath>
#include <cstring>

namespace ptxvm {

float halfToFloat(uint16_t h);
uint16_t floatToHalf(float f);

namespace {

template <typename T, typename F> T update(uint8_t *at, F f) {
  T *p = reinterpret_cast<T *>(at), old = __atomic_load_n(p, __ATOMIC_SEQ_CST);
  while (!__atomic_compare_exchange_n(p, &old, f(old), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
    ;
  return old;
}

template <typename T> T integer(uint32_t op, T old, T b, T c) {
  using S = std::make_signed_t<T>;
  (void)sizeof(S);
  switch (op) {
  case kAnd:
    return old & b;
  case kOr:
    return old | b;
  case kXor:
    return old ^ b;
  case kCas:
    return old == b ? c : old;
  case kExchange:
    return b;
  case kAdd:
    return old + b;
  case kInc:
    return old >= b ? 0 : old + 1;
  case kDec:
    return old == 0 || old > b ? b : old - 1;
  }
  return old;
}

uint16_t addHalf(uint16_t a, uint16_t b) { return floatToHalf(halfToFloat(a) + halfToFloat(b)); }
uint16_t addBrain(uint16_t a, uint16_t b) {
  float f = std::bit_cast<float>(uint32_t(a) << 16) + std::bit_cast<float>(uint32_t(b) << 16);
  if (std::isnan(f))
    return 0x7fff;
  uint32_t bits = std::bit_cast<uint32_t>(f);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
uint32_t addPair(uint32_t a, uint32_t b, uint16_t (*add)(uint16_t, uint16_t)) {
  return add(a, b) | uint32_t(add(a >> 16, b >> 16)) << 16;
}

uint64_t apply(uint8_t *at, uint32_t op, Type type, uint64_t b, uint64_t c) {
  const bool isMin = op == kMin;
  switch (type) {
  case Type::F32:
    return update<uint32_t>(at, [&](uint32_t old) {
      return std::bit_cast<uint32_t>(std::bit_cast<float>(old) + std::bit_cast<float>(uint32_t(b)));
    });
  case Type::F64:
    return update<uint64_t>(at, [&](uint64_t old) {
      return std::bit_cast<uint64_t>(std::bit_cast<double>(old) + std::bit_cast<double>(b));
    });
  case Type::F16:
    return update<uint16_t>(at, [&](uint16_t old) { return addHalf(old, b); });
  case Type::BF16:
    return update<uint16_t>(at, [&](uint16_t old) { return addBrain(old, b); });
  case Type::F16x2:
    return update<uint32_t>(at, [&](uint32_t old) { return addPair(old, b, addHalf); });
  case Type::BF16x2:
    return update<uint32_t>(at, [&](uint32_t old) { return addPair(old, b, addBrain); });
  case Type::B16:
    return update<uint16_t>(at, [&](uint16_t old) { return integer<uint16_t>(op, old, b, c); });
  case Type::S32:
    if (op == kMin || op == kMax)
      return update<uint32_t>(at, [&](uint32_t old) {
        return uint32_t(isMin ? std::min(int32_t(old), int32_t(b)) : std::max(int32_t(old), int32_t(b)));
      });
    break;
  case Type::U32:
    if (op == kMin || op == kMax)
      return update<uint32_t>(
          at, [&](uint32_t old) { return isMin ? std::min(old, uint32_t(b)) : std::max(old, uint32_t(b)); });
    break;
  case Type::S64:
    if (op == kMin || op == kMax)
      return update<uint64_t>(at, [&](uint64_t old) {
        return uint64_t(isMin ? std::min(int64_t(old), int64_t(b)) : std::max(int64_t(old), int64_t(b)));
      });
    break;
  case Type::U64:
    if (op == kMin || op == kMax)
      return update<uint64_t>(at, [&](uint64_t old) { return isMin ? std::min(old, b) : std::max(old, b); });
    break;
  default:
    break;
  }
  return bitsOf(type) == 64 ? update<uint64_t>(at, [&](uint64_t old) { return integer<uint64_t>(op, old, b, c); })
                            : update<uint32_t>(at, [&](uint32_t old) { return integer<uint32_t>(op, old, b, c); });
}

uint64_t laneOf(const Warp *w, unsigned slot, unsigned lane, unsigned bytes) {
  return bytes == 8 ? w->slots[slot][lane] : reinterpret_cast<const uint32_t *>(w->slots[slot])[lane];
}

} // namespace

void atomicMemory(Warp *w, uint32_t site, uint32_t mask, uint32_t live, uint32_t op, uint32_t type) {
  if (!mask)
    return;
  w->live = live;
  const Site &s = siteOf(w, site);
  const unsigned bytes = s.elementBytes;
  OrderChecker *order = w->block->launch->order.get();
  uint64_t hash = 0;
  for (uint32_t left = mask; left; left &= left - 1) {
    const unsigned lane = __builtin_ctz(left);
    const Resolved at = resolve(w, site, lane, w->slots[0][lane], bytes, Use::Atomic);
    if (order)
      order->access(w, site, lane, at, bytes, Use::Atomic);
    const uint64_t old = apply(at.host, op, Type(type), laneOf(w, 1, lane, bytes), laneOf(w, 2, lane, bytes));
    if (bytes == 8)
      w->slots[3][lane] = old;
    else
      reinterpret_cast<uint32_t *>(w->slots[3])[lane] = old;
    hash = hash * 31 + old;
  }
  polled(w, site, hash);
}

void fenceMemory(Warp *w, uint32_t site, uint32_t mask) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (OrderChecker *order = w->block->launch->order.get())
    order->fence(w, site);
  (void)mask;
}

} // namespace ptxvm
