//===- Access.cpp - loads and stores that are not contiguous, and all that fault ---------------------------===//

#include "tools/ptx-vm/Access.h"
#include "tools/ptx-vm/Faults.h"
#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/OrderChecker.h"
#include <cstring>

namespace ptxvm {

const Site &siteOf(const Warp *w, uint32_t site) { return w->block->launch->compiled.sites[site]; }

static const char *nameOf(Use use) { return use == Use::Load ? "load" : use == Use::Store ? "store" : "atomic"; }

[[noreturn]] static void outside(Warp *w, uint32_t site, unsigned lane, uint64_t address, unsigned bytes, Use use,
                                 const std::string &where) {
  fault(w, site, lane, CUDA_ERROR_ILLEGAL_ADDRESS,
        std::string(nameOf(use)) + " of " + std::to_string(bytes) + " bytes at " + hex(address) +
            " is out of bounds: " + where);
}

static Resolved resolveShared(Warp *w, uint32_t site, unsigned lane, uint64_t address, unsigned bytes, Use use) {
  if (address < kSharedBase || address > w->sharedEnd || bytes > w->sharedEnd - address)
    outside(w, site, lane, address, bytes, use,
            ".shared of the block is " + hex(kSharedBase) + " to " + hex(w->sharedEnd));
  if (use != Use::Store)
    for (unsigned i = 0; i < bytes; ++i)
      if (!w->written[address + i])
        fault(w, site, lane, CUDA_ERROR_ILLEGAL_ADDRESS,
              std::string(nameOf(use)) + " of .shared at " + hex(address) + " that was never written");
  if (use != Use::Load)
    std::memset(w->written + address, 0xff, bytes);
  return {w->shared + address, true, address};
}

Resolved resolve(Warp *w, uint32_t site, unsigned lane, uint64_t address, unsigned bytes, Use use) {
  const Site &s = siteOf(w, site);
  if (address % bytes)
    fault(w, site, lane, CUDA_ERROR_MISALIGNED_ADDRESS,
          std::string(nameOf(use)) + " of " + std::to_string(bytes) + " bytes at misaligned address " + hex(address));
  switch (s.space) {
  case Space::Shared:
    return resolveShared(w, site, lane, address, bytes, use);
  case Space::Local:
    if (address > w->localBytes || bytes > w->localBytes - address)
      outside(w, site, lane, address, bytes, use, ".local of a thread has " + std::to_string(w->localBytes) + " bytes");
    return {w->local + uint64_t(lane) * w->localBytes + address, false, 0};
  case Space::Param: {
    const uint64_t has = w->block->launch->config.parameters.size();
    if (use != Use::Load || address > has || bytes > has - address)
      outside(w, site, lane, address, bytes, use, "the kernel has " + std::to_string(has) + " bytes of parameters");
    return {w->params + address, false, 0};
  }
  default:
    break;
  }
  SiteCache &cache = w->sites[site];
  if (address >= cache.low && address < cache.high && bytes <= cache.high - address)
    return {reinterpret_cast<uint8_t *>(address), false, 0};
  if (s.space == Space::Generic) {
    const uint64_t inShared = address - reinterpret_cast<uint64_t>(w->shared);
    if (inShared >= kSharedBase && inShared < w->sharedEnd)
      return resolveShared(w, site, lane, inShared, bytes, use);
    const uint64_t inLocal = address - reinterpret_cast<uint64_t>(w->local);
    if (inLocal < uint64_t(w->localBytes) * kLanes) {
      if (inLocal / w->localBytes != lane || (inLocal + bytes - 1) / w->localBytes != lane)
        outside(w, site, lane, address, bytes, use, "this is .local of another thread");
      return {reinterpret_cast<uint8_t *>(address), false, 0};
    }
    const uint64_t inParams = address - reinterpret_cast<uint64_t>(w->params);
    if (const uint64_t has = w->block->launch->config.parameters.size();
        use == Use::Load && inParams < has && bytes <= has - inParams)
      return {reinterpret_cast<uint8_t *>(address), false, 0};
  }
  const DeviceMemory &memory = w->block->launch->memory;
  std::optional<Allocation> a = memory.find(address);
  if (!a) {
    std::optional<Allocation> before = memory.before(address);
    outside(w, site, lane, address, bytes, use,
            before && address - before->end < (1 << 20)
                ? "it lies " + std::to_string(address - before->end) + " bytes behind an allocation of " +
                      std::to_string(before->end - before->base) + " bytes"
                : std::string("there is no allocation"));
  }
  if (bytes > a->end - address)
    outside(w, site, lane, address, bytes, use,
            "it crosses the end of an allocation of " + std::to_string(a->end - a->base) + " bytes");
  if ((s.space == Space::Const) != (a->kind == MemoryKind::Constant) && s.space != Space::Generic)
    outside(w, site, lane, address, bytes, use,
            a->kind == MemoryKind::Constant ? "this is .const" : "this is not .const");
  if (use != Use::Load && a->kind == MemoryKind::Constant)
    fault(w, site, lane, CUDA_ERROR_ILLEGAL_ADDRESS, std::string(nameOf(use)) + " to .const at " + hex(address));
  cache = {a->base, a->kind == MemoryKind::Constant && s.space == Space::Generic ? a->base : a->end};
  return {reinterpret_cast<uint8_t *>(address), false, 0};
}

void polled(Warp *w, uint32_t site, uint64_t hash) {
  w->turns = 0;
  ++w->polls;
  w->pollSite = site;
  hash = (hash + site) * 0x9e3779b97f4a7c15;
  if (hash != w->pollHash)
    ++w->block->launch->changes;
  w->pollHash = hash;
}

static unsigned first(uint32_t mask) { return __builtin_ctz(mask); }

/// Element i of a lane's data in its slot.
static uint8_t *element(Warp *w, unsigned i, unsigned lane, unsigned bytes) {
  return reinterpret_cast<uint8_t *>(w->slots[2 + i]) + lane * (bytes == 8 ? 8 : 4);
}

static void copyStrong(uint8_t *to, const uint8_t *from, unsigned bytes) {
  switch (bytes) {
  case 8: {
    uint64_t v = __atomic_load_n(reinterpret_cast<const uint64_t *>(from), __ATOMIC_ACQUIRE);
    __atomic_store_n(reinterpret_cast<uint64_t *>(to), v, __ATOMIC_RELEASE);
    return;
  }
  case 4: {
    uint32_t v = __atomic_load_n(reinterpret_cast<const uint32_t *>(from), __ATOMIC_ACQUIRE);
    __atomic_store_n(reinterpret_cast<uint32_t *>(to), v, __ATOMIC_RELEASE);
    return;
  }
  default:
    std::memcpy(to, from, bytes);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
}

void loadMemory(Warp *w, uint32_t site, uint32_t mask, uint32_t live) {
  if (!mask)
    return;
  w->live = live;
  const Site &s = siteOf(w, site);
  const unsigned total = s.elementBytes * s.elements;
  OrderChecker *order = w->block->launch->order.get();
  uint64_t hash = 0;
  for (uint32_t left = mask; left; left &= left - 1) {
    const unsigned lane = first(left);
    const Resolved at = resolve(w, site, lane, w->slots[0][lane], total, Use::Load);
    if (order)
      order->access(w, site, lane, at, total, Use::Load);
    for (unsigned i = 0; i < s.elements; ++i) {
      uint8_t *to = element(w, i, lane, s.elementBytes);
      if (s.isStrong) {
        copyStrong(to, at.host + i * s.elementBytes, s.elementBytes);
        uint64_t bits = 0;
        std::memcpy(&bits, to, s.elementBytes);
        hash = hash * 31 + bits;
      } else {
        std::memcpy(to, at.host + i * s.elementBytes, s.elementBytes);
      }
    }
  }
  if (s.isStrong)
    polled(w, site, hash);
}

void storeMemory(Warp *w, uint32_t site, uint32_t mask, uint32_t live) {
  if (!mask)
    return;
  w->live = live;
  const Site &s = siteOf(w, site);
  const unsigned total = s.elementBytes * s.elements;
  OrderChecker *order = w->block->launch->order.get();
  if (s.isStrong)
    ++w->block->launch->changes;
  for (uint32_t left = mask; left; left &= left - 1) {
    const unsigned lane = first(left);
    const Resolved at = resolve(w, site, lane, w->slots[0][lane], total, Use::Store);
    if (order)
      order->access(w, site, lane, at, total, Use::Store);
    for (unsigned i = 0; i < s.elements; ++i) {
      const uint8_t *from = element(w, i, lane, s.elementBytes);
      if (s.isStrong)
        copyStrong(at.host + i * s.elementBytes, from, s.elementBytes);
      else
        std::memcpy(at.host + i * s.elementBytes, from, s.elementBytes);
    }
  }
}

} // namespace ptxvm
