//===- StageFusion.h - moving an operation into a stage ---------------------------------===//
//
// What the fusion passes share: a stage's results are what its yield says, so an operation moves in by moving before the yield
// and joining it.
//
//===------------------------------------------------------------------------------------===//
#ifndef SLUICE_PASSES_STAGEFUSION_H
#define SLUICE_PASSES_STAGEFUSION_H

#include "dialects/llama/Llama.h"
#include "mlir/IR/Remarks.h"

namespace sluice {

// The stage that makes `value`, or null.
llama::StageOp producingStage(mlir::Value value);

// Moves `op`, which uses results of `stage`, to the end of it. The stage is rebuilt: results nobody uses any more go, those of
// `op` come. Returns the new stage; null, with the reason, if an operand is not available where the stage stands.
llama::StageOp absorb(llama::StageOp stage, mlir::Operation *op, std::string &reason);

// Moves everything of `other`, a later stage of the same block, into `stage`, under a new name.
llama::StageOp merge(llama::StageOp stage, llama::StageOp other, llvm::StringRef name);

// The part of a symbol after its last dot: blocks of different signatures prefix their weights' names.
inline llvm::StringRef baseName(llvm::StringRef symbol) { return symbol.substr(symbol.rfind('.') + 1); }

// Remarks of category "fuse" at an operation.
mlir::remark::detail::InFlightRemark fused(mlir::Operation *op, llvm::StringRef pass);
mlir::remark::detail::InFlightRemark notFused(mlir::Operation *op, llvm::StringRef pass);

} // namespace sluice
#endif
