//===- Barriers.cpp - bar.sync and its kin ---------------------------------------------===//

#include "tools/ptx-vm/Faults.h"
#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/OrderChecker.h"
#include "tools/ptx-vm/Worker.h"

namespace ptxvm {

void checkBarrier(Block &block, unsigned id) {
  Barrier &b = block.barriers[id];
  if (!b.arrived)
    return;
  const uint32_t total = block.launch->config.block.count();
  const uint32_t expected = b.expected ? b.expected : total - block.exitedThreads;
  if (b.arrived < expected)
    return;
  block.results[id][0] = b.popcount;
  block.results[id][1] = b.all;
  block.results[id][2] = b.any;
  OrderChecker *order = block.launch->order.get();
  for (Warp *w : b.waiting) {
    if (order)
      order->depart(w, id);
    block.worker->ready.push_back(w);
    --block.waiting;
    ++block.running;
  }
  if (order)
    order->endBarrier(block, id);
  ++block.launch->changes;
  b = {};
}

void checkStuck(Block &block) {
  if (block.running || !block.waiting)
    return;
  for (unsigned id = 0; id < 16; ++id) {
    Barrier &b = block.barriers[id];
    if (!b.waiting.empty())
      fault(b.waiting[0], b.waiting[0]->pollSite, __builtin_ctz(b.waiting[0]->live), CUDA_ERROR_LAUNCH_TIMEOUT,
            "deadlock: barrier " + std::to_string(id) + " has " + std::to_string(b.arrived) + " of " +
                std::to_string(b.expected ? b.expected : block.launch->config.block.count() - block.exitedThreads) +
                " threads, and no thread of the block can still arrive");
  }
}

static void arrive(Warp *w, uint32_t site, uint32_t mask, uint32_t live, uint32_t id, uint32_t threads,
                   uint32_t predicates, bool waits) {
  Block &block = *w->block;
  w->live = live;
  const unsigned lane = mask ? __builtin_ctz(mask) : 0;
  if (mask == 0)
    return;
  if (mask != live)
    fault(w, site, lane, CUDA_ERROR_LAUNCH_FAILED,
          "barrier divergence: lanes " + hex(mask) + " of the warp reach the barrier, lanes " + hex(live & ~mask) +
              " do not");
  if (id > 15)
    fault(w, site, lane, CUDA_ERROR_ILLEGAL_INSTRUCTION, "barrier " + std::to_string(id) + ", there are 16");
  if (threads % kLanes)
    fault(w, site, lane, CUDA_ERROR_ILLEGAL_INSTRUCTION,
          "barrier of " + std::to_string(threads) + " threads, expected a multiple of 32");
  Barrier &b = block.barriers[id];
  if (b.arrived && b.expected != threads)
    fault(w, site, lane, CUDA_ERROR_LAUNCH_FAILED,
          "barrier divergence: barrier " + std::to_string(id) + " is waited for with " + std::to_string(b.expected) +
              " and with " + std::to_string(threads) + " threads");
  b.expected = threads;
  b.arrived += threads ? kLanes : __builtin_popcount(live);
  b.popcount += __builtin_popcount(predicates);
  b.all &= predicates == live;
  b.any |= predicates != 0;
  w->pollSite = site;
  if (OrderChecker *order = block.launch->order.get())
    order->arrive(w, id);
  if (waits) {
    b.waiting.push_back(w);
    --block.running;
    ++block.waiting;
  }
  checkBarrier(block, id);
  if (waits) {
    checkStuck(block);
    block.worker->switchOut(w);
  }
}

void barrierSync(Warp *w, uint32_t site, uint32_t mask, uint32_t live, uint32_t id, uint32_t threads) {
  arrive(w, site, mask, live, id, threads, 0, true);
}
void barrierArrive(Warp *w, uint32_t site, uint32_t mask, uint32_t live, uint32_t id, uint32_t threads) {
  if (!threads && mask)
    fault(w, site, __builtin_ctz(mask), CUDA_ERROR_ILLEGAL_INSTRUCTION, "bar.arrive needs a number of threads");
  arrive(w, site, mask, live, id, threads, 0, false);
}
uint32_t barrierReduction(Warp *w, uint32_t site, uint32_t mask, uint32_t live, uint32_t id, uint32_t threads,
                          uint32_t predicates, uint32_t how) {
  arrive(w, site, mask, live, id, threads, predicates, true);
  return w->block->results[id][how];
}

} // namespace ptxvm
