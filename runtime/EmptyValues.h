//===- EmptyValues.h - `--name=` on command lines ---------------------------------------===//
//
// CLI11 takes the word after `--name=` for the option's value. As a word of its own an empty value stays one.
//
//===------------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_EMPTYVALUES_H
#define SLUICE_RUNTIME_EMPTYVALUES_H

#include <algorithm>
#include <string>
#include <vector>

namespace sluice::runtime {

inline std::vector<std::string> withEmptyValues(std::vector<std::string> arguments) {
  for (size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i)
    if (std::string &word = arguments[i]; word.starts_with("--") && word.find('=') == word.size() - 1) {
      word.pop_back();
      arguments.insert(arguments.begin() + std::ptrdiff_t(++i), "");
    }
  return arguments;
}

} // namespace sluice::runtime
#endif
