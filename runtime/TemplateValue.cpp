//===- TemplateValue.cpp - the values of a Jinja template, with Python's manners -----------===//

#include "runtime/TemplateValue.h"
#include "runtime/Utf8.h"
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>

using namespace sluice;

constexpr int maxDepth = 100; // of nested values: a namespace may hold itself

static thread_local size_t bytesAlive = 0;

void template_memory::require(size_t bytes) {
  if (bytes > limit || bytesAlive > limit - bytes)
    throw TemplateError("needs too much memory");
}
void template_memory::requireText(size_t bytes) {
  if (bytes > textLimit)
    throw TemplateError("makes too much text");
}
void template_memory::charge(size_t bytes) {
  require(bytes);
  bytesAlive += bytes;
}
void template_memory::refund(size_t bytes) { bytesAlive -= bytes; }

void TemplateArguments::useAll() const {
  positionsUsed = positional.size();
  for (const auto &[name, value] : named)
    namesUsed.push_back(name);
}
void TemplateArguments::checkUsed() const {
  if (positional.size() > positionsUsed)
    throw TemplateError("expected at most " + std::to_string(positionsUsed) + " arguments, got " +
                        std::to_string(positional.size()));
  for (const auto &[name, value] : named)
    if (std::find(namesUsed.begin(), namesUsed.end(), name) == namesUsed.end())
      throw TemplateError("unsupported argument '" + name + "'");
}

static void checkDepth(int depth) {
  if (depth > maxDepth)
    throw TemplateError("a value is nested too deeply");
}

const TemplateValue *TemplateArguments::find(size_t position, const char *name) const {
  if (position != SIZE_MAX)
    positionsUsed = std::max(positionsUsed, position + 1);
  namesUsed.push_back(name);
  if (position < positional.size())
    return &positional[position];
  for (const auto &[key, value] : named)
    if (key == name)
      return &value;
  return nullptr;
}

static thread_local TemplateContainer *newest;
static thread_local TemplateList *dying; // null: nothing is being destroyed

TemplateContainer::TemplateContainer() : older(newest) {
  if (older)
    older->newer = this;
  newest = this;
}

TemplateContainer::~TemplateContainer() {
  (newer ? newer->older : newest) = older;
  if (older)
    older->newer = newer;
}

void TemplateContainer::destroyContents() {
  if (dying)
    return moveContents(*dying);
  TemplateList values;
  moveContents(values);
  dying = &values;
  while (!values.empty()) {
    TemplateValue last = std::move(values.back());
    values.pop_back();
  } // `last` goes, and what it held becomes part of `values`
  dying = nullptr;
}

template <> void TemplateValue::Contained<TemplateList>::moveContents(TemplateList &to) {
  if (to.empty())
    return to.swap(contents); // needs no memory
  to.insert(to.end(), std::make_move_iterator(contents.begin()), std::make_move_iterator(contents.end()));
  contents.clear();
}
template <> void TemplateValue::Contained<TemplateDict>::moveContents(TemplateList &to) {
  for (auto &[key, entry] : contents) {
    to.push_back(std::move(key));
    to.push_back(std::move(entry));
  }
  contents.clear();
}

TemplateLifetime::TemplateLifetime() : before(newest) {}

TemplateLifetime::~TemplateLifetime() {
  TemplateList values; // nothing is destroyed while the list is walked
  for (TemplateContainer *each = newest; each && each != before; each = each->older)
    each->moveContents(values);
}

TemplateValue TemplateValue::undefined(std::string name) {
  TemplateValue result;
  result.value = Undefined{std::move(name)};
  return result;
}
TemplateValue TemplateValue::list(TemplateList items, bool tuple) {
  TemplateValue result;
  result.value = Sequence{std::make_shared<Contained<TemplateList>>(std::move(items)), tuple};
  return result;
}
TemplateValue TemplateValue::dict(TemplateDict entries, bool isNamespace) {
  TemplateValue result;
  result.value = Mapping{std::make_shared<Contained<TemplateDict>>(std::move(entries)), isNamespace};
  return result;
}

const char *TemplateValue::typeName() const {
  static const char *const names[] = {"undefined", "NoneType", "bool", "int",     "float",
                                      "str",       "list",     "dict", "function"};
  return names[value.index()];
}

static TemplateError wrongType(const char *expected, const TemplateValue &value) {
  return TemplateError(std::string("expected ") + expected + ", got " + value.typeName());
}
int64_t TemplateValue::integer() const {
  if (isBool())
    return std::get<bool>(value);
  if (!std::holds_alternative<int64_t>(value))
    throw wrongType("an int", *this);
  return std::get<int64_t>(value);
}
double TemplateValue::real() const { return isFloat() ? std::get<double>(value) : double(integer()); }
const std::string &TemplateValue::string() const {
  if (!isString())
    throw wrongType("a str", *this);
  return std::get<Text>(value)->contents;
}
TemplateList &TemplateValue::items() const {
  if (!isSequence())
    throw wrongType("a list", *this);
  return std::get<Sequence>(value).items->contents;
}
void TemplateValue::resized() const { std::get<Sequence>(value).items->recount(); }
size_t TemplateValue::bytes() const {
  return isString()     ? string().size()
         : isSequence() ? items().size() * sizeof(TemplateValue)
         : isMapping()  ? entries().size() * sizeof(TemplateDict::value_type)
                        : 0;
}
TemplateDict &TemplateValue::entries() const {
  if (!isMapping())
    throw wrongType("a dict", *this);
  return std::get<Mapping>(value).entries->contents;
}
const TemplateFunction &TemplateValue::function() const {
  if (isUndefined())
    throw TemplateError("'" + std::get<Undefined>(value).name + "' is undefined");
  if (!isFunction())
    throw wrongType("a function", *this);
  return *std::get<std::shared_ptr<TemplateFunction>>(value);
}

bool TemplateValue::truthy() const {
  if (isUndefined() || isNone())
    return false;
  if (isInteger())
    return integer() != 0;
  if (isFloat())
    return real() != 0;
  if (isFunction())
    return true;
  return isNamespace() || length() != 0;
}

std::vector<std::string_view> sluice::templateCharacters(std::string_view text) {
  template_memory::require(text.size() * sizeof(std::string_view));
  std::vector<std::string_view> result;
  for (size_t at = 0; at < text.size(); at += result.back().size()) {
    auto character = runtime::Utf8Character::at(text.substr(at));
    result.push_back(text.substr(at, character.kind == runtime::Utf8Character::Complete ? character.bytes : 1));
  }
  return result;
}

int64_t TemplateValue::length() const {
  if (isString()) {
    int64_t count = 0;
    for (char c : string())
      count += (uint8_t(c) & 0xC0) != 0x80;
    return count;
  }
  if (isUndefined())
    return 0;
  return isMapping() ? int64_t(entries().size()) : int64_t(items().size());
}

TemplateList TemplateValue::iterate() const {
  TemplateList result;
  if (isUndefined())
    return result;
  template_memory::require(bytes());
  if (isString()) {
    template_memory::require(string().size() * (sizeof(TemplateValue) + 2 * sizeof(Counted<std::string>)));
    for (std::string_view character : templateCharacters(string()))
      result.emplace_back(std::string(character));
  } else if (isMapping()) {
    for (const auto &[key, entry] : entries())
      result.push_back(key);
  } else if (isSequence()) {
    result = items();
  } else {
    throw TemplateError(std::string("'") + typeName() + "' object is not iterable");
  }
  return result;
}

const TemplateValue *TemplateValue::get(const TemplateValue &key) const {
  for (const auto &[name, entry] : entries())
    if (name == key)
      return &entry;
  return nullptr;
}
void TemplateValue::set(const TemplateValue &key, TemplateValue entry) const {
  for (auto &[name, old] : entries())
    if (name == key) {
      old = std::move(entry);
      return;
    }
  entries().emplace_back(key, std::move(entry));
  std::get<Mapping>(value).entries->recount();
}

//===-- Text --------------------------------------------------------------------------------===//

static std::string floatText(double number) {
  if (std::isnan(number))
    return "nan";
  if (std::isinf(number))
    return number < 0 ? "-inf" : "inf";
  // Python's repr: the shortest digits that read back, in scientific notation below 1e-4 and from 1e16.
  char buffer[64];
  double magnitude = std::fabs(number);
  bool scientific = number != 0 && (magnitude < 1e-4 || magnitude >= 1e16);
  auto end = std::to_chars(buffer, buffer + sizeof buffer, number,
                           scientific ? std::chars_format::scientific : std::chars_format::fixed)
                 .ptr;
  std::string text(buffer, end);
  if (text.find_first_of(".e") == std::string::npos)
    text += ".0";
  return text;
}

std::string TemplateValue::str() const {
  if (isUndefined())
    return "";
  return isString() ? string() : repr();
}
std::string TemplateValue::repr() const {
  std::string out;
  writeRepr(out, 0);
  return out;
}

void TemplateValue::writeRepr(std::string &out, int depth) const {
  checkDepth(depth);
  template_memory::requireText(out.size());
  if (isUndefined()) {
    out += "Undefined";
  } else if (isNone()) {
    out += "None";
  } else if (isBool()) {
    out += integer() ? "True" : "False";
  } else if (isInteger()) {
    out += std::to_string(integer());
  } else if (isFloat()) {
    out += floatText(real());
  } else if (isString()) {
    const std::string &text = string();
    char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
    out += quote;
    for (char c : text) {
      if (c == quote || c == '\\')
        (out += '\\') += c;
      else if (c == '\n')
        out += "\\n";
      else if (c == '\r')
        out += "\\r";
      else if (c == '\t')
        out += "\\t";
      else if (uint8_t(c) < 0x20 || c == 0x7f) {
        char buffer[8];
        std::snprintf(buffer, sizeof buffer, "\\x%02x", unsigned(uint8_t(c)));
        out += buffer;
      } else
        out += c;
    }
    out += quote;
  } else if (isSequence()) {
    bool tuple = std::get<Sequence>(value).tuple;
    out += tuple ? '(' : '[';
    for (size_t i = 0; i < items().size(); ++i) {
      out += i ? ", " : "";
      items()[i].writeRepr(out, depth + 1);
    }
    out += tuple ? (items().size() == 1 ? ",)" : ")") : "]";
  } else if (isMapping()) {
    out += '{';
    for (size_t i = 0; i < entries().size(); ++i) {
      out += i ? ", " : "";
      entries()[i].first.writeRepr(out, depth + 1);
      out += ": ";
      entries()[i].second.writeRepr(out, depth + 1);
    }
    out += '}';
  } else {
    out += "<function>";
  }
}

static void writeJsonString(std::string &out, std::string_view text, bool ascii) {
  auto escape = [&](unsigned unit) {
    char buffer[16];
    std::snprintf(buffer, sizeof buffer, "\\u%04x", unit);
    out += buffer;
  };
  out += '"';
  for (size_t at = 0, size; at < text.size(); at += size) {
    size = 1;
    char c = text[at];
    const char *escapes = "\"\\\b\f\n\r\t", *letters = "\"\\bfnrt";
    if (const char *found = c ? std::strchr(escapes, c) : nullptr) {
      (out += '\\') += letters[found - escapes];
    } else if (uint8_t(c) < 0x20) {
      escape(uint8_t(c));
    } else if (ascii && uint8_t(c) >= 0x7F) {
      auto character = runtime::Utf8Character::at(text.substr(at));
      size = character.bytes;
      if (character.point < 0x10000)
        escape(unsigned(character.point));
      else
        escape(0xD7C0 + unsigned(character.point >> 10)), escape(0xDC00 | unsigned(character.point & 0x3FF));
    } else {
      out += c;
    }
  }
  out += '"';
}

std::string TemplateValue::json(const JsonStyle &style) const {
  std::string out;
  writeJson(out, style, 0);
  return out;
}

void TemplateValue::writeJson(std::string &out, const JsonStyle &style, int depth) const {
  checkDepth(depth);
  template_memory::requireText(out.size());
  auto newline = [&](int level) {
    if (style.indent >= 0)
      out += '\n' + std::string(size_t(style.indent) * size_t(level), ' ');
  };
  if (isNone())
    out += "null";
  else if (isBool())
    out += integer() ? "true" : "false";
  else if (isFloat() && !std::isfinite(real()))
    out += std::isnan(real()) ? "NaN" : real() < 0 ? "-Infinity" : "Infinity";
  else if (isNumber())
    writeRepr(out, depth);
  else if (isString())
    writeJsonString(out, string(), style.ascii);
  else if (isSequence()) {
    out += '[';
    for (size_t i = 0; i < items().size(); ++i) {
      out += i ? style.item : "";
      newline(depth + 1);
      items()[i].writeJson(out, style, depth + 1);
    }
    if (!items().empty())
      newline(depth);
    out += ']';
  } else if (isMapping() && !isNamespace()) {
    TemplateDict ordered;
    if (style.sorted) {
      template_memory::require(bytes());
      ordered = entries();
      std::ranges::stable_sort(ordered, [](const auto &a, const auto &b) { return a.first.compare(b.first) < 0; });
    }
    out += '{';
    bool first = true;
    for (const auto &[key, entry] : style.sorted ? ordered : entries()) {
      out += first ? "" : style.item;
      first = false;
      newline(depth + 1);
      writeJsonString(out, key.isString() ? key.string() : key.json(), style.ascii);
      out += style.key;
      entry.writeJson(out, style, depth + 1);
    }
    if (!first)
      newline(depth);
    out += '}';
  } else {
    throw TemplateError(std::string("a value of type ") + typeName() + " has no JSON form");
  }
}

//===-- Comparison ----------------------------------------------------------------------------===//

bool TemplateValue::operator==(const TemplateValue &other) const {
  size_t work = 0;
  return equals(other, 0, work);
}

bool TemplateValue::equals(const TemplateValue &other, int depth, size_t &work) const {
  constexpr size_t maxWork = 10'000'000; // lists that share their items may have more of them than memory holds
  checkDepth(depth);
  if (++work > maxWork)
    throw TemplateError("compares too much");
  if (isNumber() && other.isNumber())
    return isInteger() && other.isInteger() ? integer() == other.integer() : real() == other.real();
  if (value.index() != other.value.index())
    return false;
  if (isString())
    return string() == other.string();
  if (isSequence()) {
    const Sequence &a = std::get<Sequence>(value), &b = std::get<Sequence>(other.value);
    return a.tuple == b.tuple &&
           (a.items == b.items ||
            std::equal(items().begin(), items().end(), other.items().begin(), other.items().end(),
                       [&](const TemplateValue &x, const TemplateValue &y) { return x.equals(y, depth + 1, work); }));
  }
  if (isMapping()) {
    if (std::get<Mapping>(value).entries == std::get<Mapping>(other.value).entries)
      return true;
    if (isNamespace() || other.isNamespace() || entries().size() != other.entries().size())
      return false;
    for (const auto &[key, entry] : entries()) {
      const TemplateValue *found = other.get(key);
      if (!found || !found->equals(entry, depth + 1, work))
        return false;
    }
    return true;
  }
  if (isFunction())
    return std::get<std::shared_ptr<TemplateFunction>>(value) ==
           std::get<std::shared_ptr<TemplateFunction>>(other.value);
  return true; // two undefined values, two Nones
}

int TemplateValue::compare(const TemplateValue &other) const { return compare(other, 0); }

int TemplateValue::compare(const TemplateValue &other, int depth) const {
  checkDepth(depth);
  if (isNumber() && other.isNumber()) {
    if (isInteger() && other.isInteger())
      return (integer() > other.integer()) - (integer() < other.integer());
    double a = real(), b = other.real();
    return a < b ? -1 : a > b ? 1 : 0;
  }
  if (isString() && other.isString())
    return string().compare(other.string());
  if (isSequence() && other.isSequence()) {
    for (size_t i = 0; i < items().size() && i < other.items().size(); ++i)
      if (!(items()[i] == other.items()[i]))
        return items()[i].compare(other.items()[i], depth + 1);
    return int(items().size() > other.items().size()) - int(items().size() < other.items().size());
  }
  throw TemplateError(std::string("cannot order ") + typeName() + " and " + other.typeName());
}
