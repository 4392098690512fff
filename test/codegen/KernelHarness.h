//===- KernelHarness.h - compiles stream IR for a target and calls its kernels ----------===//
#ifndef SLUICE_TEST_CODEGEN_KERNELHARNESS_H
#define SLUICE_TEST_CODEGEN_KERNELHARNESS_H

#include "codegen/Jit.h"
#include "dialects/stream/Schedule.h"
#include "mlir/IR/OwningOpRef.h"
#include "test/codegen/DeviceRunner.h"
#include <random>

namespace sluice::test {

// Memory that starts on 64 bytes and is filled with a pattern, so that what is read but never written shows.
class Bytes {
public:
  explicit Bytes(size_t size = 0, uint8_t fill = 0xAA);
  uint8_t *data() const { return start; }
  template <typename T> T *as() const { return reinterpret_cast<T *>(start); }

private:
  std::vector<uint8_t> storage;
  uint8_t *start = nullptr;
};

// A weight as a checkpoint stores it, with random blocks of moderate values.
struct Weight {
  const llama::FormatInfo *format;
  int64_t rows, cols;
  std::vector<uint8_t> bytes;
  static Weight random(llama::Format format, int64_t rows, int64_t cols, std::mt19937 &rng);
  float at(int64_t row, int64_t col) const;
};

// Packs weights, tile t of each in turn.
void packTiles(llvm::ArrayRef<const Weight *> weights, int64_t tileRows, uint8_t *out);

class Kernels {
public:
  // `source`: a module with one llama.model holding stream programs; `target`: a name of lookupTarget.
  Kernels(const std::string &source, llvm::StringRef target);
  // Runs kernel `index`: its prologue, then all units in two unequal calls. On a device: with copies of all memory.
  void run(unsigned index, sluice_args args);

  stream::Schedule &schedule() { return *plan; }
  int64_t bufferAt(const std::string &name) { return stream::bufferOffsets(plan->programs()[0]).at(name); }
  int64_t arenaBytes();
  codegen::WorkerMemory memory() { return workerMemory; }
  bool runs() const { return device || jit.kernels(); } // false where this machine cannot run the target

private:
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::unique_ptr<stream::Schedule> plan;
  codegen::WorkerMemory workerMemory;
  void runOnDevice(unsigned index, const sluice_args &args);
  codegen::Jit jit;
  std::unique_ptr<DeviceRunner> device; // for a target that is one's
};

} // namespace sluice::test
#endif
