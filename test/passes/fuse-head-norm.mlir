// Heads that are normalised are finished in the stage of the attention that reads them.
// RUN: sluice-opt %s --fuse-head-norm --remark-format=emitRemark --remarks-filter='fuse.*' --verify-diagnostics | FileCheck %s

llama.model @m attributes {architecture = "qwen3", context_length = 64 : i64} {
  llama.weight @q_norm from "q_norm" : !llama.weight<1x16, f32>
  llama.weight @k_norm from "k_norm" : !llama.weight<1x16, f32>
  llama.block @normalised(%q: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<4x16>) {
    %n = llama.rms_norm %q, @q_norm eps 1.0e-5 : tensor<?x64xf32>
    %m = llama.rms_norm %q, @k_norm eps 1.0e-5 : tensor<?x64xf32>
    %r = llama.rope %n, %pos head_dim 16 turns [1.0] : tensor<?x64xf32>
    %s = llama.rope %m, %pos head_dim 16 turns [1.0] : tensor<?x64xf32>
    %c = llama.append %s, %q, %kv, %pos : tensor<?x64xf32>, !llama.cache<4x16>
    %a = llama.stage "attention" -> tensor<?x64xf32> {
      // expected-remark @+1 {{normalises the heads that 'attention' reads}}
      %y = llama.attention %r, %c, %pos heads 4 : tensor<?x64xf32>, !llama.cache<4x16>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %a : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @normalised(
  // CHECK-NEXT: llama.stage "attention" -> tensor<?x64xf32> {
  // CHECK-DAG: llama.rms_norm %{{.*}}, @q_norm
  // CHECK-DAG: llama.rms_norm %{{.*}}, @k_norm
  // CHECK: llama.attention
  // CHECK: }
  // CHECK-NEXT: llama.yield

  // Without norms of heads it is fuse-rope's.
  llama.block @plain(%q: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<4x16>) {
    %r = llama.rope %q, %pos head_dim 16 turns [1.0] : tensor<?x64xf32>
    %a = llama.stage "attention" -> tensor<?x64xf32> {
      %y = llama.attention %r, %kv, %pos heads 4 : tensor<?x64xf32>, !llama.cache<4x16>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %a : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @plain(
  // CHECK-NEXT: llama.rope

  llama.block @used_twice(%q: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<4x16>) {
    %n = llama.rms_norm %q, @q_norm eps 1.0e-5 : tensor<?x64xf32>
    %a = llama.stage "attention" -> tensor<?x64xf32> {
      // expected-remark @+1 {{'llama.rms_norm' is used by more than 'attention'}}
      %y = llama.attention %n, %kv, %pos heads 4 : tensor<?x64xf32>, !llama.cache<4x16>
      llama.yield %y : tensor<?x64xf32>
    }
    %z = llama.add %a, %n : tensor<?x64xf32>
    llama.yield %z : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @used_twice(
  // CHECK-NEXT: llama.rms_norm
}
