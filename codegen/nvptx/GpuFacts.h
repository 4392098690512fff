//===- GpuFacts.h - what codegen needs to know of an NVIDIA GPU, as data ------------===//
#ifndef SLUICE_CODEGEN_NVPTX_GPUFACTS_H
#define SLUICE_CODEGEN_NVPTX_GPUFACTS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>

namespace sluice::codegen {

// One architecture, and the processor that predictions are made for. The code takes the number of multiprocessors from
// the machine that it runs on.
struct GpuFacts {
  const char *name; // as --target spells it, and LLVM and ptxas
  const char *summary;
  const char *processor; // whose numbers follow
  unsigned architecture; // 10 * major + minor
  unsigned ptxVersion;   // 10 * major + minor, of the text we write
  unsigned multiprocessors;
  double gigahertz;
  double gigabytesPerSecond;
  unsigned l2Bytes;
  unsigned sharedBytes;       // of a multiprocessor
  unsigned blockSharedBytes;  // that one block may have
  unsigned registers = 65536; // of a multiprocessor
  unsigned maxWarps = 48;     // of a multiprocessor
  // What we choose for all of them: one block of so many warps fills a multiprocessor.
  static constexpr unsigned warps = 16, threads = 32 * warps;
  static constexpr double instructionsPerCycle = 128; // of threads, issued by a multiprocessor
  static constexpr double loadedLatency = 700;        // ns, of memory that is busy

  // By Little's law, what must be under way in each multiprocessor for memory to be busy.
  double bytesInFlight() const { return gigabytesPerSecond * loadedLatency / multiprocessors; }
  // From the last weights of a phase to the first of the next (sums, the blocks' meeting, the prologue), and what
  // memory could bring a multiprocessor meanwhile.
  static constexpr double between = 4000; // ns
  double bytesBetween() const { return gigabytesPerSecond * between / multiprocessors; }
  // Instructions of threads that can be issued while a byte comes from memory.
  double instructionsPerByte() const { return multiprocessors * gigahertz * instructionsPerCycle / gigabytesPerSecond; }
};

// Oldest first.
llvm::ArrayRef<GpuFacts> allGpus();
// Null if there is none of this name.
const GpuFacts *findGpu(llvm::StringRef name);

} // namespace sluice::codegen
#endif
