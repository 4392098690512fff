// The activation joins the stage of gate and up, if one stage makes both.
// RUN: sluice-opt %s --fuse-swiglu --remark-format=emitRemark --remarks-filter='fuse.*' --verify-diagnostics | FileCheck %s

llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @ffn_gate from "ffn_gate" : !llama.weight<64x64, q4_1>
  llama.weight @ffn_up from "ffn_up" : !llama.weight<64x64, q4_1>
  llama.block @one_stage(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %s:2 = llama.stage "gate_up" -> tensor<?x64xf32>, tensor<?x64xf32> {
      %a = llama.linear %x, @ffn_gate : tensor<?x64xf32> -> tensor<?x64xf32>
      %b = llama.linear %x, @ffn_up : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %a, %b : tensor<?x64xf32>, tensor<?x64xf32>
    }
    // expected-remark @+1 {{[Passed] FuseSwiglu | Category:fuse | BarriersSaved=1, BytesSaved=1024, Remark="joins the rows that 'gate_up' has just made", VectorsNotWritten=2}}
    %h = llama.swiglu %s#0, %s#1 : tensor<?x64xf32>
    llama.yield %h : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @one_stage(
  // CHECK: llama.stage "gate_up" -> tensor<?x64xf32> {
  // CHECK: %[[G:.*]] = llama.linear %{{.*}}, @ffn_gate
  // CHECK: %[[U:.*]] = llama.linear %{{.*}}, @ffn_up
  // CHECK-NEXT: %[[H:.*]] = llama.swiglu %[[G]], %[[U]]
  // CHECK-NEXT: llama.yield %[[H]] : tensor<?x64xf32>

  // What is used elsewhere too still leaves the stage.
  llama.block @gate_is_used(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %s:2 = llama.stage "gate_up" -> tensor<?x64xf32>, tensor<?x64xf32> {
      %a = llama.linear %x, @ffn_gate : tensor<?x64xf32> -> tensor<?x64xf32>
      %b = llama.linear %x, @ffn_up : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %a, %b : tensor<?x64xf32>, tensor<?x64xf32>
    }
    // expected-remark @+1 {{[Passed] FuseSwiglu | Category:fuse | BarriersSaved=1, BytesSaved=768, Remark="joins the rows that 'gate_up' has just made", VectorsNotWritten=1}}
    %h = llama.swiglu %s#0, %s#1 : tensor<?x64xf32>
    %r = llama.add %s#0, %h : tensor<?x64xf32>
    llama.yield %r : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @gate_is_used(
  // CHECK: %[[S:.*]]:2 = llama.stage "gate_up"
  // CHECK: llama.swiglu
  // CHECK: }
  // CHECK-NEXT: llama.add %[[S]]#0, %[[S]]#1

  llama.block @two_stages(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %g = llama.stage "gate" -> tensor<?x64xf32> {
      %y = llama.linear %x, @ffn_gate : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %u = llama.stage "up" -> tensor<?x64xf32> {
      %y = llama.linear %x, @ffn_up : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-remark @+1 {{[Missed] FuseSwiglu | Category:fuse | Remark="gate and up are not made by one stage"}}
    %h = llama.swiglu %g, %u : tensor<?x64xf32>
    llama.yield %h : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @two_stages(
  // CHECK: llama.stage "up"
  // CHECK: }
  // CHECK-NEXT: llama.swiglu

  llama.block @no_stage(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-remark @+1 {{[Missed] FuseSwiglu | Category:fuse | Remark="gate and up are not made by one stage"}}
    %h = llama.swiglu %x, %x : tensor<?x64xf32>
    %g = llama.stage "gate" -> tensor<?x64xf32> {
      %y = llama.linear %h, @ffn_gate : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %g : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @no_stage(
  // CHECK-NEXT: llama.swiglu
}
