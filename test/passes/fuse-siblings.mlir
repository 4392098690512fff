// Linears of one input share a stage; those of different inputs do not.
// RUN: sluice-opt %s --fuse-siblings --remark-format=emitRemark --remarks-filter='fuse.*' --verify-diagnostics | FileCheck %s

llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @attn_q from "attn_q" : !llama.weight<64x64, q4_1>
  llama.weight @ffn_gate from "ffn_gate" : !llama.weight<64x64, q4_1>
  llama.weight @ffn_up from "ffn_up" : !llama.weight<64x64, q4_1>
  llama.weight @attn_output from "attn_output" : !llama.weight<64x64, q4_1>
  llama.weight @odd from "odd" : !llama.weight<64x64, q4_1>
  llama.weight @attn_k from "attn_k" : !llama.weight<32x64, q4_1>
  llama.weight @attn_v from "attn_v" : !llama.weight<32x64, q4_1>
  llama.block @qkv(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %q = llama.stage "q" -> tensor<?x64xf32> {
      %y = llama.linear %x, @attn_q : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-remark @+1 {{[Passed] FuseSiblings | Category:fuse | BarriersSaved=1, BytesSaved=256, Remark="streams 'k' with 'q', which reads the same activations", VectorsNotWritten=0}}
    %k = llama.stage "k" -> tensor<?x32xf32> {
      %y = llama.linear %x, @attn_k : tensor<?x64xf32> -> tensor<?x32xf32>
      llama.yield %y : tensor<?x32xf32>
    }
    // expected-remark @+1 {{[Passed] FuseSiblings | Category:fuse | BarriersSaved=1, BytesSaved=256, Remark="streams 'v' with 'qk', which reads the same activations", VectorsNotWritten=0}}
    %v = llama.stage "v" -> tensor<?x32xf32> {
      %y = llama.linear %x, @attn_v : tensor<?x64xf32> -> tensor<?x32xf32>
      llama.yield %y : tensor<?x32xf32>
    }
    %kv1 = llama.append %k, %v, %kv, %pos : tensor<?x32xf32>, !llama.cache<2x16>
    %a = llama.stage "attention" -> tensor<?x64xf32> {
      %y = llama.attention %q, %kv1, %pos heads 4 : tensor<?x64xf32>, !llama.cache<2x16>
      llama.yield %y : tensor<?x64xf32>
    }
    %o = llama.stage "output" -> tensor<?x64xf32> {
      %y = llama.linear %a, @attn_output : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %o : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @qkv(
  // CHECK: %[[S:.*]]:3 = llama.stage "qkv" -> tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32> {
  // CHECK-NEXT: llama.linear %[[X:.*]], @attn_q
  // CHECK-NEXT: llama.linear %[[X]], @attn_k
  // CHECK-NEXT: llama.linear %[[X]], @attn_v
  // CHECK-NEXT: llama.yield
  // CHECK: %[[C:.*]] = llama.append %[[S]]#1, %[[S]]#2
  // CHECK: llama.stage "attention"
  // CHECK-NEXT: llama.attention %[[S]]#0, %[[C]]
  // CHECK: llama.stage "output"
  // CHECK-NOT: llama.stage

  llama.block @names(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %g = llama.stage "gate" -> tensor<?x64xf32> {
      %y = llama.linear %x, @ffn_gate : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-remark @+1 {{[Passed] FuseSiblings | Category:fuse | BarriersSaved=1, BytesSaved=256, Remark="streams 'up' with 'gate', which reads the same activations", VectorsNotWritten=0}}
    %u = llama.stage "up" -> tensor<?x64xf32> {
      %y = llama.linear %x, @ffn_up : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-remark @+1 {{[Passed] FuseSiblings | Category:fuse | BarriersSaved=1, BytesSaved=256, Remark="streams 'odd' with 'gate_up', which reads the same activations", VectorsNotWritten=0}}
    %o = llama.stage "odd" -> tensor<?x64xf32> {
      %y = llama.linear %x, @odd : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.swiglu %g, %u : tensor<?x64xf32>
    %t = llama.swiglu %s, %o : tensor<?x64xf32>
    llama.yield %t : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @names(
  // CHECK: llama.stage "gate_up_odd"
  // CHECK-NOT: llama.stage

  llama.block @one_after_another(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %q = llama.stage "q" -> tensor<?x64xf32> {
      %y = llama.linear %x, @attn_q : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %o = llama.stage "output" -> tensor<?x64xf32> {
      %y = llama.linear %q, @attn_output : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %o : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @one_after_another(
  // CHECK: llama.stage "q"
  // CHECK: llama.stage "output"

  // A stage that adds to what was made after its sibling stays where it is.
  llama.block @too_early(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %g = llama.stage "gate" -> tensor<?x64xf32> {
      %y = llama.linear %x, @ffn_gate : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %o = llama.stage "odd" -> tensor<?x64xf32> {
      %y = llama.linear %g, @odd : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-remark @+1 {{[Missed] FuseSiblings | Category:fuse | Remark="'up' uses what is not yet made where 'gate' reads the same activations"}}
    %u = llama.stage "up" -> tensor<?x64xf32> {
      %y = llama.linear %x, @ffn_up : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llama.add %y, %o : tensor<?x64xf32>
      llama.yield %z : tensor<?x64xf32>
    }
    llama.yield %u : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @too_early(
  // CHECK: llama.stage "gate"
  // CHECK: llama.stage "odd"
  // CHECK: llama.stage "up"

  // So does one that adds to what its sibling makes.
  llama.block @sum_of_siblings(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %g = llama.stage "gate" -> tensor<?x64xf32> {
      %y = llama.linear %x, @ffn_gate : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-remark @+1 {{[Missed] FuseSiblings | Category:fuse | Remark="'up' uses what is not yet made where 'gate' reads the same activations"}}
    %u = llama.stage "up" -> tensor<?x64xf32> {
      %y = llama.linear %x, @ffn_up : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llama.add %y, %g : tensor<?x64xf32>
      llama.yield %z : tensor<?x64xf32>
    }
    llama.yield %u : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @sum_of_siblings(
  // CHECK: llama.stage "gate"
  // CHECK: llama.stage "up"
}
