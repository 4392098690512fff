// What warps copy ahead, per chip: twice what Little's law asks for, and as much as memory brings between two
// phases, as far as rings fit beside the activations; one number for all phases of a token. What is given is left alone.
// RUN: sluice-opt %s --configure-gpu=gpu=sm_80 | FileCheck %s --check-prefixes=CHECK,SM80
// RUN: sluice-opt %s --configure-gpu=gpu=sm_90 | FileCheck %s --check-prefixes=CHECK,SM90
// RUN: sluice-opt %s --configure-gpu=gpu=sm_100 | FileCheck %s --check-prefixes=CHECK,SM100
// RUN: sluice-opt %s --configure-gpu=gpu=sm_89 | FileCheck %s --check-prefixes=CHECK,SM89
// RUN: sluice-opt %s --configure-gpu=gpu=sm_80 -o %t.once && sluice-opt %t.once --configure-gpu=gpu=sm_100 | diff %t.once -
// RUN: not sluice-opt %s --configure-gpu=gpu=sm_1 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: error: unknown gpu 'sm_1'

// CHECK-LABEL: llama.model @small
llama.model @small attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @w from "w" : !llama.weight<4096x4096, q4_0>
  llama.weight @v from "v" : !llama.weight<4096x4096, q8_0>
  stream.program @decode max_tokens 1 {
    stream.buffer @x width 4096
    stream.buffer @y width 4096
    stream.phase "chosen" {
      %v = stream.read @x : !stream.values<4096>
      %a = stream.prepare %v : !stream.values<4096> -> !stream.operand<4096, i8>
      stream.tiles (%a) [@w] : !stream.operand<4096, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      // SM80: } {lanes = 32 : i64, prefetch = 2048 : i64, row_block = 32 : i64, token_block = 1 : i64}
      // SM90: } {lanes = 32 : i64, prefetch = 6656 : i64, row_block = 32 : i64, token_block = 1 : i64}
      // SM100: } {lanes = 32 : i64, prefetch = 9216 : i64, row_block = 32 : i64, token_block = 1 : i64}
      // SM89: } {lanes = 32 : i64, prefetch = 2048 : i64, row_block = 32 : i64, token_block = 1 : i64}
      }
    }
    stream.phase "another" {
      %v = stream.read @x : !stream.values<4096>
      %a = stream.prepare %v : !stream.values<4096> -> !stream.operand<4096, i8>
      stream.tiles (%a) [@v] : !stream.operand<4096, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      // SM80: prefetch = 2048 : i64
      // SM90: prefetch = 6656 : i64
      // SM100: prefetch = 9216 : i64
      // SM89: prefetch = 2048 : i64
      }
    }
    stream.phase "given" {
      %v = stream.read @x : !stream.values<4096>
      %a = stream.prepare %v : !stream.values<4096> -> !stream.operand<4096, i8>
      stream.tiles (%a) [@w] : !stream.operand<4096, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      // CHECK: } {lanes = 32 : i64, prefetch = 2048 : i64, row_block = 32 : i64, token_block = 1 : i64}
      } {prefetch = 2048 : i64}
    }
  }
  // A prompt's tiles are read by chunks of one size on all chips.
  stream.program @prefill max_tokens 64 {
    stream.buffer @x width 4096
    stream.buffer @y width 4096
    stream.phase "many" {
      %v = stream.read @x : !stream.values<4096>
      %a = stream.prepare %v : !stream.values<4096> -> !stream.operand<4096, i8>
      stream.tiles (%a) [@w] : !stream.operand<4096, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      // CHECK: prefetch = 4096 : i64
      }
    }
  }
}

// Activations of a wide phase leave less room for rings.
// CHECK-LABEL: llama.model @wide
llama.model @wide attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @w from "w" : !llama.weight<64x32768, q4_0>
  stream.program @decode max_tokens 1 {
    stream.buffer @x width 32768
    stream.buffer @y width 64
    stream.phase "wide" {
      %v = stream.read @x : !stream.values<32768>
      %a = stream.prepare %v : !stream.values<32768> -> !stream.operand<32768, i8>
      stream.tiles (%a) [@w] : !stream.operand<32768, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      // SM80: prefetch = 1024 : i64
      // SM90: prefetch = 6656 : i64
      // SM100: prefetch = 6656 : i64
      // SM89: prefetch = 1024 : i64
      }
    }
  }
}
