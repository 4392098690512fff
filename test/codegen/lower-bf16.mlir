// Weights in bf16: pairs are multiplied where the target can; elsewhere each is widened. Prefetches as configured.
// RUN: sluice-opt %s --configure-cpu=cpu=x86-64-v4-avxvnni --lower-phases-to-cpu=cpu=x86-64-v4-avxvnni | FileCheck %s --check-prefixes=CHECK,PAIRS,PREFETCH
// RUN: sluice-opt %s --configure-cpu=cpu=x86-64-v4-bf16 --lower-phases-to-cpu=cpu=x86-64-v4-bf16 | FileCheck %s --check-prefixes=CHECK,PAIRS,QUIET
// RUN: sluice-opt %s --configure-cpu=cpu=x86-64-v4-vnni --lower-phases-to-cpu=cpu=x86-64-v4-vnni | FileCheck %s --check-prefixes=CHECK,WIDE,QUIET
// RUN: sluice-opt %s --configure-cpu=cpu=x86-64 --lower-phases-to-cpu=cpu=x86-64 | FileCheck %s --check-prefixes=CHECK,WIDE

llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @w from "w" : !llama.weight<64x66, bf16>
  stream.program @decode max_tokens 1 {
    stream.buffer @x width 66
    stream.buffer @y width 64
    stream.buffer @z width 64
    stream.phase "dots" {
      %v = stream.read @x : !stream.values<66>
      %a = stream.prepare %v : !stream.values<66> -> !stream.operand<66, bf16>
      stream.tiles (%a) [@w] : !stream.operand<66, bf16> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
    stream.phase "attention" {
      stream.attention @y, @z heads 4 : !llama.cache<2x16>
    }
  }
}

// CHECK-LABEL: llvm.func internal @decode.dots.prologue
// CHECK-LABEL: llvm.func internal @decode.dots.run
// PREFETCH: llvm.intr.prefetch
// QUIET-NOT: llvm.intr.prefetch
// PAIRS: dpbf16ps
// PAIRS-NOT: math.fma
// WIDE-NOT: dpbf16ps
// CHECK-LABEL: llvm.func internal @decode.attention.run
// PREFETCH: llvm.intr.prefetch
// QUIET-NOT: llvm.intr.prefetch
// CHECK: llvm.mlir.global
