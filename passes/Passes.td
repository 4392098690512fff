//===- Passes.td - the passes from llama to stream ---------------------------------===//

include "mlir/Pass/PassBase.td"

def FormStages : Pass<"form-stages", "::sluice::llama::ModelOp"> {
  let summary = "gives every operation that reads memory a stage of its own";
  let description = [{
    Wraps each `llama.embed`, `llama.linear` and `llama.attention` in a `llama.stage`. Where nothing fuses, each stage is
    a phase. The numbers computed do not change.
  }];
  let dependentDialects = ["::sluice::llama::LlamaDialect"];
}
