//===- Stream.cpp - registration, parsing and printing of the stream dialect -------===//

#include "dialects/stream/Stream.h"
#include "dialects/NumberSyntax.h"
#include "mlir/IR/DialectImplementation.h"
#include "runtime/abi.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace sluice::stream;

#include "dialects/stream/StreamDialect.cpp.inc"
#include "dialects/stream/StreamEnums.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/stream/StreamTypes.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/stream/StreamOps.cpp.inc"

void StreamDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/stream/StreamTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/stream/StreamOps.cpp.inc"
      >();
}

int64_t sluice::stream::partsWidth(llama::ModelOp model, int64_t heads, int64_t headDim) {
  int64_t context = model.getContextLength();
  return (context + SLUICE_KV_SEGMENT - 1) / SLUICE_KV_SEGMENT * heads * (headDim + 2);
}

BufferOp sluice::stream::lookupBuffer(Operation *from, FlatSymbolRefAttr symbol) {
  auto program = from->getParentOfType<ProgramOp>();
  return program ? dyn_cast_or_null<BufferOp>(SymbolTable::lookupSymbolIn(program, symbol)) : BufferOp();
}
