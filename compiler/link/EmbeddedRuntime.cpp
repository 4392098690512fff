//===- EmbeddedRuntime.cpp - the runtime that the compiler carries -----------------===//

#include "compiler/link/Linker.h"

// From Embed.S.in.
#define SLUICE_EMBEDDED(NAME)                                                                                          \
  extern "C" const char SluiceEmbeddedRuntime_##NAME[], SluiceEmbeddedRuntime_##NAME##_end[];
SLUICE_EMBEDDED(prelinked)
SLUICE_EMBEDDED(crtend)
SLUICE_EMBEDDED(crtn)

static llvm::StringRef between(const char *begin, const char *end) { return {begin, size_t(end - begin)}; }

sluice::RuntimeObjects sluice::embeddedRuntime() {
  return {between(SluiceEmbeddedRuntime_prelinked, SluiceEmbeddedRuntime_prelinked_end),
          between(SluiceEmbeddedRuntime_crtend, SluiceEmbeddedRuntime_crtend_end),
          between(SluiceEmbeddedRuntime_crtn, SluiceEmbeddedRuntime_crtn_end)};
}
