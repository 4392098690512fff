//===- LlamaOps.td - the operations of the llama dialect ---------------------------===//
#ifndef SLUICE_LLAMA_OPS_TD
#define SLUICE_LLAMA_OPS_TD

include "dialects/llama/LlamaDialect.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Llama_Op<string mnemonic, list<Trait> traits = []> : Op<Llama_Dialect, mnemonic, traits>;
// Uses a weight symbol of the enclosing llama.model; the verifier looks its type up.
class Llama_WeightOp<string mnemonic, list<Trait> traits = []>
    : Llama_Op<mnemonic, !listconcat(traits, [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>])>;

def Llama_Activation : TypeConstraint<And<[
    IsRankedTensorTypePred, CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 2">,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(0)">,
    CPred<"!::llvm::cast<::mlir::RankedTensorType>($_self).isDynamicDim(1)">,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getElementType().isF32()">]>,
    "activations: tensor<?xNxf32>, tokens by channels", "::mlir::RankedTensorType">;
def Llama_Ids : TypeConstraint<CPred<[{$_self == ::mlir::RankedTensorType::get({::mlir::ShapedType::kDynamic},
    ::mlir::IntegerType::get($_self.getContext(), 32))}]>, "token ids: tensor<?xi32>", "::mlir::RankedTensorType">,
    BuildableType<[{::mlir::RankedTensorType::get({::mlir::ShapedType::kDynamic}, $_builder.getI32Type())}]>;

//===-- Containers -----------------------------------------------------------------===//

def Llama_ModelOp : Llama_Op<"model", [IsolatedFromAbove, Symbol, SymbolTable, NoTerminator, SingleBlock]> {
  let summary = "a model: its weights, its layer bodies, its graph";
  let description = [{
    Attributes are facts that the runtime reports; shapes that matter are in the types.

    ```mlir
    llama.model @tiny attributes {architecture = "llama", context_length = 64 : i64} {
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$architecture, I64Attr:$context_length);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
}

def Llama_WeightDeclOp : Llama_Op<"weight", [Symbol, HasParent<"ModelOp">]> {
  let summary = "declares a tensor of the checkpoint";
  let description = [{
    `from` is the tensor's name there; `{layer}` in it stands for the layer's number, and makes the weight one per layer.
    What the packer makes of it on the way: it takes the rows from `first_row` on (one tensor may hold several weights),
    decodes it with the number at `scale_from` (where the checkpoint has it apart), reorders rows (of a vector: elements) as
    `half_split` says, adds `plus` to every element, and converts it if the tensor is in another format than the type's.

    1. the names contain `{layer}` at most once
    2. first_row is not negative
    3. the rows (of a vector: cols) are whole heads of `half_split`
    4. only vectors have `plus`

    ```mlir
    llama.weight @attn_q from "blk.{layer}.attn_q.weight" : !llama.weight<576x576, q4_1>
    llama.weight @attn_k from "layers.{layer}.qkv.weight" {first_row = 576 : i64, half_split = #llama.half_split<64, 64>}
      : !llama.weight<192x576, bf16>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$from, TypeAttrOf<Llama_WeightType>:$type,
                       DefaultValuedAttr<I64Attr, "0">:$first_row, OptionalAttr<StrAttr>:$scale_from,
                       OptionalAttr<Llama_HalfSplitAttr>:$half_split, DefaultValuedAttr<F32Attr, "0.0f">:$plus);
  let assemblyFormat = "$sym_name `from` $from attr-dict `:` $type";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    bool isPerLayer() { return getFrom().contains("{layer}"); }
    // The checkpoint's name of this weight in layer `layer` (ignored unless isPerLayer()).
    std::string tensorName(int64_t layer) { return nameInLayer(getFrom(), layer); }
    static std::string nameInLayer(::llvm::StringRef name, int64_t layer);
    WeightType getWeightType() { return ::llvm::cast<WeightType>(getType()); }
  }];
}

def Llama_BlockOp : Llama_Op<"block", [IsolatedFromAbove, Symbol, HasParent<"ModelOp">,
                                       SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "the body of one layer";
  let description = [{
    Arguments: the layer's input, the position of the chunk's first token, the layer's cache. Yields the layer's output.

    1. the arguments are (activations, index, cache)
    2. it yields one value, of the type of its input

    ```mlir
    llama.block @blk(%x: tensor<?x576xf32>, %pos: index, %kv: !llama.cache<3x64>) {
      llama.yield %x : tensor<?x576xf32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::Value getInput() { return getBody().getArgument(0); }
    ::mlir::Value getPosition() { return getBody().getArgument(1); }
    ::mlir::Value getCache() { return getBody().getArgument(2); }
  }];
}

def Llama_GraphOp : Llama_Op<"graph", [IsolatedFromAbove, Symbol, HasParent<"ModelOp">, SingleBlock]> {
  let summary = "what one chunk of tokens goes through, from ids to logits";
  let description = [{
    1. the arguments are (ids, index, cache)
    2. it ends with `llama.return` of one value

    ```mlir
    llama.graph @token(%ids: tensor<?xi32>, %pos: index, %kv: !llama.cache<3x64>) {
      %x = llama.embed %ids, @token_embd : tensor<?x576xf32>
      %l = llama.linear %x, @token_embd : tensor<?x576xf32> -> tensor<?x49152xf32>
      llama.return %l : tensor<?x49152xf32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Llama_LayersOp : Llama_Op<"layers", [AllTypesMatch<["input", "result"]>,
                                         DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "applies the layers one after another";
  let description = [{
    The layers are numbered from 0 in the order of the runs. The output of one is the input of the next.

    1. every run names a `llama.block` of this model and has a positive count

    ```mlir
    %x = llama.layers %x0, %pos, %kv [#llama.run<@blk x 30>] : tensor<?x576xf32>, !llama.cache<3x64>
    ```
  }];
  let arguments = (ins Llama_Activation:$input, Index:$position, Llama_CacheType:$cache, Llama_RunArrayAttr:$runs);
  let results = (outs Llama_Activation:$result);
  let assemblyFormat = "$input `,` $position `,` $cache $runs attr-dict `:` type($input) `,` type($cache)";
}

def Llama_YieldOp : Llama_Op<"yield", [Pure, Terminator, ParentOneOf<["BlockOp", "StageOp"]>]> {
  let summary = "the results of a block or stage";
  let arguments = (ins Variadic<AnyType>:$values);
  let builders = [OpBuilder<(ins), [{ }]>];
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

def Llama_ReturnOp : Llama_Op<"return", [Pure, Terminator, HasParent<"GraphOp">]> {
  let summary = "the logits";
  let arguments = (ins Llama_Activation:$logits);
  let assemblyFormat = "$logits attr-dict `:` type($logits)";
}

//===-- Steps of the mathematics ----------------------------------------------------===//

def Llama_EmbedOp : Llama_WeightOp<"embed"> {
  let summary = "looks the rows of the token ids up, and multiplies them by `scale`";
  let description = [{
    1. the result's width is the weight's cols

    ```mlir
    %x = llama.embed %ids, @token_embd : tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Llama_Ids:$ids, FlatSymbolRefAttr:$weight, DefaultValuedAttr<F32Attr, "1.0f">:$scale);
  let results = (outs Llama_Activation:$result);
  let assemblyFormat = "$ids `,` $weight attr-dict `:` type($result)";
}

def Llama_RmsNormOp : Llama_WeightOp<"rms_norm", [AllTypesMatch<["input", "result"]>]> {
  let summary = "x / sqrt(mean(x^2) + eps) * weight, over the channels of each token, or of each of its heads";
  let description = [{
    Zhang and Sennrich, Root Mean Square Layer Normalization, 2019. With a weight narrower than the input, each piece of so
    many channels is normalised for itself.

    1. the weight is 1 x a divisor of the input's width
    2. eps is positive

    ```mlir
    %n = llama.rms_norm %x, @attn_norm eps 1.0e-5 : tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Llama_Activation:$input, FlatSymbolRefAttr:$weight, F32Attr:$eps);
  let results = (outs Llama_Activation:$result);
  let assemblyFormat = "$input `,` $weight `eps` custom<PlainF32>($eps) attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def Llama_LinearOp : Llama_WeightOp<"linear"> {
  let summary = "input times the transposed weight";
  let description = [{
    1. the input's width is the weight's cols
    2. the result's width is the weight's rows

    ```mlir
    %q = llama.linear %n, @attn_q : tensor<?x576xf32> -> tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Llama_Activation:$input, FlatSymbolRefAttr:$weight);
  let results = (outs Llama_Activation:$result);
  let assemblyFormat = "$input `,` $weight attr-dict `:` type($input) `->` type($result)";
}

def Llama_RopeOp : Llama_Op<"rope", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "rotates pairs of adjacent channels of every head by an angle proportional to the position";
  let description = [{
    Su et al., RoFormer, 2021. `turns[i]` is the rotation of channels 2i and 2i+1 of a head per position, in turns
    (1 is 2 pi); channels past `2 * size(turns)` are left alone. Every scaling of RoPE is a choice of `turns`, and of the
    `magnitude` that rotated channels are multiplied by.

    1. the width is a multiple of head_dim, which is even
    2. there are at most head_dim / 2 turns

    ```mlir
    %r = llama.rope %q, %pos head_dim 4 turns [1.591550e-01, 1.591550e-03] : tensor<?x8xf32>
    ```
  }];
  let arguments = (ins Llama_Activation:$input, Index:$position, I64Attr:$head_dim, DenseF64ArrayAttr:$turns,
                       DefaultValuedAttr<F64Attr, "1.0">:$magnitude);
  let results = (outs Llama_Activation:$result);
  let assemblyFormat = "$input `,` $position `head_dim` custom<PlainI64>($head_dim) `turns` custom<ExactF64s>($turns) attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def Llama_AppendOp : Llama_Op<"append", [Pure, AllTypesMatch<["key", "value"]>, AllTypesMatch<["cache", "result"]>]> {
  let summary = "the cache with the chunk's keys and values written from the position on";
  let description = [{
    1. key and value are kv_heads x head_dim wide

    ```mlir
    %kv1 = llama.append %k, %v, %kv, %pos : tensor<?x192xf32>, !llama.cache<3x64>
    ```
  }];
  let arguments = (ins Llama_Activation:$key, Llama_Activation:$value, Llama_CacheType:$cache, Index:$position);
  let results = (outs Llama_CacheType:$result);
  let assemblyFormat = "$key `,` $value `,` $cache `,` $position attr-dict `:` type($key) `,` type($cache)";
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::Value":$key, "::mlir::Value":$value, "::mlir::Value":$cache,
                                 "::mlir::Value":$position),
                            [{ build($_builder, $_state, cache.getType(), key, value, cache, position); }]>];
}

def Llama_AttentionOp : Llama_Op<"attention", [Pure, AllTypesMatch<["query", "result"]>]> {
  let summary = "causal grouped-query attention of the chunk's queries over the cache";
  let description = [{
    Token t of the chunk, at position p = position + t, attends to positions 0 to p, or to the last `window` of these
    (Beltagy et al., Longformer, 2020): softmax(q k scale) v, where scale is 1 / sqrt(head_dim) unless it is given. With
    `softcap`, softcap * tanh(x / softcap) is taken of each q k scale.
    Query head h reads KV head h / (heads / kv_heads). Ainslie et al., GQA, 2023.

    1. the query is heads x head_dim wide
    2. heads is a multiple of the cache's KV heads
    3. window, scale and softcap are positive

    ```mlir
    %a = llama.attention %q, %kv1, %pos heads 9 : tensor<?x576xf32>, !llama.cache<3x64>
    ```
  }];
  let arguments = (ins Llama_Activation:$query, Llama_CacheType:$cache, Index:$position, I64Attr:$heads,
                       OptionalAttr<I64Attr>:$window, OptionalAttr<F32Attr>:$scale, OptionalAttr<F32Attr>:$softcap);
  let results = (outs Llama_Activation:$result);
  let assemblyFormat = [{$query `,` $cache `,` $position `heads` custom<PlainI64>($heads) attr-dict `:` type($query)
                         `,` type($cache)}];
  let hasVerifier = 1;
}

def Llama_AddOp : Llama_Op<"add", [Pure, SameOperandsAndResultType]> {
  let summary = "the sum: a residual connection";
  let description = [{
    ```mlir
    %s = llama.add %x, %o : tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Llama_Activation:$lhs, Llama_Activation:$rhs);
  let results = (outs Llama_Activation:$result);
  let assemblyFormat = "$lhs `,` $rhs attr-dict `:` type($result)";
}

def Llama_SwigluOp : Llama_Op<"swiglu", [Pure, SameOperandsAndResultType]> {
  let summary = "silu(gate) * up, silu(x) = x / (1 + exp(-x))";
  let description = [{
    Shazeer, GLU Variants Improve Transformer, 2020.

    ```mlir
    %h = llama.swiglu %gate, %up : tensor<?x1536xf32>
    ```
  }];
  let arguments = (ins Llama_Activation:$gate, Llama_Activation:$up);
  let results = (outs Llama_Activation:$result);
  let assemblyFormat = "$gate `,` $up attr-dict `:` type($result)";
}

def Llama_GegluOp : Llama_Op<"geglu", [Pure, SameOperandsAndResultType]> {
  let summary = "gelu(gate) * up, gelu(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))";
  let description = [{
    Shazeer, GLU Variants Improve Transformer, 2020; Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.

    ```mlir
    %h = llama.geglu %gate, %up : tensor<?x1536xf32>
    ```
  }];
  let arguments = (ins Llama_Activation:$gate, Llama_Activation:$up);
  let results = (outs Llama_Activation:$result);
  let assemblyFormat = "$gate `,` $up attr-dict `:` type($result)";
}

def Llama_BiasOp : Llama_WeightOp<"bias", [AllTypesMatch<["input", "result"]>]> {
  let summary = "input + weight, for every token";
  let description = [{
    1. the weight is 1 x the input's width

    ```mlir
    %b = llama.bias %q, @attn_q_bias : tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Llama_Activation:$input, FlatSymbolRefAttr:$weight);
  let results = (outs Llama_Activation:$result);
  let assemblyFormat = "$input `,` $weight attr-dict `:` type($input)";
}

def Llama_ScaleOp : Llama_Op<"scale", [Pure, SameOperandsAndResultType]> {
  let summary = "input * factor";
  let description = [{
    ```mlir
    %s = llama.scale %o by 2.200000e-01 : tensor<?x576xf32>
    ```
  }];
  let arguments = (ins Llama_Activation:$input, F32Attr:$factor);
  let results = (outs Llama_Activation:$result);
  let assemblyFormat = "$input `by` custom<PlainF32>($factor) attr-dict `:` type($input)";
}

def Llama_SoftcapOp : Llama_Op<"softcap", [Pure, SameOperandsAndResultType]> {
  let summary = "cap * tanh(input / cap)";
  let description = [{
    Gemma Team, Gemma 2, 2024.

    1. cap is positive

    ```mlir
    %s = llama.softcap %l at 3.000000e+01 : tensor<?x256xf32>
    ```
  }];
  let arguments = (ins Llama_Activation:$input, F32Attr:$cap);
  let results = (outs Llama_Activation:$result);
  let assemblyFormat = "$input `at` custom<PlainF32>($cap) attr-dict `:` type($input)";
  let hasVerifier = 1;
}

//===-- Fusion ----------------------------------------------------------------------===//

def Llama_StageOp : Llama_Op<"stage", [SingleBlockImplicitTerminator<"YieldOp">, NoRegionArguments]> {
  let summary = "operations that will run as one phase, between two barriers";
  let description = [{
    What the fusion passes build and move operations into. It is anchored by the operations that read memory: `embed`,
    `attention`, or `linear`s of one input. Norms and sums before linears are recomputed by every worker; what comes
    after them works row by row on the rows a worker has just made. Attention takes in what is done to the heads of its query
    and keys on the way there. Without an anchor it is norms and sums, which are computed once for each token.

    1. it has at least one anchor, or consists of `rms_norm` and `add`
    2. its anchors are all `linear` with the same input, or a single other one
    3. it contains no stage and no `layers`

    ```mlir
    %q = llama.stage "attn_q" -> tensor<?x576xf32> {
      %n = llama.rms_norm %x, @attn_norm eps 1.0e-5 : tensor<?x576xf32>
      %y = llama.linear %n, @attn_q : tensor<?x576xf32> -> tensor<?x576xf32>
      llama.yield %y : tensor<?x576xf32>
    }
    ```
  }];
  let arguments = (ins StrAttr:$name);
  let results = (outs Variadic<AnyType>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$name (`->` type($results)^)? $body attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    // The linear, embed and attention operations inside, in order.
    ::llvm::SmallVector<::mlir::Operation *> getAnchors();
    static bool isAnchor(::mlir::Operation *op);
    YieldOp getYield();
  }];
}

#endif
