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
  Maddubs,  // vpmaddubsw + vpmaddwd for codes up to 128; else as Pmaddwd
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
  bool hasFma = true, hasHalf = true, hasBFloat16 = false; // vfmadd; vcvtph2ps; vdpbf16ps
  bool hasByteShuffle = true;                              // pshufb
  unsigned dotsPerCycle = 1, loadsPerCycle = 2;            // vectors; fused multiply-adds come as fast as dots
  unsigned prefetch = 0;                                   // bytes ahead for one token, 0 for none
  unsigned alternatingPrefetch = 0;                        // likewise where tiles of several weights alternate

  unsigned lanes() const { return vectorBits / 32; }
  // Vectors (of rows, or of positions) that share a loaded activation, for loads to keep up with multiplications.
  unsigned vectorsPerLoad() const { return dotsPerCycle < loadsPerCycle ? 1 : 2; }
};

// Best first.
llvm::ArrayRef<CpuFacts> allCpus();
// Null if there is none of this name.
const CpuFacts *findCpu(llvm::StringRef name);

} // namespace sluice::codegen
#endif
