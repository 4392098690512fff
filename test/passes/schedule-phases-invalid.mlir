// What cannot be scheduled is refused, and named.
// RUN: sluice-opt %s --schedule-phases --split-input-file --verify-diagnostics

// In the graph: an operation outside the stages.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every operation to be in a stage, got 'llama.linear' alone; form-stages takes it in}}
    %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
    llama.return %y : tensor<?x64xf32>
  }
}

// -----

// In a block: the same.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every operation to be in a stage, got 'llama.add' alone; fuse-residual takes it in, or its remark says why not}}
    %y = llama.add %x, %s : tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %l = llama.layers %x, %pos, %kv [#llama.run<@b x 2>] : tensor<?x64xf32>, !llama.cache<2x16>
    llama.return %l : tensor<?x64xf32>
  }
}

// -----

// A layer's input must be read before its output is written, for they share a buffer.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %r = llama.stage "r" -> tensor<?x64xf32> {
      %y = llama.linear %s, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected the layer's input to be read before its output is written}}
    %q = llama.stage "q" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %s : tensor<?x64xf32>
  }
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %l = llama.layers %x, %pos, %kv [#llama.run<@b x 2>] : tensor<?x64xf32>, !llama.cache<2x16>
    llama.return %l : tensor<?x64xf32>
  }
}

// -----

// An embedding with company.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected an embedding alone in its stage}}
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      %z = llama.add %y, %y : tensor<?x64xf32>
      llama.yield %z : tensor<?x64xf32>
    }
    llama.return %s : tensor<?x64xf32>
  }
}

// -----

// Attention with company.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected attention, and what is done to the heads of its query and keys, alone in its stage}}
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.attention %x, %kv, %pos heads 4 : tensor<?x64xf32>, !llama.cache<2x16>
      %z = llama.add %y, %y : tensor<?x64xf32>
      llama.yield %z : tensor<?x64xf32>
    }
    llama.return %s : tensor<?x64xf32>
  }
}

// -----

// A norm after a linear.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      // expected-error @+1 {{expected norms and sums before the linears of a stage and nothing else there: 'llama.rms_norm' reads 'llama.linear'}}
      %z = llama.rms_norm %y, @n eps 1.0e-5 : tensor<?x64xf32>
      llama.yield %z : tensor<?x64xf32>
    }
    llama.return %s : tensor<?x64xf32>
  }
}

// -----

// A norm that a residual sum reads too.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %n = llama.rms_norm %x, @n eps 1.0e-5 : tensor<?x64xf32>
      %y = llama.linear %n, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      // expected-error @+1 {{expected norms and sums before the linears of a stage and nothing else there: 'llama.add' reads 'llama.rms_norm'}}
      %z = llama.add %n, %y : tensor<?x64xf32>
      llama.yield %z : tensor<?x64xf32>
    }
    llama.return %s : tensor<?x64xf32>
  }
}

// -----

// A product before a linear.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %z = llama.swiglu %x, %x : tensor<?x64xf32>
      // expected-error @+1 {{expected norms and sums before the linears of a stage and nothing else there: 'llama.linear' reads 'llama.swiglu'}}
      %y = llama.linear %z, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %s : tensor<?x64xf32>
  }
}

// -----

// A linear that no result is made of.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every linear of a stage to make rows of a result}}
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llama.add %x, %x : tensor<?x64xf32>
      llama.yield %z : tensor<?x64xf32>
    }
    llama.return %s : tensor<?x64xf32>
  }
}

// -----

// An operation of another dialect.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      // expected-error @+1 {{expected norms, linears and operations on their rows in a stage, got 'arith.constant'}}
      %c = arith.constant 1 : i64
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %s : tensor<?x64xf32>
  }
}

// -----

// No graph.
// expected-error @+1 {{expected one llama.graph, got 0}}
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
}

// -----

// llama.rms_norm in no stage
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every operation to be in a stage, got 'llama.rms_norm' alone; fuse-norm takes it in, or its remark says why not}}
    %z = llama.rms_norm %x, @n eps 1.0e-5 : tensor<?x64xf32>
    %l = llama.stage "l" -> tensor<?x64xf32> {
      %y = llama.linear %s, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %l : tensor<?x64xf32>
  }
}

// -----

// llama.rope in no stage
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every operation to be in a stage, got 'llama.rope' alone; fuse-rope takes it in, or its remark says why not}}
    %z = llama.rope %x, %pos head_dim 16 turns [0.5] : tensor<?x64xf32>
    %l = llama.stage "l" -> tensor<?x64xf32> {
      %y = llama.linear %s, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %l : tensor<?x64xf32>
  }
}

// -----

// llama.append in no stage
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every operation to be in a stage, got 'llama.append' alone; fuse-rope takes it in, or its remark says why not}}
    %z = llama.append %x, %x, %kv, %pos : tensor<?x64xf32>, !llama.cache<4x16>
    %l = llama.stage "l" -> tensor<?x64xf32> {
      %y = llama.linear %s, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %l : tensor<?x64xf32>
  }
}

// -----

// llama.swiglu in no stage
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every operation to be in a stage, got 'llama.swiglu' alone; fuse-swiglu takes it in, or its remark says why not}}
    %z = llama.swiglu %x, %x : tensor<?x64xf32>
    %l = llama.stage "l" -> tensor<?x64xf32> {
      %y = llama.linear %s, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %l : tensor<?x64xf32>
  }
}

// -----

// llama.attention in no stage
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every operation to be in a stage, got 'llama.attention' alone; form-stages takes it in}}
    %z = llama.attention %x, %kv, %pos heads 4 : tensor<?x64xf32>, !llama.cache<4x16>
    %l = llama.stage "l" -> tensor<?x64xf32> {
      %y = llama.linear %s, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %l : tensor<?x64xf32>
  }
}

// -----

// llama.embed in no stage
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every operation to be in a stage, got 'llama.embed' alone; form-stages takes it in}}
    %z = llama.embed %ids, @e : tensor<?x64xf32>
    %l = llama.stage "l" -> tensor<?x64xf32> {
      %y = llama.linear %s, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %l : tensor<?x64xf32>
  }
}

// -----

// arith.constant in no stage
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every operation to be in a stage, got 'arith.constant' alone; no pass takes it in}}
    %z = arith.constant 1 : i64
    %l = llama.stage "l" -> tensor<?x64xf32> {
      %y = llama.linear %s, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %l : tensor<?x64xf32>
  }
}

// -----

// The layers overwrite their input.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<4x16>) {
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %r = llama.stage "r" -> tensor<?x64xf32> {
      %y = llama.linear %s, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %r : tensor<?x64xf32>
  }
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %l = llama.layers %x, %pos, %kv [#llama.run<@b x 2>] : tensor<?x64xf32>, !llama.cache<4x16>
    // expected-error @+1 {{expected nothing after llama.layers to use its input, which the layers overwrite}}
    %o = llama.stage "o" -> tensor<?x64xf32> {
      %y = llama.linear %l, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llama.add %x, %y : tensor<?x64xf32>
      llama.yield %z : tensor<?x64xf32>
    }
    llama.return %o : tensor<?x64xf32>
  }
}

// -----

// Logits that no stage makes.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<4x16>) {
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %r = llama.stage "r" -> tensor<?x64xf32> {
      %y = llama.linear %s, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %r : tensor<?x64xf32>
  }
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %l = llama.layers %x, %pos, %kv [#llama.run<@b x 2>] : tensor<?x64xf32>, !llama.cache<4x16>
    // expected-error @+1 {{expected the logits to be made by a stage}}
    llama.return %l : tensor<?x64xf32>
  }
}

// -----

// A layer whose output would overwrite the input that other workers still read.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<4x16>) {
    // expected-error @+1 {{(2) expected no write to @x, which the prologue reads}}
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %s : tensor<?x64xf32>
  }
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %l = llama.layers %x, %pos, %kv [#llama.run<@b x 2>] : tensor<?x64xf32>, !llama.cache<4x16>
    %o = llama.stage "o" -> tensor<?x64xf32> {
      %y = llama.linear %l, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %o : tensor<?x64xf32>
  }
}

// -----

// The same, where other rows are read.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<4x16>) {
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{(3) expected no read of @x, which another tiles writes}}
    %r:2 = llama.stage "r" -> tensor<?x64xf32>, tensor<?x64xf32> {
      %y = llama.linear %s, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llama.linear %s, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      %t = llama.add %x, %z : tensor<?x64xf32>
      llama.yield %y, %t : tensor<?x64xf32>, tensor<?x64xf32>
    }
    llama.yield %r#0 : tensor<?x64xf32>
  }
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %l = llama.layers %x, %pos, %kv [#llama.run<@b x 2>] : tensor<?x64xf32>, !llama.cache<4x16>
    %o = llama.stage "o" -> tensor<?x64xf32> {
      %y = llama.linear %l, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %o : tensor<?x64xf32>
  }
}

// -----

// Keys that another stage has made.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every result of a stage to be made of rows of its linears}}
    %k = llama.stage "k" -> !llama.cache<4x16> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llama.append %s, %y, %kv, %pos : tensor<?x64xf32>, !llama.cache<4x16>
      llama.yield %z : !llama.cache<4x16>
    }
    %l = llama.stage "l" -> tensor<?x64xf32> {
      %y = llama.linear %s, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %l : tensor<?x64xf32>
  }
}

// -----

// A cache that nothing reads afterwards.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %k = llama.stage "k" -> !llama.cache<4x16> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      // expected-error @+1 {{expected one attention to read the cache that is appended to}}
      %z = llama.append %y, %y, %kv, %pos : tensor<?x64xf32>, !llama.cache<4x16>
      llama.yield %z : !llama.cache<4x16>
    }
    %l = llama.stage "l" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %l : tensor<?x64xf32>
  }
}
