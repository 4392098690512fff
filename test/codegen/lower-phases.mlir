// Every phase becomes functions, the model a table of them; dots use what the target has.
// RUN: sluice-opt %S/../dialects/stream-program.mlir --pass-pipeline='builtin.module(llama.model(configure-cpu{cpu=x86-64-v4-vnni}),lower-phases-to-cpu{cpu=x86-64-v4-vnni})' -o %t.vnni && FileCheck %s --check-prefixes=CHECK,VNNI < %t.vnni
// RUN: sluice-opt %S/../dialects/stream-program.mlir --pass-pipeline='builtin.module(llama.model(configure-cpu{cpu=x86-64}),lower-phases-to-cpu{cpu=x86-64})' -o %t.base && FileCheck %s --check-prefixes=CHECK,BASE < %t.base
// RUN: FileCheck %s --check-prefix=GONE < %t.vnni
// RUN: FileCheck %s --check-prefix=GONE < %t.base
// RUN: not sluice-opt %S/../dialects/stream-program.mlir --lower-phases-to-cpu=cpu=z80 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: error: expected a known cpu and one llama.model, got 'z80' and 1

// GONE: module
// GONE-NOT: {{[ "!](llama|stream)\.}}

// A prologue where the phase has one; otherwise a null pointer in the table.
// CHECK-NOT: llvm.func internal @decode.embed.prologue
// CHECK: llvm.func internal @decode.embed.run(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64)
// VNNI-SAME: ["target-cpu", "x86-64-v4"]{{.*}}avx512vnni{{.*}}["prefer-vector-width", "512"]
// BASE-SAME: ["target-cpu", "x86-64"]{{.*}}["prefer-vector-width", "128"]
// CHECK: llvm.func internal @decode.qkv.prologue(%{{[^,]*}}: !llvm.ptr)
// CHECK: llvm.func internal @decode.qkv.run(
// VNNI: vpdpbusd
// BASE-NOT: vpdpbusd
// BASE-NOT: pmaddubsw
// CHECK: llvm.func internal @decode.logits.run(
// CHECK: llvm.func internal @softmax.softmax.run(
// VNNI: llvm.mlir.global external constant @"sluice_kernels.x86-64-v4-vnni"() {{.*}}!llvm.array<8 x struct<(ptr, ptr, f64, f64, f64)>>
// BASE: llvm.mlir.global external constant @"sluice_kernels.x86-64"() {{.*}}!llvm.array<8 x struct<(ptr, ptr, f64, f64, f64)>>
// CHECK: llvm.mlir.zero : !llvm.ptr
// CHECK: llvm.mlir.addressof @decode.embed.run
// CHECK: llvm.mlir.addressof @decode.qkv.prologue
// CHECK: llvm.mlir.addressof @decode.qkv.run
// CHECK: llvm.mlir.addressof @softmax.softmax.run
// CHECK-NOT: llvm.mlir.addressof
