// Every operation that reads memory gets a stage named after what it does; what is in a stage stays there.
// RUN: sluice-opt %s --form-stages | FileCheck %s
// RUN: sluice-opt %s --form-stages -o %t.once && sluice-opt %t.once --form-stages | diff %t.once -

llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  llama.weight @e from "e" : !llama.weight<100x64, q8_0>
  llama.weight @other.ffn_up from "other.ffn_up" : !llama.weight<64x64, q4_1>
  llama.weight @o from "o" : !llama.weight<64x64, q4_1>
  llama.block @b(%x: tensor<?x64xf32>, %pos: index, %kv: !llama.cache<2x16>) {
    %n = llama.rms_norm %x, @n eps 1.0e-5 : tensor<?x64xf32>
    %u = llama.linear %n, @other.ffn_up : tensor<?x64xf32> -> tensor<?x64xf32>
    %a = llama.attention %u, %kv, %pos heads 4 : tensor<?x64xf32>, !llama.cache<2x16>
    %s = llama.stage "mine" -> tensor<?x64xf32> {
      %y = llama.linear %a, @o : tensor<?x64xf32> -> tensor<?x64xf32>
      %z = llama.add %y, %y : tensor<?x64xf32>
      llama.yield %z : tensor<?x64xf32>
    }
    %r = llama.add %x, %s : tensor<?x64xf32>
    llama.yield %r : tensor<?x64xf32>
  }
  llama.graph @g(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<2x16>) {
    %x = llama.embed %ids, @e : tensor<?x64xf32>
    %y = llama.layers %x, %pos, %kv [#llama.run<@b x 2>] : tensor<?x64xf32>, !llama.cache<2x16>
    %l = llama.linear %y, @e : tensor<?x64xf32> -> tensor<?x100xf32>
    llama.return %l : tensor<?x100xf32>
  }
}

// CHECK-LABEL: llama.block @b(
// CHECK-SAME: %[[X:.*]]: tensor<?x64xf32>, %[[POS:.*]]: index, %[[KV:.*]]: !llama
// CHECK-NOT: llama.stage
// CHECK: %[[N:.*]] = llama.rms_norm %[[X]]
// The prefixes of a block and of a part of a layer are no part of a stage's name.
// CHECK-NEXT: %[[U:.*]] = llama.stage "up" -> tensor<?x64xf32> {
// CHECK-NEXT: %[[V:.*]] = llama.linear %[[N]], @other.ffn_up
// CHECK-NEXT: llama.yield %[[V]]
// CHECK-NEXT: }
// CHECK-NEXT: %[[A:.*]] = llama.stage "attention" -> tensor<?x64xf32> {
// CHECK-NEXT: llama.attention %[[U]], %[[KV]], %[[POS]] heads 4
// CHECK: %[[S:.*]] = llama.stage "mine"
// CHECK-NEXT: llama.linear %[[A]], @o
// CHECK-NEXT: llama.add
// CHECK-NEXT: llama.yield
// CHECK-NEXT: }
// CHECK-NEXT: llama.add %[[X]], %[[S]]
// CHECK-NEXT: llama.yield

// CHECK-LABEL: llama.graph @g(
// CHECK: llama.stage "embed"
// CHECK-NEXT: llama.embed
// CHECK: }
// CHECK-NEXT: llama.layers
// CHECK-NEXT: llama.stage "logits"
// CHECK-NEXT: llama.linear
