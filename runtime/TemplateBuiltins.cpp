//===- TemplateBuiltins.cpp - Jinja's filters and tests, and methods of Python's values -----===//

#include "runtime/TemplateBuiltins.h"
#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>

using namespace sluice;
using Value = TemplateValue;
using Arguments = TemplateArguments;

constexpr int64_t maxRange = 1'000'000; // of range(): as Jinja's sandbox bounds it

//===-- Strings -------------------------------------------------------------------------------===//

static const char *const spaces = " \t\n\r\f\v";

static std::string strip(const std::string &text, const Arguments &arguments, bool left, bool right) {
  const Value *set = arguments.find(0, "chars");
  std::string chars = set && !set->isNone() ? set->string() : spaces;
  size_t begin = left ? text.find_first_not_of(chars) : 0;
  if (begin == std::string::npos)
    return "";
  size_t end = right ? text.find_last_not_of(chars) : text.size() - 1;
  return end == std::string::npos ? "" : text.substr(begin, end + 1 - begin);
}

static std::string mapCase(std::string text, int (*convert)(int)) {
  for (char &c : text)
    if (uint8_t(c) < 0x80)
      c = char(convert(c));
  return text;
}
static std::string capitalize(std::string text) {
  text = mapCase(std::move(text), tolower);
  if (!text.empty() && uint8_t(text[0]) < 0x80)
    text[0] = char(toupper(text[0]));
  return text;
}
static std::string title(std::string text) {
  bool inWord = false;
  for (char &c : text) {
    bool letter = isalpha(uint8_t(c)) || uint8_t(c) >= 0x80;
    if (uint8_t(c) < 0x80)
      c = char(inWord ? tolower(c) : toupper(c));
    inWord = letter;
  }
  return text;
}

static std::string replaceAll(const std::string &text, const std::string &from, const std::string &to, int64_t limit) {
  std::string result;
  size_t at = 0;
  if (from.empty()) { // between all characters, as Python does
    for (const std::string &c : templateCharacters(text)) {
      if (limit-- != 0)
        result += to;
      result += c;
    }
    return limit != 0 ? result + to : result;
  }
  for (size_t found; limit-- != 0 && (found = text.find(from, at)) != std::string::npos; at = found + from.size())
    result += text.substr(at, found - at) + to;
  return result + text.substr(at);
}

static Value split(const std::string &text, const Arguments &arguments, bool fromRight) {
  const Value *separator = arguments.find(0, "sep"), *most = arguments.find(1, "maxsplit");
  int64_t limit = most ? most->integer() : -1;
  TemplateList parts;
  if (separator && !separator->isNone()) {
    const std::string &sep = separator->string();
    if (sep.empty())
      throw TemplateError("empty separator");
    if (fromRight) {
      size_t end = text.size();
      for (size_t found; limit-- != 0 && end >= sep.size() && (found = text.rfind(sep, end - sep.size())) != std::string::npos; end = found)
        parts.insert(parts.begin(), text.substr(found + sep.size(), end - found - sep.size()));
      parts.insert(parts.begin(), text.substr(0, end));
      return Value::list(parts);
    }
    size_t at = 0;
    for (size_t found; limit-- != 0 && (found = text.find(sep, at)) != std::string::npos; at = found + sep.size())
      parts.push_back(text.substr(at, found - at));
    parts.push_back(text.substr(at));
    return Value::list(parts);
  }
  for (size_t at = text.find_first_not_of(spaces); at != std::string::npos;) {
    size_t end = limit-- == 0 ? text.size() : std::min(text.find_first_of(spaces, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(spaces, end);
  }
  return Value::list(parts);
}

static Value startsOrEnds(const std::string &text, const Arguments &arguments, bool starts) {
  const Value *what = arguments.find(0, "prefix");
  if (!what)
    throw TemplateError("startswith and endswith take an argument");
  auto matches = [&](const Value &part) { return starts ? text.starts_with(part.string()) : text.ends_with(part.string()); };
  return what->isSequence() ? std::ranges::any_of(what->items(), matches) : matches(*what);
}

static const Value &required(const Arguments &arguments, size_t position, const char *name) {
  const Value *value = arguments.find(position, name);
  if (!value)
    throw TemplateError(std::string("missing argument '") + name + "'");
  return *value;
}

static Value stringMethod(const std::string &text, const std::string &name, const Arguments &arguments) {
  if (name == "strip" || name == "lstrip" || name == "rstrip")
    return strip(text, arguments, name != "rstrip", name != "lstrip");
  if (name == "upper" || name == "lower")
    return mapCase(text, name == "upper" ? toupper : tolower);
  if (name == "capitalize")
    return capitalize(text);
  if (name == "title")
    return title(text);
  if (name == "split" || name == "rsplit")
    return split(text, arguments, name == "rsplit");
  if (name == "splitlines") {
    TemplateList lines;
    for (size_t at = 0; at < text.size();) {
      size_t end = std::min(text.find_first_of("\r\n", at), text.size());
      lines.push_back(text.substr(at, end - at));
      at = end + (text.compare(end, 2, "\r\n") == 0 ? 2 : 1);
    }
    return Value::list(lines);
  }
  if (name == "startswith" || name == "endswith")
    return startsOrEnds(text, arguments, name == "startswith");
  if (name == "replace") {
    const Value *count = arguments.find(2, "count");
    return replaceAll(text, required(arguments, 0, "old").string(), required(arguments, 1, "new").string(), count ? count->integer() : -1);
  }
  if (name == "find" || name == "rfind" || name == "index") {
    const std::string &part = required(arguments, 0, "sub").string();
    size_t found = name == "rfind" ? text.rfind(part) : text.find(part);
    if (found == std::string::npos && name == "index")
      throw TemplateError("substring not found");
    return found == std::string::npos ? int64_t(-1) : Value(text.substr(0, found)).length();
  }
  if (name == "count") {
    const std::string &part = required(arguments, 0, "sub").string();
    int64_t count = 0;
    for (size_t at = 0; !part.empty() && (at = text.find(part, at)) != std::string::npos; at += part.size())
      ++count;
    return count;
  }
  if (name == "join") {
    std::string result;
    TemplateList parts = required(arguments, 0, "iterable").iterate();
    for (size_t i = 0; i < parts.size(); ++i)
      result += (i ? text : "") + parts[i].string();
    return result;
  }
  if (name == "removeprefix" || name == "removesuffix") {
    const std::string &part = required(arguments, 0, "prefix").string();
    if (name == "removeprefix")
      return text.starts_with(part) ? text.substr(part.size()) : text;
    return text.ends_with(part) ? text.substr(0, text.size() - part.size()) : text;
  }
  // isdigit, isalpha, isspace, isalnum, isupper, islower: of ASCII.
  int (*test)(int) = name == "isdigit" ? isdigit : name == "isalpha" ? isalpha : name == "isspace" ? isspace : name == "isalnum" ? isalnum : nullptr;
  if (test)
    return !text.empty() && std::ranges::all_of(text, [&](char c) { return test(uint8_t(c)) != 0; });
  return Value();
}

//===-- Lists and dicts -------------------------------------------------------------------------===//

static Value pairsOf(const TemplateDict &entries) {
  TemplateList pairs;
  for (const auto &[key, value] : entries)
    pairs.push_back(Value::list({key, value}, /*tuple=*/true));
  return Value::list(pairs);
}

static Value dictMethod(const Value &dict, const std::string &name, const Arguments &arguments) {
  if (name == "get") {
    const Value *found = dict.get(required(arguments, 0, "key")), *fallback = arguments.find(1, "default");
    return found ? *found : fallback ? *fallback : Value(Value::None());
  }
  if (name == "items")
    return pairsOf(dict.entries());
  if (name == "keys")
    return Value::list(dict.iterate());
  if (name == "values") {
    TemplateList values;
    for (const auto &[key, value] : dict.entries())
      values.push_back(value);
    return Value::list(values);
  }
  if (name == "copy")
    return Value::dict(dict.entries());
  if (name == "update") {
    for (const auto &[key, value] : required(arguments, 0, "other").entries())
      dict.set(key, value);
    return Value::None();
  }
  return Value();
}

static Value listMethod(const Value &list, const std::string &name, const Arguments &arguments) {
  TemplateList &items = list.items();
  if (name == "append") {
    items.push_back(required(arguments, 0, "object"));
    return Value::None();
  }
  if (name == "extend") {
    TemplateList more = required(arguments, 0, "iterable").iterate();
    items.insert(items.end(), more.begin(), more.end());
    return Value::None();
  }
  if (name == "pop") {
    const Value *at = arguments.find(0, "index");
    int64_t index = at ? at->integer() : -1, size = int64_t(items.size());
    index += index < 0 ? size : 0;
    if (index < 0 || index >= size)
      throw TemplateError("pop index out of range");
    Value result = items[size_t(index)];
    items.erase(items.begin() + index);
    return result;
  }
  if (name == "insert") {
    int64_t size = int64_t(items.size()), index = required(arguments, 0, "index").integer();
    index = std::clamp<int64_t>(index < 0 ? index + size : index, 0, size);
    Value item = required(arguments, 1, "object");
    items.insert(items.begin() + index, item);
    return Value::None();
  }
  if (name == "index" || name == "count") {
    const Value &wanted = required(arguments, 0, "value");
    int64_t count = std::ranges::count(items, wanted);
    if (name == "count")
      return count;
    if (!count)
      throw TemplateError("value is not in list");
    return int64_t(std::ranges::find(items, wanted) - items.begin());
  }
  if (name == "reverse") {
    std::ranges::reverse(items);
    return Value::None();
  }
  return Value();
}

Value sluice::attributeOf(const Value &object, const std::string &name) {
  if (object.isUndefined())
    throw TemplateError("'" + name + "' of an undefined value");
  if (object.isNamespace()) {
    const Value *found = object.get(name);
    return found ? *found : Value::undefined(name);
  }
  // Python looks for a method first, then Jinja for an entry.
  auto method = [&](Value (*call)(const Value &, const std::string &, const Arguments &), std::initializer_list<const char *> names) -> Value {
    if (std::ranges::none_of(names, [&](const char *known) { return name == known; }))
      return Value::undefined(name);
    return TemplateFunction([object, name, call](const Arguments &arguments) { return call(object, name, arguments); });
  };
  if (object.isString())
    return method([](const Value &o, const std::string &n, const Arguments &a) { return stringMethod(o.string(), n, a); },
                  {"strip", "lstrip", "rstrip", "upper", "lower", "capitalize", "title", "split", "rsplit", "splitlines", "startswith",
                   "endswith", "replace", "find", "rfind", "index", "count", "join", "removeprefix", "removesuffix", "isdigit", "isalpha",
                   "isspace", "isalnum"});
  if (object.isSequence())
    return method(listMethod, {"append", "extend", "pop", "insert", "index", "count", "reverse"});
  if (object.isMapping()) {
    Value bound = method(dictMethod, {"get", "items", "keys", "values", "copy", "update"});
    if (!bound.isUndefined())
      return bound;
    if (const Value *found = object.get(name))
      return *found;
  }
  return Value::undefined(name);
}

Value sluice::itemOf(const Value &object, const Value &index) {
  if (object.isUndefined())
    throw TemplateError("an item of an undefined value");
  if (object.isMapping()) {
    if (const Value *found = object.get(index))
      return *found;
    return index.isString() ? attributeOf(object, index.string()) : Value::undefined(index.str());
  }
  if (index.isInteger() && (object.isSequence() || object.isString())) {
    int64_t i = index.integer(), size = object.length();
    i += i < 0 ? size : 0;
    if (i < 0 || i >= size)
      return Value::undefined(index.str());
    return object.isSequence() ? object.items()[size_t(i)] : Value(templateCharacters(object.string())[size_t(i)]);
  }
  return index.isString() ? attributeOf(object, index.string()) : Value::undefined(index.str());
}

//===-- Filters ---------------------------------------------------------------------------------===//

// item.a.b.0 as `attribute=` spells it.
static Value pathOf(Value item, const Value &path) {
  if (path.isInteger())
    return itemOf(item, path);
  const std::string &text = path.string();
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find('.', at), text.size());
    std::string part = text.substr(at, end - at);
    bool number = !part.empty() && part.size() < 10 && std::ranges::all_of(part, [](char c) { return isdigit(uint8_t(c)); });
    item = itemOf(item, number ? Value(int64_t(std::stoll(part))) : Value(part));
    at = end + 1;
  }
  return item;
}

static Arguments rest(const Arguments &arguments, size_t count) {
  Arguments result;
  if (arguments.positional.size() > count)
    result.positional.assign(arguments.positional.begin() + std::ptrdiff_t(count), arguments.positional.end());
  return result;
}

static Value selectItems(const Value &input, const Arguments &arguments, bool keep, bool byAttribute) {
  TemplateList result;
  size_t first = byAttribute ? 1 : 0;
  for (const Value &item : input.iterate()) {
    Value subject = byAttribute ? pathOf(item, required(arguments, 0, "attribute")) : item;
    bool passes = arguments.positional.size() > first ? applyTest(arguments.positional[first].string(), subject, rest(arguments, first + 1))
                                                      : subject.truthy();
    if (passes == keep)
      result.push_back(item);
  }
  return Value::list(result);
}

static Value mapItems(const Value &input, const Arguments &arguments) {
  TemplateList result;
  const Value *attribute = arguments.positional.empty() ? arguments.find(SIZE_MAX, "attribute") : nullptr;
  const Value *fallback = arguments.find(SIZE_MAX, "default");
  for (const Value &item : input.iterate()) {
    if (attribute) {
      Value found = pathOf(item, *attribute);
      result.push_back(found.isUndefined() && fallback ? *fallback : found);
    } else {
      result.push_back(applyFilter(required(arguments, 0, "filter").string(), item, rest(arguments, 1)));
    }
  }
  return Value::list(result);
}

// What sort, unique, min and max compare: an attribute if asked, lower case unless told otherwise.
static Value sortKey(const Value &item, const Value *attribute, bool caseSensitive) {
  Value key = attribute && !attribute->isNone() ? pathOf(item, *attribute) : item;
  return key.isString() && !caseSensitive ? Value(mapCase(key.string(), tolower)) : key;
}

static Value sortItems(const Value &input, const Arguments &arguments) {
  const Value *reverse = arguments.find(0, "reverse"), *sensitive = arguments.find(1, "case_sensitive");
  const Value *attribute = arguments.find(2, "attribute");
  TemplateList items = input.iterate();
  bool cased = sensitive && sensitive->truthy();
  std::ranges::stable_sort(items, [&](const Value &a, const Value &b) {
    int order = sortKey(a, attribute, cased).compare(sortKey(b, attribute, cased));
    return reverse && reverse->truthy() ? order > 0 : order < 0;
  });
  return Value::list(items);
}

static Value toInteger(const Value &input, const Arguments &arguments) {
  const Value *fallback = arguments.find(0, "default");
  if (input.isInteger())
    return input.integer();
  if (input.isFloat() && std::fabs(input.real()) < 9e18)
    return int64_t(input.real());
  if (input.isString()) {
    std::string text = strip(input.string(), {}, true, true);
    char *end;
    errno = 0;
    long long value = strtoll(text.c_str(), &end, 10);
    if (!text.empty() && *end == 0 && errno == 0)
      return int64_t(value);
    double real = strtod(text.c_str(), &end);
    if (!text.empty() && *end == 0 && std::fabs(real) < 9e18)
      return int64_t(real);
  }
  return fallback ? *fallback : Value(int64_t(0));
}

static Value toFloat(const Value &input, const Arguments &arguments) {
  const Value *fallback = arguments.find(0, "default");
  if (input.isNumber())
    return input.real();
  if (input.isString()) {
    char *end;
    double value = strtod(input.string().c_str(), &end);
    if (!input.string().empty() && *end == 0)
      return value;
  }
  return fallback ? *fallback : Value(0.0);
}

static Value roundNumber(const Value &input, const Arguments &arguments) {
  const Value *precision = arguments.find(0, "precision"), *method = arguments.find(1, "method");
  double scale = std::pow(10.0, precision ? double(precision->integer()) : 0.0), x = input.real() * scale;
  std::string how = method ? method->string() : "common";
  return (how == "ceil" ? std::ceil(x) : how == "floor" ? std::floor(x) : std::nearbyint(x)) / scale;
}

static Value indentLines(const Value &input, const Arguments &arguments) {
  const Value *width = arguments.find(0, "width"), *first = arguments.find(1, "first"), *blank = arguments.find(2, "blank");
  std::string pad = width && width->isString() ? width->string() : std::string(size_t(std::clamp<int64_t>(width ? width->integer() : 4, 0, 1000)), ' ');
  std::string result, text = input.str();
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    bool padded = at == 0 ? first && first->truthy() : end > at || (blank && blank->truthy());
    result += (padded ? pad : "") + text.substr(at, end - at) + (end < text.size() ? "\n" : "");
    at = end + 1;
  }
  return result;
}

static Value escapeHtml(const std::string &text) {
  std::string result;
  for (char c : text)
    result += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&#34;" : c == '\'' ? "&#39;" : std::string(1, c);
  return result;
}

Value sluice::applyFilter(std::string_view name, const Value &input, const Arguments &arguments) {
  using Filter = Value (*)(const Value &, const Arguments &);
  static const std::map<std::string_view, Filter> filters = {
      {"trim", [](const Value &v, const Arguments &a) -> Value { return strip(v.str(), a, true, true); }},
      {"upper", [](const Value &v, const Arguments &) -> Value { return mapCase(v.str(), toupper); }},
      {"lower", [](const Value &v, const Arguments &) -> Value { return mapCase(v.str(), tolower); }},
      {"title", [](const Value &v, const Arguments &) -> Value { return title(v.str()); }},
      {"capitalize", [](const Value &v, const Arguments &) -> Value { return capitalize(v.str()); }},
      {"string", [](const Value &v, const Arguments &) -> Value { return v.str(); }},
      {"safe", [](const Value &v, const Arguments &) -> Value { return v; }},
      {"e", [](const Value &v, const Arguments &) -> Value { return escapeHtml(v.str()); }},
      {"escape", [](const Value &v, const Arguments &) -> Value { return escapeHtml(v.str()); }},
      {"length", [](const Value &v, const Arguments &) -> Value { return v.length(); }},
      {"count", [](const Value &v, const Arguments &) -> Value { return v.length(); }},
      {"list", [](const Value &v, const Arguments &) -> Value { return Value::list(v.iterate()); }},
      {"int", toInteger},
      {"float", toFloat},
      {"round", roundNumber},
      {"indent", indentLines},
      {"map", mapItems},
      {"sort", sortItems},
      {"abs", [](const Value &v, const Arguments &) -> Value { return v.isInteger() ? Value(std::abs(v.integer())) : Value(std::fabs(v.real())); }},
      {"items", [](const Value &v, const Arguments &) -> Value { return v.isUndefined() ? Value::list({}) : pairsOf(v.entries()); }},
      {"select", [](const Value &v, const Arguments &a) { return selectItems(v, a, true, false); }},
      {"reject", [](const Value &v, const Arguments &a) { return selectItems(v, a, false, false); }},
      {"selectattr", [](const Value &v, const Arguments &a) { return selectItems(v, a, true, true); }},
      {"rejectattr", [](const Value &v, const Arguments &a) { return selectItems(v, a, false, true); }},
      {"default", [](const Value &v, const Arguments &a) -> Value {
         const Value *fallback = a.find(0, "default_value"), *boolean = a.find(1, "boolean");
         bool use = v.isUndefined() || (boolean && boolean->truthy() && !v.truthy());
         return use ? (fallback ? *fallback : Value("")) : v;
       }},
      {"d", [](const Value &v, const Arguments &a) { return applyFilter("default", v, a); }},
      {"join", [](const Value &v, const Arguments &a) -> Value {
         const Value *separator = a.find(0, "d"), *attribute = a.find(1, "attribute");
         std::string result;
         TemplateList items = v.iterate();
         for (size_t i = 0; i < items.size(); ++i)
           result += (i && separator ? separator->str() : "") + (attribute ? pathOf(items[i], *attribute) : items[i]).str();
         return result;
       }},
      {"tojson", [](const Value &v, const Arguments &a) -> Value {
         const Value *indent = a.find(SIZE_MAX, "indent");
         if (!indent && a.positional.size() > 1)
           indent = &a.positional[1];
         return v.json(indent && indent->isInteger() ? int(std::clamp<int64_t>(indent->integer(), 0, 32)) : -1);
       }},
      {"first", [](const Value &v, const Arguments &) -> Value {
         TemplateList items = v.iterate();
         return items.empty() ? Value::undefined("first") : items.front();
       }},
      {"last", [](const Value &v, const Arguments &) -> Value {
         TemplateList items = v.iterate();
         return items.empty() ? Value::undefined("last") : items.back();
       }},
      {"reverse", [](const Value &v, const Arguments &) -> Value {
         TemplateList items = v.iterate();
         std::ranges::reverse(items);
         if (!v.isString())
           return Value::list(items);
         std::string text;
         for (const Value &c : items)
           text += c.string();
         return text;
       }},
      {"replace", [](const Value &v, const Arguments &a) -> Value {
         const Value *count = a.find(2, "count");
         return replaceAll(v.str(), required(a, 0, "old").str(), required(a, 1, "new").str(), count && !count->isNone() ? count->integer() : -1);
       }},
      {"dictsort", [](const Value &v, const Arguments &) -> Value {
         Arguments byKey;
         byKey.named = {{"attribute", Value(int64_t(0))}};
         return sortItems(pairsOf(v.entries()), byKey);
       }},
      {"unique", [](const Value &v, const Arguments &a) -> Value {
         const Value *sensitive = a.find(0, "case_sensitive"), *attribute = a.find(1, "attribute");
         TemplateList result, keys;
         for (const Value &item : v.iterate()) {
           Value key = sortKey(item, attribute, sensitive && sensitive->truthy());
           if (std::ranges::find(keys, key) != keys.end())
             continue;
           keys.push_back(key);
           result.push_back(item);
         }
         return Value::list(result);
       }},
      {"min", [](const Value &v, const Arguments &) -> Value {
         TemplateList items = v.iterate();
         auto found = std::ranges::min_element(items, [](const Value &a, const Value &b) { return sortKey(a, nullptr, false).compare(sortKey(b, nullptr, false)) < 0; });
         return found == items.end() ? Value::undefined("min") : *found;
       }},
      {"max", [](const Value &v, const Arguments &) -> Value {
         TemplateList items = v.iterate();
         auto found = std::ranges::max_element(items, [](const Value &a, const Value &b) { return sortKey(a, nullptr, false).compare(sortKey(b, nullptr, false)) < 0; });
         return found == items.end() ? Value::undefined("max") : *found;
       }},
      {"sum", [](const Value &v, const Arguments &a) -> Value {
         const Value *attribute = a.find(0, "attribute"), *start = a.find(1, "start");
         Value total = start ? *start : Value(int64_t(0));
         for (const Value &item : v.iterate()) {
           Value term = attribute && !attribute->isNone() ? pathOf(item, *attribute) : item;
           total = total.isInteger() && term.isInteger() ? Value(int64_t(uint64_t(total.integer()) + uint64_t(term.integer()))) : Value(total.real() + term.real());
         }
         return total;
       }},
  };
  auto found = filters.find(name);
  if (found == filters.end())
    throw TemplateError("no filter named '" + std::string(name) + "'");
  return found->second(input, arguments);
}

//===-- Tests -----------------------------------------------------------------------------------===//

bool sluice::applyTest(std::string_view name, const Value &input, const Arguments &arguments) {
  using Test = bool (*)(const Value &, const Arguments &);
  static constexpr auto order = [](const Value &v, const Arguments &a) { return v.compare(required(a, 0, "other")); };
  static const std::map<std::string_view, Test> tests = {
      {"defined", [](const Value &v, const Arguments &) { return !v.isUndefined(); }},
      {"undefined", [](const Value &v, const Arguments &) { return v.isUndefined(); }},
      {"none", [](const Value &v, const Arguments &) { return v.isNone(); }},
      {"boolean", [](const Value &v, const Arguments &) { return v.isBool(); }},
      {"true", [](const Value &v, const Arguments &) { return v.isBool() && v.truthy(); }},
      {"false", [](const Value &v, const Arguments &) { return v.isBool() && !v.truthy(); }},
      {"integer", [](const Value &v, const Arguments &) { return v.isInteger() && !v.isBool(); }},
      {"float", [](const Value &v, const Arguments &) { return v.isFloat(); }},
      {"number", [](const Value &v, const Arguments &) { return v.isNumber(); }},
      {"string", [](const Value &v, const Arguments &) { return v.isString(); }},
      {"mapping", [](const Value &v, const Arguments &) { return v.isMapping() && !v.isNamespace(); }},
      {"sequence", [](const Value &v, const Arguments &) { return v.isSequence() || v.isMapping() || v.isString() || v.isUndefined(); }},
      {"iterable", [](const Value &v, const Arguments &) { return v.isSequence() || v.isMapping() || v.isString() || v.isUndefined(); }},
      {"callable", [](const Value &v, const Arguments &) { return v.isFunction(); }},
      {"odd", [](const Value &v, const Arguments &) { return v.integer() % 2 != 0; }},
      {"even", [](const Value &v, const Arguments &) { return v.integer() % 2 == 0; }},
      {"divisibleby", [](const Value &v, const Arguments &a) {
         int64_t by = required(a, 0, "num").integer();
         if (by == 0)
           throw TemplateError("division by zero");
         return by == -1 || v.integer() % by == 0;
       }},
      {"upper", [](const Value &v, const Arguments &) { return v.str() == mapCase(v.str(), toupper); }},
      {"lower", [](const Value &v, const Arguments &) { return v.str() == mapCase(v.str(), tolower); }},
      {"in", [](const Value &v, const Arguments &a) {
         const Value &all = required(a, 0, "seq");
         if (all.isString())
           return all.string().find(v.string()) != std::string::npos;
         TemplateList items = all.iterate();
         return std::ranges::find(items, v) != items.end();
       }},
      {"equalto", [](const Value &v, const Arguments &a) { return v == required(a, 0, "other"); }},
      {"eq", [](const Value &v, const Arguments &a) { return v == required(a, 0, "other"); }},
      {"==", [](const Value &v, const Arguments &a) { return v == required(a, 0, "other"); }},
      {"sameas", [](const Value &v, const Arguments &a) { return v.isBool() == required(a, 0, "other").isBool() && v == required(a, 0, "other"); }},
      {"ne", [](const Value &v, const Arguments &a) { return !(v == required(a, 0, "other")); }},
      {"!=", [](const Value &v, const Arguments &a) { return !(v == required(a, 0, "other")); }},
      {"lt", [](const Value &v, const Arguments &a) { return order(v, a) < 0; }},
      {"lessthan", [](const Value &v, const Arguments &a) { return order(v, a) < 0; }},
      {"le", [](const Value &v, const Arguments &a) { return order(v, a) <= 0; }},
      {"gt", [](const Value &v, const Arguments &a) { return order(v, a) > 0; }},
      {"greaterthan", [](const Value &v, const Arguments &a) { return order(v, a) > 0; }},
      {"ge", [](const Value &v, const Arguments &a) { return order(v, a) >= 0; }},
  };
  auto found = tests.find(name);
  if (found == tests.end())
    throw TemplateError("no test named '" + std::string(name) + "'");
  return found->second(input, arguments);
}

//===-- Globals ---------------------------------------------------------------------------------===//

static Value rangeOf(const Arguments &arguments) {
  const TemplateList &a = arguments.positional;
  if (a.empty() || a.size() > 3)
    throw TemplateError("range takes one to three arguments");
  int64_t start = a.size() > 1 ? a[0].integer() : 0, stop = a[a.size() > 1 ? 1 : 0].integer(), step = a.size() > 2 ? a[2].integer() : 1;
  if (step == 0)
    throw TemplateError("range() step must not be zero");
  TemplateList items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    items.push_back(i);
    if (int64_t(items.size()) > maxRange || __builtin_add_overflow(i, step, &i))
      throw TemplateError("range is too large");
  }
  return Value::list(items);
}

static Value dictOf(const Arguments &arguments, bool isNamespace) {
  TemplateDict entries;
  for (const Value &other : arguments.positional)
    entries.insert(entries.end(), other.entries().begin(), other.entries().end());
  for (const auto &[name, value] : arguments.named)
    entries.emplace_back(name, value);
  return Value::dict(std::move(entries), isNamespace);
}

Value sluice::globalFunction(std::string_view name) {
  if (name == "raise_exception")
    return TemplateFunction([](const Arguments &a) -> Value { throw TemplateError(required(a, 0, "message").str()); });
  if (name == "range")
    return TemplateFunction(rangeOf);
  if (name == "dict" || name == "namespace")
    return TemplateFunction([isNamespace = name == "namespace"](const Arguments &a) { return dictOf(a, isNamespace); });
  if (name == "strftime_now")
    return TemplateFunction([](const Arguments &a) -> Value {
      time_t now = time(nullptr);
      tm local;
      localtime_r(&now, &local);
      char buffer[256];
      std::string format = required(a, 0, "format").string();
      return std::string(buffer, strftime(buffer, sizeof buffer, format.c_str(), &local));
    });
  return Value::undefined(std::string(name));
}
