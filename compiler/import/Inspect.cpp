//===- Inspect.cpp - metadata and tensors as tables -------------------------------------===//

#include "compiler/import/Checkpoint.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include <map>

using namespace sluice;

static std::string shortened(llvm::StringRef text, size_t limit) {
  std::string result;
  llvm::raw_string_ostream out(result);
  llvm::printEscapedString(text.take_front(limit), out);
  return text.size() > limit ? result + "... (" + std::to_string(text.size()) + " bytes)" : result;
}

template <typename T, typename Print>
static std::string list(const std::vector<T> &values, const char *what, Print print) {
  std::string result = "[";
  for (size_t i = 0; i < values.size() && i < 4; ++i)
    result += (i ? ", " : "") + print(values[i]);
  if (values.size() > 4)
    result += ", ...";
  return result + "] (" + std::to_string(values.size()) + " " + what + ")";
}

static std::string number(double value) {
  std::string result;
  llvm::raw_string_ostream(result) << llvm::format("%.9g", value);
  return result;
}

static std::string describe(const Metadata &value) {
  struct {
    std::string operator()(bool v) { return v ? "true" : "false"; }
    std::string operator()(int64_t v) { return std::to_string(v); }
    std::string operator()(uint64_t v) { return std::to_string(v); }
    std::string operator()(double v) { return number(v); }
    std::string operator()(llvm::StringRef v) { return shortened(v, 100); }
    std::string operator()(const std::vector<llvm::StringRef> &v) {
      return list(v, "strings", [](llvm::StringRef s) { return "\"" + shortened(s, 20) + "\""; });
    }
    std::string operator()(const std::vector<int64_t> &v) {
      return list(v, "integers", [](int64_t i) { return std::to_string(i); });
    }
    std::string operator()(const std::vector<double> &v) { return list(v, "floats", number); }
  } print;
  return std::visit(print, value);
}

void sluice::printCheckpoint(const Checkpoint &checkpoint, llvm::raw_ostream &out) {
  out << checkpoint.path() << ": " << checkpoint.fileBytes() << " bytes, " << checkpoint.metadata().size()
      << " metadata keys, " << checkpoint.tensors().size() << " tensors\n\n";
  size_t width = 4;
  for (const auto &[key, value] : checkpoint.metadata())
    width = std::max(width, key.size());
  for (const auto &[key, value] : checkpoint.metadata())
    out << llvm::left_justify(shortened(key, 100), width) << "  " << describe(value) << '\n';

  width = 6;
  for (const TensorInfo &tensor : checkpoint.tensors())
    width = std::max(width, tensor.name.size());
  out << '\n'
      << llvm::left_justify("tensor", width) << "  " << llvm::left_justify("type", 8)
      << llvm::right_justify("shape", 20) << llvm::right_justify("bytes", 14) << '\n';
  std::map<std::string, std::pair<size_t, uint64_t>> totals;
  for (const TensorInfo &tensor : checkpoint.tensors()) {
    out << llvm::left_justify(shortened(tensor.name, 200), width) << "  " << llvm::left_justify(tensor.typeName, 8)
        << llvm::right_justify(tensor.shape(), 20)
        << llvm::right_justify(tensor.bytes ? std::to_string(tensor.bytes) : "?", 14) << '\n';
    auto &[count, bytes] = totals[tensor.typeName + (tensor.format ? "" : " (not supported)")];
    ++count;
    bytes += tensor.bytes;
  }
  out << '\n';
  for (const auto &[type, total] : totals)
    out << llvm::left_justify(type, 24) << llvm::right_justify(std::to_string(total.first), 6) << " tensors"
        << llvm::right_justify(total.second ? std::to_string(total.second) : "?", 16) << " bytes\n";
}
