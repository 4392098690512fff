//===- CpuTarget.h - the targets of the x86-64 family ----------------------------------===//
#ifndef SLUICE_CODEGEN_CPU_CPUTARGET_H
#define SLUICE_CODEGEN_CPU_CPUTARGET_H

#include "codegen/Target.h"
#include <optional>
#include <vector>

namespace sluice::codegen {

// One target a row of allCpus(), in its order.
std::vector<std::unique_ptr<Target>> makeCpuTargets();
// Features (SLUICE_CPU_*) of the machine we run on, and of a processor by LLVM's name of it; nothing if it is unknown.
uint64_t hostFeatures();
std::optional<uint64_t> processorFeatures(llvm::StringRef processor);
// The CPU's own part of emission, shared with the table of variants: LLVM IR to bytes.
mlir::LogicalResult emitCpuObject(mlir::ModuleOp module, llvm::StringRef cpu, llvm::StringRef features, EmitKind kind,
                                  llvm::raw_pwrite_stream &out);

} // namespace sluice::codegen
#endif
