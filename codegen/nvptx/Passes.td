//===- Passes.td - from stream to the LLVM dialect, for NVIDIA GPUs ---------------------===//

include "mlir/Pass/PassBase.td"

def ConfigureGpu : Pass<"configure-gpu", "::sluice::llama::ModelOp"> {
  let summary = "chooses what a warp of a GPU has under way";
  let description = [{
    Writes `row_block`, `lanes`, `token_block` and `prefetch` of `stream.tiles` from the target's facts; what is there
    already is left alone. `prefetch` is how many bytes of weights each warp keeps under way. The numbers computed do not
    change.
  }];
  let options = [Option<"gpu", "gpu", "std::string", "\"sm_90\"", "the target: see `sluice targets`">];
  let dependentDialects = ["::sluice::stream::StreamDialect"];
}

def LowerPhasesToGpu : Pass<"lower-phases-to-gpu", "::mlir::ModuleOp"> {
  let summary = "turns every phase into kernels, and a token into one more";
  let description = [{
    A phase of a program for one token becomes a kernel, one for many tokens up to two (`..._prologue`); `token` runs
    @decode in one launch, `choose` picks the next token. The attribute `sluice.device` of the module says how they are
    launched: see runtime/abi.h, "Devices".
  }];
  let options = [Option<"gpu", "gpu", "std::string", "\"sm_90\"", "the target: see `sluice targets`">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect",
                           "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}
