//===- LlamaDialect.td - what a Llama-family model computes ------------------------===//
#ifndef SLUICE_LLAMA_DIALECT_TD
#define SLUICE_LLAMA_DIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def Llama_Dialect : Dialect {
  let name = "llama";
  let cppNamespace = "::sluice::llama";
  let summary = "one operation per mathematical step of a Llama-family model";
  let description = [{
    Activations are `tensor<?xNxf32>`: tokens of the chunk by channels. Weights are symbols whose type carries shape and
    quantisation; their bytes never enter the IR. Layers of equal signature share one `llama.block`.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

def Llama_Format : I32EnumAttr<"Format", "how a weight's numbers are stored; facts in Formats.h", [
    I32EnumAttrCase<"F32", 0, "f32">, I32EnumAttrCase<"F16", 1, "f16">, I32EnumAttrCase<"BF16", 2, "bf16">,
    I32EnumAttrCase<"Q8_0", 3, "q8_0">, I32EnumAttrCase<"Q4_0", 4, "q4_0">, I32EnumAttrCase<"Q4_1", 5, "q4_1">,
    I32EnumAttrCase<"Q5_0", 6, "q5_0">, I32EnumAttrCase<"Q5_1", 7, "q5_1">, I32EnumAttrCase<"Q2_K", 8, "q2_k">,
    I32EnumAttrCase<"Q3_K", 9, "q3_k">, I32EnumAttrCase<"Q4_K", 10, "q4_k">, I32EnumAttrCase<"Q5_K", 11, "q5_k">,
    I32EnumAttrCase<"Q6_K", 12, "q6_k">, I32EnumAttrCase<"IQ4_NL", 13, "iq4_nl">,
    I32EnumAttrCase<"IQ4_XS", 14, "iq4_xs">, I32EnumAttrCase<"MXFP4", 15, "mxfp4">]> {
  let cppNamespace = "::sluice::llama";
  let genSpecializedAttr = 0;
}

class Llama_Type<string name, string mnem> : TypeDef<Llama_Dialect, name> { let mnemonic = mnem; }

def Llama_WeightType : Llama_Type<"Weight", "weight"> {
  let summary = "a matrix of the checkpoint: rows (outputs) x cols (inputs), and its format";
  let description = [{
    `!llama.weight<192x576, q4_1>`: 192 outputs of 576 inputs. A vector (norm weights) is `1xN`.

    1. rows and cols are positive
    2. cols is a multiple of the format's block
  }];
  let parameters = (ins "int64_t":$rows, "int64_t":$cols, "::sluice::llama::Format":$format);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Llama_CacheType : Llama_Type<"Cache", "cache"> {
  let summary = "the key and value cache of one layer, or of all layers outside a block";
  let description = [{`!llama.cache<3x64>`: KV heads x head size. How its numbers are stored is chosen at run time.}];
  let parameters = (ins "int64_t":$kvHeads, "int64_t":$headDim);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Llama_RunAttr : AttrDef<Llama_Dialect, "Run"> {
  let mnemonic = "run";
  let summary = "consecutive layers that share a block";
  let description = [{`#llama.run<@blk x 30>`: thirty layers of block `@blk`.}];
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$block, "int64_t":$count);
  let assemblyFormat = "`<` $block `x` $count `>`";
}
def Llama_RunArrayAttr : TypedArrayAttrBase<Llama_RunAttr, "runs of layers, in order">;

#endif
