//===- Linker.h - objects and the runtime become a static executable ---------------===//
//
// lld as a library. The runtime is linked with the C and C++ libraries into one relocatable object when Sluice is built
// and carried inside the compiler, so that linking needs no compiler, no libraries and no other file.
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
};

// The runtime that this compiler carries.
RuntimeObjects embeddedRuntime();

// Links `objects` (contents of object files) with the runtime and writes a static executable to `outputPath`, mode 0755
// less the umask. On failure there is no such file.
llvm::Error linkExecutable(llvm::ArrayRef<llvm::StringRef> objects, llvm::StringRef outputPath,
                           const RuntimeObjects &runtime);

} // namespace sluice
#endif
