// No value overwrites another that is still needed: IR that the importer never makes.
// RUN: sluice-opt %s --schedule-phases -o %t.mlir && FileCheck %s < %t.mlir
// RUN: sluice-opt %t.mlir --pass-pipeline='builtin.module(llama.model(configure-cpu),lower-phases-to-cpu)' | FileCheck %s --check-prefix=TABLES

llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @e from "e" : !llama.weight<64x64, q8_0>
  llama.weight @w from "w" : !llama.weight<64x64, q8_0>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.block @a(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<4x16>) {
    // Two results that come from one linear.
    %h:2 = llama.stage "two_results" -> tensor<?x64xf32>, tensor<?x64xf32> {
      %y = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      %s = llama.add %x, %y : tensor<?x64xf32>
      llama.yield %y, %s : tensor<?x64xf32>, tensor<?x64xf32>
    }
    // The layer's output, in the buffer of its input, and another sum that reads that.
    %o:2 = llama.stage "in_place" -> tensor<?x64xf32>, tensor<?x64xf32> {
      %y = llama.linear %h#0, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      %s = llama.add %h#1, %y : tensor<?x64xf32>
      %t = llama.add %x, %y : tensor<?x64xf32>
      llama.yield %s, %t : tensor<?x64xf32>, tensor<?x64xf32>
    }
    llama.yield %o#0 : tensor<?x64xf32>
  }
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<4x16>) {
    // Keys that two linears make.
    %k = llama.stage "sum_of_keys" -> !llama.cache<4x16> {
      %y = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llama.linear %x, @e : tensor<?x64xf32> -> tensor<?x64xf32>
      %s = llama.add %y, %z : tensor<?x64xf32>
      %r = llama.rope %s, %pos head_dim 16 turns [0.5] : tensor<?x64xf32>
      %t = llama.append %r, %y, %kv, %pos : tensor<?x64xf32>, !llama.cache<4x16>
      llama.yield %t : !llama.cache<4x16>
    }
    %q = llama.stage "other_angles" -> tensor<?x64xf32> {
      %y = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      %r = llama.rope %y, %pos head_dim 16 turns [0.25] : tensor<?x64xf32>
      llama.yield %r : tensor<?x64xf32>
    }
    %a = llama.stage "attend" -> tensor<?x64xf32> {
      %y = llama.attention %q, %k, %pos heads 4 : tensor<?x64xf32>, !llama.cache<4x16>
      llama.yield %y : tensor<?x64xf32>
    }
    %o = llama.stage "o" -> tensor<?x64xf32> {
      %y = llama.linear %a, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    llama.yield %o : tensor<?x64xf32>
  }
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<4x16>) {
    %x = llama.stage "embed" -> tensor<?x64xf32> {
      %y = llama.embed %ids, @e : tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    // Needed after the layers, and named like what is in them.
    %early = llama.stage "early" -> tensor<?x64xf32> {
      %y = llama.linear %x, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      llama.yield %y : tensor<?x64xf32>
    }
    %l = llama.layers %x, %pos, %kv [#llama.run<@a x 2>, #llama.run<@b x 1>, #llama.run<@a x 1>] : tensor<?x64xf32>, !llama.cache<4x16>
    %late = llama.stage "late" -> tensor<?x64xf32> {
      %y = llama.linear %l, @w : tensor<?x64xf32> -> tensor<?x64xf32>
      %s = llama.add %early, %y : tensor<?x64xf32>
      llama.yield %s : tensor<?x64xf32>
    }
    llama.return %late : tensor<?x64xf32>
  }
}

// CHECK: stream.program @decode
// CHECK: stream.phase "embed"
// CHECK-NEXT: stream.rope_table @rope head_dim 16 turns [5.000000e-01]
// CHECK-NEXT: stream.rope_table @rope2 head_dim 16 turns [2.500000e-01]
// CHECK: stream.phase "early"
// CHECK: stream.write_rows %{{.*}}, @[[EARLY:w]]
// CHECK: stream.repeat 2
// CHECK: stream.phase "two_results"
// CHECK: stream.write_rows %{{.*}}, @[[ONE:w2]]
// CHECK-NEXT: stream.write_rows %{{.*}}, @[[TWO:w3]]
// CHECK: stream.phase "in_place"
// CHECK: stream.read @[[ONE]]
// CHECK: stream.read_rows @[[TWO]]
// CHECK: stream.read_rows @x
// CHECK-NOT: stream.read
// CHECK: stream.write_rows %{{.*}}, @x
// CHECK-NEXT: stream.write_rows %{{.*}}, @[[THREE:w4]]
// CHECK: stream.repeat 1
// CHECK: stream.phase "sum_of_keys"
// CHECK: stream.tiles(%{{.*}}) [@w, @e]
// CHECK: stream.rope %{{.*}}, @rope head_dim
// Another layer may use the same buffers.
// CHECK-NEXT: stream.write_rows %{{.*}}, @[[KEY:e]]
// CHECK-NEXT: stream.write_rows %{{.*}}, @[[ONE]]
// CHECK: stream.phase "other_angles"
// CHECK: stream.rope %{{.*}}, @rope2 head_dim
// CHECK: stream.write_rows %{{.*}}, @[[TWO]]
// CHECK: stream.phase "attend"
// CHECK-NEXT: stream.append @[[KEY]], @[[ONE]] : !llama.cache<4x16>
// CHECK-NEXT: stream.attention @[[TWO]], @attention heads 4
// CHECK: stream.repeat 1
// CHECK: stream.phase "two_results"
// CHECK: stream.write_rows %{{.*}}, @[[ONE]]
// CHECK-NEXT: stream.write_rows %{{.*}}, @[[TWO]]
// CHECK: stream.phase "late" head
// CHECK: stream.read_rows @[[EARLY]]

// Each table has angles of its own.
// TABLES-DAG: @decode.rope.turns(dense<[5.000000e-01,
// TABLES-DAG: @decode.rope2.turns(dense<[2.500000e-01,
