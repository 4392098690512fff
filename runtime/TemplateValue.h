//===- TemplateValue.h - the values of a Jinja template, with Python's manners -------------===//
#ifndef SLUICE_RUNTIME_TEMPLATEVALUE_H
#define SLUICE_RUNTIME_TEMPLATEVALUE_H

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace sluice {

// What a template does wrong, or asks for with raise_exception.
struct TemplateError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class TemplateValue;

// The memory of a thread's values. What is alive is bounded, so that no template exhausts the machine's.
namespace template_memory {
constexpr size_t limit = 512u << 20, textLimit = 64u << 20; // bytes of all values, of one text
void require(size_t bytes);                                 // throws TemplateError if so many more pass the limit
void requireText(size_t bytes);                             // throws TemplateError if one text may not be that long
void charge(size_t bytes);
void refund(size_t bytes);
} // namespace template_memory

struct TemplateArguments {
  std::vector<TemplateValue> positional;
  std::vector<std::pair<std::string, TemplateValue>> named;
  // The argument at a position or of a name; null if there is none. It counts as used.
  const TemplateValue *find(size_t position, const char *name) const;
  void useAll() const;
  void checkUsed() const; // throws TemplateError for an argument that nobody asked for

private:
  mutable size_t positionsUsed = 0;
  mutable std::vector<std::string> namesUsed;
};

using TemplateList = std::vector<TemplateValue>;
using TemplateDict = std::vector<std::pair<TemplateValue, TemplateValue>>; // in order of insertion
using TemplateFunction = std::function<TemplateValue(const TemplateArguments &)>;

// Contents that are values. All that are alive on a thread form a list, the newest first.
class TemplateContainer {
public:
  TemplateContainer();
  TemplateContainer(const TemplateContainer &) = delete;
  virtual void moveContents(TemplateList &to) = 0;

protected:
  ~TemplateContainer();
  void destroyContents();

private:
  friend class TemplateLifetime;
  TemplateContainer *newer = nullptr, *older;
};

// Lists and dicts can hold themselves: at the end of this, those that were made since its beginning are emptied.
class TemplateLifetime {
public:
  TemplateLifetime();
  TemplateLifetime(const TemplateLifetime &) = delete;
  ~TemplateLifetime();

private:
  TemplateContainer *before;
};

class TemplateValue {
public:
  struct Undefined {
    std::string name;
  };
  struct None {};
  // Contents whose bytes are charged while they live; `recount` after their size changed.
  template <typename T> struct Counted {
    T contents;
    size_t charged = 0;
    explicit Counted(T contents) : contents(std::move(contents)) { recount(); }
    Counted(const Counted &) = delete;
    ~Counted() { template_memory::refund(charged); }
    void recount() {
      size_t now = sizeof *this + contents.size() * sizeof(typename T::value_type);
      if (now > charged)
        template_memory::charge(now - charged);
      else
        template_memory::refund(charged - now);
      charged = now;
    }
  };
  // A list's or a dict's. What they hold is destroyed by a loop, however deep it is nested.
  template <typename T> struct Contained : Counted<T>, TemplateContainer {
    using Counted<T>::Counted;
    ~Contained() { destroyContents(); }
    void moveContents(TemplateList &to) override;
  };
  using Text = std::shared_ptr<const Counted<std::string>>;
  struct Sequence {
    std::shared_ptr<Contained<TemplateList>> items;
    bool tuple = false;
  };
  struct Mapping {
    std::shared_ptr<Contained<TemplateDict>> entries;
    bool isNamespace = false;
  };

  TemplateValue() : value(Undefined{}) {}
  TemplateValue(None none) : value(none) {}
  TemplateValue(bool flag) : value(flag) {}
  TemplateValue(int64_t integer) : value(integer) {}
  TemplateValue(double real) : value(real) {}
  TemplateValue(std::string text) : value(std::make_shared<const Counted<std::string>>(std::move(text))) {}
  TemplateValue(const char *text) : TemplateValue(std::string(text)) {}
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
  bool isString() const { return std::holds_alternative<Text>(value); }
  bool isSequence() const { return std::holds_alternative<Sequence>(value); }
  bool isMapping() const { return std::holds_alternative<Mapping>(value); }
  bool isFunction() const { return std::holds_alternative<std::shared_ptr<TemplateFunction>>(value); }
  bool isNamespace() const { return isMapping() && std::get<Mapping>(value).isNamespace; }
  bool isTuple() const { return isSequence() && std::get<Sequence>(value).tuple; }

  int64_t integer() const;                  // of an integer or bool; an error otherwise
  double real() const;                      // of a number; an error otherwise
  const std::string &string() const;        // of a string; an error otherwise
  TemplateList &items() const;              // of a sequence; an error otherwise. `resized` after changing its size
  void resized() const;                     // of a sequence
  TemplateDict &entries() const;            // of a mapping; an error otherwise
  const TemplateFunction &function() const; // an error if it cannot be called

  bool truthy() const;
  std::string str() const;  // Python's str()
  std::string repr() const; // Python's repr()
  struct JsonStyle {
    int indent = -1; // none
    std::string item = ", ", key = ": ";
    bool ascii = false, sorted = false;
  };
  std::string json() const { return json(JsonStyle()); }
  std::string json(const JsonStyle &style) const; // json.dumps
  TemplateList iterate() const;                   // list items, dict keys, characters of a string
  int64_t length() const;
  size_t bytes() const; // of the text, the list or the dict itself, without what its items hold
  const TemplateValue *get(const TemplateValue &key) const; // of a mapping; null if there is none
  void set(const TemplateValue &key, TemplateValue entry) const;
  const char *typeName() const;

  bool operator==(const TemplateValue &other) const;
  int compare(const TemplateValue &other) const; // <0, 0, >0; an error for values without an order

private:
  void writeJson(std::string &out, const JsonStyle &style, int depth) const;
  void writeRepr(std::string &out, int depth) const;
  bool equals(const TemplateValue &other, int depth, size_t &work) const;
  int compare(const TemplateValue &other, int depth) const;
  std::variant<Undefined, None, bool, int64_t, double, Text, Sequence, Mapping, std::shared_ptr<TemplateFunction>>
      value;
};

// A string's characters, one UTF-8 sequence each (a byte that is none stands alone).
std::vector<std::string_view> templateCharacters(std::string_view text);

} // namespace sluice
#endif
