// Biases, multipliers and soft caps join the rows that they work on.
// RUN: sluice-opt %s --fuse-elementwise --remark-format=emitRemark --remarks-filter='fuse.*' --verify-diagnostics | FileCheck %s

llama.model @m attributes {architecture = "qwen2", context_length = 64 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  llama.weight @b from "b" : !llama.weight<1x64, f32>
  llama.block @rows(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<4x16>) {
    %s = llama.stage "q" -> tensor<?x64xf32> {
      %y = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-remark @+1 {{works on the rows that 'q' has just made}}
    %t = llama.bias %s, @b : tensor<?x64xf32>
    // expected-remark @+1 {{works on the rows that 'q' has just made}}
    %u = llama.scale %t by 0.5 : tensor<?x64xf32>
    // expected-remark @+1 {{works on the rows that 'q' has just made}}
    %v = llama.softcap %u at 30.0 : tensor<?x64xf32>
    llama.yield %v : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @rows(
  // CHECK-NEXT: llama.stage "q" -> tensor<?x64xf32> {
  // CHECK-NEXT: llama.linear
  // CHECK-NEXT: llama.bias
  // CHECK-NEXT: llama.scale
  // CHECK-NEXT: %[[V:.*]] = llama.softcap
  // CHECK-NEXT: llama.yield %[[V]]

  llama.block @no_rows(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<4x16>) {
    // expected-remark @+1 {{its input is not made of rows of a linear}}
    %y = llama.scale %x by 2.0 : tensor<?x64xf32>
    llama.yield %y : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @no_rows(
  // CHECK-NEXT: llama.scale
}
