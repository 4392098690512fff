//===- StreamOps.td - the operations of the stream dialect -------------------------===//
#ifndef SLUICE_STREAM_OPS_TD
#define SLUICE_STREAM_OPS_TD

include "dialects/stream/StreamDialect.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Stream_Op<string mnemonic, list<Trait> traits = []> : Op<Stream_Dialect, mnemonic, traits>;
// Names a buffer of the enclosing program, or a weight of the enclosing model; the verifier looks them up.
class Stream_SymbolOp<string mnemonic, list<Trait> traits = []>
    : Stream_Op<mnemonic, !listconcat(traits, [DeclareOpInterfaceMethods<SymbolUserOpInterface>])>;

//===-- Structure --------------------------------------------------------------------===//

def Stream_ProgramOp : Stream_Op<"program", [Symbol, SymbolTable, IsolatedFromAbove, NoTerminator, SingleBlock,
                                             HasParent<"::sluice::llama::ModelOp">]> {
  let summary = "phases in order, for a chunk of up to max_tokens tokens";
  let description = [{
    All programs of a model read the same packed weights.

    1. max_tokens is positive
    2. it contains only buffers, phases and repeats

    ```mlir
    stream.program @decode max_tokens 1 {
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$max_tokens);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `max_tokens` custom<PlainI64>($max_tokens) attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Stream_BufferOp : Stream_Op<"buffer", [Symbol, HasParent<"ProgramOp">]> {
  let summary = "activations shared by all workers: f32 [max_tokens][width], in the arena";
  let description = [{
    A token's row is padded to a multiple of 32 floats; padding may hold anything.

    1. width is positive

    ```mlir
    stream.buffer @x width 576
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$width);
  let assemblyFormat = "$sym_name `width` custom<PlainI64>($width) attr-dict";
  let hasVerifier = 1;
}

def Stream_RepeatOp : Stream_Op<"repeat", [NoTerminator, SingleBlock, NoRegionArguments, HasParent<"ProgramOp">]> {
  let summary = "the phases of consecutive layers that share a body";
  let description = [{
    Layers are numbered from 0 in the order of the program's repeats. Weights with `{layer}` in their name are those of the
    current layer.

    1. count is positive
    2. it contains only phases

    ```mlir
    stream.repeat 30 {
    }
    ```
  }];
  let arguments = (ins I64Attr:$count);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "custom<PlainI64>($count) $body attr-dict";
  let hasVerifier = 1;
}

def Stream_PhaseOp : Stream_Op<"phase", [NoTerminator, SingleBlock, NoRegionArguments,
                                         ParentOneOf<["ProgramOp", "RepeatOp"]>]> {
  let summary = "work that all workers share out, with a barrier after it";
  let description = [{
    `head` marks a phase that is needed only for tokens whose logits are wanted. `prologue_tokens`: the workers share the
    prologue out in pieces of that many tokens, and meet before the tiles; without it each does all of it.

    1. it contains `tiles`, or one `attention`, `softmax`, `peak` or `embed`; `rope_table` is beside `embed` only, one
       `append` beside `attention` only
    2. it writes no buffer that its prologue, or a `rope` as its table, reads
    3. a buffer that one `tiles` writes is neither read nor written by another: their rows are other workers'
    4. `tiles` that share an operand have the same token_block, as soon as they have one
    5. prologue_tokens is positive and a multiple of every token_block

    ```mlir
    stream.phase "output" {
      %a = stream.read @attn : !stream.values<576>
      %q = stream.prepare %a : !stream.values<576> -> !stream.operand<576, i8>
      stream.tiles (%q) [@attn_output] : !stream.operand<576, i8> {
      ^bb0(%y: !stream.lanes):
        %x = stream.read_rows @x
        %s = stream.add %y, %x
        stream.write_rows %s, @h
      }
    }
    ```
  }];
  let arguments = (ins StrAttr:$name, UnitAttr:$head, OptionalAttr<I64Attr>:$prologue_tokens);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$name (`head` $head^)? $body attr-dict";
  let hasVerifier = 1;
}

//===-- Prologue: on every worker ------------------------------------------------------===//

def Stream_ReadOp : Stream_SymbolOp<"read", [HasParent<"PhaseOp">]> {
  let summary = "the channels of a buffer, all of them";
  let description = [{
    1. the result is as wide as the buffer

    ```mlir
    %a = stream.read @x : !stream.values<576>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$buffer);
  let results = (outs Stream_ValuesType:$result);
  let assemblyFormat = "$buffer attr-dict `:` type($result)";
}

def Stream_RmsNormOp : Stream_SymbolOp<"rms_norm", [HasParent<"PhaseOp">, AllTypesMatch<["input", "result"]>]> {
  let summary = "see llama.rms_norm";
  let description = [{
    1. the weight is 1 x the input's width
    2. eps is positive

    ```mlir
    %n = stream.rms_norm %x, @attn_norm eps 1.0e-5 : !stream.values<576>
    ```
  }];
  let arguments = (ins Stream_ValuesType:$input, FlatSymbolRefAttr:$weight, F32Attr:$eps);
  let results = (outs Stream_ValuesType:$result);
  let assemblyFormat = "$input `,` $weight `eps` custom<PlainF32>($eps) attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def Stream_MergeOp : Stream_SymbolOp<"merge", [HasParent<"PhaseOp">]> {
  let summary = "joins the parts of a split stream.attention, in the order of their positions";
  let description = [{
    Which parts there are follows from the position of the step.

    1. heads divides the result's width; the buffer is segments of the context x heads x (head size + 2) wide

    ```mlir
    %a = stream.merge @parts heads 9 : !stream.values<576>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$buffer, I64Attr:$heads);
  let results = (outs Stream_ValuesType:$result);
  let assemblyFormat = "$buffer `heads` custom<PlainI64>($heads) attr-dict `:` type($result)";
}

def Stream_PrepareOp : Stream_Op<"prepare", [Pure, HasParent<"PhaseOp">]> {
  let summary = "puts activations in the form that dots read";
  let description = [{
    An f32 operand is the activations, a bf16 one is rounded to nearest even. An i8 operand is quantised in blocks of 64 channels,
    symmetrically; the scale is the largest magnitude / 127.

    `outliers`: channels beyond so many times the root mean square of the token are outliers, which would make the codes of
    their neighbours coarse. Of them x = step * high + rest, where step is the power of two above (norm of the token) / 127 and
    high is x / step rounded to nearest even, a byte; rest is quantised in place of x, and high enters dot products
    apart. A group of four channels with an outlier costs about half as much as the other seven of a block do.
    `two_bytes`: every channel has a second byte, worth 16 times the first, and the scale is the largest magnitude / (16 x 127).

    1. the result is as wide as the input
    2. outliers is 0, for none, or from 1 to 1000
    3. outliers and two_bytes exclude each other
    4. they are for i8 operands

    ```mlir
    %q = stream.prepare %a {outliers = 4.0 : f64} : !stream.values<576> -> !stream.operand<576, i8>
    ```
  }];
  let arguments = (ins Stream_ValuesType:$input, DefaultValuedAttr<F64Attr, "::llvm::APFloat(0.0)">:$outliers,
                       UnitAttr:$two_bytes);
  let results = (outs Stream_OperandType:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

//===-- Tiles: shared out ---------------------------------------------------------------===//

def Stream_TilesOp : Stream_SymbolOp<"tiles", [NoTerminator, SingleBlock, HasParent<"PhaseOp">]> {
  let summary = "the rows of one or more weights, tile by tile: dots, then the region for every token";
  let description = [{
    Weight i is multiplied with operand i; argument i of the region is the dot products of the tile's rows. Several weights
    of one `tiles` alternate tile by tile in the packed file. Rows past the last are not written.

    The configuration: `tile_rows` rows are packed side by side (it decides the layout of the file; every target reads
    it); `row_block` rows are worked on at once in vectors of `lanes`, for `token_block` tokens; `prefetch` is how many bytes
    software prefetches are ahead, 0 for none: of the weights in use for one token; for many, of as large a part of the tile as
    the work on it that is done.

    1. there are as many operands, weights and arguments
    2. all weights have the same number of rows; each has as many cols as its operand is wide
    3. integer formats take an i8 operand, bf16 one of its own, other float formats an f32 one
    4. tile_rows is 16 or 32; row_block divides it; lanes divides row_block; token_block divides the program's max_tokens;
       all are positive
    5. prefetch is not negative

    ```mlir
    stream.tiles (%a, %a) [@ffn_gate, @ffn_up] : !stream.operand<576, i8>, !stream.operand<576, i8> {
    ^bb0(%g: !stream.lanes, %u: !stream.lanes):
      %h = stream.swiglu %g, %u
      stream.write_rows %h, @hidden
    } {tile_rows = 32 : i64}
    ```
  }];
  let arguments = (ins Variadic<Stream_OperandType>:$operands, FlatSymbolRefArrayAttr:$weights,
                       DefaultValuedAttr<I64Attr, "32">:$tile_rows, OptionalAttr<I64Attr>:$row_block,
                       OptionalAttr<I64Attr>:$lanes, OptionalAttr<I64Attr>:$token_block,
                       OptionalAttr<I64Attr>:$prefetch);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "`(` $operands `)` $weights `:` type($operands) $body attr-dict";
  let hasVerifier = 1;
}

class Stream_EpilogueOp<string mnemonic, list<Trait> traits = []>
    : Stream_Op<mnemonic, !listconcat(traits, [HasParent<"TilesOp">])>;
class Stream_EpilogueSymbolOp<string mnemonic, list<Trait> traits = []>
    : Stream_SymbolOp<mnemonic, !listconcat(traits, [HasParent<"TilesOp">])>;

def Stream_ReadRowsOp : Stream_EpilogueSymbolOp<"read_rows"> {
  let summary = "the tile's rows of a buffer";
  let description = [{
    1. the buffer is as wide as the tiles' weights have rows

    ```mlir
    %r = stream.read_rows @x
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$buffer);
  let results = (outs Stream_LanesType:$result);
  let assemblyFormat = "$buffer attr-dict";
}

def Stream_WriteRowsOp : Stream_EpilogueSymbolOp<"write_rows"> {
  let summary = "writes the tile's rows of a buffer";
  let description = [{
    1. the buffer is as wide as the tiles' weights have rows

    ```mlir
    stream.write_rows %y, @h
    ```
  }];
  let arguments = (ins Stream_LanesType:$value, FlatSymbolRefAttr:$buffer);
  let assemblyFormat = "$value `,` $buffer attr-dict";
}

def Stream_AddOp : Stream_EpilogueOp<"add", [Pure, SameOperandsAndResultType]> {
  let summary = "the sum of two lanes";
  let description = [{
    ```mlir
    %s = stream.add %y, %r
    ```
  }];
  let arguments = (ins Stream_LanesType:$lhs, Stream_LanesType:$rhs);
  let results = (outs Stream_LanesType:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict";
}

def Stream_SwigluOp : Stream_EpilogueOp<"swiglu", [Pure, SameOperandsAndResultType]> {
  let summary = "see llama.swiglu";
  let description = [{
    ```mlir
    %h = stream.swiglu %g, %u
    ```
  }];
  let arguments = (ins Stream_LanesType:$gate, Stream_LanesType:$up);
  let results = (outs Stream_LanesType:$result);
  let assemblyFormat = "$gate `,` $up attr-dict";
}

def Stream_RopeOp : Stream_EpilogueSymbolOp<"rope", [SameOperandsAndResultType]> {
  let summary = "see llama.rope; the angles come from a table";
  let description = [{
    1. the table is 2 * (head_dim + 32) wide: see `rope_table`
    2. head_dim is even, and the tiles' rows are a multiple of it
    3. lanes is even: channels of a pair are neighbours

    ```mlir
    %r = stream.rope %y, @rope head_dim 64
    ```
  }];
  let arguments = (ins Stream_LanesType:$input, FlatSymbolRefAttr:$table, I64Attr:$head_dim);
  let results = (outs Stream_LanesType:$result);
  let assemblyFormat = "$input `,` $table `head_dim` custom<PlainI64>($head_dim) attr-dict";
}

//===-- Phases of other kinds -------------------------------------------------------------===//

def Stream_EmbedOp : Stream_SymbolOp<"embed", [HasParent<"PhaseOp">]> {
  let summary = "looks up the rows of the chunk's ids in a packed weight";
  let description = [{
    The weight lies as `tiles` packs it; where it is also streamed by a `tiles` (tied output) it is stored once.

    1. the buffer is as wide as the weight's cols
    2. tile_rows is 16 or 32

    ```mlir
    stream.embed @token_embd, @x
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight, FlatSymbolRefAttr:$buffer,
                       DefaultValuedAttr<I64Attr, "32">:$tile_rows);
  let assemblyFormat = "$weight `,` $buffer attr-dict";
  let hasVerifier = 1;
}

def Stream_RopeTableOp : Stream_SymbolOp<"rope_table", [HasParent<"PhaseOp">]> {
  let summary = "sines and cosines of the chunk's positions";
  let description = [{
    For every token at position p, of n = head_dim + 32 channels c (periodic in head_dim): first n cosines, then n sines, the
    sine of an even channel negated: channel c of pair i = (c % head_dim) / 2 holds cos and -+sin of 2 pi p turns[i]; 1 and
    0 past the turns.

    1. the buffer is 2 * (head_dim + 32) wide
    2. head_dim is positive and even; there are at most head_dim / 2 turns

    ```mlir
    stream.rope_table @rope head_dim 64 turns [1.591550e-01, 1.591550e-03]
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$buffer, I64Attr:$head_dim, DenseF64ArrayAttr:$turns);
  let assemblyFormat = "$buffer `head_dim` custom<PlainI64>($head_dim) `turns` custom<ExactF64s>($turns) attr-dict";
  let hasVerifier = 1;
}

def Stream_AppendOp : Stream_SymbolOp<"append", [HasParent<"PhaseOp">]> {
  let summary = "writes rows of keys and values into the KV cache, at their tokens' positions";
  let description = [{
    Before the attention beside it reads them. Channel c is channel c % head size of KV head c / head size. The layouts are
    in runtime/abi.h. In a program of many tokens this is the phase's prologue; one token is appended by the work item
    that reads its position.

    1. both buffers are KV heads x head size wide
    2. the attention of its phase reads such a cache

    ```mlir
    stream.append @k, @v : !llama.cache<3x64>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$key, FlatSymbolRefAttr:$value, TypeAttr:$cache);
  let assemblyFormat = "$key `,` $value `:` $cache attr-dict";
}

def Stream_AttentionOp : Stream_SymbolOp<"attention", [HasParent<"PhaseOp">]> {
  let summary = "see llama.attention; work items are KV heads x blocks of tokens, or KV heads x segments of positions";
  let description = [{
    Positions are walked in blocks of SLUICE_KV_BLOCK from 0, with a running maximum (Dao et al., FlashAttention, 2022), anew for every
    segment of SLUICE_KV_SEGMENT, whose parts are then merged: the same way for every chunking. With `split` each segment
    is a work item of its own, and the result is the parts, [segment][head] of outputs, maximum and sum, for `stream.merge`.
    The configuration: `token_block` tokens are a work item; `prefetch` is how many bytes software prefetches are ahead in the cache, 0 for none.

    1. both buffers are heads x head size wide; with split, the result is segments of the context x heads x (head size + 2)
    2. heads is a multiple of the cache's KV heads
    3. token_block is positive
    4. split is for programs of one token
    5. prefetch is not negative

    ```mlir
    stream.attention @q, @attn heads 9 : !llama.cache<3x64>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$query, FlatSymbolRefAttr:$result, I64Attr:$heads, TypeAttr:$cache,
                       OptionalAttr<I64Attr>:$token_block, OptionalAttr<I64Attr>:$prefetch, UnitAttr:$split);
  let assemblyFormat = "$query `,` $result `heads` custom<PlainI64>($heads) `:` $cache attr-dict";
  let hasVerifier = 1;
}

def Stream_SoftmaxOp : Stream_SymbolOp<"softmax", [HasParent<"PhaseOp">]> {
  let summary = "probabilities of the first `count` logits scaled by `parameter` (both arguments of the step)";
  let description = [{
    The result's element `width(input)` receives log(sum(exp(parameter * logit))).

    1. the result is at least one wider than the input

    ```mlir
    stream.softmax @logits, @probabilities
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$input, FlatSymbolRefAttr:$result);
  let assemblyFormat = "$input `,` $result attr-dict";
}

def Stream_PeakOp : Stream_SymbolOp<"peak", [HasParent<"PhaseOp">]> {
  let summary = "`count` rounds of 8-bit dot products on data that is at hand: what they take is what the target can do";
  let description = [{
    A round multiplies and adds every byte of the buffer once into sums in registers, as `tiles` do, without the loads
    of weights and the scales: SLUICE_PEAK_OPERATIONS (runtime/abi.h) operations. The buffer keeps some of the sums.

    1. the buffer is SLUICE_PEAK_OPERATIONS / 2 bytes wide

    ```mlir
    stream.peak @data
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$buffer);
  let assemblyFormat = "$buffer attr-dict";
}

#endif
