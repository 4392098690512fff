//===- StreamDialect.td - when which bytes are read --------------------------------===//
#ifndef SLUICE_STREAM_DIALECT_TD
#define SLUICE_STREAM_DIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def Stream_Dialect : Dialect {
  let name = "stream";
  let cppNamespace = "::sluice::stream";
  let summary = "a model as a list of phases, each streaming its weights once";
  let description = [{
    A program is a list of phases. All workers run a phase together and meet at a barrier after it; phases communicate
    through buffers only. In a phase, operations on `values` and `operand`s are its prologue, recomputed by every
    worker; `tiles` are shared out.
  }];
  let useDefaultTypePrinterParser = 1;
  let dependentDialects = ["::sluice::llama::LlamaDialect"];
}

class Stream_Type<string name, string mnem> : TypeDef<Stream_Dialect, name> { let mnemonic = mnem; }

def Stream_ValuesType : Stream_Type<"Values", "values"> {
  let summary = "f32 channels of each token, whole, on every worker";
  let parameters = (ins "int64_t":$width);
  let assemblyFormat = "`<` $width `>`";
}

def Stream_OperandKind : I32EnumAttr<"OperandKind", "how activations meet the weights", [
    I32EnumAttrCase<"Int8", 0, "i8">, I32EnumAttrCase<"Float", 1, "f32">, I32EnumAttrCase<"BFloat16", 2, "bf16">]> {
  let cppNamespace = "::sluice::stream";
  let genSpecializedAttr = 0;
}

def Stream_OperandType : Stream_Type<"Operand", "operand"> {
  let summary = "activations in the form that dots read";
  let description = [{
    `i8`: quantised by `stream.prepare`. `f32`: as they are. `bf16`: rounded to it, to nearest even.
  }];
  let parameters = (ins "int64_t":$width, EnumParameter<Stream_OperandKind>:$kind);
  let assemblyFormat = "`<` $width `,` $kind `>`";
}

def Stream_LanesType : Stream_Type<"Lanes", "lanes"> {
  let summary = "one f32 a row of the current tile, for the current token";
}

#endif
