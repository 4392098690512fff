// A loaded module: its variables in device memory, its kernels compiled when they are first launched.
#pragma once
#include "tools/ptx-vm/Chips.h"
#include "tools/ptx-vm/Memory.h"
#include "tools/ptx-vm/Translate.h"
#include <memory>

namespace ptxvm {

/// A kernel compiled for a shape of warps.
struct CompiledKernel {
  void (*run)(Warp *) = nullptr;
  std::vector<Site> sites;
};

class LoadedModule;

class Kernel {
public:
  Kernel(LoadedModule &module, const Function &function);
  /// Compiles on first use. Throws PtxError.
  const CompiledKernel &compiled(WarpShape shape, bool checkOrder);

  LoadedModule &module;
  const Function &function;
  const Addresses &addresses() const { return names; }
  uint32_t staticSharedBytes() const { return names.staticSharedBytes; }
  unsigned maxThreads() const;
  int maxDynamicShared = 48 * 1024; // cuFuncSetAttribute raises it

private:
  Addresses names;
  std::unique_ptr<Function> flat; // with the functions that it calls in place
  std::mutex mutex;
  std::map<unsigned, std::unique_ptr<CompiledKernel>> variants;
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
