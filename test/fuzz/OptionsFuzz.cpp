//===- OptionsFuzz.cpp - a compiled model's command line: words separated by NUL bytes --===//

#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "test/fuzz/FuzzTarget.h"
#include <vector>

using namespace sluice::runtime;

extern "C" int LLVMFuzzerInitialize(int *, char ***) { return std::freopen("/dev/null", "w", stdout) ? 0 : 1; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<std::string> words(1);
  for (size_t i = 0; i < size; ++i)
    if (data[i])
      words.back() += char(data[i]);
    else
      words.emplace_back();
  int status = 0;
  parseOptions(words, "model", "1", status);
  try {
    parseTokenIds({reinterpret_cast<const char *>(data), size}, "input");
  } catch (const Error &) {
  }
  return 0;
}
