// A phase for a GPU: configured, then kernels that read weights by asynchronous copies only and multiply bytes by dp4a or
// on tensor cores.
// RUN: sluice-opt %s --pass-pipeline='builtin.module(llama.model(configure-gpu{gpu=sm_90}))' | FileCheck %s --check-prefix=CONFIGURED
// RUN: sluice-opt %s --pass-pipeline='builtin.module(llama.model(configure-gpu{gpu=sm_90}),lower-phases-to-gpu{gpu=sm_90})' | FileCheck %s

// CHECK-NOT: stream.
// CHECK-NOT: llama.
// CHECK: sluice.device
// CHECK-SAME: name = "decode_dots"
// CHECK-SAME: name = "prefill_dots_prologue"
// CHECK-LABEL: llvm.func @decode_dots
// CHECK-SAME: nvvm.kernel
// CHECK: nvvm.cp.async.shared.global
// CHECK: llvm.nvvm.idp4a.u.s
// CHECK-LABEL: llvm.func @prefill_dots(
// CHECK: llvm.nvvm.mma.m16n8k32.row.col.u8.s8
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @w from "w" : !llama.weight<70x96, q4_0>
  stream.program @decode max_tokens 1 {
    stream.buffer @x width 96
    stream.buffer @y width 70
    stream.phase "dots" {
      %x = stream.read @x : !stream.values<96>
      %a = stream.prepare %x {peaks = 1 : i64} : !stream.values<96> -> !stream.operand<96, i8>
      // CONFIGURED: {lanes = 32 : i64, prefetch = {{[0-9]+}} : i64, row_block = 32 : i64, token_block = 1 : i64}
      stream.tiles (%a) [@w] : !stream.operand<96, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
  stream.program @prefill max_tokens 16 {
    stream.buffer @x width 96
    stream.buffer @y width 70
    stream.phase "dots" {
      %x = stream.read @x : !stream.values<96>
      %a = stream.prepare %x {peaks = 1 : i64} : !stream.values<96> -> !stream.operand<96, i8>
      stream.tiles (%a) [@w] : !stream.operand<96, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}
