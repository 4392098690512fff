// Lines for the target are attributes of tiles afterwards; the rest is for the target's configuration.
// RUN: rm -rf %t && split-file %s %t
// RUN: sluice-opt %t/model.mlir --pass-pipeline='builtin.module(llama.model(apply-tuning{file=%t/good.txt target=x86-64-v3}))' | FileCheck %s
// RUN: sluice-opt %t/model.mlir --pass-pipeline='builtin.module(llama.model(apply-tuning{file=%t/good.txt target=x86-64-v3}))' \
// RUN:   | sluice-opt --configure-cpu=cpu=x86-64-v3 | FileCheck %s --check-prefix=CONFIGURED
// RUN: not sluice-opt %t/model.mlir --pass-pipeline='builtin.module(llama.model(apply-tuning{file=%t/unknown.txt target=x86-64}))' 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not sluice-opt %t/model.mlir --pass-pipeline='builtin.module(llama.model(apply-tuning{file=%t/untiled.txt target=x86-64}))' 2>&1 | FileCheck %s --check-prefix=UNTILED
// RUN: not sluice-opt %t/model.mlir --pass-pipeline='builtin.module(llama.model(apply-tuning{file=%t/short.txt target=x86-64}))' 2>&1 | FileCheck %s --check-prefix=SHORT
// RUN: not sluice-opt %t/model.mlir --pass-pipeline='builtin.module(llama.model(apply-tuning{file=%t/name.txt target=x86-64}))' 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not sluice-opt %t/model.mlir --pass-pipeline='builtin.module(llama.model(apply-tuning{file=%t/number.txt target=x86-64}))' 2>&1 | FileCheck %s --check-prefix=NUMBER
// RUN: not sluice-opt %t/model.mlir --pass-pipeline='builtin.module(llama.model(apply-tuning{file=%t/valid.txt target=x86-64}))' 2>&1 | FileCheck %s --check-prefix=INVALID
// RUN: not sluice-opt %t/model.mlir --pass-pipeline='builtin.module(llama.model(apply-tuning{file=%t/none.txt target=x86-64}))' 2>&1 | FileCheck %s --check-prefix=NONE

// CHECK: stream.phase "first"
// CHECK: } {row_block = 8 : i64, token_block = 1 : i64}
// CHECK: stream.phase "second"
// CHECK: stream.write_rows
// CHECK-NEXT: }
// CONFIGURED: } {lanes = 8 : i64, prefetch = {{[0-9]+}} : i64, row_block = 8 : i64
// CONFIGURED: } {lanes = 8 : i64, prefetch = {{[0-9]+}} : i64, row_block = 32 : i64
// UNKNOWN: unknown.txt:1: the model has no phase 'decode.third' with tiles; tune it anew
// UNTILED: untiled.txt:1: the model has no phase 'decode.copy' with tiles
// SHORT: short.txt:2: expected 'TARGET PROGRAM.PHASE NAME=NUMBER ...', got 'x86-64 decode.first'
// NAME: name.txt:1: expected row_block, lanes, token_block or prefetch=NUMBER, got 'colour=8'
// NUMBER: number.txt:1: expected row_block, {{.*}}, got 'lanes=many'
// INVALID: valid.txt:1: 'stream.tiles' op (4) expected tile_rows 16 or 32, divisible by row_block, divisible by lanes, got 32, 32, 3
// NONE: none.txt: cannot read it: No such file or directory

//--- good.txt
# what is after a number sign says nothing

x86-64-v3 decode.first row_block=8 token_block=1
x86-64 decode.second row_block=4
//--- unknown.txt
x86-64 decode.third row_block=4
//--- untiled.txt
x86-64 decode.copy row_block=4
//--- short.txt
# a comment
x86-64 decode.first
//--- name.txt
x86-64 decode.first colour=8
//--- number.txt
x86-64 decode.first lanes=many
//--- valid.txt
x86-64 decode.first lanes=3

//--- model.mlir
llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @decode max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "first" {
      %v = stream.read @x : !stream.values<64>
      %a = stream.prepare %v : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
    stream.phase "second" {
      %v = stream.read @y : !stream.values<64>
      %a = stream.prepare %v : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @x
      }
    }
  }
}
