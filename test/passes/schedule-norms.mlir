// Norms of heads and after attention: what attention does itself, and what prologues leave for later phases.
// RUN: sluice-opt %s --schedule-phases | FileCheck %s

llama.model @m attributes {architecture = "gemma3", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n{layer}" : !llama.weight<1x64, f32>
  llama.weight @hn from "hn{layer}" : !llama.weight<1x16, f32>
  llama.weight @w from "w{layer}" : !llama.weight<64x64, q4_1>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<4x16>) {
    %q = llama.stage "q" -> tensor<?x64xf32> {
      %y = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %a = llama.stage "attention" -> tensor<?x64xf32> {
      %s = llama.rms_norm %q, @hn eps 1.0e-5 : tensor<?x64xf32>
      %r = llama.rope %s, %pos head_dim 16 turns [1.0] : tensor<?x64xf32>
      %c = llama.append %q, %q, %kv, %pos : tensor<?x64xf32>, !llama.cache<4x16>
      %y = llama.attention %r, %c, %pos heads 4 {window = 8 : i64, softcap = 5.0 : f32} : tensor<?x64xf32>, !llama.cache<4x16>
      llama.yield %y : tensor<?x64xf32>
    }
    %g:2 = llama.stage "gate" -> tensor<?x64xf32>, tensor<?x64xf32> {
      %p = llama.rms_norm %a, @n eps 1.0e-5 : tensor<?x64xf32>
      %h = llama.add %x, %p : tensor<?x64xf32>
      %y = llama.linear %h, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y, %h : tensor<?x64xf32>, tensor<?x64xf32>
    }
    %z = llama.stage "post_norm" -> tensor<?x64xf32> {
      %p = llama.rms_norm %g#0, @n eps 1.0e-5 : tensor<?x64xf32>
      %s = llama.add %g#1, %p : tensor<?x64xf32>
      llama.yield %s : tensor<?x64xf32>
    }
    llama.yield %z : tensor<?x64xf32>
  }
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e {scale = 8.0 : f32} : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %y = llama.layers %x, %pos, %kv [#llama.run<@b x 2>] : tensor<?x64xf32>, !llama.cache<4x16>
    %l = llama.stage "logits" -> tensor<?x64xf32> {
      %z = llama.linear %y, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %z : tensor<?x64xf32>
    }
    llama.return %l : tensor<?x64xf32>
  }
}
// CHECK-LABEL: stream.program @decode
// CHECK: stream.embed @e, @x {scale = 8.000000e+00 : f32}
// CHECK: stream.phase "attention" {
// CHECK-NEXT: stream.append @[[Q:.*]], @[[Q]] : !llama.cache<4x16>
// CHECK-NEXT: stream.attention @[[Q]], @{{.*}} heads 4 : !llama.cache<4x16>
// CHECK-SAME: norm = @hn, rope = @rope, softcap = 5.000000e+00 : f32, split
// CHECK-SAME: window = 8 : i64
// CHECK: stream.phase "gate" {
// CHECK: stream.merge @{{.*}} heads 4 {window = 8 : i64}
// CHECK: %[[H:.*]] = stream.sum
// CHECK: stream.write %[[H]], @[[R:.*]] : <64>
// CHECK-NEXT: stream.tiles
// CHECK: stream.phase "post_norm" {
// CHECK-DAG: stream.read @[[R]]
// CHECK: stream.write %{{.*}}, @x : <64>
// CHECK-NEXT: }
