//===- Driver.h - what the sluice tool does ----------------------------------------===//
#ifndef SLUICE_COMPILER_DRIVER_H
#define SLUICE_COMPILER_DRIVER_H

#include "compiler/Options.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"

namespace sluice {

// Compiles options.model to an executable, or prints what the phase options.emit made. Progress and summary go to
// standard error. The error names file and tensor or operation and says what to do; its code is std::errc::interrupted
// where *options.interrupted ended it. Whatever fails, no output file is left.
llvm::Error compile(const Options &options);

// Prints what a token of options.model costs, phase by phase.
llvm::Error explain(const Options &options, llvm::raw_ostream &out);

// Tries configurations of the tiles of options.model on this machine and writes those that are faster than the default
// to options.output, or `out` if that is empty, as text that options.tuning takes. Progress goes to standard error.
llvm::Error tune(const Options &options, llvm::raw_ostream &out);

// Prints metadata and tensors of a checkpoint.
llvm::Error inspect(llvm::StringRef model, llvm::raw_ostream &out);

// Prints the targets of this build.
void printTargets(llvm::raw_ostream &out);

} // namespace sluice
#endif
