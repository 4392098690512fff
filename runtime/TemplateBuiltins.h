//===- TemplateBuiltins.h - Jinja's filters and tests, and methods of Python's values -------===//
//
// Source: the Jinja documentation, "List of Builtin Filters" and "List of Builtin Tests"; Python's str, list and dict.
//
//===------------------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_TEMPLATEBUILTINS_H
#define SLUICE_RUNTIME_TEMPLATEBUILTINS_H

#include "runtime/TemplateValue.h"
#include <string_view>

namespace sluice {

// Each throws TemplateError for a name it does not know or arguments that do not fit.
TemplateValue applyFilter(std::string_view name, const TemplateValue &input, const TemplateArguments &arguments);
bool applyTest(std::string_view name, const TemplateValue &input, const TemplateArguments &arguments);

// text % values, with %s %r %d %i %f %x and %%.
TemplateValue formatText(const std::string &text, const TemplateList &values);

// object.name: an entry of a mapping or a method bound to the object; undefined if there is neither.
TemplateValue attributeOf(const TemplateValue &object, const std::string &name);
// object[index]; undefined if there is none.
TemplateValue itemOf(const TemplateValue &object, const TemplateValue &index);

// raise_exception, strftime_now, range, namespace, dict: what a template finds defined. Undefined for other names.
TemplateValue globalFunction(std::string_view name);

} // namespace sluice
#endif
