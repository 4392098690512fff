//===- CpuFacts.cpp - the table of x86-64 targets ----------------------------------===//
//
// Prefetch distances: measured on Zen 5, whose hardware prefetchers lose track of weights that alternate (with any of
// these targets' code), and on Zen 4, which is best left alone.
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
    {"x86-64-v4-avxvnni", "AVX-512 with VNNI, two a cycle: Zen 5 and later, Sapphire Rapids and later", "x86-64-v4",
     "+avx512vnni,+avxvnni,+avx512bf16,-prefer-256-bit", v4avxvnni, 512, 32, DotKind::Vpdpbusd, true, true, true, 2, 2,
     8192, 8192, true},
    {"x86-64-v4-bf16", "AVX-512 with VNNI and BF16: Zen 4, Cooper Lake", "x86-64-v4",
     "+avx512vnni,+avx512bf16,-prefer-256-bit", v4bf16, 512, 32, DotKind::Vpdpbusd, true, true, true, 1, 2, 0, 0, true},
    {"x86-64-v4-vnni", "AVX-512 with VNNI: Cascade Lake, Ice Lake", "x86-64-v4", "+avx512vnni,-prefer-256-bit", v4vnni,
     512, 32, DotKind::Vpdpbusd, true, true, false, 1, 2, 0, 0, true},
    {"x86-64-v4", "AVX-512: Skylake-X", "x86-64-v4", "-prefer-256-bit", v4, 512, 32, DotKind::Maddubs, true, true,
     false, 1, 2, 0, 4096, true},
    {"x86-64-v3-vnni", "AVX2 with AVX-VNNI: Alder Lake and later", "x86-64-v3", "+avxvnni", v3vnni, 256, 16,
     DotKind::Vpdpbusd, true, true, false, 2, 3, 0, 4096, true},
    {"x86-64-v3", "AVX2, FMA and F16C: Haswell, Zen and later", "x86-64-v3", "", v3, 256, 16, DotKind::Maddubs, true,
     true, false, 1, 2, 0, 4096, true},
    {"x86-64", "SSE2: any x86-64", "x86-64", "", 0, 128, 16, DotKind::Pmaddwd, false, false, false, 1, 2, 0, 4096,
     true},
};

llvm::ArrayRef<CpuFacts> sluice::codegen::allCpus() { return cpus; }
