//===- Async.cpp - cp.async: queued, made when waited for -----------------------------------------------------===//

#include "tools/ptx-vm/Async.h"
#include "tools/ptx-vm/Access.h"
#include "tools/ptx-vm/Faults.h"
#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/OrderChecker.h"
#include <cstring>
#include <deque>

namespace ptxvm {
namespace {

struct Copy {
  uint32_t site, lane;
  uint64_t to, from;
  uint32_t bytes, sourceBytes;
};
struct Queue {
  std::deque<std::vector<Copy>> groups{{}}; // the last one is not committed
};

Queue &queueOf(Warp *w) {
  if (!w->asyncCopies)
    w->asyncCopies = new Queue;
  return *static_cast<Queue *>(w->asyncCopies);
}

void make(Warp *w, const std::vector<Copy> &group) {
  OrderChecker *order = w->block->launch->order.get();
  for (const Copy &c : group) {
    if (order)
      order->access(w, c.site, c.lane, {w->shared + c.to, true, c.to}, c.bytes, Use::Store);
    std::memcpy(w->shared + c.to, reinterpret_cast<const void *>(c.from), c.sourceBytes);
    std::memset(w->shared + c.to + c.sourceBytes, 0, c.bytes - c.sourceBytes);
    std::memset(w->written + c.to, 0xff, c.bytes);
  }
}

} // namespace

void asyncCopy(Warp *w, uint32_t site, uint32_t mask) {
  const Site &s = siteOf(w, site);
  OrderChecker *order = w->block->launch->order.get();
  for (uint32_t left = mask; left; left &= left - 1) {
    const unsigned lane = __builtin_ctz(left);
    Copy c{site,
           lane,
           w->slots[0][lane],
           w->slots[1][lane],
           s.elementBytes,
           reinterpret_cast<uint32_t *>(w->slots[2])[lane]};
    if (c.sourceBytes > c.bytes)
      fault(w, site, lane, CUDA_ERROR_ILLEGAL_INSTRUCTION,
            "cp.async of " + std::to_string(c.sourceBytes) + " source bytes into " + std::to_string(c.bytes));
    if (c.to % c.bytes || c.from % c.bytes)
      fault(w, site, lane, CUDA_ERROR_MISALIGNED_ADDRESS,
            "cp.async of " + std::to_string(c.bytes) + " bytes from " + hex(c.from) + " to " + hex(c.to) +
                " is misaligned");
    if (c.to < kSharedBase || c.to > w->sharedEnd || c.bytes > w->sharedEnd - c.to)
      fault(w, site, lane, CUDA_ERROR_ILLEGAL_ADDRESS,
            "cp.async to " + hex(c.to) + " is out of bounds: .shared of the block is " + hex(kSharedBase) + " to " +
                hex(w->sharedEnd));
    if (c.sourceBytes && !w->block->launch->memory.covers(c.from, c.sourceBytes))
      fault(w, site, lane, CUDA_ERROR_ILLEGAL_ADDRESS,
            "cp.async of " + std::to_string(c.sourceBytes) + " bytes from " + hex(c.from) + " is out of bounds");
    if (order && c.sourceBytes)
      order->access(w, site, lane, {reinterpret_cast<uint8_t *>(c.from), false, 0}, c.sourceBytes, Use::Load);
    queueOf(w).groups.back().push_back(c);
  }
}

void asyncCommit(Warp *w) { queueOf(w).groups.emplace_back(); }

void asyncWait(Warp *w, uint32_t pending, uint32_t all, uint32_t mask) {
  Queue &q = queueOf(w);
  const size_t stay = all ? 0 : pending + 1; // groups that may stay, and the one that is not committed
  while (q.groups.size() > stay) {
    make(w, q.groups.front());
    q.groups.pop_front();
  }
  if (q.groups.empty())
    q.groups.emplace_back();
}

void finishAsync(Warp *w) {
  if (w->asyncCopies)
    asyncWait(w, 0, 1, 0);
}
void dropAsync(Warp *w) {
  delete static_cast<Queue *>(w->asyncCopies);
  w->asyncCopies = nullptr;
}

} // namespace ptxvm
