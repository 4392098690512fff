//===- StageFusion.h - moving an operation into a stage ---------------------------------===//
//
// What the fusion passes share: a stage's results are what its yield says, so an operation moves in by moving before
// the yield and joining it.
//
//===------------------------------------------------------------------------------------===//
#ifndef SLUICE_PASSES_STAGEFUSION_H
#define SLUICE_PASSES_STAGEFUSION_H

#include "dialects/llama/Llama.h"
#include "mlir/IR/Remarks.h"

namespace sluice {

// The stage that makes `value`, or null.
llama::StageOp producingStage(mlir::Value value);

// Moves `op`, which uses results of `stage`, to the end of it. The stage is rebuilt: results nobody uses any more go,
// those of `op` come. Returns the new stage; null, with the reason, if an operand is not available where the stage
// stands.
llama::StageOp absorb(llama::StageOp stage, mlir::Operation *op, std::string &reason);

// Moves everything of `other`, a later stage of the same block, into `stage`, under a new name.
llama::StageOp merge(llama::StageOp stage, llama::StageOp other, llvm::StringRef name);

// Fails at an operation of a block or graph that is in no stage, and names the pass that takes it in.
mlir::LogicalResult checkInStages(llama::ModelOp model);

// The part of a symbol after its last dot: blocks of different signatures prefix their weights' names.
inline llvm::StringRef baseName(llvm::StringRef symbol) { return symbol.substr(symbol.rfind('.') + 1); }

// What the operations of a block cost as they stand, each a phase of its own: a token's, in one run of the block.
struct BlockCost {
  int64_t barriers = 0; // one after each operation
  int64_t vectors = 0;  // of activations, written
  int64_t bytes = 0;    // of activations, written and read
  static BlockCost of(mlir::Block &block);
};

// Reports one fusion as a remark of category "fuse", with the difference it made to its block.
class FusionRemark {
public:
  // Before anything changes.
  FusionRemark(mlir::Operation *op, llvm::StringRef pass);
  void fused(const llvm::Twine &text);
  void declined(const llvm::Twine &reason);

private:
  mlir::Location loc;
  llvm::StringRef pass;
  mlir::Block *block;
  BlockCost before;
};

} // namespace sluice
#endif
