// A whole model in the llama dialect: what import produces for two layers of width 64.
// RUN: sluice-opt %s | sluice-opt | FileCheck %s

// CHECK-LABEL: llama.model @tiny
llama.model @tiny attributes {architecture = "llama", context_length = 64 : i64} {
  // CHECK: llama.weight @attn_q from "blk.{layer}.attn_q.weight" : !llama.weight<64x64, q4_1>
  llama.weight @token_embd from "token_embd.weight" : !llama.weight<100x64, q8_0>
  llama.weight @output_norm from "output_norm.weight" : !llama.weight<1x64, f32>
  llama.weight @attn_norm from "blk.{layer}.attn_norm.weight" : !llama.weight<1x64, f32>
  llama.weight @attn_q from "blk.{layer}.attn_q.weight" : !llama.weight<64x64, q4_1>
  llama.weight @attn_k from "blk.{layer}.attn_k.weight" : !llama.weight<32x64, q4_1>
  llama.weight @attn_v from "blk.{layer}.attn_v.weight" : !llama.weight<32x64, q4_1>
  llama.weight @attn_output from "blk.{layer}.attn_output.weight" : !llama.weight<64x64, q4_1>
  llama.weight @ffn_norm from "blk.{layer}.ffn_norm.weight" : !llama.weight<1x64, f32>
  llama.weight @ffn_gate from "blk.{layer}.ffn_gate.weight" : !llama.weight<96x64, q4_1>
  llama.weight @ffn_up from "blk.{layer}.ffn_up.weight" : !llama.weight<96x64, q4_1>
  llama.weight @ffn_down from "blk.{layer}.ffn_down.weight" : !llama.weight<64x96, q4_0>

  // CHECK: llama.block @blk(%{{.*}}: tensor<?x64xf32>, %{{.*}}: index, %{{.*}}: !llama.cache<2x16>)
  llama.block @blk(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %n = llama.rms_norm %x, @attn_norm eps 1.0e-5 : tensor<?x64xf32>
    %q = llama.linear %n, @attn_q : tensor<?x64xf32> -> tensor<?x64xf32>
    %k = llama.linear %n, @attn_k : tensor<?x64xf32> -> tensor<?x32xf32>
    %v = llama.linear %n, @attn_v : tensor<?x64xf32> -> tensor<?x32xf32>
    // CHECK: llama.rope {{.*}} head_dim 16 turns [1.591550e-01, 1.591550e-02]
    %qr = llama.rope %q, %pos head_dim 16 turns [1.591550e-01, 1.591550e-02] : tensor<?x64xf32>
    %kr = llama.rope %k, %pos head_dim 16 turns [1.591550e-01, 1.591550e-02] : tensor<?x32xf32>
    %kv1 = llama.append %kr, %v, %kv, %pos : tensor<?x32xf32>, !llama.cache<2x16>
    %a = llama.attention %qr, %kv1, %pos heads 4 : tensor<?x64xf32>, !llama.cache<2x16>
    %o = llama.linear %a, @attn_output : tensor<?x64xf32> -> tensor<?x64xf32>
    %h1 = llama.add %x, %o : tensor<?x64xf32>
    %m = llama.rms_norm %h1, @ffn_norm eps 1.0e-5 : tensor<?x64xf32>
    %g = llama.linear %m, @ffn_gate : tensor<?x64xf32> -> tensor<?x96xf32>
    %u = llama.linear %m, @ffn_up : tensor<?x64xf32> -> tensor<?x96xf32>
    %s = llama.swiglu %g, %u : tensor<?x96xf32>
    %d = llama.linear %s, @ffn_down : tensor<?x96xf32> -> tensor<?x64xf32>
    %h2 = llama.add %h1, %d : tensor<?x64xf32>
    llama.yield %h2 : tensor<?x64xf32>
  }

  // CHECK: llama.graph @token(%{{.*}}: tensor<?xi32>, %{{.*}}: index, %{{.*}}: !llama.cache<2x16>)
  llama.graph @token(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x0 = llama.embed %ids, @token_embd : tensor<?x64xf32>
    // CHECK: llama.layers {{.*}} [#llama.run<@blk x 2>]
    %x1 = llama.layers %x0, %pos, %kv [#llama.run<@blk x 2>] : tensor<?x64xf32>, !llama.cache<2x16>
    %n = llama.rms_norm %x1, @output_norm eps 1.0e-5 : tensor<?x64xf32>
    %l = llama.linear %n, @token_embd : tensor<?x64xf32> -> tensor<?x100xf32>
    llama.return %l : tensor<?x100xf32>
  }
}
