// The objects behind the driver API's handles, and what its entry points share.
#pragma once
#include "runtime/CudaDriver.h"
#include "tools/ptx-vm/Scheduler.h"
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <set>
#include <thread>

#define PTX_VM_DECLARE(name, parameters) extern "C" __attribute__((visibility("default"))) CUresult name parameters;
SLUICE_CUDA_FUNCTIONS(PTX_VM_DECLARE)

struct CUctx_st {
  unsigned flags = 0;
};

struct CUmod_st;
struct CUfunc_st {
  ptxvm::Kernel *kernel;
  CUmod_st *module;
};
struct CUmod_st {
  std::unique_ptr<ptxvm::LoadedModule> loaded;
  std::map<std::string, std::unique_ptr<CUfunc_st>, std::less<>> functions;
};

namespace ptxvm {

/// One piece of work of a stream.
struct Operation {
  std::function<CUresult()> run;
  std::vector<std::shared_ptr<Operation>> after;
  std::weak_ptr<Operation> previous; // in its stream
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  bool isLate = false, hurried = false; // late: not done before something depends on it, or a second is over
  std::chrono::steady_clock::time_point finished;
  void wait() {
    hurry();
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done; });
  }
  /// Something depends on it, and so on what was before it.
  void hurry() {
    std::shared_ptr<Operation> before;
    {
      std::lock_guard lock(mutex);
      if (done || hurried)
        return;
      hurried = true;
      changed.notify_all();
      before = previous.lock();
    }
    if (before)
      before->hurry();
  }
  void linger() {
    std::unique_lock lock(mutex);
    if (isLate)
      changed.wait_for(lock, std::chrono::seconds(1), [&] { return hurried; });
  }
  bool isDone() {
    std::lock_guard lock(mutex);
    return done;
  }
};

} // namespace ptxvm

struct CUgraphNode_st {
  enum Kind { Kernel, Other } kind = Other;
  ptxvm::LaunchConfig launch;
  CUfunction function = nullptr;
  std::vector<void *> parameterPointers; // into launch.parameters, for cuGraphKernelNodeGetParams
  std::function<CUresult()> run;         // of other kinds
  std::vector<CUgraphNode> after;
  CUgraph graph = nullptr;
};
struct CUgraph_st {
  std::vector<std::unique_ptr<CUgraphNode_st>> nodes;
};
struct CUgraphExec_st {
  struct Step {
    const CUgraphNode_st *origin;
    CUgraphNode_st::Kind kind;
    ptxvm::LaunchConfig launch;
    std::function<CUresult()> run;
  };
  std::vector<Step> steps;
};

struct CUevent_st {
  unsigned flags = 0;
  std::shared_ptr<ptxvm::Operation> recorded; // null: never, which counts as done
  CUgraph captured = nullptr;                 // recorded in a stream that was being captured
  std::vector<CUgraphNode> capturedAfter;
};

struct CUstream_st {
  unsigned flags = 0;
  bool isLegacy = false;
  std::mutex mutex;
  std::condition_variable work;
  std::deque<std::shared_ptr<ptxvm::Operation>> queue;
  std::shared_ptr<ptxvm::Operation> last;
  std::thread thread;
  bool stop = false;
  // While captured:
  CUgraph capture = nullptr;
  bool isCaptureOrigin = false, captureInvalid = false;
  std::vector<CUgraphNode> captureAfter;
};

namespace ptxvm {

struct Driver {
  const Chip *chip = nullptr;
  std::unique_ptr<DeviceMemory> memory;
  CUctx_st context;
  unsigned retained = 0;
  std::atomic<CUresult> sticky = CUDA_SUCCESS; // a fault: every later call returns it
  std::mutex mutex;                            // of what follows
  std::list<std::unique_ptr<CUstream_st>> streams;
  CUstream_st legacy;
  std::set<CUmod_st *> modules;

  static Driver &get();
};

/// CUDA_SUCCESS if the driver is initialised, a context is current and nothing has faulted.
CUresult ready();
bool isInitialized();
void setInitialized();
extern thread_local CUcontext currentContext;

/// The stream of a handle: null and the legacy handle are the default stream.
CUstream_st *streamOf(CUstream handle);
/// Adds work to a stream, or a node to the graph that it is captured into. `node` may change the node before it is
/// kept. `isLate`: see Operation.
CUresult enqueue(CUstream handle, std::function<CUresult()> run, std::shared_ptr<Operation> *operation = nullptr,
                 const std::function<void(CUgraphNode_st &)> &node = {}, bool isLate = false);
CUresult synchronizeAll();
CUresult runNode(CUgraphNode_st::Kind kind, const LaunchConfig &launch, const std::function<CUresult()> &run);
bool isPinned(const void *pointer, size_t bytes);
/// Fills config from the arguments of a launch.
CUresult makeLaunch(CUfunction function, Dim grid, Dim block, unsigned shared, void **parameters, void **extra,
                    LaunchConfig &config);

} // namespace ptxvm
