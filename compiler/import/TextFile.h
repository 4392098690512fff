//===- TextFile.h - text of files: reading it, showing it in diagnostics -------------------===//
#ifndef SLUICE_COMPILER_IMPORT_TEXTFILE_H
#define SLUICE_COMPILER_IMPORT_TEXTFILE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace sluice {

// The whole of an ordinary file of at most 128 MiB; whatever else has its name (a pipe, a device) neither blocks nor
// fills the memory. Errors do not name the file.
llvm::Expected<std::string> readTextFile(const std::string &path);

// Text for a diagnostic, parts of which come from a file: whatever would act on a terminal is shown as its code, what
// is no UTF-8 replaced, and the middle left out of a long one.
std::string shown(llvm::StringRef text);

} // namespace sluice
#endif
