// Blocking per target, and what is given is left alone.
// RUN: sluice-opt %s --configure-cpu=cpu=x86-64-v4-avxvnni | FileCheck %s --check-prefixes=CHECK,WIDE
// RUN: sluice-opt %s --configure-cpu=cpu=x86-64-v4-vnni | FileCheck %s --check-prefixes=CHECK,VNNI
// RUN: sluice-opt %s --configure-cpu=cpu=x86-64-v4-bf16 | FileCheck %s --check-prefixes=CHECK,VNNI
// RUN: sluice-opt %s --configure-cpu=cpu=x86-64-v3-vnni | FileCheck %s --check-prefixes=CHECK,V3
// RUN: sluice-opt %s --configure-cpu=cpu=x86-64-v4 | FileCheck %s --check-prefixes=CHECK,V4
// RUN: sluice-opt %s --configure-cpu=cpu=x86-64-v3 | FileCheck %s --check-prefixes=CHECK,V3
// RUN: sluice-opt %s --configure-cpu=cpu=x86-64 | FileCheck %s --check-prefixes=CHECK,BASE
// RUN: sluice-opt %s --configure-cpu=cpu=x86-64-v3 -o %t.once && sluice-opt %t.once --configure-cpu=cpu=x86-64 | diff %t.once -
// RUN: not sluice-opt %s --configure-cpu=cpu=z80 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: error: unknown cpu 'z80'

llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  // CHECK-LABEL: stream.program @decode
  stream.program @decode max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "chosen" {
      %v = stream.read @x : !stream.values<64>
      %a = stream.prepare %v : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      // WIDE: } {lanes = 16 : i64, prefetch = 8192 : i64, row_block = 32 : i64, token_block = 1 : i64}
      // VNNI: } {lanes = 16 : i64, prefetch = 0 : i64, row_block = 32 : i64, token_block = 1 : i64}
      // V4: } {lanes = 16 : i64, prefetch = 0 : i64, row_block = 32 : i64, token_block = 1 : i64}
      // V3: } {lanes = 8 : i64, prefetch = 0 : i64, row_block = 32 : i64, token_block = 1 : i64}
      // BASE: } {lanes = 4 : i64, prefetch = 0 : i64, row_block = 16 : i64, token_block = 1 : i64}
      }
    }
    stream.phase "given" {
      %v = stream.read @x : !stream.values<64>
      %a = stream.prepare %v : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      // CHECK: } {lanes = 4 : i64, prefetch = 256 : i64, row_block = 8 : i64, token_block = 1 : i64}
      } {lanes = 4 : i64, row_block = 8 : i64, prefetch = 256 : i64}
    }
    // Hardware prefetchers lose track of weights that alternate.
    stream.phase "alternating" {
      %v = stream.read @x : !stream.values<64>
      %a = stream.prepare %v : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a, %a) [@w, @w] : !stream.operand<64, i8>, !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes, %s: !stream.lanes):
        %t = stream.swiglu %r, %s
        stream.write_rows %t, @y
      // WIDE: prefetch = 8192 : i64
      // VNNI: prefetch = 0 : i64
      // V4: prefetch = 4096 : i64
      // V3: prefetch = 4096 : i64
      // BASE: prefetch = 4096 : i64
      }
    }
  }
  // CHECK-LABEL: stream.program @other_phases
  stream.program @other_phases max_tokens 64 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "attention" {
      // WIDE: stream.attention @x, @y heads 4 : !llama.cache<2x16> {prefetch = 8192 : i64}
      // VNNI: stream.attention @x, @y heads 4 : !llama.cache<2x16> {prefetch = 0 : i64}
      stream.attention @x, @y heads 4 : !llama.cache<2x16>
    }
  }
  // CHECK-LABEL: stream.program @prefill
  stream.program @prefill max_tokens 64 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @z width 64
    stream.phase "chosen" {
      %v = stream.read @x : !stream.values<64>
      %a = stream.prepare %v : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      // As many dots as loads: two vectors of rows share a load. The next tile, of 1280 bytes, is prefetched.
      // WIDE: prefetch = 1280 : i64, row_block = 32 : i64, token_block = 4 : i64}
      // VNNI: prefetch = 1280 : i64, row_block = 16 : i64, token_block = 8 : i64}
      // V4: row_block = 16 : i64, token_block = 8 : i64}
      // V3: row_block = 8 : i64, token_block = 4 : i64}
      // BASE: row_block = 4 : i64, token_block = 4 : i64}
      }
    }
    stream.phase "given" {
      %v = stream.read @x : !stream.values<64>
      %a = stream.prepare %v : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      // Tiles of a phase share operands: a given token_block limits the others.
      // CHECK: token_block = 2 : i64}
      } {token_block = 2 : i64}
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @z
      // CHECK: token_block = 2 : i64}
      }
    }
    // Few tokens where only the last one's logits are wanted, and a divisor of the capacity.
    stream.phase "logits" head {
      %v = stream.read @x : !stream.values<64>
      %a = stream.prepare %v : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      // CHECK: token_block = 4 : i64}
      }
    }
  }
  // CHECK-LABEL: stream.program @twenty_five
  stream.program @twenty_five max_tokens 25 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "odd" {
      %v = stream.read @x : !stream.values<64>
      %a = stream.prepare %v : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      // CHECK: token_block = 1 : i64}
      }
    }
  }
}
