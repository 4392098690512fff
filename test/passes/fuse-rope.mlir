// Rotations and the append join the stage that makes their rows.
// RUN: sluice-opt %s --fuse-rope --remark-format=emitRemark --remarks-filter='fuse.*' --verify-diagnostics | FileCheck %s

llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @attn_q from "attn_q" : !llama.weight<64x64, q4_1>
  llama.weight @attn_k from "attn_k" : !llama.weight<32x64, q4_1>
  llama.weight @attn_v from "attn_v" : !llama.weight<32x64, q4_1>
  llama.block @qkv(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %s:3 = llama.stage "qkv" -> tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32> {
      %a = llama.linear %x, @attn_q : tensor<?x64xf32> -> tensor<?x64xf32>
      %b = llama.linear %x, @attn_k : tensor<?x64xf32> -> tensor<?x32xf32>
      %c = llama.linear %x, @attn_v : tensor<?x64xf32> -> tensor<?x32xf32>
      llama.yield %a, %b, %c : tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>
    }
    // expected-remark @+1 {{[Passed] FuseRope | Category:fuse | BarriersSaved=1, BytesSaved=512, Remark="works on the rows that 'qkv' has just made", VectorsNotWritten=1}}
    %qr = llama.rope %s#0, %pos head_dim 16 turns [0.5] : tensor<?x64xf32>
    // expected-remark @+1 {{[Passed] FuseRope | Category:fuse | BarriersSaved=1, BytesSaved=256, Remark="works on the rows that 'qkv' has just made", VectorsNotWritten=1}}
    %kr = llama.rope %s#1, %pos head_dim 16 turns [0.5] : tensor<?x32xf32>
    // expected-remark @+1 {{[Passed] FuseRope | Category:fuse | BarriersSaved=1, BytesSaved=512, Remark="works on the rows that 'qkv' has just made", VectorsNotWritten=2}}
    %kv1 = llama.append %kr, %s#2, %kv, %pos : tensor<?x32xf32>, !llama.cache<2x16>
    %a = llama.stage "attention" -> tensor<?x64xf32> {
      %y = llama.attention %qr, %kv1, %pos heads 4 : tensor<?x64xf32>, !llama.cache<2x16>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %a : tensor<?x64xf32>
  }
  // The keys and values leave the stage through the cache alone.
  // CHECK-LABEL: llama.block @qkv(
  // CHECK: %[[S:.*]]:2 = llama.stage "qkv" -> tensor<?x64xf32>, !llama.cache<2x16> {
  // CHECK-DAG: %[[Q:.*]] = llama.linear %{{.*}}, @attn_q
  // CHECK-DAG: %[[K:.*]] = llama.linear %{{.*}}, @attn_k
  // CHECK-DAG: %[[V:.*]] = llama.linear %{{.*}}, @attn_v
  // CHECK-DAG: %[[QR:.*]] = llama.rope %[[Q]]
  // CHECK-DAG: %[[KR:.*]] = llama.rope %[[K]]
  // CHECK: %[[C:.*]] = llama.append %[[KR]], %[[V]]
  // CHECK-NEXT: llama.yield %[[QR]], %[[C]]
  // CHECK-NEXT: }
  // CHECK-NEXT: llama.stage "attention"
  // CHECK-NEXT: llama.attention %[[S]]#0, %[[S]]#1

  llama.block @no_stage(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-remark @+1 {{[Missed] FuseRope | Category:fuse | Remark="its input is not made by a stage"}}
    %r = llama.rope %x, %pos head_dim 16 turns [0.5] : tensor<?x64xf32>
    %q = llama.stage "q" -> tensor<?x64xf32> {
      %y = llama.linear %r, @attn_q : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %q : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @no_stage(
  // CHECK-NEXT: llama.rope
  // CHECK-NEXT: llama.stage "q"

  llama.block @two_stages(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %k = llama.stage "k" -> tensor<?x32xf32> {
      %y = llama.linear %x, @attn_k : tensor<?x64xf32> -> tensor<?x32xf32>
      llama.yield %y : tensor<?x32xf32>
    }
    %v = llama.stage "v" -> tensor<?x32xf32> {
      %y = llama.linear %x, @attn_v : tensor<?x64xf32> -> tensor<?x32xf32>
      llama.yield %y : tensor<?x32xf32>
    }
    // expected-remark @+1 {{[Missed] FuseRope | Category:fuse | Remark="key and value are made by different stages"}}
    %kv1 = llama.append %k, %v, %kv, %pos : tensor<?x32xf32>, !llama.cache<2x16>
    %a = llama.stage "attention" -> tensor<?x64xf32> {
      %y = llama.attention %x, %kv1, %pos heads 4 : tensor<?x64xf32>, !llama.cache<2x16>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %a : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @two_stages(
  // CHECK: llama.stage "k"
  // CHECK: llama.stage "v"
  // CHECK: }
  // CHECK-NEXT: llama.append
}
