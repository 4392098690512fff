// Runs the blocks of a launch: every warp has a stack of its own, host threads share the blocks, a block stays on its
// thread. As many blocks are live as the simulated chip holds, so that a barrier of the grid works here exactly if it
// would there. A thread begins a new block only when the warps that it has all wait or spin.
#pragma once
#include "runtime/CudaDriver.h"
#include "tools/ptx-vm/Fiber.h"
#include "tools/ptx-vm/Kernel.h"
#include <atomic>
#include <memory>

namespace ptxvm {

class OrderChecker;

struct Dim {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t(x) * y * z; }
};

/// What a launch is told to do; a copy, the caller's memory may change.
struct LaunchConfig {
  Kernel *kernel = nullptr;
  Dim grid, block;
  uint32_t dynamicShared = 0;
  bool isCooperative = false;
  std::vector<uint8_t> parameters;
};

/// How many blocks of the kernel one SM of the chip holds: by threads, blocks and shared memory (registers are not
/// modelled).
unsigned blocksPerProcessor(const Kernel &kernel, unsigned threads, uint64_t dynamicShared);

/// Checks against the chip's limits, as a driver does before it launches.
CUresult validateLaunch(const LaunchConfig &config);

/// Runs it to its end; what went wrong is on stderr.
CUresult runLaunch(const LaunchConfig &config, DeviceMemory &memory);

// --- for the helpers ---

struct Barrier {
  std::vector<Warp *> waiting;
  uint32_t arrived = 0, expected = 0; // in threads; expected 0: all of the block
  uint32_t popcount = 0;
  bool all = true, any = false;
  uint32_t generation = 0;
};

struct Launch;
struct Worker;

struct Block {
  Launch *launch;
  Worker *worker;
  Dim index;
  uint64_t linear;
  std::unique_ptr<Warp[]> warps;
  std::unique_ptr<Fiber[]> fibers;
  unsigned warpCount = 0, running = 0, waiting = 0; // running: neither exited nor at a barrier
  uint32_t exitedThreads = 0;
  std::vector<uint8_t> shared, local;
  Barrier barriers[16];
  uint32_t results[16][3];
};

struct Launch {
  const LaunchConfig &config;
  const CompiledKernel &compiled;
  DeviceMemory &memory;
  std::unique_ptr<OrderChecker> order;
  uint64_t id;
  uint64_t maxResident;
  std::atomic<uint64_t> nextBlock = 0, resident = 0, changes = 0;
  std::atomic<bool> failed = false;
  std::mutex faultMutex;
  CUresult result = CUDA_SUCCESS;
};

} // namespace ptxvm
