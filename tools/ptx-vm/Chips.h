// The chips that can be simulated, as far as the driver API tells of them. PTX_VM_DEVICE names one (sm_90 if unset);
// PTX_VM_SMS and PTX_VM_MEMORY (bytes) replace its facts, so that a test can have a small one.
#pragma once
#include <cstdint>
#include <string>

namespace ptxvm {

struct Chip {
  const char *name, *product;
  int major, minor;
  int processors;  // SMs
  uint64_t memory; // bytes
  int l2Bytes;
  int sharedPerProcessor, sharedPerBlockOptIn; // bytes
  int threadsPerProcessor, blocksPerProcessor;
  int memoryClockKHz, busBits, clockKHz;
};

constexpr int kDriverVersion = 13000; // CUDA 13.0
constexpr int kNewestPtx = 90;

/// The chip that the environment names; null with a line on stderr if there is none of that name.
const Chip *chipOfEnvironment();

} // namespace ptxvm
