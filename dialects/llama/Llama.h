//===- Llama.h - the llama dialect: types and operations ---------------------------===//
#ifndef SLUICE_DIALECTS_LLAMA_LLAMA_H
#define SLUICE_DIALECTS_LLAMA_LLAMA_H

#include "dialects/llama/Formats.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/llama/LlamaDialect.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/llama/LlamaTypes.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/llama/LlamaAttrs.h.inc"
#define GET_OP_CLASSES
#include "dialects/llama/LlamaOps.h.inc"

namespace sluice::llama {

// The weight that `symbol` names in the llama.model around `from`; null if there is none.
WeightDeclOp lookupWeight(mlir::Operation *from, mlir::FlatSymbolRefAttr symbol);

// The width (channels) of an activation value.
inline int64_t widthOf(mlir::Value activation) {
  return llvm::cast<mlir::RankedTensorType>(activation.getType()).getDimSize(1);
}

} // namespace sluice::llama
#endif
