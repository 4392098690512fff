//===- TemplateCompiler.h - a Jinja template as a flat tree -----------------------------------===//
#ifndef SLUICE_COMPILER_TEXT_TEMPLATECOMPILER_H
#define SLUICE_COMPILER_TEXT_TEMPLATECOMPILER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <vector>

namespace sluice {

// The section that runtime/TemplateFormat.h describes. Errors: "chat template, line N: ..." naming the construct.
llvm::Expected<std::vector<uint8_t>> compileTemplate(llvm::StringRef source);

} // namespace sluice
#endif
