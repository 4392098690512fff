//===- Json.cpp - the JSON files of a Hugging Face folder ------------------------------===//

#include "compiler/import/Json.h"
#include <set>

using namespace sluice;

namespace {

// Finds out whether a text is JSON without a key that appears twice in its object, of which parsing would silently take
// the last.
class Checker : public nlohmann::json_sax<Json> {
public:
  explicit Checker(llvm::StringRef text) : text(text) {}
  std::string problem;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t &) override { return true; }
  bool string(string_t &) override { return true; }
  bool binary(binary_t &) override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool start_object(size_t) override { return open.emplace_back(), true; }
  bool end_object() override { return open.pop_back(), true; }
  bool key(string_t &name) override {
    if (!open.back().insert(name).second)
      problem = "key '" + name + "' appears twice";
    return problem.empty();
  }
  bool parse_error(size_t read, const std::string &, const nlohmann::detail::exception &error) override {
    constexpr int outOfRange = 406;
    problem = error.id == outOfRange ? "a number is beyond all bounds" : toString(noJson(text, read));
    return false;
  }

private:
  llvm::StringRef text;
  std::vector<std::set<std::string>> open; // keys of the objects that are open
};

} // namespace

llvm::Error sluice::expectModestJson(llvm::StringRef text, int mostObjects) {
  constexpr int deepest = 64, mostValues = 1 << 22;
  int depth = 0, values = 0, objects = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
    case '"':
      for (++i; i < text.size() && text[i] != '"'; ++i)
        i += text[i] == '\\';
      break;
    case '{':
      ++objects;
      [[fallthrough]];
    case '[':
      ++depth;
      [[fallthrough]];
    case ',':
      ++values;
      break;
    case ']':
    case '}':
      --depth;
      break;
    }
    if (depth > deepest)
      return llvm::createStringError("it is nested more than " + llvm::Twine(deepest) + " deep");
    if (values > mostValues || objects > mostObjects)
      return llvm::createStringError("it has more than " + llvm::Twine(values > mostValues ? mostValues : mostObjects) +
                                     (values > mostValues ? " values" : " objects"));
  }
  return llvm::Error::success();
}

llvm::Error sluice::noJson(llvm::StringRef text, size_t read) {
  llvm::StringRef before = text.take_front(read - std::min<size_t>(read, 1));
  const size_t line = before.count('\n') + 1, column = before.size() - (before.rfind('\n') + 1) + 1; // npos + 1 is 0
  return llvm::createStringError("expected JSON, got something else in line " + llvm::Twine(line) + ", column " +
                                 llvm::Twine(column) + "; correct it there or download the file again");
}

llvm::Expected<Json> sluice::parseJsonObject(llvm::StringRef text) {
  if (llvm::Error error = expectModestJson(text))
    return std::move(error);
  Checker checker(text);
  if (!Json::sax_parse(text.begin(), text.end(), &checker))
    return llvm::createStringError(checker.problem);
  Json json = Json::parse(text.begin(), text.end());
  if (!json.is_object())
    return llvm::createStringError("expected a JSON object");
  return json;
}
