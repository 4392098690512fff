//===- Device.h - the engines of this runtime that are not the processor -------------===//
//
// A static executable has none (NoDevice.cpp); one that was compiled for devices has CudaEngine.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_DEVICE_H
#define SLUICE_RUNTIME_DEVICE_H

#include "runtime/Engine.h"
#include "runtime/Error.h"
#include <memory>

namespace sluice::runtime {

// The machine has no driver, no device, or none that the file has code for: a reason to run on the processor instead.
struct NoDevice : Error {
  using Error::Error;
};

// How the kernels of a token are launched.
enum class Launch { Best, Token, Phases }; // Token: all in one kernel; Phases: a graph with one for each phase

// The device code in this file; empty if there is none.
std::span<const sluice_device_variant *const> deviceVariants();

// The device number `ordinal`, or where that is negative the first that the file has code for. `context` 0: as many
// tokens as there is memory for, at most what the model was trained for. Throws NoDevice, or Error when there is too
// little memory; `orProcessor`: which could run the model instead.
std::unique_ptr<Engine> makeDeviceEngine(const Model &model, int ordinal, Launch launch, uint64_t context,
                                         uint32_t cacheType, bool orProcessor);

// A line for each device of the machine: number, name, architecture, memory, and whether the file has code for it.
// Throws NoDevice.
std::string listDevices();

} // namespace sluice::runtime
#endif
