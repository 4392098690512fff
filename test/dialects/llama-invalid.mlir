// Every numbered constraint of dialects/llama: what breaks it, and the message.
// RUN: sluice-opt %s --split-input-file --verify-diagnostics

// !llama.weight 1: positive rows and cols
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(1) expected positive rows and cols, got 0x64}}
  llama.weight @w from "w" : !llama.weight<0x64, f32>
}

// -----

// !llama.weight 2: cols divisible by the format's block
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(2) expected cols divisible by 32 for q4_1, got 48}}
  llama.weight @w from "w" : !llama.weight<64x48, q4_1>
}

// -----

// !llama.weight: a known format
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{unknown weight format 'q3_x'}}
  llama.weight @w from "w" : !llama.weight<64x64, q3_x>
}

// -----

// !llama.weight: two dimensions
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{expected rows x cols, got 3 dimensions}}
  llama.weight @w from "w" : !llama.weight<2x64x64, f32>
}

// -----

// !llama.cache: positive KV heads and head size
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{expected positive KV heads and head size, got 0x16}}
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<0x16>) {
    llama.yield %x : tensor<?x64xf32>
  }
}

// -----

// !llama.cache: two dimensions
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{expected KV heads x head size, got 3 dimensions}}
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x4x16>) {
    llama.yield %x : tensor<?x64xf32>
  }
}

// -----

// #llama.run: a symbol and a count
// expected-error @+1 {{expected 'x'}}
llama.model @m attributes {architecture = "llama", context_length = 8 : i64, run = #llama.run<@b 30>} {}

// -----

// llama.weight 1: one {layer}
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(1) expected '{layer}' at most once in the tensor's name, got 'blk.{layer}.{layer}'}}
  llama.weight @w from "blk.{layer}.{layer}" : !llama.weight<64x64, f32>
}

// -----

// llama.weight: belongs to a model
// expected-error @+1 {{'llama.weight' op expects parent op 'llama.model'}}
llama.weight @w from "w" : !llama.weight<64x64, f32>

// -----

// llama.block 1: arguments
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(1) expected arguments (activations, index, cache)}}
  llama.block @b(%x: tensor<?x64xf32>, %kv: !llama.cache<2x16>, %pos: index) {
    llama.yield %x : tensor<?x64xf32>
  }
}

// -----

// llama.block 1: activations are no ids
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(1) expected arguments (activations, index, cache)}}
  llama.block @b(%x: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    llama.yield %x : tensor<?xi32>
  }
}

// -----

// llama.block 2: one result
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(2) expected to yield one value of the input's type 'tensor<?x64xf32>'}}
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    llama.yield
  }
}

// -----

// llama.block 2: of the input's type
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<32x64, q4_1>
  // expected-error @+1 {{(2) expected to yield one value of the input's type 'tensor<?x64xf32>'}}
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %y = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x32xf32>
    llama.yield %y : tensor<?x32xf32>
  }
}

// -----

// llama.graph 1: arguments
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(1) expected arguments (ids, index, cache)}}
  llama.graph @g(%ids: tensor<?xi32>, %pos: index) {
    %c = arith.constant 1 : i64
  }
}

// -----

// llama.graph 1: ids are tokens, not activations
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(1) expected arguments (ids, index, cache)}}
  llama.graph @g(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    llama.return %x : tensor<?x64xf32>
  }
}

// -----

// llama.graph 2: llama.return
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(2) expected to end with llama.return}}
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %c = arith.constant 1 : i64
  }
}

// -----

// llama.layers 1: a block of this model
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @e from "e" : !llama.weight<100x64, q8_0>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.embed %ids, @e : tensor<?x64xf32>
    // expected-error @+1 {{(1) expected a llama.block, got @none}}
    %y = llama.layers %x, %pos, %kv [#llama.run<@none x 2>] : tensor<?x64xf32>, !llama.cache<2x16>
    llama.return %y : tensor<?x64xf32>
  }
}

// -----

// llama.layers 1: a block, not a weight
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @e from "e" : !llama.weight<100x64, q8_0>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.embed %ids, @e : tensor<?x64xf32>
    // expected-error @+1 {{(1) expected a llama.block, got @e}}
    %y = llama.layers %x, %pos, %kv [#llama.run<@e x 2>] : tensor<?x64xf32>, !llama.cache<2x16>
    llama.return %y : tensor<?x64xf32>
  }
}

// -----

// llama.layers 1: a positive count
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @e from "e" : !llama.weight<100x64, q8_0>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    llama.yield %x : tensor<?x64xf32>
  }
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.embed %ids, @e : tensor<?x64xf32>
    // expected-error @+1 {{(1) expected a positive count of layers, got 0}}
    %y = llama.layers %x, %pos, %kv [#llama.run<@b x 0>] : tensor<?x64xf32>, !llama.cache<2x16>
    llama.return %y : tensor<?x64xf32>
  }
}

// -----

// llama.embed 1: as wide as the weight's cols
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @e from "e" : !llama.weight<100x64, q8_0>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(1) expected a result as wide as the weight's cols 64, got 32}}
    %x = llama.embed %ids, @e : tensor<?x32xf32>
    llama.return %x : tensor<?x32xf32>
  }
}

// -----

// llama.embed: a weight of this model
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @e from "e" : !llama.weight<100x64, q8_0>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{expected a llama.weight of this model, got @none}}
    %x = llama.embed %ids, @none : tensor<?x64xf32>
    llama.return %x : tensor<?x64xf32>
  }
}

// -----

// llama.rms_norm 1: a weight 1 x width
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(1) expected a weight of 1 x a divisor of 64, got '!llama.weight<64x64, q4_1>'}}
    %y = llama.rms_norm %x, @w eps 1.0e-5 : tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.rms_norm 1: whole heads
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<1x24, f32>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(1) expected a weight of 1 x a divisor of 64, got '!llama.weight<1x24, f32>'}}
    %y = llama.rms_norm %x, @w eps 1.0e-5 : tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.bias 1: a weight 1 x width
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<1x16, f32>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(1) expected a weight 1x64, got '!llama.weight<1x16, f32>'}}
    %y = llama.bias %x, @w : tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.softcap 1: a positive cap
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{(1) expected a positive cap}}
  %y = llama.softcap %x at -1.0 : tensor<?x64xf32>
  return
}

// -----

// llama.attention 3: positive window
func.func @f(%q: tensor<?x64xf32>, %kv: !llama.cache<2x16>, %pos: index) {
  // expected-error @+1 {{(3) expected a positive window, got 0}}
  %a = llama.attention %q, %kv, %pos heads 4 {window = 0 : i64} : tensor<?x64xf32>, !llama.cache<2x16>
  return
}

// -----

// llama.attention 3: positive scale
func.func @f(%q: tensor<?x64xf32>, %kv: !llama.cache<2x16>, %pos: index) {
  // expected-error @+1 {{(3) expected a positive scale and softcap}}
  %a = llama.attention %q, %kv, %pos heads 4 {scale = 0.0 : f32} : tensor<?x64xf32>, !llama.cache<2x16>
  return
}

// -----

// llama.weight 2: first_row
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(2) expected a first_row of at least 0, got -1}}
  llama.weight @w from "w" {first_row = -1 : i64} : !llama.weight<64x64, f32>
}

// -----

// llama.weight 3: whole heads
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(3) expected whole heads of 24 channels, got 64}}
  llama.weight @w from "w" {half_split = #llama.half_split<24, 24>} : !llama.weight<64x64, f32>
}

// -----

// llama.weight 4: plus
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(4) expected 'plus' of a vector only}}
  llama.weight @w from "w" {plus = 1.0 : f32} : !llama.weight<64x64, f32>
}

// -----

llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{expected an even number of channels of a head, got 32 of 16}}
  llama.weight @w from "w" {half_split = #llama.half_split<16, 32>} : !llama.weight<64x64, f32>
}

// -----

// llama.rms_norm 2: positive eps
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(2) expected a positive eps}}
    %y = llama.rms_norm %x, @n eps 0.0 : tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.rms_norm: a weight of this model
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{expected a llama.weight of this model, got @none}}
    %y = llama.rms_norm %x, @none eps 1.0e-5 : tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.linear 1: the input's width
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x32, q4_1>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(1) expected an input as wide as the weight's cols 32, got 64}}
    %y = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.linear 2: the result's width
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<32x64, q4_1>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(2) expected a result as wide as the weight's rows 32, got 64}}
    %y = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.linear: a weight of this model, not a block
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{expected a llama.weight of this model, got @b}}
    %y = llama.linear %x, @b : tensor<?x64xf32> -> tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.rope 1: head_dim, even
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(1) expected a width divisible by an even head_dim, got 64 and 15}}
    %y = llama.rope %x, %pos head_dim 15 turns [] : tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.rope 1: head_dim, divides the width
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(1) expected a width divisible by an even head_dim, got 64 and 48}}
    %y = llama.rope %x, %pos head_dim 48 turns [] : tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.rope 1: head_dim, positive
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(1) expected a width divisible by an even head_dim, got 64 and 0}}
    %y = llama.rope %x, %pos head_dim 0 turns [] : tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.rope 2: at most head_dim / 2 turns
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(2) expected at most 2 turns, got 3}}
    %y = llama.rope %x, %pos head_dim 4 turns [0.5, 0.25, 0.125] : tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.append 1: key and value are kv_heads x head_dim wide
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(1) expected key and value 32 wide, got 64}}
    %kv1 = llama.append %x, %x, %kv, %pos : tensor<?x64xf32>, !llama.cache<2x16>
    llama.yield %x : tensor<?x64xf32>
  }
}

// -----

// llama.attention 1: the query is heads x head_dim wide
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(1) expected a query 32 wide, got 64}}
    %y = llama.attention %x, %kv, %pos heads 2 : tensor<?x64xf32>, !llama.cache<2x16>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.attention 2: heads is a multiple of the KV heads
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<3x16>) {
    // expected-error @+1 {{(2) expected heads divisible by the cache's 3 KV heads, got 4}}
    %y = llama.attention %x, %kv, %pos heads 4 : tensor<?x64xf32>, !llama.cache<3x16>
    llama.yield %y : tensor<?x64xf32>
  }
}

// -----

// llama.add: activations are tensor<?xNxf32>
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %t = tensor.empty() : tensor<4x64xf32>
    // expected-error @+1 {{operand #0 must be activations: tensor<?xNxf32>, tokens by channels, but got 'tensor<4x64xf32>'}}
    %y = llama.add %t, %t : tensor<4x64xf32>
    llama.yield %x : tensor<?x64xf32>
  }
}

// -----

// llama.stage 1: an anchor
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(1) expected an anchor: linear, embed or attention}}
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.swiglu %x, %x : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %s : tensor<?x64xf32>
  }
}

// -----

// llama.stage 2: linears of one input
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(2) expected linears of one input, or a single anchor}}
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llama.linear %y, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %z : tensor<?x64xf32>
    }
    llama.yield %s : tensor<?x64xf32>
  }
}

// -----

// llama.stage 2: a linear and another anchor
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(2) expected linears of one input, or a single anchor}}
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.attention %x, %kv, %pos heads 4 : tensor<?x64xf32>, !llama.cache<2x16>
      %z = llama.linear %y, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %z : tensor<?x64xf32>
    }
    llama.yield %s : tensor<?x64xf32>
  }
}

// -----

// llama.stage 3: no stage inside
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(3) expected no llama.stage inside}}
    %s = llama.stage "outer" -> tensor<?x64xf32> {
      %y = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llama.stage "inner" -> tensor<?x64xf32> {
        %i = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x64xf32>
        llama.yield %i : tensor<?x64xf32>
      }
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %s : tensor<?x64xf32>
  }
}

// -----

// llama.stage 3: no layers inside
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @e from "e" : !llama.weight<100x64, q8_0>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    llama.yield %x : tensor<?x64xf32>
  }
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{(3) expected no llama.layers inside}}
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %x = llama.embed %ids, @e : tensor<?x64xf32>
      %y = llama.layers %x, %pos, %kv [#llama.run<@b x 2>] : tensor<?x64xf32>, !llama.cache<2x16>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.return %s : tensor<?x64xf32>
  }
}

// -----

// llama.stage: yields its results
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-error @+1 {{expected to yield 'tensor<?x64xf32>', got }}
    %s = llama.stage "s" -> tensor<?x64xf32> {
      %y = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x64xf32>
    }
    llama.yield %s : tensor<?x64xf32>
  }
}

// -----

// llama.yield: ends a block or a stage
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{expects parent op to be one of 'llama.block, llama.stage'}}
  llama.yield %x : tensor<?x64xf32>
}

// -----

// llama.return: ends a graph
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{expects parent op 'llama.graph'}}
  llama.return %x : tensor<?x64xf32>
}
