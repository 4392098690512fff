// A loaded module: its variables in device memory, its kernels compiled when they are first launched.
#pragma once
#include "tools/ptx-vm/Chips.h"
#include "tools/ptx-vm/Jit.h"
#include "tools/ptx-vm/Memory.h"
#include "tools/ptx-vm/Translate.h"
#include <atomic>
#include <memory>

namespace ptxvm {

/// A kernel compiled for a shape of warps: quickly at first, well once it has run for longer than that will take.
struct CompiledKernel {
  std::atomic<void (*)(Warp *)> run = nullptr;
  std::vector<Site> sites;
  TranslateOptions options;
  std::atomic<double> secondsRun = 0;
  bool isGood = false;
};

struct Translation;

class LoadedModule;

class Kernel {
public:
  Kernel(LoadedModule &module, const Function &entry);
  /// Compiles on first use, for that many warps at a time. Throws PtxError.
  CompiledKernel &compiled(WarpShape shape, bool checkOrder, uint64_t warps);
  /// More than a warp's code can need: quick code keeps every value on the stack.
  size_t stackBytes() const { return 256 * 1024 + 512 * function.body.size(); }

  LoadedModule &module;

private:
  std::unique_ptr<Function> flat;

public:
  const Function &function; // calls inlined
  const Addresses &addresses() const { return names; }
  uint32_t staticSharedBytes() const { return names.staticSharedBytes; }
  unsigned maxThreads() const;
  int maxDynamicShared = 48 * 1024; // cuFuncSetAttribute raises it

private:
  Addresses names;
  std::mutex mutex;
  std::map<unsigned, std::unique_ptr<CompiledKernel>> variants;
  std::shared_ptr<Translation> first; // made when the module was loaded, for the usual shape
  void compile(CompiledKernel &into, Translation translation, Effort effort);
};

class LoadedModule {
public:
  /// Throws PtxError; the text outlives nothing.
  LoadedModule(std::string_view text, const Chip &chip, DeviceMemory &memory);
  ~LoadedModule();
  Kernel *kernel(std::string_view name);

  struct Global {
    uint64_t address, bytes;
  };
  Module ptx;
  std::map<std::string, Global, std::less<>> globals;
  const Chip &chip;

private:
  DeviceMemory &memory;
  std::map<std::string, std::unique_ptr<Kernel>, std::less<>> kernels;
  std::mutex mutex;
};

} // namespace ptxvm
