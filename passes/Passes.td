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
  let summary = "moves the SwiGLU or GeGLU activation into the stage of gate and up";
  let description = [{The numbers computed do not change.}];
}

def FuseElementwise : LlamaPass<"fuse-elementwise"> {
  let summary = "moves biases, multipliers and soft caps into the stage that makes their rows";
  let description = [{The numbers computed do not change.}];
}

def FuseHeadNorm : LlamaPass<"fuse-head-norm"> {
  let summary = "moves norms of heads, and the rotations and appends after them, into the stage of the attention that uses them";
  let description = [{
    A head's channels are rows of several tiles, so they are together only when attention reads them. Where nothing normalises
    heads, `fuse-rope` does better. The numbers computed do not change.
  }];
}

def FusePostNorm : LlamaPass<"fuse-post-norm"> {
  let summary = "moves a sum with a norm of what a stage has made into the stage that reads the sum";
  let description = [{
    That stage's workers compute norm and sum before its linears, and leave the sum for others. A sum that the block yields
    becomes a stage of its own, without linears. The numbers computed do not change.
  }];
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
    weights are quantised to int8 with `peaks` (see `stream.prepare`), one fewer for
    what attention gives; those of the logits, which a chunk of a prompt needs for its last token at most, have two bytes each.
    0 turns all but the last off.
  }];
  let options = [Option<"prefillTokens", "prefill-tokens", "int64_t", "128", "capacity of a chunk of @prefill">,
                 Option<"peaks", "peaks", "int64_t", "1", "of stream.prepare, of phases that read every token of a prompt">];
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
