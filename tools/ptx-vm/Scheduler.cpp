//===- Scheduler.cpp - blocks over host threads, warps over fibers ---------------------------------------===//

#include "tools/ptx-vm/Scheduler.h"
#include "tools/ptx-vm/Async.h"
#include "tools/ptx-vm/Faults.h"
#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/OrderChecker.h"
#include "tools/ptx-vm/ThreadPool.h"
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <thread>

namespace ptxvm {

static constexpr int64_t kTurns = 1 << 16; // of a loop, before a warp lets others run
using Clock = std::chrono::steady_clock;

unsigned blocksPerProcessor(const Kernel &kernel, unsigned threads, uint64_t dynamicShared) {
  const Chip &chip = kernel.module.chip;
  const unsigned warps = (threads + kLanes - 1) / kLanes;
  uint64_t blocks = std::min<uint64_t>(chip.blocksPerProcessor, chip.threadsPerProcessor / (warps * kLanes));
  const uint64_t shared = kernel.staticSharedBytes() + dynamicShared + kSharedBase;
  return std::min<uint64_t>(blocks, chip.sharedPerProcessor / shared);
}

CUresult validateLaunch(const LaunchConfig &config) {
  const Kernel &kernel = *config.kernel;
  const Function &f = kernel.function;
  const Dim &g = config.grid, &b = config.block;
  auto refuse = [&](CUresult code, const std::string &message) {
    std::fprintf(stderr, "ptx-vm: launch of '%s' refused: %s\n", f.name.c_str(), message.c_str());
    return code;
  };
  auto text = [](const Dim &d) { return std::to_string(d.x) + "x" + std::to_string(d.y) + "x" + std::to_string(d.z); };
  if (!g.count() || !b.count() || g.x > 0x7fffffff || g.y > 65535 || g.z > 65535)
    return refuse(CUDA_ERROR_INVALID_VALUE, "grid of " + text(g) + " blocks of " + text(b) + " threads");
  if (b.x > 1024 || b.y > 1024 || b.z > 64 || b.count() > kernel.maxThreads())
    return refuse(CUDA_ERROR_INVALID_VALUE, "block of " + text(b) + " threads, at most " + std::to_string(kernel.maxThreads()));
  if (f.requiredThreads[0] && (b.x != f.requiredThreads[0] || b.y != f.requiredThreads[1] || b.z != f.requiredThreads[2]))
    return refuse(CUDA_ERROR_INVALID_VALUE, "block of " + text(b) + " threads, .reqntid says " + std::to_string(f.requiredThreads[0]) + "x" +
                                                std::to_string(f.requiredThreads[1]) + "x" + std::to_string(f.requiredThreads[2]));
  if (int64_t(config.dynamicShared) > kernel.maxDynamicShared ||
      kernel.staticSharedBytes() + uint64_t(config.dynamicShared) > uint64_t(std::max(kernel.maxDynamicShared, kernel.module.chip.sharedPerBlockOptIn)))
    return refuse(CUDA_ERROR_INVALID_VALUE, std::to_string(config.dynamicShared) + " bytes of dynamic shared memory, at most " + std::to_string(kernel.maxDynamicShared));
  const unsigned perProcessor = blocksPerProcessor(kernel, b.count(), config.dynamicShared);
  if (perProcessor == 0)
    return refuse(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "a block does not fit an SM");
  if (config.isCooperative && g.count() > uint64_t(perProcessor) * kernel.module.chip.processors)
    return refuse(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, std::to_string(g.count()) + " blocks, the chip holds " +
                                                               std::to_string(uint64_t(perProcessor) * kernel.module.chip.processors));
  return CUDA_SUCCESS;
}

/// A host thread's part of a launch.
struct Worker {
  Launch &launch;
  FiberPool fibers;
  void *schedulerStack = nullptr;
  std::vector<SiteCache> sites;
  std::deque<Warp *> ready;
  std::vector<std::unique_ptr<Block>> blocks, spare;
  Warp *current = nullptr;
  bool currentYielded = false, currentPolled = false;

  explicit Worker(Launch &launch) : launch(launch), sites(launch.compiled.sites.size() + 1, SiteCache{1, 0}) {}

  static void entry(void *argument) {
    Warp *w = static_cast<Warp *>(argument);
    w->block->launch->compiled.run(w);
    w->block->worker->finishWarp(w);
    __builtin_unreachable();
  }

  bool startBlock() {
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

  void prepare(Block &block, uint64_t index) {
    const LaunchConfig &c = launch.config;
    const Addresses &names = c.kernel->addresses();
    const uint64_t threads = c.block.count();
    block.launch = &launch;
    block.worker = this;
    block.linear = index;
    block.index = {uint32_t(index % c.grid.x), uint32_t(index / c.grid.x % c.grid.y), uint32_t(index / c.grid.x / c.grid.y)};
    block.warpCount = block.running = (threads + kLanes - 1) / kLanes;
    block.waiting = block.exitedThreads = 0;
    for (Barrier &b : block.barriers)
      b = {};
    const uint32_t align = std::max<uint32_t>(16, names.dynamicSharedAlign);
    const uint32_t sharedBytes = (names.staticSharedBytes + align - 1) / align * align + c.dynamicShared;
    // Memory, and whether each byte was written; a few bytes more, since vectors may be read past the end by no one but us.
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
      auto copy = [](uint32_t (&to)[3], const Dim &d) { to[0] = d.x, to[1] = d.y, to[2] = d.z; };
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
      launch.order->beginBlock(index);
  }

  void run() {
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

  static Clock::duration deadlockTime() {
    static const double seconds = [] {
      const char *text = std::getenv("PTX_VM_DEADLOCK_SECONDS");
      return text && std::atof(text) > 0 ? std::atof(text) : 10.0;
    }();
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }

  void reportDeadlock(Warp *w);

  /// Blocks whose warps have all exited.
  void reap() {
    if (!finished)
      return;
    for (size_t i = 0; i < blocks.size(); ++i) {
      Block &b = *blocks[i];
      if (b.running || b.waiting)
        continue;
      abandon(b);
      spare.push_back(std::move(blocks[i]));
      blocks.erase(blocks.begin() + i);
      --launch.resident;
      ++launch.changes;
      --i;
    }
    finished = false;
  }

  void abandon(Block &b) {
    for (unsigned i = 0; i < b.warpCount; ++i) {
      if (b.fibers[i].stack)
        fibers.release(b.fibers[i]);
      dropAsync(&b.warps[i]);
    }
  }

  [[noreturn]] void leave(Warp *w) {
    ptxvmSwitch(&w->fiber->stackPointer, schedulerStack);
    __builtin_unreachable();
  }

  void finishWarp(Warp *w);
  bool finished = false;
};

static void switchOut(Warp *w) { ptxvmSwitch(&w->fiber->stackPointer, w->block->worker->schedulerStack); }

void yieldTurn(Warp *w) {
  Worker &worker = *w->block->worker;
  worker.currentPolled = w->polls != 0;
  w->polls = 0;
  if (!worker.currentPolled)
    ++w->block->launch->changes; // it computes
  w->turns = kTurns;
  worker.currentYielded = true;
  switchOut(w);
}

// --- barriers ---

static uint32_t threadsOf(const Warp *w) { return __builtin_popcount(w->launched); }

/// Lets the waiting warps go if the barrier has all it waits for.
static void checkBarrier(Block &block, unsigned id) {
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
  if (block.launch->order)
    block.launch->order->barrier(block.linear);
  for (Warp *w : b.waiting) {
    block.worker->ready.push_back(w);
    --block.waiting;
    ++block.running;
  }
  ++block.launch->changes;
  b = {};
}

static void checkStuck(Block &block, Warp *w, uint32_t site) {
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

static void arrive(Warp *w, uint32_t site, uint32_t mask, uint32_t live, uint32_t id, uint32_t threads, uint32_t predicates, bool waits) {
  Block &block = *w->block;
  w->live = live;
  const unsigned lane = mask ? __builtin_ctz(mask) : 0;
  if (mask == 0)
    return;
  if (mask != live)
    fault(w, site, lane, CUDA_ERROR_LAUNCH_FAILED,
          "barrier divergence: lanes " + hex(mask) + " of the warp reach the barrier, lanes " + hex(live & ~mask) + " do not");
  if (id > 15)
    fault(w, site, lane, CUDA_ERROR_ILLEGAL_INSTRUCTION, "barrier " + std::to_string(id) + ", there are 16");
  if (threads % kLanes)
    fault(w, site, lane, CUDA_ERROR_ILLEGAL_INSTRUCTION, "barrier of " + std::to_string(threads) + " threads, expected a multiple of 32");
  Barrier &b = block.barriers[id];
  if (b.arrived && b.expected != threads)
    fault(w, site, lane, CUDA_ERROR_LAUNCH_FAILED,
          "barrier divergence: barrier " + std::to_string(id) + " is waited for with " + std::to_string(b.expected) + " and with " + std::to_string(threads) + " threads");
  b.expected = threads;
  b.arrived += threads ? kLanes : __builtin_popcount(live);
  b.popcount += __builtin_popcount(predicates);
  b.all &= predicates == live;
  b.any |= predicates != 0;
  w->pollSite = site;
  if (waits) {
    b.waiting.push_back(w);
    --block.running;
    ++block.waiting;
  }
  checkBarrier(block, id);
  if (waits) {
    checkStuck(block, w, site);
    switchOut(w);
  }
}

void barrierSync(Warp *w, uint32_t site, uint32_t mask, uint32_t live, uint32_t id, uint32_t threads) { arrive(w, site, mask, live, id, threads, 0, true); }
void barrierArrive(Warp *w, uint32_t site, uint32_t mask, uint32_t live, uint32_t id, uint32_t threads) {
  if (!threads && mask)
    fault(w, site, __builtin_ctz(mask), CUDA_ERROR_ILLEGAL_INSTRUCTION, "bar.arrive needs a number of threads");
  arrive(w, site, mask, live, id, threads, 0, false);
}
uint32_t barrierReduction(Warp *w, uint32_t site, uint32_t mask, uint32_t live, uint32_t id, uint32_t threads, uint32_t predicates, uint32_t how) {
  arrive(w, site, mask, live, id, threads, predicates, true);
  return w->block->results[id][how];
}

void Worker::finishWarp(Warp *w) {
  Block &block = *w->block;
  finishAsync(w);
  --block.running;
  block.exitedThreads += threadsOf(w);
  ++launch.changes;
  for (unsigned id = 0; id < 16; ++id)
    checkBarrier(block, id);
  checkStuck(block, w, 0);
  finished = true;
  leave(w);
}

// --- faults ---

std::string hex(uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

static void report(Warp *w, uint32_t site, unsigned lane, CUresult code, const std::string &message) {
  Launch &launch = *w->block->launch;
  std::lock_guard lock(launch.faultMutex);
  if (launch.failed.exchange(true))
    return;
  launch.result = code;
  const Site &s = launch.compiled.sites[site];
  std::fprintf(stderr, "ptx-vm: %s; line %d: %s; kernel %s, block (%u,%u,%u), thread (%u,%u,%u)\n", message.c_str(), s.line,
               launch.config.kernel->module.ptx.textOf(s.line).c_str(), launch.config.kernel->function.name.c_str(), w->ctaid[0], w->ctaid[1], w->ctaid[2],
               w->tid[0][lane], w->tid[1][lane], w->tid[2][lane]);
}

void fault(Warp *w, uint32_t site, unsigned lane, CUresult code, const std::string &message) {
  report(w, site, lane, code, message);
  const_cast<std::string &>(message).~basic_string(); // nobody returns to do it
  Worker &worker = *w->block->worker;
  worker.leave(worker.current);
}

void Worker::reportDeadlock(Warp *w) {
  report(w, w->pollSite, __builtin_ctz(w->launched), CUDA_ERROR_LAUNCH_TIMEOUT, "deadlock: every thread of the grid waits for a value that no thread changes");
}

void trapped(Warp *w, uint32_t site, uint32_t mask) { fault(w, site, __builtin_ctz(mask), CUDA_ERROR_LAUNCH_FAILED, "trap"); }

uint64_t clockCycles(Warp *) { return __builtin_ia32_rdtsc(); }
uint64_t globalTimer(Warp *) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}
uint32_t processors(Warp *w) { return w->block->launch->config.kernel->module.chip.processors; }
uint32_t maxWarps(Warp *w) { return w->block->launch->config.kernel->module.chip.threadsPerProcessor / kLanes; }

// --- launches ---

CUresult runLaunch(const LaunchConfig &config, DeviceMemory &memory) {
  static std::atomic<uint64_t> launches = 0;
  static const bool checkOrder = [] {
    const char *text = std::getenv("PTX_VM_CHECK_ORDER");
    return text && *text && std::strcmp(text, "0");
  }();
  const Dim &b = config.block;
  const WarpShape shape{b.count() % kLanes == 0, b.x % kLanes == 0 || (b.y == 1 && b.z == 1)};
  const CompiledKernel *compiled;
  try {
    compiled = &config.kernel->compiled(shape, checkOrder);
  } catch (const PtxError &error) {
    std::fprintf(stderr, "ptx-vm: line %d: %s: %s\n", error.line, error.what(), config.kernel->module.ptx.textOf(error.line).c_str());
    return CUDA_ERROR_INVALID_PTX;
  } catch (const std::exception &error) { // our own fault
    std::fprintf(stderr, "ptx-vm: kernel '%s' cannot be compiled: %s\n", config.kernel->function.name.c_str(), error.what());
    return CUDA_ERROR_UNKNOWN;
  }
  Launch launch{config, *compiled, memory, nullptr, ++launches, 0};
  if (checkOrder)
    launch.order = std::make_unique<OrderChecker>(launch);
  launch.maxResident = uint64_t(blocksPerProcessor(*config.kernel, b.count(), config.dynamicShared)) * config.kernel->module.chip.processors;
  ThreadPool::get().runTogether(std::min<uint64_t>(config.grid.count(), ThreadPool::get().size()), [&] {
    Worker worker(launch);
    worker.run();
  });
  return launch.result;
}

} // namespace ptxvm
