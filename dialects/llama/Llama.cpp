//===- Llama.cpp - registration, parsing and printing of the llama dialect ---------===//

#include "dialects/llama/Llama.h"
#include "dialects/NumberSyntax.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace sluice::llama;

#include "dialects/llama/LlamaDialect.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/llama/LlamaTypes.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/llama/LlamaAttrs.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/llama/LlamaOps.cpp.inc"

void LlamaDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/llama/LlamaTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/llama/LlamaAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/llama/LlamaOps.cpp.inc"
      >();
}

Type WeightType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  StringRef name;
  SMLoc loc;
  if (parser.parseLess() || parser.parseDimensionList(shape, /*allowDynamic=*/false, /*withTrailingX=*/false) ||
      parser.parseComma() || parser.getCurrentLocation(&loc) || parser.parseKeyword(&name) || parser.parseGreater())
    return {};
  std::optional<Format> format = symbolizeFormat(name);
  if (!format)
    return parser.emitError(loc, "unknown weight format '") << name << "'", Type();
  if (shape.size() != 2)
    return parser.emitError(loc, "expected rows x cols, got ") << shape.size() << " dimensions", Type();
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), shape[0], shape[1], *format);
}

void WeightType::print(AsmPrinter &printer) const {
  printer << "<" << getRows() << "x" << getCols() << ", " << stringifyFormat(getFormat()) << ">";
}

Type CacheType::parse(AsmParser &parser) {
  SmallVector<int64_t> shape;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseDimensionList(shape, /*allowDynamic=*/false, /*withTrailingX=*/false) ||
      parser.parseGreater())
    return {};
  if (shape.size() != 2)
    return parser.emitError(loc, "expected KV heads x head size, got ") << shape.size() << " dimensions", Type();
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), shape[0], shape[1]);
}

void CacheType::print(AsmPrinter &printer) const { printer << "<" << getKvHeads() << "x" << getHeadDim() << ">"; }

std::string WeightDeclOp::nameInLayer(StringRef name, int64_t layer) {
  auto [before, after] = name.split("{layer}");
  return name.contains("{layer}") ? (before + Twine(layer) + after).str() : name.str();
}

int64_t HalfSplitAttr::sourceOf(int64_t channel) const {
  int64_t head = channel / getHeadDim() * getHeadDim(), inHead = channel % getHeadDim();
  return inHead >= getRotated() ? channel : head + inHead / 2 + inHead % 2 * (getRotated() / 2);
}

WeightDeclOp sluice::llama::lookupWeight(Operation *from, FlatSymbolRefAttr symbol) {
  auto model = isa<ModelOp>(from) ? from : from->getParentOfType<ModelOp>();
  return model ? dyn_cast_or_null<WeightDeclOp>(SymbolTable::lookupSymbolIn(model, symbol)) : WeightDeclOp();
}

// A symbol with a region that has arguments: `llama.block @name(%x: T, ...) { ... }`.
static ParseResult parseSymbolWithBody(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> arguments;
  if (parser.parseSymbolName(name, SymbolTable::getSymbolAttrName(), result.attributes) ||
      parser.parseArgumentList(arguments, OpAsmParser::Delimiter::Paren, /*allowType=*/true) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  return parser.parseRegion(*result.addRegion(), arguments);
}

static void printSymbolWithBody(OpAsmPrinter &printer, Operation *op) {
  printer << ' ';
  printer.printSymbolName(SymbolTable::getSymbolName(op).getValue());
  printer << '(';
  Region &body = op->getRegion(0);
  llvm::interleaveComma(body.getArguments(), printer, [&](BlockArgument arg) { printer.printRegionArgument(arg); });
  printer << ')';
  printer.printOptionalAttrDictWithKeyword(op->getAttrs(), {SymbolTable::getSymbolAttrName()});
  printer << ' ';
  printer.printRegion(body, /*printEntryBlockArgs=*/false);
}

ParseResult BlockOp::parse(OpAsmParser &parser, OperationState &result) { return parseSymbolWithBody(parser, result); }
void BlockOp::print(OpAsmPrinter &printer) { printSymbolWithBody(printer, *this); }
ParseResult GraphOp::parse(OpAsmParser &parser, OperationState &result) { return parseSymbolWithBody(parser, result); }
void GraphOp::print(OpAsmPrinter &printer) { printSymbolWithBody(printer, *this); }

bool StageOp::isAnchor(Operation *op) { return isa<LinearOp, EmbedOp, AttentionOp>(op); }

SmallVector<Operation *> StageOp::getAnchors() {
  SmallVector<Operation *> anchors;
  for (Operation &op : getBody().front())
    if (isAnchor(&op))
      anchors.push_back(&op);
  return anchors;
}

YieldOp StageOp::getYield() { return cast<YieldOp>(getBody().front().getTerminator()); }
