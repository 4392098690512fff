//===- TemplateValue.h - the values of a Jinja template, with Python's manners -------------===//
#ifndef SLUICE_RUNTIME_TEMPLATEVALUE_H
#define SLUICE_RUNTIME_TEMPLATEVALUE_H

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace sluice {

// What a template does wrong, or asks for with raise_exception.
struct TemplateError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class TemplateValue;

struct TemplateArguments {
  std::vector<TemplateValue> positional;
  std::vector<std::pair<std::string, TemplateValue>> named;
  // The argument at a position or of a name; null if there is none.
  const TemplateValue *find(size_t position, const char *name) const;
};

using TemplateList = std::vector<TemplateValue>;
using TemplateDict = std::vector<std::pair<TemplateValue, TemplateValue>>; // in order of insertion
using TemplateFunction = std::function<TemplateValue(const TemplateArguments &)>;

class TemplateValue {
public:
  struct Undefined {
    std::string name;
  };
  struct None {};
  struct Sequence {
    std::shared_ptr<TemplateList> items;
    bool tuple;
  };
  struct Mapping {
    std::shared_ptr<TemplateDict> entries;
    bool isNamespace;
  };

  TemplateValue() : value(Undefined{}) {}
  TemplateValue(None none) : value(none) {}
  TemplateValue(bool flag) : value(flag) {}
  TemplateValue(int64_t integer) : value(integer) {}
  TemplateValue(double real) : value(real) {}
  TemplateValue(std::string text) : value(std::move(text)) {}
  TemplateValue(const char *text) : value(std::string(text)) {}
  TemplateValue(TemplateFunction function) : value(std::make_shared<TemplateFunction>(std::move(function))) {}
  static TemplateValue undefined(std::string name);
  static TemplateValue list(TemplateList items, bool tuple = false);
  static TemplateValue dict(TemplateDict entries = {}, bool isNamespace = false);

  bool isUndefined() const { return std::holds_alternative<Undefined>(value); }
  bool isNone() const { return std::holds_alternative<None>(value); }
  bool isBool() const { return std::holds_alternative<bool>(value); }
  bool isInteger() const { return std::holds_alternative<int64_t>(value) || isBool(); }
  bool isFloat() const { return std::holds_alternative<double>(value); }
  bool isNumber() const { return isInteger() || isFloat(); }
  bool isString() const { return std::holds_alternative<std::string>(value); }
  bool isSequence() const { return std::holds_alternative<Sequence>(value); }
  bool isMapping() const { return std::holds_alternative<Mapping>(value); }
  bool isFunction() const { return std::holds_alternative<std::shared_ptr<TemplateFunction>>(value); }
  bool isNamespace() const { return isMapping() && std::get<Mapping>(value).isNamespace; }

  int64_t integer() const;                  // of an integer or bool; an error otherwise
  double real() const;                      // of a number; an error otherwise
  const std::string &string() const;        // of a string; an error otherwise
  TemplateList &items() const;              // of a sequence; an error otherwise
  TemplateDict &entries() const;            // of a mapping; an error otherwise
  const TemplateFunction &function() const; // an error if it cannot be called

  bool truthy() const;
  std::string str() const;                     // Python's str()
  std::string repr() const;                    // Python's repr()
  std::string json(int indent = -1) const;     // json.dumps(ensure_ascii=False)
  TemplateList iterate() const;                // list items, dict keys, characters of a string
  int64_t length() const;
  const TemplateValue *get(const TemplateValue &key) const; // of a mapping; null if there is none
  void set(const TemplateValue &key, TemplateValue entry) const;
  const char *typeName() const;

  bool operator==(const TemplateValue &other) const;
  int compare(const TemplateValue &other) const; // <0, 0, >0; an error for values without an order

private:
  void writeJson(std::string &out, int indent, int depth) const;
  void writeRepr(std::string &out, int depth) const;
  std::variant<Undefined, None, bool, int64_t, double, std::string, Sequence, Mapping, std::shared_ptr<TemplateFunction>> value;
};

// A string's characters, one UTF-8 sequence each (a byte that is none stands alone).
std::vector<std::string> templateCharacters(const std::string &text);

} // namespace sluice
#endif
