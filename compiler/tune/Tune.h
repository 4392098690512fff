//===- Tune.h - tries configurations of tiles and keeps the fastest -----------------===//
#ifndef SLUICE_COMPILER_TUNE_TUNE_H
#define SLUICE_COMPILER_TUNE_TUNE_H

#include "codegen/Target.h"
#include "llvm/Support/Error.h"
#include <csignal>
#include <string>

namespace sluice {

// Lines for the pass apply-tuning: for each phase of `scheduled`, which is not configured, the attributes of its tiles
// that are faster than those `target` chooses, measured phase by phase with one thread. Says on standard error what it
// finds if `progress`. The error's code is std::errc::interrupted where *interrupted became nonzero.
llvm::Expected<std::string> tunePhases(mlir::ModuleOp scheduled, const codegen::HostTarget &target,
                                       const volatile std::sig_atomic_t *interrupted, bool progress);

} // namespace sluice
#endif
