//===- EmbeddedRuntime.cpp - the runtimes that the compiler carries ----------------===//

#include "compiler/link/Linker.h"

SLUICE_DECLARE_RUNTIME(SluiceEmbeddedRuntime)
SLUICE_DECLARE_RUNTIME(SluiceEmbeddedDeviceRuntime)

sluice::RuntimeObjects sluice::embeddedRuntime(bool devices) {
  return devices ? SLUICE_RUNTIME_OBJECTS(SluiceEmbeddedDeviceRuntime) : SLUICE_RUNTIME_OBJECTS(SluiceEmbeddedRuntime);
}
