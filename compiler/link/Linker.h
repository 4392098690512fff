//===- Linker.h - objects and the runtime become an executable ---------------===//
//
// lld as a library. The runtime is linked with the C and C++ libraries into one relocatable object when Sluice is built
// and carried inside the compiler, so that linking needs no compiler, no libraries and no other file. A static
// executable cannot load a driver's library; one for devices is dynamic and needs the system's C library, no more.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_LINK_LINKER_H
#define SLUICE_COMPILER_LINK_LINKER_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

namespace sluice {

// Contents of the object files around the compiled ones, in the order of linking.
struct RuntimeObjects {
  llvm::StringRef prelinked; // start-up files, runtime and libraries
  llvm::StringRef crtend, crtn;
  // Shared libraries that the executable needs to run; empty for a static one, which needs nothing.
  llvm::StringRef libc, libm;

  bool isStatic() const { return libc.empty(); }
};

// The runtime that this compiler carries: a static one, or, with `devices`, one that can load a device's driver, for
// which it must be dynamic.
RuntimeObjects embeddedRuntime(bool devices);

// What sluice_prelink(NAME ...) in Prelink.cmake makes.
#define SLUICE_DECLARE_RUNTIME(NAME)                                                                                   \
  extern "C" const char NAME##_prelinked[], NAME##_prelinked_end[], NAME##_crtend[], NAME##_crtend_end[],              \
      NAME##_crtn[], NAME##_crtn_end[], NAME##_libc[], NAME##_libc_end[], NAME##_libm[], NAME##_libm_end[];
#define SLUICE_RUNTIME_PART(NAME) llvm::StringRef(NAME, size_t(NAME##_end - NAME))
#define SLUICE_RUNTIME_OBJECTS(NAME)                                                                                   \
  (::sluice::RuntimeObjects{SLUICE_RUNTIME_PART(NAME##_prelinked), SLUICE_RUNTIME_PART(NAME##_crtend),                 \
                            SLUICE_RUNTIME_PART(NAME##_crtn), SLUICE_RUNTIME_PART(NAME##_libc),                        \
                            SLUICE_RUNTIME_PART(NAME##_libm)})

// Links `objects` (contents of object files) with the runtime and writes an executable to `outputPath`, mode 0755 less
// the umask. On failure there is no such file.
llvm::Error linkExecutable(llvm::ArrayRef<llvm::StringRef> objects, llvm::StringRef outputPath,
                           const RuntimeObjects &runtime);

} // namespace sluice
#endif
