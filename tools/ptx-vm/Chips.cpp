//===- Chips.cpp - facts of chips -------------------------------------------------------------------------===//

#include "tools/ptx-vm/Chips.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace ptxvm {

static constexpr uint64_t GiB = uint64_t(1) << 30;
static constexpr int KiB = 1024, MiB = 1024 * 1024;

static const Chip chips[] = {
    {"sm_80", "ptx-vm A100", 8, 0, 108, 80 * GiB, 40 * MiB, 164 * KiB, 163 * KiB, 2048, 32, 1593000, 5120, 1410000},
    {"sm_86", "ptx-vm RTX 3090", 8, 6, 82, 24 * GiB, 6 * MiB, 100 * KiB, 99 * KiB, 1536, 16, 9751000, 384, 1695000},
    {"sm_89", "ptx-vm RTX 4090", 8, 9, 128, 24 * GiB, 72 * MiB, 100 * KiB, 99 * KiB, 1536, 24, 10501000, 384, 2520000},
    {"sm_90", "ptx-vm H100", 9, 0, 132, 80 * GiB, 50 * MiB, 228 * KiB, 227 * KiB, 2048, 32, 2619000, 5120, 1980000},
    {"sm_100", "ptx-vm B200", 10, 0, 148, 180 * GiB, 126 * MiB, 228 * KiB, 227 * KiB, 2048, 32, 3996000, 8192, 1965000},
    {"sm_120", "ptx-vm RTX 5090", 12, 0, 170, 32 * GiB, 96 * MiB, 100 * KiB, 99 * KiB, 1536, 24, 14001000, 512,
     2407000},
};

const Chip *chipOfEnvironment() {
  static const Chip *const chosen = []() -> const Chip * {
    const char *name = std::getenv("PTX_VM_DEVICE");
    if (!name || !*name)
      name = "sm_90";
    for (const Chip &chip : chips) {
      if (std::strcmp(chip.name, name))
        continue;
      static Chip copy = chip;
      if (const char *sms = std::getenv("PTX_VM_SMS"); sms && std::atoi(sms) > 0)
        copy.processors = std::atoi(sms);
      if (const char *memory = std::getenv("PTX_VM_MEMORY"); memory && std::atoll(memory) > 0)
        copy.memory = std::atoll(memory);
      if (const char *clock = std::getenv("PTX_VM_MEMORY_CLOCK"); clock && *clock)
        copy.memoryClockKHz = std::atoi(clock);
      return &copy;
    }
    std::fprintf(stderr, "ptx-vm: no chip '%s'; there are:", name);
    for (const Chip &chip : chips)
      std::fprintf(stderr, " %s", chip.name);
    std::fprintf(stderr, "\n");
    return nullptr;
  }();
  return chosen;
}

} // namespace ptxvm
