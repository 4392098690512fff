//===- NoDevice.cpp - a runtime for processors alone ---------------------------------===//

#include "runtime/Device.h"

using namespace sluice::runtime;

std::span<const sluice_device_variant *const> sluice::runtime::deviceVariants() { return {}; }

std::unique_ptr<Engine> sluice::runtime::makeDeviceEngine(const Model &, int, Launch, uint64_t, uint32_t, bool) {
  throw NoDevice("the file holds no code for devices; compile the model with --target=sm_80 or newer");
}

std::string sluice::runtime::listDevices() {
  throw NoDevice("the file holds no code for devices; compile the model with --target=sm_80 or newer");
}
