//===- EmitPtx.h - LLVM dialect to PTX, and to machine code where ptxas is found ---------===//
#ifndef SLUICE_CODEGEN_NVPTX_EMITPTX_H
#define SLUICE_CODEGEN_NVPTX_EMITPTX_H

#include "codegen/Target.h"
#include "codegen/nvptx/GpuFacts.h"

namespace sluice::codegen {

// PTX (or LLVM IR) of a lowered module. Errors are reported on it.
mlir::LogicalResult emitPtx(mlir::ModuleOp module, const GpuFacts &facts, EmitKind kind, llvm::raw_pwrite_stream &out);

// An x86-64 object with the symbol `sluice_device.<target>`, a sluice_device_variant, around the images.
mlir::LogicalResult emitDeviceObject(mlir::ModuleOp module, const GpuFacts &facts, llvm::raw_pwrite_stream &out);

} // namespace sluice::codegen
#endif
