// A sum with a norm is computed by those who read it; a layer's output once.
// RUN: sluice-opt %s --fuse-post-norm --remark-format=emitRemark --remarks-filter='fuse.*' --verify-diagnostics | FileCheck %s

llama.model @m attributes {architecture = "gemma3", context_length = 64 : i64} {
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  llama.block @layer(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<4x16>) {
    %o = llama.stage "output" -> tensor<?x64xf32> {
      %y = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %p = llama.rms_norm %o, @n eps 1.0e-5 : tensor<?x64xf32>
    // expected-remark @+1 {{is computed in the prologue of 'gate_up'}}
    %h = llama.add %x, %p : tensor<?x64xf32>
    %g = llama.stage "gate_up" -> tensor<?x64xf32> {
      %m = llama.rms_norm %h, @n eps 1.0e-5 : tensor<?x64xf32>
      %y = llama.linear %m, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %q = llama.rms_norm %g, @n eps 1.0e-5 : tensor<?x64xf32>
    // expected-remark @+1 {{is computed in the prologue of 'post_norm'}}
    %z = llama.add %h, %q : tensor<?x64xf32>
    llama.yield %z : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @layer(
  // CHECK-SAME: %[[X:[a-z0-9]+]]: tensor
  // CHECK: %[[O:.*]] = llama.stage "output"
  // CHECK: %[[G:.*]]:2 = llama.stage "gate_up" -> tensor<?x64xf32>, tensor<?x64xf32> {
  // CHECK-NEXT: %[[P:.*]] = llama.rms_norm %[[O]]
  // CHECK-NEXT: %[[H:.*]] = llama.add %[[X]], %[[P]]
  // CHECK-NEXT: llama.rms_norm %[[H]]
  // CHECK-NEXT: %[[Y:.*]] = llama.linear
  // CHECK-NEXT: llama.yield %[[Y]], %[[H]]
  // CHECK: %[[Z:.*]] = llama.stage "post_norm" -> tensor<?x64xf32> {
  // CHECK-NEXT: %[[Q:.*]] = llama.rms_norm %[[G]]#0
  // CHECK-NEXT: llama.add %[[G]]#1, %[[Q]]
  // CHECK: llama.yield %[[Z]]
}
