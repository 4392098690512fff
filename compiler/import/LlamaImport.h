//===- LlamaImport.h - from a checkpoint to the llama dialect -------------------------===//
#ifndef SLUICE_COMPILER_IMPORT_LLAMAIMPORT_H
#define SLUICE_COMPILER_IMPORT_LLAMAIMPORT_H

#include "compiler/import/Checkpoint.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace sluice {

// A module with one llama.model. Errors name the file, the key or tensor, what was expected and what came.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> importModel(mlir::MLIRContext &context, const Checkpoint &checkpoint);

} // namespace sluice
#endif
