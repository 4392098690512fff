// No norm is left outside the stages; one that is used outside is declined there.
// RUN: sluice-opt %s --fuse-norm --remark-format=emitRemark --remarks-filter='fuse.*' --verify-diagnostics | FileCheck %s

llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.weight @ffn_gate_up from "ffn_gate_up" : !llama.weight<64x64, q4_1>
  llama.weight @attn_q from "attn_q" : !llama.weight<64x64, q4_1>
  llama.block @once_a_stage(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-remark @+1 {{[Passed] FuseNorm | Category:fuse | BarriersSaved=1, BytesSaved=512, Remark="is recomputed by every worker of 'gate_up'", VectorsNotWritten=1}}
    %n = llama.rms_norm %x, @n eps 1.0e-5 : tensor<?x64xf32>
    %g = llama.stage "gate_up" -> tensor<?x64xf32> {
      %a = llama.linear %n, @ffn_gate_up : tensor<?x64xf32> -> tensor<?x64xf32>
      %b = llama.linear %n, @attn_q : tensor<?x64xf32> -> tensor<?x64xf32>
      %s = llama.swiglu %a, %b : tensor<?x64xf32>
      llama.yield %s : tensor<?x64xf32>
    }
    llama.yield %g : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @once_a_stage(
  // CHECK-SAME: %[[X:.*]]: tensor
  // CHECK-NEXT: llama.stage "gate_up"
  // CHECK-NEXT: %[[N:.*]] = llama.rms_norm %[[X]], @n
  // CHECK-NEXT: llama.linear %[[N]], @ffn_gate_up
  // CHECK-NEXT: llama.linear %[[N]], @attn_q
  // CHECK-NOT: llama.rms_norm

  llama.block @two_stages(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-remark @+1 {{[Passed] FuseNorm | Category:fuse | BarriersSaved=1, BytesSaved=512, Remark="is recomputed by every worker of 'first', 'second'", VectorsNotWritten=1}}
    %n = llama.rms_norm %x, @n eps 1.0e-5 : tensor<?x64xf32>
    %g = llama.stage "first" -> tensor<?x64xf32> {
      %y = llama.linear %n, @ffn_gate_up : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %u = llama.stage "second" -> tensor<?x64xf32> {
      %y = llama.linear %n, @attn_q : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.swiglu %g, %u : tensor<?x64xf32>
    llama.yield %s : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @two_stages(
  // CHECK-NEXT: llama.stage "first"
  // CHECK-NEXT: llama.rms_norm
  // CHECK: llama.stage "second"
  // CHECK-NEXT: llama.rms_norm
  // CHECK-NOT: llama.rms_norm

  llama.block @used_outside(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-remark @+2 {{[Missed] FuseNorm | Category:fuse | Remark="'llama.add' uses the norm and is in no stage"}}
    // expected-remark @+1 {{[Passed] FuseNorm | Category:fuse | BarriersSaved=0, BytesSaved=0, Remark="is recomputed by every worker of 'gate_up'", VectorsNotWritten=0}}
    %n = llama.rms_norm %x, @n eps 1.0e-5 : tensor<?x64xf32>
    %g = llama.stage "gate_up" -> tensor<?x64xf32> {
      %y = llama.linear %n, @ffn_gate_up : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.add %n, %g : tensor<?x64xf32>
    llama.yield %s : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @used_outside(
  // CHECK: %[[N:.*]] = llama.rms_norm
  // CHECK-NEXT: %[[G:.*]] = llama.stage "gate_up"
  // CHECK-NEXT: llama.rms_norm
  // CHECK: llama.add %[[N]], %[[G]]
}
