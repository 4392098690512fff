// A whole model becomes programs; the order of phases, their buffers and their barriers are written out.
// RUN: sluice-opt %S/../dialects/llama-model.mlir --pass-pipeline='builtin.module(llama.model(form-stages,fuse-siblings,fuse-rope,fuse-swiglu,fuse-residual,fuse-norm,schedule-phases))' --remark-format=emitRemark --remarks-filter='schedule' -o %t.mlir 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: FileCheck %s < %t.mlir
// RUN: sluice-opt %S/../dialects/llama-model.mlir --pass-pipeline='builtin.module(llama.model(form-stages,fuse-siblings,fuse-rope,fuse-swiglu,fuse-residual,fuse-norm,schedule-phases{prefill-tokens=7 outliers=3}))' | FileCheck %s --check-prefix=OPTIONS
// RUN: sluice-opt %s --pass-pipeline='builtin.module(llama.model(form-stages,fuse-siblings,fuse-rope,fuse-swiglu,fuse-residual,fuse-norm,schedule-phases))' | FileCheck %s --check-prefix=MIXED

// REMARK: remark: [Passed] SchedulePhases | Category:schedule | Remark="5 barriers in each of 2 layers"

// CHECK-NOT: llama.{{block|graph|stage|linear|rms_norm}}
// CHECK: stream.program @decode max_tokens 1 {
// CHECK-DAG: stream.buffer @logits width 100
// Sines and cosines of head_dim + 32 channels.
// CHECK-DAG: stream.buffer @rope width 96
// CHECK-DAG: stream.buffer @x width 64
// CHECK-DAG: stream.buffer @attn_q width 64
// CHECK-DAG: stream.buffer @attn_k width 32
// CHECK-DAG: stream.buffer @attn_v width 32
// CHECK-DAG: stream.buffer @attention width 72
// CHECK-DAG: stream.buffer @attn_output width 64
// CHECK-DAG: stream.buffer @ffn_gate width 96
// CHECK-NOT: stream.buffer
// CHECK: stream.phase "embed" {
// CHECK-NEXT: stream.rope_table @rope head_dim 16 turns [1.591550e-01, 1.591550e-02]
// CHECK-NEXT: stream.embed @token_embd, @x
// CHECK: stream.repeat 2 {
// CHECK-NEXT: stream.phase "qkv" {
// CHECK-NEXT: %[[R:.*]] = stream.read @x
// CHECK-NEXT: %[[N:.*]] = stream.rms_norm %[[R]], @attn_norm
// CHECK-NEXT: %[[A:.*]] = stream.prepare %[[N]] {outliers = 4.000000e+00 : f64} : <64> -> <64, i8>
// CHECK-NEXT: stream.tiles(%[[A]]) [@attn_q]
// CHECK: stream.rope %{{.*}}, @rope head_dim 16
// CHECK-NEXT: stream.write_rows %{{.*}}, @attn_q
// CHECK: stream.tiles(%[[A]]) [@attn_k]
// CHECK: %[[K:.*]] = stream.rope
// CHECK-NEXT: stream.write_rows %[[K]], @attn_k
// CHECK: stream.tiles(%[[A]]) [@attn_v]
// CHECK-NEXT: ^bb0(%[[V:.*]]: !stream.lanes):
// CHECK-NEXT: stream.write_rows %[[V]], @attn_v
// CHECK: stream.phase "attention" {
// CHECK-NEXT: stream.append @attn_k, @attn_v : !llama.cache<2x16>
// CHECK-NEXT: stream.attention @attn_q, @attention heads 4 : !llama.cache<2x16> {split, token_block = 1 : i64}
// CHECK: stream.phase "output" {
// CHECK-NEXT: stream.merge @attention heads 4 : <64>
// CHECK: stream.read_rows @x
// CHECK-NEXT: stream.add
// CHECK-NEXT: stream.write_rows %{{.*}}, @attn_output
// CHECK: stream.phase "gate_up" {
// CHECK-NEXT: stream.read @attn_output
// CHECK: stream.rms_norm %{{.*}}, @ffn_norm
// CHECK: stream.tiles(%[[F:.*]], %[[F]]) [@ffn_gate, @ffn_up]
// CHECK-NEXT: ^bb0(%[[G:.*]]: !stream.lanes, %[[U:.*]]: !stream.lanes):
// CHECK-NEXT: stream.swiglu %[[G]], %[[U]]
// CHECK-NEXT: stream.write_rows %{{.*}}, @ffn_gate
// CHECK: stream.phase "down" {
// CHECK-NEXT: stream.read @ffn_gate
// CHECK: stream.read_rows @attn_output
// The layer's output is where the next one reads its input.
// CHECK: stream.write_rows %{{.*}}, @x
// CHECK-NOT: stream.phase {{.*}} head
// CHECK: stream.phase "logits" head {
// CHECK-NEXT: stream.read @x
// CHECK: stream.write_rows %{{.*}}, @logits
// CHECK: stream.program @prefill max_tokens 128 {
// CHECK: stream.phase "attention" {
// CHECK-NEXT: stream.append
// CHECK-NEXT: stream.attention
// CHECK-NEXT: } {prologue_tokens = 16 : i64}
// CHECK-COUNT-3: stream.phase
// CHECK: prologue_tokens = 16 : i64
// CHECK: stream.program @softmax max_tokens 1 {
// CHECK-NEXT: stream.buffer @input width 100
// CHECK-NEXT: stream.buffer @output width 101
// CHECK-NEXT: stream.phase "softmax" {
// CHECK-NEXT: stream.softmax @input, @output
// CHECK: stream.program @peak max_tokens 1 {
// CHECK-NEXT: stream.buffer @data width 2048
// CHECK-NEXT: stream.phase "peak" {
// CHECK-NEXT: stream.peak @data

// OPTIONS: stream.program @decode
// OPTIONS: stream.phase "qkv"
// OPTIONS: stream.prepare {{.*}}outliers = 3.000000e+00
// What attention gives has none.
// OPTIONS: stream.phase "output"
// OPTIONS: stream.prepare %{{[0-9]+}} : <64>
// OPTIONS: stream.phase "gate_up"
// OPTIONS: stream.prepare {{.*}}outliers = 3.000000e+00
// OPTIONS: stream.phase "down"
// OPTIONS: stream.prepare {{.*}}outliers = 3.000000e+00
// OPTIONS: stream.program @prefill max_tokens 7

// Gate in an integer format and up in a float one: the same norm is prepared twice, and one tiles reads both.
// MIXED: stream.phase "gate_up"
// MIXED-NEXT: %[[R:.*]] = stream.read @x
// MIXED-NEXT: %[[N:.*]] = stream.rms_norm %[[R]], @n
// MIXED-NEXT: %[[I:.*]] = stream.prepare %[[N]] {{.*}} : <64> -> <64, i8>
// MIXED-NEXT: %[[F:.*]] = stream.prepare %[[N]]{{.*}} : <64> -> <64, f32>
// MIXED-NEXT: stream.tiles(%[[I]], %[[F]]) [@ffn_gate, @ffn_up]
llama.model @mixed attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<100x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.weight @ffn_gate from "ffn_gate" : !llama.weight<64x64, q4_1>
  llama.weight @ffn_up from "ffn_up" : !llama.weight<64x64, f16>
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.embed %ids, @e : tensor<?x64xf32>
    %n = llama.rms_norm %x, @n eps 1.0e-5 : tensor<?x64xf32>
    %g = llama.linear %n, @ffn_gate : tensor<?x64xf32> -> tensor<?x64xf32>
    %u = llama.linear %n, @ffn_up : tensor<?x64xf32> -> tensor<?x64xf32>
    %h = llama.swiglu %g, %u : tensor<?x64xf32>
    %l = llama.linear %h, @e : tensor<?x64xf32> -> tensor<?x100xf32>
    llama.return %l : tensor<?x100xf32>
  }
}
