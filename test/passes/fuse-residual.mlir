// A residual sum joins the later of the stages that make its operands, if that makes rows of a linear.
// RUN: sluice-opt %s --fuse-residual --remark-format=emitRemark --remarks-filter='fuse.*' --verify-diagnostics | FileCheck %s

llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @attn_output from "attn_output" : !llama.weight<64x64, q4_1>
  llama.weight @ffn_down from "ffn_down" : !llama.weight<64x64, q4_1>
  llama.weight @e from "e" : !llama.weight<100x64, q8_0>
  llama.block @layer(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %o = llama.stage "output" -> tensor<?x64xf32> {
      %y = llama.linear %x, @attn_output : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-remark @+1 {{[Passed] FuseResidual | Category:fuse | BarriersSaved=1, BytesSaved=768, Remark="adds to the rows that 'output' has just made", VectorsNotWritten=1}}
    %h = llama.add %x, %o : tensor<?x64xf32>
    %d = llama.stage "down" -> tensor<?x64xf32> {
      %y = llama.linear %h, @ffn_down : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-remark @+1 {{[Passed] FuseResidual | Category:fuse | BarriersSaved=1, BytesSaved=768, Remark="adds to the rows that 'down' has just made", VectorsNotWritten=1}}
    %r = llama.add %h, %d : tensor<?x64xf32>
    llama.yield %r : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @layer(
  // CHECK-SAME: %[[X:.*]]: tensor
  // CHECK-NEXT: %[[H:.*]] = llama.stage "output"
  // CHECK-NEXT: %[[O:.*]] = llama.linear
  // CHECK-NEXT: llama.add %[[X]], %[[O]]
  // CHECK-NEXT: llama.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: llama.stage "down"
  // CHECK-NEXT: %[[D:.*]] = llama.linear
  // CHECK-NEXT: llama.add %[[H]], %[[D]]
  // CHECK-NEXT: llama.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: llama.yield

  llama.block @the_later_of_two(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %d = llama.stage "down" -> tensor<?x64xf32> {
      %y = llama.linear %x, @ffn_down : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %o = llama.stage "output" -> tensor<?x64xf32> {
      %y = llama.linear %x, @attn_output : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-remark @+1 {{[Passed] FuseResidual | Category:fuse | BarriersSaved=1, BytesSaved=512, Remark="adds to the rows that 'output' has just made", VectorsNotWritten=1}}
    %r = llama.add %o, %d : tensor<?x64xf32>
    llama.yield %r : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @the_later_of_two(
  // CHECK-NEXT: %[[D:.*]] = llama.stage "down"
  // CHECK: llama.stage "output"
  // CHECK-NEXT: %[[O:.*]] = llama.linear
  // CHECK-NEXT: llama.add %[[O]], %[[D]]

  llama.block @no_stage(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    // expected-remark @+1 {{[Missed] FuseResidual | Category:fuse | Remark="neither operand is made by a stage"}}
    %t = llama.add %x, %x : tensor<?x64xf32>
    %o = llama.stage "output" -> tensor<?x64xf32> {
      %y = llama.linear %t, @attn_output : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %o : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @no_stage(
  // CHECK-NEXT: llama.add
  // CHECK-NEXT: llama.stage

  llama.block @attention(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %a = llama.stage "attention" -> tensor<?x64xf32> {
      %y = llama.attention %x, %kv, %pos heads 4 : tensor<?x64xf32>, !llama.cache<2x16>
      llama.yield %y : tensor<?x64xf32>
    }
    // expected-remark @+1 {{[Missed] FuseResidual | Category:fuse | Remark="'attention' does not make rows of a linear"}}
    %r = llama.add %x, %a : tensor<?x64xf32>
    llama.yield %r : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @attention(
  // CHECK: llama.attention
  // CHECK: }
  // CHECK-NEXT: llama.add

  llama.block @made_after(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %o = llama.stage "output" -> tensor<?x64xf32> {
      %y = llama.linear %x, @attn_output : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %s = llama.swiglu %x, %x : tensor<?x64xf32>
    // expected-remark @+1 {{[Missed] FuseResidual | Category:fuse | Remark="an operand is made after the stage 'output'"}}
    %r = llama.add %s, %o : tensor<?x64xf32>
    llama.yield %r : tensor<?x64xf32>
  }
  // CHECK-LABEL: llama.block @made_after(
  // CHECK: llama.stage "output"
  // CHECK: llama.swiglu
  // CHECK-NEXT: llama.add
}
