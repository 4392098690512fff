//===- NumberSyntax.h - how the dialects' IR text writes numbers ----------------------===//
//
// Directives of the assembly formats in ODS: numbers without their type.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_DIALECTS_NUMBERSYNTAX_H
#define SLUICE_DIALECTS_NUMBERSYNTAX_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"

namespace sluice {

inline mlir::ParseResult parsePlainI64(mlir::OpAsmParser &parser, mlir::IntegerAttr &attr) {
  int64_t value;
  if (parser.parseInteger(value))
    return mlir::failure();
  attr = parser.getBuilder().getI64IntegerAttr(value);
  return mlir::success();
}
inline void printPlainI64(mlir::OpAsmPrinter &printer, mlir::Operation *, mlir::IntegerAttr attr) {
  printer << attr.getInt();
}

inline mlir::ParseResult parsePlainF32(mlir::OpAsmParser &parser, mlir::FloatAttr &attr) {
  double value;
  if (parser.parseFloat(value))
    return mlir::failure();
  attr = parser.getBuilder().getF32FloatAttr(static_cast<float>(value));
  return mlir::success();
}
inline void printPlainF32(mlir::OpAsmPrinter &printer, mlir::Operation *, mlir::FloatAttr attr) {
  printer.printFloat(attr.getValue());
}

// [a, b, ...] with digits enough to read back the same bits, which DenseF64ArrayAttr's own form has not.
inline mlir::ParseResult parseExactF64s(mlir::OpAsmParser &parser, mlir::DenseF64ArrayAttr &attr) {
  mlir::SmallVector<double> values;
  if (parser.parseCommaSeparatedList(mlir::AsmParser::Delimiter::Square,
                                     [&] { return parser.parseFloat(values.emplace_back()); }))
    return mlir::failure();
  attr = parser.getBuilder().getDenseF64ArrayAttr(values);
  return mlir::success();
}
inline void printExactF64s(mlir::OpAsmPrinter &printer, mlir::Operation *, mlir::DenseF64ArrayAttr attr) {
  printer << '[';
  llvm::interleaveComma(attr.asArrayRef(), printer, [&](double value) { printer.printFloat(llvm::APFloat(value)); });
  printer << ']';
}

} // namespace sluice
#endif
