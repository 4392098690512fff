//===- TemplateLexer.h - a Jinja template as tokens -----------------------------------------===//
//
// Delimiters {{ }}, {% %}, {# #}; trim_blocks and lstrip_blocks are on, as chat templates expect, and one newline at
// the end of the template is dropped. Source: the Jinja documentation, "Whitespace Control".
//
//===----------------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_TEXT_TEMPLATELEXER_H
#define SLUICE_COMPILER_TEXT_TEMPLATELEXER_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <vector>

namespace sluice {

enum class TokenKind { Text, OutputBegin, OutputEnd, TagBegin, TagEnd, Name, String, Integer, Float, Operator, End };

struct TemplateToken {
  TokenKind kind;
  std::string text; // of strings: unescaped
  unsigned line;
  bool is(llvm::StringRef what) const {
    return (kind == TokenKind::Name || kind == TokenKind::Operator) && text == what;
  }
};

llvm::Expected<std::vector<TemplateToken>> lexTemplate(llvm::StringRef source);

} // namespace sluice
#endif
