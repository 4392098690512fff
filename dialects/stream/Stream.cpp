//===- Stream.cpp - registration, parsing and printing of the stream dialect -------===//

#include "dialects/stream/Stream.h"
#include "runtime/abi.h"
#include "llvm/ADT/TypeSwitch.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace sluice::stream;

#include "dialects/stream/StreamDialect.cpp.inc"
#include "dialects/stream/StreamEnums.cpp.inc"

// Directives of the assembly formats: numbers without their type.
static ParseResult parsePlainI64(OpAsmParser &parser, IntegerAttr &attr) {
  int64_t value;
  if (parser.parseInteger(value))
    return failure();
  attr = parser.getBuilder().getI64IntegerAttr(value);
  return success();
}
static void printPlainI64(OpAsmPrinter &printer, Operation *, IntegerAttr attr) { printer << attr.getInt(); }

static ParseResult parsePlainF32(OpAsmParser &parser, FloatAttr &attr) {
  double value;
  if (parser.parseFloat(value))
    return failure();
  attr = parser.getBuilder().getF32FloatAttr(static_cast<float>(value));
  return success();
}
static void printPlainF32(OpAsmPrinter &printer, Operation *, FloatAttr attr) {
  printer.printFloat(attr.getValue());
}

// [a, b, ...] with digits enough to read back the same bits, which DenseF64ArrayAttr's own form has not.
static ParseResult parseExactF64s(OpAsmParser &parser, DenseF64ArrayAttr &attr) {
  SmallVector<double> values;
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square,
                                     [&] { return parser.parseFloat(values.emplace_back()); }))
    return failure();
  attr = parser.getBuilder().getDenseF64ArrayAttr(values);
  return success();
}
static void printExactF64s(OpAsmPrinter &printer, Operation *, DenseF64ArrayAttr attr) {
  printer << '[';
  llvm::interleaveComma(attr.asArrayRef(), printer, [&](double value) { printer.printFloat(APFloat(value)); });
  printer << ']';
}

static ParseResult parseKeyOrValue(OpAsmParser &parser, BoolAttr &isKey) {
  bool key = succeeded(parser.parseOptionalKeyword("key"));
  isKey = parser.getBuilder().getBoolAttr(key);
  return key ? success() : parser.parseKeyword("value");
}
static void printKeyOrValue(OpAsmPrinter &printer, Operation *, BoolAttr isKey) {
  printer << (isKey.getValue() ? "key" : "value");
}

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
