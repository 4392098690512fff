// A host thread's part of a launch: its blocks, and the warps of them that can run.
#pragma once
#include "tools/ptx-vm/Scheduler.h"
#include <chrono>
#include <deque>

namespace ptxvm {

struct Worker {
  explicit Worker(Launch &launch);
  /// Until the launch has no more blocks for this thread, or has failed.
  void run();

  // --- called on a warp's own stack ---
  void switchOut(Warp *w);          // until the scheduler continues it
  [[noreturn]] void leave(Warp *w); // for good
  [[noreturn]] void finishWarp(Warp *w);

  Launch &launch;
  std::deque<Warp *> ready;
  Warp *current = nullptr;
  bool currentYielded = false, currentPolled = false; // since it was switched to

private:
  static void entry(void *warp);
  bool startBlock();
  void prepare(Block &block, uint64_t index);
  void reap();
  void abandon(Block &block);
  void reportDeadlock(Warp *w);

  FiberPool fibers;
  void *schedulerStack = nullptr;
  std::vector<SiteCache> sites;
  std::vector<std::unique_ptr<Block>> blocks, spare;
  bool finished = false; // a warp has, since the last reap
};

/// Lets the warps that wait at a barrier go if it has all it waits for.
void checkBarrier(Block &block, unsigned id);
/// Faults if all warps of the block that have not exited wait.
void checkStuck(Block &block);
/// Records the fault of a launch, if it is its first, and says so.
void reportFault(Warp *w, uint32_t site, unsigned lane, CUresult code, const std::string &message);

} // namespace ptxvm
