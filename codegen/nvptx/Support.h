//===- Support.h - what of the dialect has no code for devices yet ------------------------===//
#ifndef SLUICE_CODEGEN_NVPTX_SUPPORT_H
#define SLUICE_CODEGEN_NVPTX_SUPPORT_H

#include "mlir/IR/Operation.h"

namespace sluice::codegen {

// Emits one error on `model` if its programs need what there is no code for.
mlir::LogicalResult checkDeviceSupport(mlir::Operation *model, llvm::StringRef target);

} // namespace sluice::codegen
#endif
