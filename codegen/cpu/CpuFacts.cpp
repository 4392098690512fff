//===- CpuFacts.cpp - the table of x86-64 targets ----------------------------------===//
//
// Measured on Zen 5 (docs/notes/zen5.md), whose hardware prefetchers lose track of weights that alternate, with any of
// these targets' code; and on Zen 4, which is best left alone. Of the others, what their makers publish; `sluice tune`
// finds better tiles where that is wrong. Two dots a cycle have no feature of their own: the processors that have
// AVX-VNNI beside AVX-512 do them.
//
//===------------------------------------------------------------------------------===//

#include "codegen/cpu/CpuFacts.h"
#include "runtime/abi.h"

using namespace sluice::codegen;

static constexpr uint64_t bit(int feature) { return uint64_t(1) << feature; }
static constexpr uint64_t v2 =
    bit(SLUICE_CPU_SSSE3) | bit(SLUICE_CPU_SSE4_1) | bit(SLUICE_CPU_SSE4_2) | bit(SLUICE_CPU_POPCNT);
static constexpr uint64_t v3 = v2 | bit(SLUICE_CPU_AVX) | bit(SLUICE_CPU_F16C) | bit(SLUICE_CPU_FMA) |
                               bit(SLUICE_CPU_AVX2) | bit(SLUICE_CPU_BMI1) | bit(SLUICE_CPU_BMI2) |
                               bit(SLUICE_CPU_LZCNT) | bit(SLUICE_CPU_MOVBE);
static constexpr uint64_t v3vnni = v3 | bit(SLUICE_CPU_AVX_VNNI);
static constexpr uint64_t v4 = v3 | bit(SLUICE_CPU_AVX512F) | bit(SLUICE_CPU_AVX512BW) | bit(SLUICE_CPU_AVX512DQ) |
                               bit(SLUICE_CPU_AVX512VL) | bit(SLUICE_CPU_AVX512CD);
static constexpr uint64_t v4vnni = v4 | bit(SLUICE_CPU_AVX512_VNNI);

static constexpr uint64_t v4bf16 = v4vnni | bit(SLUICE_CPU_AVX512_BF16);
static constexpr uint64_t v4avxvnni = v4bf16 | bit(SLUICE_CPU_AVX_VNNI);

static constexpr CpuFacts cpus[] = {
    {.name = "x86-64-v4-avxvnni",
     .summary = "AVX-512 with VNNI, two a cycle: Zen 5 and later, Sapphire Rapids and later",
     .llvmCpu = "x86-64-v4",
     .llvmFeatures = "+avx512vnni,+avxvnni,+avx512bf16,-prefer-256-bit",
     .features = v4avxvnni,
     .vectorBits = 512,
     .vectorRegisters = 32,
     .dot = DotKind::Vpdpbusd,
     .hasBFloat16 = true,
     .dotsPerCycle = 2,
     .prefetch = 8192,
     .alternatingPrefetch = 8192},
    {.name = "x86-64-v4-bf16",
     .summary = "AVX-512 with VNNI and BF16: Zen 4, Cooper Lake",
     .llvmCpu = "x86-64-v4",
     .llvmFeatures = "+avx512vnni,+avx512bf16,-prefer-256-bit",
     .features = v4bf16,
     .vectorBits = 512,
     .vectorRegisters = 32,
     .dot = DotKind::Vpdpbusd,
     .hasBFloat16 = true},
    {.name = "x86-64-v4-vnni",
     .summary = "AVX-512 with VNNI: Cascade Lake, Ice Lake",
     .llvmCpu = "x86-64-v4",
     .llvmFeatures = "+avx512vnni,-prefer-256-bit",
     .features = v4vnni,
     .vectorBits = 512,
     .vectorRegisters = 32,
     .dot = DotKind::Vpdpbusd},
    {.name = "x86-64-v4",
     .summary = "AVX-512: Skylake-X",
     .llvmCpu = "x86-64-v4",
     .llvmFeatures = "-prefer-256-bit",
     .features = v4,
     .vectorBits = 512,
     .vectorRegisters = 32,
     .dot = DotKind::Maddubs,
     .alternatingPrefetch = 4096},
    {.name = "x86-64-v3-vnni",
     .summary = "AVX2 with AVX-VNNI: Alder Lake and later",
     .llvmCpu = "x86-64-v3",
     .llvmFeatures = "+avxvnni",
     .features = v3vnni,
     .vectorBits = 256,
     .vectorRegisters = 16,
     .dot = DotKind::Vpdpbusd,
     .dotsPerCycle = 2,
     .loadsPerCycle = 3,
     .alternatingPrefetch = 4096},
    {.name = "x86-64-v3",
     .summary = "AVX2, FMA and F16C: Haswell, Zen and later",
     .llvmCpu = "x86-64-v3",
     .llvmFeatures = "",
     .features = v3,
     .vectorBits = 256,
     .vectorRegisters = 16,
     .dot = DotKind::Maddubs,
     .alternatingPrefetch = 4096},
    {.name = "x86-64",
     .summary = "SSE2: any x86-64",
     .llvmCpu = "x86-64",
     .llvmFeatures = "",
     .features = 0,
     .vectorBits = 128,
     .vectorRegisters = 16,
     .dot = DotKind::Pmaddwd,
     .hasFma = false,
     .hasHalf = false,
     .hasByteShuffle = false,
     .alternatingPrefetch = 4096},
};

llvm::ArrayRef<CpuFacts> sluice::codegen::allCpus() { return cpus; }

const CpuFacts *sluice::codegen::findCpu(llvm::StringRef name) {
  for (const CpuFacts &facts : cpus)
    if (name == facts.name)
      return &facts;
  return nullptr;
}
