//===- Passes.td - the passes from llama to stream ---------------------------------===//

include "mlir/Pass/PassBase.td"

class LlamaPass<string flag> : Pass<flag, "::sluice::llama::ModelOp"> {
  let dependentDialects = ["::sluice::llama::LlamaDialect"];
}

def FormStages : LlamaPass<"form-stages"> {
  let summary = "gives every operation that reads memory a stage of its own";
  let description = [{
    Wraps each `llama.embed`, `llama.linear` and `llama.attention` in a `llama.stage`. Where nothing fuses, each stage is
    a phase. The numbers computed do not change.
  }];
}

def FuseSiblings : LlamaPass<"fuse-siblings"> {
  let summary = "joins the stages of linears that read the same activations";
  let description = [{
    Q, K and V become one stage; so do gate and up. The numbers computed do not change.
  }];
}

def FuseNorm : LlamaPass<"fuse-norm"> {
  let summary = "recomputes a norm in every stage that consumes it";
  let description = [{The numbers computed do not change: every worker computes the same norm.}];
}

def FuseRope : LlamaPass<"fuse-rope"> {
  let summary = "moves rotations and the append to the KV cache into the stage that makes their rows";
  let description = [{The numbers computed do not change.}];
}

def FuseSwiglu : LlamaPass<"fuse-swiglu"> {
  let summary = "moves the SwiGLU activation into the stage of gate and up";
  let description = [{The numbers computed do not change.}];
}

def FuseResidual : LlamaPass<"fuse-residual"> {
  let summary = "moves a residual sum into the stage that makes its later operand";
  let description = [{The numbers computed do not change.}];
}

def SchedulePhases : Pass<"schedule-phases", "::sluice::llama::ModelOp"> {
  let summary = "turns stages into phases, and the values between them into buffers";
  let description = [{
    Makes `stream.program`s @decode (one token), @prefill (a chunk), @softmax and @peak. Expects every operation of the blocks and
    the graph to be in a stage; one that is not is an error that names it. From here on activations that meet integer
    weights are quantised to int8, with `outliers` apart (see `stream.prepare`) but for what attention gives, which has none
    that count; those of the logits, which a chunk of a prompt needs for its last token at most, have two bytes each.
  }];
  let options = [Option<"prefillTokens", "prefill-tokens", "int64_t", "128", "capacity of a chunk of @prefill">,
                 Option<"outliers", "outliers", "double", "4.0", "of stream.prepare, of phases that read every token of a prompt; 0: none">];
  let dependentDialects = ["::sluice::stream::StreamDialect"];
}

def ApplyTuning : LlamaPass<"apply-tuning"> {
  let summary = "takes the configuration of tiles from a file that `sluice tune` wrote";
  let description = [{
    A line of the file is `TARGET PROGRAM.PHASE NAME=NUMBER ...` with attributes of `stream.tiles` that decide no layout; `#`
    begins a comment. Lines for other targets are passed over; a phase that the model does not have is an error. What the
    file leaves open is for the target's configuration.
  }];
  let options = [Option<"file", "file", "std::string", "", "the file">,
                 Option<"target", "target", "std::string", "", "the target whose lines are taken">];
}
