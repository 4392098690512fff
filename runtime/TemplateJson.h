//===- TemplateJson.h - template values from JSON -------------------------------------------===//
#ifndef SLUICE_RUNTIME_TEMPLATEJSON_H
#define SLUICE_RUNTIME_TEMPLATEJSON_H

#include "runtime/TemplateValue.h"
#include <string_view>

namespace sluice {

// Keeps the order of keys. Throws std::runtime_error naming line and column of a mistake.
TemplateValue templateValueOfJson(std::string_view text);

} // namespace sluice
#endif
