//===- Passes.h - from stream to the LLVM dialect, for CPUs ---------------------------===//
#ifndef SLUICE_CODEGEN_CPU_PASSES_H
#define SLUICE_CODEGEN_CPU_PASSES_H

#include "dialects/stream/Stream.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace sluice::codegen {
#define GEN_PASS_DECL
#include "codegen/cpu/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "codegen/cpu/Passes.h.inc"
} // namespace sluice::codegen
#endif
