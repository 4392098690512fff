//===- LlamaImport.h - from a checkpoint to the llama dialect -------------------------===//
#ifndef SLUICE_COMPILER_IMPORT_LLAMAIMPORT_H
#define SLUICE_COMPILER_IMPORT_LLAMAIMPORT_H

#include "compiler/import/Checkpoint.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Regex.h"

namespace sluice {

// Matrices in a float format whose name in the IR ("attn_q", "token_embd", "output") matches are packed in `format`.
struct QuantizeRule {
  std::string pattern; // "": all
  llama::Format format;
};

struct ImportOptions {
  std::vector<QuantizeRule> quantize; // the last that matches counts
  int64_t context = 0;                // the most positions that will be used; 0: as many as the model has
};

// A module with one llama.model. Errors name the file, the key or tensor, what was expected and what came.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> importModel(mlir::MLIRContext &context, const Checkpoint &checkpoint,
                                                              const ImportOptions &options = {});

} // namespace sluice
#endif
