// Every numbered constraint of dialects/stream: what breaks it, and the message.
// RUN: sluice-opt %s --split-input-file --verify-diagnostics

// stream.program 1: positive max_tokens
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(1) expected positive max_tokens, got 0}}
  stream.program @p max_tokens 0 {
  }
}

// -----

// stream.program 2: only buffers, phases and repeats
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  // expected-error @+1 {{(2) expected only buffers, phases and repeats, got arith.constant}}
  stream.program @p max_tokens 1 {
    %c = arith.constant 1 : i64
  }
}

// -----

// stream.program: belongs to a model
// expected-error @+1 {{expects parent op 'llama.model'}}
stream.program @p max_tokens 1 {
}

// -----

// stream.buffer 1: positive width
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    // expected-error @+1 {{(1) expected a positive width, got 0}}
    stream.buffer @x width 0
  }
}

// -----

// stream.repeat 1: positive count
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    // expected-error @+1 {{(1) expected a positive count, got 0}}
    stream.repeat 0 {
    }
  }
}

// -----

// stream.repeat 2: only phases
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    // expected-error @+1 {{(2) expected only phases, got arith.constant}}
    stream.repeat 2 {
      %c = arith.constant 1 : i64
    }
  }
}

// -----

// stream.phase 1: does something
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    // expected-error @+1 {{(1) expected one of tiles, attention, softmax, peak, embed, got 0 kinds}}
    stream.phase "a" {
    }
  }
}

// -----

// stream.phase 1: one thing
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    // expected-error @+1 {{(1) expected one of tiles, attention, softmax, peak, embed, got 2 kinds}}
    stream.phase "a" {
      stream.embed @w, @x
      stream.attention @x, @y heads 4 : !llama.cache<2x16>
    }
  }
}

// -----

// stream.phase 1: rope_table beside embed only
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @t width 96
    // expected-error @+1 {{(1) expected rope_table beside embed only}}
    stream.phase "a" {
      stream.rope_table @t head_dim 16 turns [0.5]
      stream.attention @x, @y heads 4 : !llama.cache<2x16>
    }
  }
}

// -----

// stream.phase 2: the prologue of one worker would read what another has written
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    // expected-error @+1 {{(2) expected no write to @x, which the prologue reads}}
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @x
      }
    }
  }
}

// -----

// stream.read 1: as wide as the buffer
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{(1) expected buffer @x to be 32 wide, got 64}}
      %v = stream.read @x : !stream.values<32>
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.read: a buffer of this program
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{expected a stream.buffer of this program, got @none}}
      %v = stream.read @none : !stream.values<64>
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.rms_norm 1: a weight 1 x width
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %v = stream.read @x : !stream.values<64>
      // expected-error @+1 {{(1) expected a weight 1x64, got '!llama.weight<64x64, q4_1>'}}
      %n = stream.rms_norm %v, @w eps 1.0e-5 : !stream.values<64>
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.rms_norm: a weight of this model
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %v = stream.read @x : !stream.values<64>
      // expected-error @+1 {{expected a llama.weight of this model, got @none}}
      %n = stream.rms_norm %v, @none eps 1.0e-5 : !stream.values<64>
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.prepare 1: as wide as its input
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %v = stream.read @x : !stream.values<64>
      // expected-error @+1 {{(1) expected a result 64 wide, got 32}}
      %q = stream.prepare %v : !stream.values<64> -> !stream.operand<32, i8>
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.prepare 2: outliers
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %v = stream.read @x : !stream.values<64>
      // expected-error @+1 {{(2) expected outliers of 0 or from 1 to 1000, got 5.000000e-01}}
      %q = stream.prepare %v {outliers = 0.5 : f64} : !stream.values<64> -> !stream.operand<64, i8>
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.prepare 3: one of both
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %v = stream.read @x : !stream.values<64>
      // expected-error @+1 {{(3) expected outliers or two_bytes, got both}}
      %q = stream.prepare %v {outliers = 4.0 : f64, two_bytes} : !stream.values<64> -> !stream.operand<64, i8>
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.prepare 4: of bytes
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %v = stream.read @x : !stream.values<64>
      // expected-error @+1 {{(4) expected an i8 operand for two_bytes}}
      %q = stream.prepare %v {two_bytes} : !stream.values<64> -> !stream.operand<64, f32>
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.tiles 1: an operand a weight
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(1) expected as many operands and arguments as weights, got 1, 1 and 2}}
      stream.tiles (%a) [@w, @w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.tiles 1: an argument a weight
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(1) expected as many operands and arguments as weights, got 1, 2 and 1}}
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes, %s: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.tiles 1: at least one weight
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{(1) expected as many operands and arguments as weights, got 0, 0 and 0}}
      "stream.tiles"() <{weights = []}> ({
      ^bb0:
      }) : () -> ()
    }
  }
}

// -----

// stream.tiles 1: arguments are lanes
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(1) expected arguments of type !stream.lanes, got 'f32'}}
      stream.tiles (%a, %a) [@w, @w] : !stream.operand<64, i8>, !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes, %s: f32):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.tiles 2: weights of one height
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  llama.weight @v from "v" : !llama.weight<32x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(2) expected @v to be 64x64, got '!llama.weight<32x64, q4_1>'}}
      stream.tiles (%a, %a) [@w, @v] : !stream.operand<64, i8>, !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes, %s: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.tiles 2: as many cols as the operand is wide
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @k from "k" : !llama.weight<64x96, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(2) expected @k to be 64x64, got '!llama.weight<64x96, q4_1>'}}
      stream.tiles (%a) [@k] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.tiles 3: integer weights meet int8
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      %b = stream.prepare %x : !stream.values<64> -> !stream.operand<64, f32>
      // expected-error @+1 {{(3) expected an operand of i8 for @w in q4_1}}
      stream.tiles (%b) [@w] : !stream.operand<64, f32> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.tiles 3: float weights meet floats
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @f from "f" : !llama.weight<64x64, f16>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(3) expected an operand of f32 for @f in f16}}
      stream.tiles (%a) [@f] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.tiles 3: float weights meet floats
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @f from "f" : !llama.weight<64x64, bf16>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, f32>
      // expected-error @+1 {{(3) expected an operand of bf16 for @f in bf16}}
      stream.tiles (%a) [@f] : !stream.operand<64, f32> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.tiles: a weight of this model
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{expected a llama.weight of this model, got @none}}
      stream.tiles (%a) [@none] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.tiles 4: tile_rows
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(4) expected tile_rows 16 or 32, divisible by row_block, divisible by lanes, got 8, 8, 8}}
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      } {tile_rows = 8 : i64}
    }
  }
}

// -----

// stream.tiles 4: row_block divides tile_rows
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(4) expected tile_rows 16 or 32, divisible by row_block, divisible by lanes, got 32, 24, 24}}
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      } {row_block = 24 : i64}
    }
  }
}

// -----

// stream.tiles 4: lanes divides row_block
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(4) expected tile_rows 16 or 32, divisible by row_block, divisible by lanes, got 32, 16, 12}}
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      } {row_block = 16 : i64, lanes = 12 : i64}
    }
  }
}

// -----

// stream.tiles 4: row_block is positive
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(4) expected tile_rows 16 or 32, divisible by row_block, divisible by lanes, got 32, 0, 0}}
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      } {row_block = 0 : i64}
    }
  }
}

// -----

// stream.tiles 4: token_block is positive
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(4) expected a positive token_block, got 0}}
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      } {token_block = 0 : i64}
    }
  }
}

// -----

// stream.tiles 4: token_block is not negative
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(4) expected a positive token_block, got -1}}
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      } {token_block = -1 : i64}
    }
  }
}

// -----

// stream.read_rows 1: as wide as the weights have rows
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @z width 32
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        // expected-error @+1 {{(1) expected buffer @z to be 64 wide, got 32}}
        %s = stream.read_rows @z
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.write_rows 1: as wide as the weights have rows
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @z width 32
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        // expected-error @+1 {{(1) expected buffer @z to be 64 wide, got 32}}
        stream.write_rows %r, @z
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.write_rows: a buffer, not a weight
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        // expected-error @+1 {{expected a stream.buffer of this program, got @w}}
        stream.write_rows %r, @w
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.rope 1: the table's width
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        // expected-error @+1 {{(1) expected buffer @x to be 96 wide, got 64}}
        %s = stream.rope %r, @x head_dim 16
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.append 1: KV heads x head size
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @k width 32
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{(1) expected buffer @y to be 32 wide, got 64}}
      stream.append @k, @y : !llama.cache<2x16>
      stream.attention @x, @y heads 4 : !llama.cache<2x16>
    }
  }
}

// -----

// stream.append 2: the cache of the attention
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{(2) expected the cache that attention reads, '!llama.cache<2x16>', got '!llama.cache<4x16>'}}
      stream.append @x, @x : !llama.cache<4x16>
      stream.attention @x, @y heads 4 : !llama.cache<2x16>
    }
  }
}

// -----

// stream.phase 1: append beside attention
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    // expected-error @+1 {{(1) expected append once, beside attention only}}
    stream.phase "a" {
      stream.append @x, @x : !llama.cache<4x16>
      stream.embed @w, @x
    }
  }
}

// -----

// epilogue operations are inside tiles
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{expects parent op 'stream.tiles'}}
      %r = stream.read_rows @x
      stream.embed @w, @x
    }
  }
}

// -----

// stream.embed 1: as wide as the weight's cols
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @z width 32
    stream.phase "a" {
      // expected-error @+1 {{(1) expected buffer @z to be 64 wide, got 32}}
      stream.embed @w, @z
    }
  }
}

// -----

// stream.embed: a weight of this model
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.phase "a" {
      // expected-error @+1 {{expected a llama.weight of this model, got @none}}
      stream.embed @none, @x
    }
  }
}

// -----

// stream.rope_table 1: the table's width
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.phase "a" {
      // expected-error @+1 {{(1) expected buffer @x to be 96 wide, got 64}}
      stream.rope_table @x head_dim 16 turns [0.5]
      stream.embed @w, @x
    }
  }
}

// -----

// stream.attention 1: the query is heads x head size wide
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @z width 32
    stream.phase "a" {
      // expected-error @+1 {{(1) expected buffer @z to be 64 wide, got 32}}
      stream.attention @z, @y heads 4 : !llama.cache<2x16>
    }
  }
}

// -----

// stream.attention 1: the result is heads x head size wide
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @z width 32
    stream.phase "a" {
      // expected-error @+1 {{(1) expected buffer @z to be 64 wide, got 32}}
      stream.attention @x, @z heads 4 : !llama.cache<2x16>
    }
  }
}

// -----

// stream.attention 2: heads is a multiple of the KV heads
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{(2) expected heads divisible by the cache's KV heads, got 4 and '!llama.cache<3x16>'}}
      stream.attention @x, @y heads 4 : !llama.cache<3x16>
    }
  }
}

// -----

// stream.attention 2: a cache
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{(2) expected heads divisible by the cache's KV heads, got 4 and 'f32'}}
      stream.attention @x, @y heads 4 : f32
    }
  }
}

// -----

// stream.softmax 1: room for the sum's logarithm
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{(1) expected a result wider than the input's 64, got 64}}
      stream.softmax @x, @y
    }
  }
}

// -----

// stream.peak 1: what a round reads
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.phase "a" {
      // expected-error @+1 {{expected buffer @x to be 2048 wide, got 64}}
      stream.peak @x
    }
  }
}

// -----

// stream.softmax: buffers of this program
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.phase "a" {
      // expected-error @+1 {{expected a stream.buffer of this program, got @none}}
      stream.softmax @x, @none
    }
  }
}

// -----

// stream.phase 1: one attention
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    // expected-error @+1 {{(1) expected one of tiles, attention, softmax, peak, embed, got 2 kinds}}
    stream.phase "a" {
      stream.attention @x, @y heads 4 : !llama.cache<2x16>
      stream.attention @x, @y heads 4 : !llama.cache<4x16>
    }
  }
}

// -----

// stream.phase 2: the table of one row would be another row's result
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @t from "t" : !llama.weight<96x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @t width 96
    // expected-error @+1 {{(2) expected no write to @t, which a rope reads}}
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@t] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        %s = stream.rope %r, @t head_dim 16
        stream.write_rows %s, @t
      }
    }
  }
}

// -----

// stream.phase 3: rows of other workers are read
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @z width 64
    // expected-error @+1 {{(3) expected no read of @y, which another tiles writes}}
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        %s = stream.read_rows @y
        stream.write_rows %s, @z
      }
    }
  }
}

// -----

// stream.phase 3: two tiles write the same rows
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    // expected-error @+1 {{(3) expected one tiles to write @y, got several}}
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.phase 4: an operand is laid out for one token_block
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @z width 64
    // expected-error @+1 {{(4) expected one token_block for an operand, got 2 and 4}}
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      } {token_block = 2 : i64}
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @z
      } {token_block = 4 : i64}
    }
  }
}

// -----

// stream.read: part of a prologue, not of an epilogue
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        // expected-error @+1 {{expects parent op 'stream.phase'}}
        %v = stream.read @x : !stream.values<64>
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.rms_norm 2: a positive eps
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  llama.weight @n from "n" : !llama.weight<1x64, f32>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %v = stream.read @x : !stream.values<64>
      // expected-error @+1 {{(2) expected a positive eps}}
      %n = stream.rms_norm %v, @n eps 0.0 : !stream.values<64>
      %a = stream.prepare %n : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.tiles 5: prefetch
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(5) expected a prefetch of at least 0, got -64}}
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      } {prefetch = -64 : i64}
    }
  }
}

// -----

// stream.rope 2: head_dim is not zero
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @t width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        // expected-error @+1 {{(2) expected rows divisible by an even head_dim, got 64 and 0}}
        %s = stream.rope %r, @t head_dim 0
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.rope 2: head_dim is not negative
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @t width 32
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        // expected-error @+1 {{(2) expected rows divisible by an even head_dim, got 64 and -16}}
        %s = stream.rope %r, @t head_dim -16
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.rope 2: head_dim is even
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @t width 94
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        // expected-error @+1 {{(2) expected rows divisible by an even head_dim, got 64 and 15}}
        %s = stream.rope %r, @t head_dim 15
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.rope 2: head_dim divides the rows
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @t width 160
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        // expected-error @+1 {{(2) expected rows divisible by an even head_dim, got 64 and 48}}
        %s = stream.rope %r, @t head_dim 48
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.rope 3: pairs of channels lie in one vector
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @t width 96
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        // expected-error @+1 {{(3) expected even lanes, got 1}}
        %s = stream.rope %r, @t head_dim 16
        stream.write_rows %r, @y
      } {lanes = 1 : i64}
    }
  }
}

// -----

// stream.embed 2: tile_rows 0
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{(2) expected tile_rows 16 or 32, got 0}}
      stream.embed @w, @x {tile_rows = 0 : i64}
    }
  }
}

// -----

// stream.embed 2: tile_rows -32
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{(2) expected tile_rows 16 or 32, got -32}}
      stream.embed @w, @x {tile_rows = -32 : i64}
    }
  }
}

// -----

// stream.embed 2: tile_rows 48
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{(2) expected tile_rows 16 or 32, got 48}}
      stream.embed @w, @x {tile_rows = 48 : i64}
    }
  }
}

// -----

// stream.rope_table 2: head_dim 0, 0 turns
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @t width 64
    stream.phase "a" {
      // expected-error @+1 {{(2) expected a positive even head_dim and at most half as many turns, got 0 and 0}}
      stream.rope_table @t head_dim 0 turns []
      stream.embed @w, @x
    }
  }
}

// -----

// stream.rope_table 2: head_dim -16, 0 turns
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @t width 32
    stream.phase "a" {
      // expected-error @+1 {{(2) expected a positive even head_dim and at most half as many turns, got -16 and 0}}
      stream.rope_table @t head_dim -16 turns []
      stream.embed @w, @x
    }
  }
}

// -----

// stream.rope_table 2: head_dim 15, 1 turns
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @t width 94
    stream.phase "a" {
      // expected-error @+1 {{(2) expected a positive even head_dim and at most half as many turns, got 15 and 1}}
      stream.rope_table @t head_dim 15 turns [0.5]
      stream.embed @w, @x
    }
  }
}

// -----

// stream.rope_table 2: head_dim 2, 2 turns
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.buffer @t width 68
    stream.phase "a" {
      // expected-error @+1 {{(2) expected a positive even head_dim and at most half as many turns, got 2 and 2}}
      stream.rope_table @t head_dim 2 turns [0.5, 0.25]
      stream.embed @w, @x
    }
  }
}

// -----

// stream.attention 3: token_block 0
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{(3) expected a positive token_block, got 0}}
      stream.attention @x, @y heads 4 : !llama.cache<2x16> {token_block = 0 : i64}
    }
  }
}

// -----

// stream.attention 3: token_block -8
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 1 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{(3) expected a positive token_block, got -8}}
      stream.attention @x, @y heads 4 : !llama.cache<2x16> {token_block = -8 : i64}
    }
  }
}

// -----

// stream.attention 5: prefetch is not negative
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 2 {
    stream.buffer @q width 64
    stream.buffer @a width 64
    stream.phase "a" {
      // expected-error @+1 {{(5) expected a prefetch of at least 0, got -64}}
      stream.attention @q, @a heads 4 : !llama.cache<2x16> {prefetch = -64 : i64}
    }
  }
}

// -----

// stream.attention 4: split is for programs of one token
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  stream.program @p max_tokens 2 {
    stream.buffer @q width 64
    stream.buffer @parts width 72
    stream.phase "a" {
      // expected-error @+1 {{(4) expected split in a program of one token, got one of 2}}
      stream.attention @q, @parts heads 4 : !llama.cache<2x16> {split}
    }
  }
}

// -----

// stream.attention 1: the parts of every segment of the context
llama.model @m attributes {architecture = "llama", context_length = 257 : i64} {
  stream.program @p max_tokens 1 {
    stream.buffer @q width 64
    stream.buffer @parts width 72
    stream.phase "a" {
      // expected-error @+1 {{(1) expected buffer @parts to be 144 wide, got 72}}
      stream.attention @q, @parts heads 4 : !llama.cache<2x16> {split}
    }
  }
}

// -----

// stream.merge 1: heads
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, f32>
  stream.program @p max_tokens 1 {
    stream.buffer @parts width 72
    stream.buffer @y width 64
    stream.phase "a" {
      // expected-error @+1 {{(1) expected heads that divide 64, got 3}}
      %x = stream.merge @parts heads 3 : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, f32>
      stream.tiles (%a) [@w] : !stream.operand<64, f32> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      }
    }
  }
}

// -----

// stream.tiles 4: token_block and the capacity
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 6 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      // expected-error @+1 {{(4) expected a token_block that divides the program's max_tokens, 6, got 4}}
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      } {token_block = 4 : i64}
    }
  }
}

// -----

// stream.phase 5: a multiple
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 8 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    // expected-error @+1 {{(5) expected prologue_tokens to be a multiple of every token_block, got 6 and 4}}
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      } {token_block = 4 : i64}
    } {prologue_tokens = 6 : i64}
  }
}

// -----

// stream.phase 5: positive
llama.model @m attributes {architecture = "llama", context_length = 8 : i64} {
  llama.weight @w from "w" : !llama.weight<64x64, q4_1>
  stream.program @p max_tokens 8 {
    stream.buffer @x width 64
    stream.buffer @y width 64
    // expected-error @+1 {{(5) expected positive prologue_tokens, got 0}}
    stream.phase "a" {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@w] : !stream.operand<64, i8> {
      ^bb0(%r: !stream.lanes):
        stream.write_rows %r, @y
      } {token_block = 4 : i64}
    } {prologue_tokens = 0 : i64}
  }
}
