//===- Passes.td - from stream to the LLVM dialect, for CPUs --------------------------===//

include "mlir/Pass/PassBase.td"

def ConfigureCpu : Pass<"configure-cpu", "::sluice::llama::ModelOp"> {
  let summary = "chooses rows, lanes and tokens held in registers for a CPU";
  let description = [{
    Writes `row_block`, `lanes`, `token_block` and `prefetch` of `stream.tiles`, and `prefetch` of `stream.attention`, from
    the target's facts; what is there already is left alone. The numbers computed do not change.
  }];
  let options = [Option<"cpu", "cpu", "std::string", "\"x86-64-v3\"", "the target: see `sluice targets`">];
  let dependentDialects = ["::sluice::stream::StreamDialect"];
}

def LowerPhases : Pass<"lower-phases-to-cpu", "::mlir::ModuleOp"> {
  let summary = "turns every phase into functions of vectors, and the model into a table of them";
  let description = [{
    A phase becomes `<program>.<phase>.prologue` (where it has one) and `<program>.<phase>.run`, with the signatures of
    runtime/abi.h. The table `sluice_kernels.<cpu>` lists them in the order of stream::Schedule::kernels().
  }];
  let options = [Option<"cpu", "cpu", "std::string", "\"x86-64-v3\"", "the target: see `sluice targets`">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect",
                           "::mlir::math::MathDialect", "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}
