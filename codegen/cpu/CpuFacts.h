//===- CpuFacts.h - what codegen needs to know of a CPU, as data --------------------===//
#ifndef SLUICE_CODEGEN_CPU_CPUFACTS_H
#define SLUICE_CODEGEN_CPU_CPUFACTS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>

namespace sluice::codegen {

// How four products of an unsigned and a signed byte are added to an i32 lane.
enum class DotKind {
  Vpdpbusd, // one instruction
  Maddubs,  // vpmaddubsw + vpmaddwd for codes up to 15; else as Pmaddwd
  Pmaddwd,  // even and odd bytes widened to 16 bits
};

struct CpuFacts {
  const char *name; // as --target spells it
  const char *summary;
  const char *llvmCpu; // -mcpu
  const char *llvmFeatures;
  uint64_t features; // bit set of SLUICE_CPU_* that the code needs
  unsigned vectorBits;
  unsigned vectorRegisters;
  DotKind dot;
  bool hasFma, hasHalf; // vfmadd; vcvtph2ps
  // Of vectors, at the best. Where dots come as fast as loads, those of an activation have to be shared.
  unsigned dotsPerCycle, loadsPerCycle;
  unsigned prefetch;      // bytes ahead for one token, 0 for none
  unsigned chunkPrefetch; // likewise for many tokens, whose arithmetic hides the memory only if the bytes are asked for
                          // early

  unsigned lanes() const { return vectorBits / 32; }
};

// Best first.
llvm::ArrayRef<CpuFacts> allCpus();

} // namespace sluice::codegen
#endif
