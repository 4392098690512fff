//===- Cpu.cpp - what this machine's processor can run -----------------------------===//

#include "runtime/Cpu.h"
#include "runtime/Error.h"
#include <bit>
#include <cpuid.h>

using namespace sluice::runtime;

namespace {
struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  explicit Registers(unsigned leaf, unsigned subleaf = 0) { __get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx); }
};
} // namespace

// Which register sets the operating system saves (XCR0).
static uint64_t enabledState() {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

uint64_t sluice::runtime::cpuFeatures() {
  const Registers one(1), seven(7), sevenOne(7, 1), extended(0x80000001);
  const bool osxsave = one.ecx >> 27 & 1;
  const uint64_t state = osxsave ? enabledState() : 0;
  const bool avxState = (state & 0x06) == 0x06, avx512State = (state & 0xE6) == 0xE6;

  uint64_t features = 0;
  auto add = [&](int feature, unsigned reg, int bit) { features |= uint64_t(reg >> bit & 1) << feature; };
  add(SLUICE_CPU_SSSE3, one.ecx, 9);
  add(SLUICE_CPU_SSE4_1, one.ecx, 19);
  add(SLUICE_CPU_SSE4_2, one.ecx, 20);
  add(SLUICE_CPU_MOVBE, one.ecx, 22);
  add(SLUICE_CPU_POPCNT, one.ecx, 23);
  add(SLUICE_CPU_BMI1, seven.ebx, 3);
  add(SLUICE_CPU_BMI2, seven.ebx, 8);
  add(SLUICE_CPU_LZCNT, extended.ecx, 5);
  if (avxState) {
    add(SLUICE_CPU_FMA, one.ecx, 12);
    add(SLUICE_CPU_AVX, one.ecx, 28);
    add(SLUICE_CPU_F16C, one.ecx, 29);
    add(SLUICE_CPU_AVX2, seven.ebx, 5);
    add(SLUICE_CPU_AVX_VNNI, sevenOne.eax, 4);
  }
  if (avx512State) {
    add(SLUICE_CPU_AVX512F, seven.ebx, 16);
    add(SLUICE_CPU_AVX512DQ, seven.ebx, 17);
    add(SLUICE_CPU_AVX512CD, seven.ebx, 28);
    add(SLUICE_CPU_AVX512BW, seven.ebx, 30);
    add(SLUICE_CPU_AVX512VL, seven.ebx, 31);
    add(SLUICE_CPU_AVX512_VNNI, seven.ecx, 11);
    add(SLUICE_CPU_AVX512_BF16, sevenOne.eax, 5);
  }
  return features;
}

std::string sluice::runtime::featureNames(uint64_t features) {
  std::string names;
#define X(NAME, BIT, TEXT)                                                                                             \
  if (features >> BIT & 1)                                                                                             \
    names += (names.empty() ? "" : ", ") + std::string(TEXT);
  SLUICE_CPU_FEATURES(X)
#undef X
  return names;
}

const sluice_variant &sluice::runtime::chooseVariant(std::span<const sluice_variant> variants, uint64_t available) {
  const sluice_variant *nearest = nullptr;
  for (const sluice_variant &variant : variants) {
    uint64_t missing = variant.features & ~available;
    if (!missing)
      return variant;
    if (!nearest || std::popcount(missing) < std::popcount(nearest->features & ~available))
      nearest = &variant;
  }
  if (!nearest)
    throw Error("the file holds code for devices alone; compile the model with --target=x86-64-v3 beside them");
  uint64_t missing = nearest->features & ~available;
  throw Error("this processor lacks " + featureNames(missing) + ", which target '" + nearest->target +
              "' needs; compile the model with --target=x86-64 for any processor");
}
