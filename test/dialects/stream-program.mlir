// A whole program in the stream dialect: what scheduling makes of test/dialects/llama-model.mlir.
// RUN: sluice-opt %s | sluice-opt | FileCheck %s

// CHECK-LABEL: llama.model @tiny
llama.model @tiny attributes {architecture = "llama", context_length = 64 : i64} {
  llama.weight @token_embd from "token_embd.weight" : !llama.weight<100x64, q8_0>
  llama.weight @output_norm from "output_norm.weight" : !llama.weight<1x64, f32>
  llama.weight @attn_norm from "blk.{layer}.attn_norm.weight" : !llama.weight<1x64, f32>
  llama.weight @attn_q from "blk.{layer}.attn_q.weight" : !llama.weight<64x64, q4_1>
  llama.weight @attn_k from "blk.{layer}.attn_k.weight" : !llama.weight<32x64, q4_1>
  llama.weight @attn_v from "blk.{layer}.attn_v.weight" : !llama.weight<32x64, q4_1>
  llama.weight @attn_output from "blk.{layer}.attn_output.weight" : !llama.weight<64x64, q4_1>
  llama.weight @ffn_norm from "blk.{layer}.ffn_norm.weight" : !llama.weight<1x64, f32>
  llama.weight @ffn_gate from "blk.{layer}.ffn_gate.weight" : !llama.weight<96x64, q4_1>
  llama.weight @ffn_up from "blk.{layer}.ffn_up.weight" : !llama.weight<96x64, q4_1>
  llama.weight @ffn_down from "blk.{layer}.ffn_down.weight" : !llama.weight<64x96, q4_0>

  // CHECK: stream.program @decode max_tokens 1
  stream.program @decode max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @rope width 96
    stream.buffer @q width 64
    stream.buffer @k width 32
    stream.buffer @v width 32
    stream.buffer @attn width 64
    stream.buffer @h width 64
    stream.buffer @hidden width 96
    stream.buffer @logits width 100
    stream.phase "embed" {
      stream.rope_table @rope head_dim 16 turns [1.591550e-01, 1.591550e-02]
      stream.embed @token_embd, @x
    }
    // CHECK: stream.repeat 2
    stream.repeat 2 {
      stream.phase "qkv" {
        %x = stream.read @x : !stream.values<64>
        %n = stream.rms_norm %x, @attn_norm eps 1.0e-5 : !stream.values<64>
        %a = stream.prepare %n : !stream.values<64> -> !stream.operand<64, i8>
        // CHECK: stream.tiles(%{{.*}}) [@attn_q] : !stream.operand<64, i8>
        stream.tiles (%a) [@attn_q] : !stream.operand<64, i8> {
        ^bb0(%y: !stream.lanes):
          %r = stream.rope %y, @rope head_dim 16
          stream.write_rows %r, @q
        }
        stream.tiles (%a) [@attn_k] : !stream.operand<64, i8> {
        ^bb0(%y: !stream.lanes):
          %r = stream.rope %y, @rope head_dim 16
          stream.write_rows %r, @k
        }
        stream.tiles (%a) [@attn_v] : !stream.operand<64, i8> {
        ^bb0(%y: !stream.lanes):
          stream.write_rows %y, @v
        }
      }
      stream.phase "attention" {
        // CHECK: stream.append @k, @v : !llama.cache<2x16>
        stream.append @k, @v : !llama.cache<2x16>
        stream.attention @q, @attn heads 4 : !llama.cache<2x16>
      }
      stream.phase "output" {
        %x = stream.read @attn : !stream.values<64>
        %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
        stream.tiles (%a) [@attn_output] : !stream.operand<64, i8> {
        ^bb0(%y: !stream.lanes):
          %r = stream.read_rows @x
          %s = stream.add %r, %y
          stream.write_rows %s, @h
        }
      }
      stream.phase "gate_up" {
        %x = stream.read @h : !stream.values<64>
        %n = stream.rms_norm %x, @ffn_norm eps 1.0e-5 : !stream.values<64>
        %a = stream.prepare %n : !stream.values<64> -> !stream.operand<64, i8>
        stream.tiles (%a, %a) [@ffn_gate, @ffn_up] : !stream.operand<64, i8>, !stream.operand<64, i8> {
        ^bb0(%g: !stream.lanes, %u: !stream.lanes):
          %s = stream.swiglu %g, %u
          stream.write_rows %s, @hidden
        }
      }
      stream.phase "down" {
        %x = stream.read @hidden : !stream.values<96>
        %a = stream.prepare %x : !stream.values<96> -> !stream.operand<96, i8>
        stream.tiles (%a) [@ffn_down] : !stream.operand<96, i8> {
        ^bb0(%y: !stream.lanes):
          %r = stream.read_rows @h
          %s = stream.add %r, %y
          stream.write_rows %s, @x
        }
      }
    }
    // CHECK: stream.phase "logits" head
    stream.phase "logits" head {
      %x = stream.read @x : !stream.values<64>
      %n = stream.rms_norm %x, @output_norm eps 1.0e-5 : !stream.values<64>
      %a = stream.prepare %n : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@token_embd] : !stream.operand<64, i8> {
      ^bb0(%y: !stream.lanes):
        stream.write_rows %y, @logits
      }
    }
  }

  stream.program @softmax max_tokens 1 {
    stream.buffer @input width 100
    stream.buffer @output width 101
    stream.phase "softmax" {
      stream.softmax @input, @output
    }
  }
}
