// What cannot be scheduled is refused, and named.
// RUN: sluice-opt %s --schedule-phases --split-input-file --verify-diagnostics

// In the graph: an operation outside the stages.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16xf16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every operation to be in a stage before scheduling, got 'llama.linear' alone; run the fusion passes, whose remarks say what was declined}}
    %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
    llama.return %y : tensor<?x64xf32>
  }
}

// -----

// In a block: the same.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16xf16>) {
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every operation to be in a stage before scheduling, got 'llama.add' alone; run the fusion passes, whose remarks say what was declined}}
    %y = llama.add %x, %s : tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16xf16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %l = llama.layers %x, %pos, %kv [#llama.run<@b x 2>] : tensor<?x64xf32>, !llama.cache<2x16xf16>
    llama.return %l : tensor<?x64xf32>
  }
}

// -----

// A layer's input must be read before its output is written, for they share a buffer.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16xf16>) {
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
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16xf16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %l = llama.layers %x, %pos, %kv [#llama.run<@b x 2>] : tensor<?x64xf32>, !llama.cache<2x16xf16>
    llama.return %l : tensor<?x64xf32>
  }
}

// -----

// An embedding with company.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16xf16>) {
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
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16xf16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected attention alone in its stage}}
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.attention %x, %kv, %pos heads 4 : tensor<?x64xf32>, !llama.cache<2x16xf16>
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
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16xf16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      // expected-error @+1 {{expected norms before the linears of a stage and nothing else there: 'llama.rms_norm' reads 'llama.linear'}}
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
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16xf16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %n = llama.rms_norm %x, @n eps 1.0e-5 : tensor<?x64xf32>
      %y = llama.linear %n, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      // expected-error @+1 {{expected norms before the linears of a stage and nothing else there: 'llama.add' reads 'llama.rms_norm'}}
      %z = llama.add %n, %y : tensor<?x64xf32>
      llama.yield %z : tensor<?x64xf32>
    }
    llama.return %s : tensor<?x64xf32>
  }
}

// -----

// A sum before a linear.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16xf16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %z = llama.add %x, %x : tensor<?x64xf32>
      // expected-error @+1 {{expected norms before the linears of a stage and nothing else there: 'llama.linear' reads 'llama.add'}}
      %y = llama.linear %z, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %s : tensor<?x64xf32>
  }
}

// -----

// A result that no linear makes.
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16xf16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-error @+1 {{expected every result of a stage to be made of rows of its linears}}
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
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16xf16>) {
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
