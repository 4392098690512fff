//===- Launch.cpp - limits of the chip, and launches -----------------------------------===//

#include "tools/ptx-vm/OrderChecker.h"
#include "tools/ptx-vm/ThreadPool.h"
#include "tools/ptx-vm/Worker.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace ptxvm {

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
    return refuse(CUDA_ERROR_INVALID_VALUE,
                  "block of " + text(b) + " threads, at most " + std::to_string(kernel.maxThreads()));
  if (f.requiredThreads[0] &&
      (b.x != f.requiredThreads[0] || b.y != f.requiredThreads[1] || b.z != f.requiredThreads[2]))
    return refuse(CUDA_ERROR_INVALID_VALUE,
                  "block of " + text(b) + " threads, .reqntid says " + std::to_string(f.requiredThreads[0]) + "x" +
                      std::to_string(f.requiredThreads[1]) + "x" + std::to_string(f.requiredThreads[2]));
  if (int64_t(config.dynamicShared) > kernel.maxDynamicShared ||
      kernel.staticSharedBytes() + uint64_t(config.dynamicShared) >
          uint64_t(std::max(kernel.maxDynamicShared, kernel.module.chip.sharedPerBlockOptIn)))
    return refuse(CUDA_ERROR_INVALID_VALUE, std::to_string(config.dynamicShared) +
                                                " bytes of dynamic shared memory, at most " +
                                                std::to_string(kernel.maxDynamicShared));
  const unsigned perProcessor = blocksPerProcessor(kernel, b.count(), config.dynamicShared);
  if (perProcessor == 0)
    return refuse(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "a block does not fit an SM");
  if (config.isCooperative && g.count() > uint64_t(perProcessor) * kernel.module.chip.processors)
    return refuse(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
                  std::to_string(g.count()) + " blocks, the chip holds " +
                      std::to_string(uint64_t(perProcessor) * kernel.module.chip.processors));
  return CUDA_SUCCESS;
}

CUresult runLaunch(const LaunchConfig &config, DeviceMemory &memory) {
  static std::atomic<uint64_t> launches = 0;
  const char *check = std::getenv("PTX_VM_CHECK_ORDER");
  const bool checkOrder = check && *check && std::strcmp(check, "0");
  const Dim &b = config.block;
  const WarpShape shape{b.count() % kLanes == 0, b.x % kLanes == 0 || (b.y == 1 && b.z == 1)};
  const uint64_t maxResident = uint64_t(blocksPerProcessor(*config.kernel, b.count(), config.dynamicShared)) *
                               config.kernel->module.chip.processors;
  const uint64_t warps = std::min(config.grid.count(), maxResident) * ((b.count() + kLanes - 1) / kLanes);
  CompiledKernel *compiled;
  try {
    compiled = &config.kernel->compiled(shape, checkOrder, warps);
  } catch (const PtxError &error) {
    std::fprintf(stderr, "ptx-vm: line %d: %s: %s\n", error.line, error.what(),
                 config.kernel->module.ptx.textOf(error.line).c_str());
    return CUDA_ERROR_INVALID_PTX;
  } catch (const std::exception &error) { // our own fault
    std::fprintf(stderr, "ptx-vm: kernel '%s' cannot be compiled: %s\n", config.kernel->function.name.c_str(),
                 error.what());
    return CUDA_ERROR_UNKNOWN;
  }
  const std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
  Launch launch{config, *compiled, memory, nullptr, ++launches, 0};
  if (checkOrder)
    launch.order = std::make_unique<OrderChecker>(launch);
  launch.maxResident = maxResident;
  const unsigned threads = checkOrder ? 1 : ThreadPool::get().size(); // the checker's tables are for one
  ThreadPool::get().runTogether(std::min<uint64_t>(config.grid.count(), threads), [&] {
    Worker worker(launch);
    worker.run();
  });
  compiled->secondsRun =
      compiled->secondsRun + std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return launch.result;
}

} // namespace ptxvm
