//===- Stream.h - the stream dialect: types and operations -------------------------===//
#ifndef SLUICE_DIALECTS_STREAM_STREAM_H
#define SLUICE_DIALECTS_STREAM_STREAM_H

#include "dialects/llama/Llama.h"

#include "dialects/stream/StreamDialect.h.inc"
#include "dialects/stream/StreamEnums.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/stream/StreamTypes.h.inc"
#define GET_OP_CLASSES
#include "dialects/stream/StreamOps.h.inc"

namespace sluice::stream {

// The buffer that `symbol` names in the program around `from`; null if there is none.
BufferOp lookupBuffer(mlir::Operation *from, mlir::FlatSymbolRefAttr symbol);

// Floats of the parts of a split attention over the model's whole context.
int64_t partsWidth(llama::ModelOp model, int64_t heads, int64_t headDim);

} // namespace sluice::stream
#endif
