//===- Scheduler.cpp - blocks over host threads, warps over fibers ----------------------===//

#include "tools/ptx-vm/Async.h"
#include "tools/ptx-vm/Faults.h"
#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/OrderChecker.h"
#include "tools/ptx-vm/Worker.h"
#include <cstdlib>
#include <cstring>
#include <thread>

namespace ptxvm {

static constexpr int64_t kTurns = 1 << 16; // of a loop, before a warp lets others run
using Clock = std::chrono::steady_clock;

Worker::Worker(Launch &launch)
    : launch(launch), fibers(launch.config.kernel->stackBytes()),
      sites(launch.compiled.sites.size() + 1, SiteCache{1, 0}) {}

void Worker::entry(void *argument) {
  Warp *w = static_cast<Warp *>(argument);
  w->block->launch->compiled.run.load(std::memory_order_relaxed)(w);
  w->block->worker->finishWarp(w);
  __builtin_unreachable();
}

bool Worker::startBlock() {
  if (launch.failed || launch.nextBlock >= launch.config.grid.count())
    return false;
  if (launch.resident.fetch_add(1) >= launch.maxResident) {
    --launch.resident;
    return false;
  }
  const uint64_t index = launch.nextBlock.fetch_add(1);
  if (index >= launch.config.grid.count()) {
    --launch.resident;
    return false;
  }
  ++launch.changes;
  std::unique_ptr<Block> block;
  if (spare.empty()) {
    block = std::make_unique<Block>();
  } else {
    block = std::move(spare.back());
    spare.pop_back();
  }
  prepare(*block, index);
  blocks.push_back(std::move(block));
  return true;
}

void Worker::prepare(Block &block, uint64_t index) {
  const LaunchConfig &c = launch.config;
  const Addresses &names = c.kernel->addresses();
  const uint64_t threads = c.block.count();
  block.launch = &launch;
  block.worker = this;
  block.linear = index;
  block.index = {uint32_t(index % c.grid.x), uint32_t(index / c.grid.x % c.grid.y),
                 uint32_t(index / c.grid.x / c.grid.y)};
  block.warpCount = block.running = (threads + kLanes - 1) / kLanes;
  block.waiting = block.exitedThreads = 0;
  for (Barrier &b : block.barriers)
    b = {};
  const uint32_t align = std::max<uint32_t>(16, names.dynamicSharedAlign);
  const uint32_t sharedBytes = (names.staticSharedBytes + align - 1) / align * align + c.dynamicShared;
  // Memory, and whether each byte was written; a few bytes more, since vectors may be read past the end by no one but
  // us.
  block.shared.assign(2 * (sharedBytes + 64), 0);
  std::memset(block.shared.data(), 0xff, sharedBytes);
  block.local.assign(uint64_t(names.localBytes) * kLanes * block.warpCount + 64, 0);
  if (!block.warps) {
    block.warps = std::make_unique<Warp[]>(block.warpCount);
    block.fibers = std::make_unique<Fiber[]>(block.warpCount);
  }
  for (unsigned i = 0; i < block.warpCount; ++i) {
    Warp &w = block.warps[i];
    w.launched = 0;
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      const uint64_t t = uint64_t(i) * kLanes + lane;
      w.tid[0][lane] = t % c.block.x;
      w.tid[1][lane] = t / c.block.x % c.block.y;
      w.tid[2][lane] = t / c.block.x / c.block.y;
      if (t < threads)
        w.launched |= 1u << lane;
    }
    auto copy = [](uint32_t(&to)[3], const Dim &d) { to[0] = d.x, to[1] = d.y, to[2] = d.z; };
    copy(w.ntid, c.block), copy(w.ctaid, block.index), copy(w.nctaid, c.grid);
    w.warpId = i;
    w.smId = index % c.kernel->module.chip.processors;
    w.dynamicShared = c.dynamicShared;
    w.totalShared = sharedBytes;
    w.gridId = launch.id;
    w.live = w.launched;
    w.turns = kTurns;
    w.params = const_cast<uint8_t *>(c.parameters.data());
    w.shared = block.shared.data() - kSharedBase;
    w.written = block.shared.data() + sharedBytes + 64 - kSharedBase;
    w.sharedEnd = kSharedBase + sharedBytes;
    w.localBytes = names.localBytes;
    w.local = block.local.data() + uint64_t(i) * names.localBytes * kLanes;
    w.sites = sites.data();
    w.block = &block;
    w.fiber = &block.fibers[i];
    w.asyncCopies = nullptr;
    w.pollSite = w.polls = w.pollHash = 0;
    fibers.prepare(*w.fiber, entry, &w);
    ready.push_front(&w);
  }
  if (launch.order)
    for (unsigned i = 0; i < block.warpCount; ++i)
      launch.order->beginWarp(&block.warps[i]);
}

static Clock::duration deadlockTime() {
  const char *text = std::getenv("PTX_VM_DEADLOCK_SECONDS");
  const double seconds = text && std::atof(text) > 0 ? std::atof(text) : 10.0;
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

void Worker::run() {
  uint64_t yields = 0, seenChanges = 0;
  bool allPolled = true;
  Clock::time_point since = Clock::now();
  for (;;) {
    if (launch.failed)
      break;
    if (ready.empty()) {
      if (startBlock())
        continue;
      if (blocks.empty()) {
        if (launch.nextBlock >= launch.config.grid.count())
          break;
        std::this_thread::yield(); // the chip is full with blocks of other threads
        continue;
      }
      continue;
    }
    // A whole round of yields: begin another block rather than to spin.
    if (yields >= ready.size()) {
      if (startBlock()) {
        yields = 0;
        continue;
      }
      yields = 0;
      std::this_thread::yield();
      const uint64_t changes = launch.changes;
      if (changes != seenChanges || !allPolled) {
        seenChanges = changes;
        since = Clock::now();
      } else if (Clock::now() - since > deadlockTime()) {
        current = ready.front();
        reportDeadlock(current);
        break;
      }
      allPolled = true;
    }
    Warp *w = ready.front();
    ready.pop_front();
    current = w;
    currentYielded = currentPolled = false;
    ptxvmSwitch(&schedulerStack, w->fiber->stackPointer);
    if (currentYielded) {
      ready.push_back(w);
      ++yields;
      allPolled &= currentPolled;
    } else {
      yields = 0;
    }
    reap();
  }
  for (auto &block : blocks)
    abandon(*block);
}

/// Blocks whose warps have all exited.
void Worker::reap() {
  if (!finished)
    return;
  for (size_t i = 0; i < blocks.size(); ++i) {
    Block &b = *blocks[i];
    if (b.running || b.waiting)
      continue;
    abandon(b);
    if (launch.order)
      launch.order->endBlock(b);
    spare.push_back(std::move(blocks[i]));
    blocks.erase(blocks.begin() + i);
    --launch.resident;
    ++launch.changes;
    --i;
  }
  finished = false;
}

void Worker::abandon(Block &b) {
  for (unsigned i = 0; i < b.warpCount; ++i) {
    if (b.fibers[i].stack)
      fibers.release(b.fibers[i]);
    dropAsync(&b.warps[i]);
  }
}

void Worker::leave(Warp *w) {
  ptxvmSwitch(&w->fiber->stackPointer, schedulerStack);
  __builtin_unreachable();
}

void Worker::switchOut(Warp *w) { ptxvmSwitch(&w->fiber->stackPointer, schedulerStack); }

void Worker::finishWarp(Warp *w) {
  Block &block = *w->block;
  finishAsync(w);
  --block.running;
  block.exitedThreads += __builtin_popcount(w->launched);
  ++launch.changes;
  for (unsigned id = 0; id < 16; ++id)
    checkBarrier(block, id);
  checkStuck(block);
  finished = true;
  leave(w);
}

void Worker::reportDeadlock(Warp *w) {
  reportFault(w, w->pollSite, __builtin_ctz(w->launched), CUDA_ERROR_LAUNCH_TIMEOUT,
              "deadlock: every thread of the grid waits for a value that no thread changes");
}

void yieldTurn(Warp *w) {
  Worker &worker = *w->block->worker;
  worker.currentPolled = w->polls != 0;
  w->polls = 0;
  if (!worker.currentPolled)
    ++w->block->launch->changes; // it computes
  w->turns = kTurns;
  worker.currentYielded = true;
  worker.switchOut(w);
}

uint64_t clockCycles(Warp *) { return __builtin_ia32_rdtsc(); }
uint64_t globalTimer(Warp *) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}
uint32_t processors(Warp *w) { return w->block->launch->config.kernel->module.chip.processors; }
uint32_t maxWarps(Warp *w) { return w->block->launch->config.kernel->module.chip.threadsPerProcessor / kLanes; }

} // namespace ptxvm
