//===- Passes.h - from stream to the LLVM dialect, for NVIDIA GPUs ----------------------===//
#ifndef SLUICE_CODEGEN_NVPTX_PASSES_H
#define SLUICE_CODEGEN_NVPTX_PASSES_H

#include "dialects/stream/Stream.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace sluice::codegen {
#define GEN_PASS_DECL
#include "codegen/nvptx/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "codegen/nvptx/Passes.h.inc"
} // namespace sluice::codegen
#endif
