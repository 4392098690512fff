//===- GpuFacts.cpp - the table of NVIDIA architectures ------------------------------===//
//
// What NVIDIA publishes (CUDA C++ Programming Guide, "Compute Capabilities"; the processors' data sheets). sm_80's code
// keeps to the shared memory of sm_86 and sm_89, which run its PTX.
//
//===---------------------------------------------------------------------------------===//

#include "codegen/nvptx/GpuFacts.h"

using namespace sluice::codegen;

static constexpr unsigned KiB = 1024, MiB = 1024 * 1024;

static constexpr GpuFacts gpus[] = {
    {.name = "sm_80",
     .summary = "Ampere for servers: A100; its PTX runs on all later ones",
     .processor = "A100 SXM 80GB",
     .architecture = 80,
     .ptxVersion = 71,
     .multiprocessors = 108,
     .gigahertz = 1.41,
     .gigabytesPerSecond = 2039,
     .l2Bytes = 40 * MiB,
     .sharedBytes = 164 * KiB,
     .blockSharedBytes = 99 * KiB,
     .maxWarps = 64},
    {.name = "sm_86",
     .summary = "Ampere: RTX 30, A10, A40",
     .processor = "RTX 3090",
     .architecture = 86,
     .ptxVersion = 71,
     .multiprocessors = 82,
     .gigahertz = 1.70,
     .gigabytesPerSecond = 936,
     .l2Bytes = 6 * MiB,
     .sharedBytes = 100 * KiB,
     .blockSharedBytes = 99 * KiB},
    {.name = "sm_89",
     .summary = "Ada: RTX 40, L4, L40",
     .processor = "RTX 4090",
     .architecture = 89,
     .ptxVersion = 78,
     .multiprocessors = 128,
     .gigahertz = 2.52,
     .gigabytesPerSecond = 1008,
     .l2Bytes = 72 * MiB,
     .sharedBytes = 100 * KiB,
     .blockSharedBytes = 99 * KiB},
    {.name = "sm_90",
     .summary = "Hopper: H100, H200",
     .processor = "H100 SXM",
     .architecture = 90,
     .ptxVersion = 80,
     .multiprocessors = 132,
     .gigahertz = 1.755,
     .gigabytesPerSecond = 3352,
     .l2Bytes = 50 * MiB,
     .sharedBytes = 228 * KiB,
     .blockSharedBytes = 227 * KiB,
     .maxWarps = 64},
    {.name = "sm_100",
     .summary = "Blackwell for servers: B100, B200",
     .processor = "B200",
     .architecture = 100,
     .ptxVersion = 86,
     .multiprocessors = 148,
     .gigahertz = 1.85,
     .gigabytesPerSecond = 8000,
     .l2Bytes = 126 * MiB,
     .sharedBytes = 228 * KiB,
     .blockSharedBytes = 227 * KiB,
     .maxWarps = 64},
    {.name = "sm_120",
     .summary = "Blackwell: RTX 50, RTX PRO",
     .processor = "RTX 5090",
     .architecture = 120,
     .ptxVersion = 87,
     .multiprocessors = 170,
     .gigahertz = 2.41,
     .gigabytesPerSecond = 1792,
     .l2Bytes = 96 * MiB,
     .sharedBytes = 100 * KiB,
     .blockSharedBytes = 99 * KiB},
};

llvm::ArrayRef<GpuFacts> sluice::codegen::allGpus() { return gpus; }

const GpuFacts *sluice::codegen::findGpu(llvm::StringRef name) {
  for (const GpuFacts &facts : gpus)
    if (name == facts.name)
      return &facts;
  return nullptr;
}
