//===- TemplateBuiltins.cpp - Jinja's filters and tests, and methods of Python's values -----===//

#include "runtime/TemplateBuiltins.h"
#include "runtime/TemplateFormat.h"
#include "runtime/Utf8.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctime>
#include <map>

using namespace sluice;
using Value = TemplateValue;
using Arguments = TemplateArguments;

constexpr int64_t maxRange = 1'000'000; // of range(): as Jinja's sandbox bounds it

//===-- Strings -------------------------------------------------------------------------------===//

// Python's white space.
static bool isSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}
static bool isSpace(std::string_view character) {
  auto decoded = runtime::Utf8Character::at(character);
  return decoded.kind == runtime::Utf8Character::Complete && isSpace(decoded.point);
}

// The character that `text`, which is not empty, ends with.
static std::string_view lastCharacter(std::string_view text) {
  for (size_t size = 1; size <= std::min<size_t>(4, text.size()); ++size) {
    auto character = runtime::Utf8Character::at(text.substr(text.size() - size));
    if (character.kind == runtime::Utf8Character::Complete && character.bytes == size)
      return text.substr(text.size() - size);
  }
  return text.substr(text.size() - 1);
}

static std::string strip(std::string_view text, const Arguments &arguments, bool left, bool right) {
  const Value *set = arguments.find(0, "chars");
  auto goes = [&](std::string_view character) {
    return set && !set->isNone() ? set->string().find(character) != std::string::npos : isSpace(character);
  };
  while (left && !text.empty()) {
    std::string_view first = text.substr(0, runtime::Utf8Character::at(text).bytes);
    if (!goes(first))
      break;
    text.remove_prefix(first.size());
  }
  while (right && !text.empty() && goes(lastCharacter(text)))
    text.remove_suffix(lastCharacter(text).size());
  return std::string(text);
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
// str.title(): a word is letters. The filter `title` of Jinja: a word ends at white space, a hyphen or an opening
// bracket.
static std::string title(std::string text, bool jinja) {
  bool inWord = false;
  for (char &c : text) {
    bool letter =
        jinja ? !(isspace(uint8_t(c)) || std::strchr("-({[<", c)) || c == 0 : isalpha(uint8_t(c)) || uint8_t(c) >= 0x80;
    if (uint8_t(c) < 0x80)
      c = char(inWord ? tolower(c) : toupper(c));
    inWord = letter;
  }
  return text;
}

// All letters, of which there is one, are of that case.
static bool isCased(const std::string &text, int (*convert)(int)) {
  return mapCase(text, convert) == text && mapCase(text, convert == toupper ? tolower : toupper) != text;
}

static std::string replaceAll(const std::string &text, const std::string &from, const std::string &to, int64_t limit) {
  std::string result;
  size_t at = 0;
  if (from.empty()) { // between all characters, as Python does
    for (std::string_view c : templateCharacters(text)) {
      template_memory::requireText(result.size());
      if (limit-- != 0)
        result += to;
      result += c;
    }
    return limit != 0 ? result + to : result;
  }
  for (size_t found; limit-- != 0 && (found = text.find(from, at)) != std::string::npos; at = found + from.size()) {
    result.append(text, at, found - at).append(to);
    template_memory::requireText(result.size());
  }
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
      for (size_t found;
           limit-- != 0 && end >= sep.size() && (found = text.rfind(sep, end - sep.size())) != std::string::npos;
           end = found)
        parts.push_back(text.substr(found + sep.size(), end - found - sep.size()));
      parts.push_back(text.substr(0, end));
      std::ranges::reverse(parts);
      return Value::list(parts);
    }
    size_t at = 0;
    for (size_t found; limit-- != 0 && (found = text.find(sep, at)) != std::string::npos; at = found + sep.size())
      parts.push_back(text.substr(at, found - at));
    parts.push_back(text.substr(at));
    return Value::list(parts);
  }
  if (fromRight && limit >= 0)
    throw TemplateError("unsupported: rsplit at white space with a limit");
  std::string_view rest = text;
  auto skip = [&](bool spaces) { // how long the characters are that are white space, or not
    size_t size = 0;
    while (size < rest.size()) {
      std::string_view character = rest.substr(size, runtime::Utf8Character::at(rest.substr(size)).bytes);
      if (isSpace(character) != spaces)
        break;
      size += character.size();
    }
    return size;
  };
  for (rest.remove_prefix(skip(true)); !rest.empty(); rest.remove_prefix(skip(true))) {
    size_t size = limit-- == 0 ? rest.size() : skip(false);
    parts.push_back(std::string(rest.substr(0, size)));
    rest.remove_prefix(size);
  }
  return Value::list(parts);
}

static Value splitLines(const std::string &text, const Arguments &arguments) {
  const Value *keep = arguments.find(0, "keepends");
  TemplateList lines;
  std::string line;
  auto end = [&](std::string_view with) {
    lines.push_back(line.append(keep && keep->truthy() ? with : ""));
    line.clear();
  };
  for (size_t at = 0; at < text.size();) {
    auto character = runtime::Utf8Character::at(std::string_view(text).substr(at));
    char32_t c = character.kind == runtime::Utf8Character::Complete ? character.point : 0xFFFD;
    size_t size = text.compare(at, 2, "\r\n") == 0 ? 2 : character.bytes;
    std::string_view bytes = std::string_view(text).substr(at, size);
    if ((c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029)
      end(bytes);
    else
      line += bytes;
    at += size;
  }
  if (!line.empty())
    end("");
  return Value::list(lines);
}

static Value startsOrEnds(const std::string &text, const Arguments &arguments, bool starts) {
  const Value *what = arguments.find(0, "prefix");
  if (!what)
    throw TemplateError("startswith and endswith take an argument");
  auto matches = [&](const Value &part) {
    return starts ? text.starts_with(part.string()) : text.ends_with(part.string());
  };
  return what->isSequence() ? std::ranges::any_of(what->items(), matches) : matches(*what);
}

static const Value &required(const Arguments &arguments, size_t position, const char *name) {
  const Value *value = arguments.find(position, name);
  if (!value)
    throw TemplateError(std::string("missing argument '") + name + "'");
  return *value;
}

static std::string justified(const std::string &text, std::string_view how, const Arguments &arguments) {
  int64_t width = required(arguments, 0, "width").integer(), length = Value(text).length();
  const Value *fill = how == "zfill" ? nullptr : arguments.find(1, "fillchar");
  std::string unit = how == "zfill" ? "0" : fill ? fill->string() : " ";
  if (Value(unit).length() != 1)
    throw TemplateError("the fill character must be exactly one character long");
  size_t missing = size_t(std::clamp<int64_t>(width - length, 0, int64_t(template_memory::textLimit)));
  template_memory::requireText(text.size() + missing * unit.size());
  size_t left = how == "ljust" ? 0 : how == "center" ? missing / 2 + (missing & size_t(width) & 1) : missing;
  auto times = [&](size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i)
      out += unit;
    return out;
  };
  size_t sign = how == "zfill" && (text.starts_with('-') || text.starts_with('+')) ? 1 : 0;
  return text.substr(0, sign) + times(left) + text.substr(sign) + times(missing - left);
}

Value sluice::formatText(const std::string &text, const TemplateList &values) {
  std::string out;
  size_t used = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    template_memory::requireText(out.size());
    if (text[at] != '%') {
      out += text[at];
      continue;
    }
    size_t end = text.find_first_not_of("0123456789.-+ #", at + 1);
    std::string flags = text.substr(at + 1, (end == std::string::npos ? text.size() : end) - at - 1);
    char kind = end == std::string::npos ? 0 : text[end];
    at = end == std::string::npos ? text.size() : end;
    if (kind == '%' && flags.empty()) {
      out += '%';
      continue;
    }
    if (!strchr("srdifx", kind) || !kind || flags.size() > 8 || ((kind == 's' || kind == 'r') && !flags.empty()))
      throw TemplateError("unsupported: the format %" + flags + (kind ? std::string(1, kind) : ""));
    if (used == values.size())
      throw TemplateError("not enough arguments for format string");
    const Value &value = values[used++];
    char buffer[512];
    if (kind == 's' || kind == 'r')
      out += kind == 's' ? value.str() : value.repr();
    else if (kind == 'f')
      out += std::string(
          buffer,
          size_t(std::clamp(std::snprintf(buffer, sizeof buffer, ("%" + flags + "f").c_str(), value.real()), 0, 511)));
    else
      out += std::string(
          buffer,
          size_t(std::clamp(std::snprintf(buffer, sizeof buffer, ("%" + flags + (kind == 'x' ? "llx" : "lld")).c_str(),
                                          (long long)(value.isFloat() ? int64_t(value.real()) : value.integer())),
                            0, 511)));
  }
  if (used != values.size())
    throw TemplateError("not all arguments converted during string formatting");
  return out;
}

// str.format with {}, {0} and {name}.
static Value formatBraces(const std::string &text, const Arguments &arguments) {
  std::string out;
  size_t next = 0;
  arguments.useAll();
  for (size_t at = 0; at < text.size(); ++at) {
    template_memory::requireText(out.size());
    if (text.compare(at, 2, "{{") == 0 || text.compare(at, 2, "}}") == 0) {
      out += text[at++];
    } else if (text[at] == '}') {
      throw TemplateError("Single '}' encountered in format string");
    } else if (text[at] != '{') {
      out += text[at];
    } else {
      size_t end = text.find('}', at);
      std::string name = end == std::string::npos ? "" : text.substr(at + 1, end - at - 1);
      bool number =
          !name.empty() && name.size() < 6 && std::ranges::all_of(name, [](char c) { return isdigit(uint8_t(c)); });
      if (end == std::string::npos || name.find_first_of(":!.[") != std::string::npos)
        throw TemplateError("unsupported: the format {" + name);
      size_t index = name.empty() ? next++ : number ? size_t(std::stoul(name)) : SIZE_MAX;
      const Value *value = index < arguments.positional.size() ? &arguments.positional[index] : nullptr;
      for (const auto &[key, named] : arguments.named)
        if (index == SIZE_MAX && key == name)
          value = &named;
      if (!value)
        throw TemplateError("no value for the format {" + name + "}");
      out += value->str();
      at = end;
    }
  }
  return out;
}

static Value stringMethod(const std::string &text, const std::string &name, const Arguments &arguments) {
  if (name == "strip" || name == "lstrip" || name == "rstrip")
    return strip(text, arguments, name != "rstrip", name != "lstrip");
  if (name == "upper" || name == "lower")
    return mapCase(text, name == "upper" ? toupper : tolower);
  if (name == "capitalize")
    return capitalize(text);
  if (name == "title")
    return title(text, /*jinja=*/false);
  if (name == "split" || name == "rsplit")
    return split(text, arguments, name == "rsplit");
  if (name == "splitlines")
    return splitLines(text, arguments);
  if (name == "startswith" || name == "endswith")
    return startsOrEnds(text, arguments, name == "startswith");
  if (name == "replace") {
    const Value *count = arguments.find(2, "count");
    return replaceAll(text, required(arguments, 0, "old").string(), required(arguments, 1, "new").string(),
                      count ? count->integer() : -1);
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
    for (size_t i = 0; i < parts.size(); ++i) {
      result.append(i ? text : "").append(parts[i].string());
      template_memory::requireText(result.size());
    }
    return result;
  }
  if (name == "removeprefix" || name == "removesuffix") {
    const std::string &part = required(arguments, 0, "prefix").string();
    if (name == "removeprefix")
      return text.starts_with(part) ? text.substr(part.size()) : text;
    return text.ends_with(part) ? text.substr(0, text.size() - part.size()) : text;
  }
  if (name == "isupper" || name == "islower")
    return isCased(text, name == "isupper" ? toupper : tolower);
  if (name == "isspace") {
    auto characters = templateCharacters(text);
    return !text.empty() && std::ranges::all_of(characters, [](std::string_view c) { return isSpace(c); });
  }
  if (name == "partition" || name == "rpartition") {
    const std::string &part = required(arguments, 0, "sep").string();
    if (part.empty())
      throw TemplateError("empty separator");
    size_t found = name == "partition" ? text.find(part) : text.rfind(part);
    if (found == std::string::npos)
      return Value::list(name == "partition" ? TemplateList{text, "", ""} : TemplateList{"", "", text}, /*tuple=*/true);
    return Value::list({text.substr(0, found), part, text.substr(found + part.size())}, /*tuple=*/true);
  }
  if (name == "zfill" || name == "ljust" || name == "rjust" || name == "center")
    return justified(text, name, arguments);
  if (name == "swapcase") {
    std::string swapped = text;
    for (char &c : swapped)
      if (uint8_t(c) < 0x80)
        c = char(isupper(uint8_t(c)) ? tolower(c) : toupper(c));
    return swapped;
  }
  if (name == "format")
    return formatBraces(text, arguments);
  // Of ASCII.
  int (*test)(int) = name == "isdigit" ? isdigit : name == "isalpha" ? isalpha : name == "isalnum" ? isalnum : nullptr;
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
  return Value();
}

static Value listMethod(const Value &list, const std::string &name, const Arguments &arguments) {
  const TemplateList &items = list.items();
  if (name == "index" || name == "count") {
    const Value &wanted = required(arguments, 0, "value");
    int64_t count = std::ranges::count(items, wanted);
    if (name == "count")
      return count;
    if (!count)
      throw TemplateError("value is not in list");
    return int64_t(std::ranges::find(items, wanted) - items.begin());
  }
  if (name == "copy")
    return Value::list(items);
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
  auto method = [&](Value (*call)(const Value &, const std::string &, const Arguments &),
                    std::initializer_list<const char *> names) -> Value {
    if (std::ranges::none_of(names, [&](const char *known) { return name == known; }))
      return Value::undefined(name);
    return TemplateFunction([object, name, call](const Arguments &arguments) { return call(object, name, arguments); });
  };
  if (object.isString())
    return method(
        [](const Value &o, const std::string &n, const Arguments &a) { return stringMethod(o.string(), n, a); },
        {"strip",   "lstrip",  "rstrip",     "upper",      "lower",        "capitalize",   "title",
         "split",   "rsplit",  "splitlines", "startswith", "endswith",     "replace",      "find",
         "rfind",   "index",   "count",      "join",       "removeprefix", "removesuffix", "isdigit",
         "isalpha", "isspace", "isalnum",    "isupper",    "islower",      "partition",    "rpartition",
         "zfill",   "ljust",   "rjust",      "center",     "format",       "swapcase"});
  if (object.isSequence())
    return method(listMethod,
                  {"index", "count", "copy"}); // what changes a list is kept from templates, as in Jinja's sandbox
  if (object.isMapping()) {
    Value bound = method(dictMethod, {"get", "items", "keys", "values", "copy"});
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
    return object.isSequence() ? object.items()[size_t(i)]
                               : Value(std::string(templateCharacters(object.string())[size_t(i)]));
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
    bool number =
        !part.empty() && part.size() < 10 && std::ranges::all_of(part, [](char c) { return isdigit(uint8_t(c)); });
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
  arguments.useAll();
  if (!arguments.named.empty())
    throw TemplateError("unsupported argument '" + arguments.named[0].first + "'");
  for (const Value &item : input.iterate()) {
    Value subject = byAttribute ? pathOf(item, required(arguments, 0, "attribute")) : item;
    bool passes = arguments.positional.size() > first
                      ? applyTest(arguments.positional[first].string(), subject, rest(arguments, first + 1))
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
  if (!attribute)
    (void)arguments.find(arguments.positional.size(), "filter"); // all positions are the filter's
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
  int64_t digits = precision ? precision->integer() : 0;
  std::string how = method ? method->string() : "common";
  double x = input.real();
  if (how == "ceil" || how == "floor") {
    double scale = std::pow(10.0, double(digits));
    return (how == "ceil" ? std::ceil(x * scale) : std::floor(x * scale)) / scale;
  }
  if (how != "common" || digits < 0 || digits > 300)
    throw TemplateError("unsupported: round by " + how + " to " + std::to_string(digits) + " digits");
  if (input.isInteger())
    return input.integer();
  char buffer[700]; // printf rounds the exact value, ties to even, as Python does
  std::snprintf(buffer, sizeof buffer, "%.*f", int(digits), x);
  return std::strtod(buffer, nullptr);
}

static Value indentLines(const Value &input, const Arguments &arguments) {
  const Value *width = arguments.find(0, "width"), *first = arguments.find(1, "first"),
              *blank = arguments.find(2, "blank");
  std::string pad = width && width->isString()
                        ? width->string()
                        : std::string(size_t(std::clamp<int64_t>(width ? width->integer() : 4, 0, 1000)), ' ');
  std::string result, text = input.str();
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    bool padded = at == 0 ? first && first->truthy() : end > at || (blank && blank->truthy());
    result.append(padded ? pad : "").append(text, at, end - at).append(end < text.size() ? "\n" : "");
    template_memory::requireText(result.size());
    at = end + 1;
  }
  return result;
}

static Value escapeHtml(const std::string &text) {
  std::string result;
  for (char c : text)
    result += c == '&'    ? "&amp;"
              : c == '<'  ? "&lt;"
              : c == '>'  ? "&gt;"
              : c == '"'  ? "&#34;"
              : c == '\'' ? "&#39;"
                          : std::string(1, c);
  template_memory::requireText(result.size());
  return result;
}

static int64_t positive(const Arguments &arguments, const char *name) {
  int64_t value = required(arguments, 0, name).integer();
  if (value <= 0)
    throw TemplateError(std::string("expected a positive ") + name);
  return value;
}

// Lists of `linecount` items.
static Value batchItems(const Value &input, const Arguments &arguments) {
  size_t size = size_t(positive(arguments, "linecount"));
  const Value *fill = arguments.find(1, "fill_with");
  TemplateList result, items = input.iterate();
  for (size_t at = 0; at < items.size(); at += size) {
    TemplateList part(items.begin() + std::ptrdiff_t(at),
                      items.begin() + std::ptrdiff_t(std::min(items.size(), at + std::min(size, items.size()))));
    if (fill && !fill->isNone() && part.size() < size) {
      template_memory::require(std::min<size_t>(size, template_memory::limit) * sizeof(Value));
      part.resize(size, *fill);
    }
    result.push_back(Value::list(std::move(part)));
  }
  return Value::list(std::move(result));
}

// `slices` lists, the first of them longer by one where it does not come out even.
static Value sliceItems(const Value &input, const Arguments &arguments) {
  size_t slices = size_t(positive(arguments, "slices"));
  const Value *fill = arguments.find(1, "fill_with");
  template_memory::require(std::min<size_t>(slices, template_memory::limit) * sizeof(Value));
  TemplateList result, items = input.iterate();
  size_t each = items.size() / slices, longer = items.size() % slices, at = 0;
  for (size_t i = 0; i < slices; ++i) {
    size_t size = each + (i < longer);
    TemplateList part(items.begin() + std::ptrdiff_t(at), items.begin() + std::ptrdiff_t(at + size));
    if (fill && !fill->isNone() && i >= longer)
      part.push_back(*fill);
    at += size;
    result.push_back(Value::list(std::move(part)));
  }
  return Value::list(std::move(result));
}

// (value of the attribute, items that have it), by value.
static Value groupItems(const Value &input, const Arguments &arguments) {
  const Value attribute = required(arguments, 0, "attribute");
  const Value *fallback = arguments.find(1, "default"), *sensitive = arguments.find(2, "case_sensitive");
  bool cased = sensitive && sensitive->truthy();
  auto keyOf = [&](const Value &item) {
    Value key = pathOf(item, attribute);
    return key.isUndefined() && fallback ? *fallback : key;
  };
  auto folded = [&](const Value &key) {
    return key.isString() && !cased ? Value(mapCase(key.string(), tolower)) : key;
  };
  TemplateList items = input.iterate(), result;
  std::ranges::stable_sort(
      items, [&](const Value &a, const Value &b) { return folded(keyOf(a)).compare(folded(keyOf(b))) < 0; });
  for (size_t at = 0; at < items.size();) {
    Value key = keyOf(items[at]);
    TemplateList group;
    for (; at < items.size() && folded(keyOf(items[at])) == folded(key); ++at)
      group.push_back(items[at]);
    result.push_back(Value::list({key, Value::list(std::move(group))}, /*tuple=*/true));
  }
  return Value::list(std::move(result));
}

static Value truncated(const Value &input, const Arguments &arguments) {
  const Value *length = arguments.find(0, "length"), *kill = arguments.find(1, "killwords"),
              *end = arguments.find(2, "end"), *leeway = arguments.find(3, "leeway");
  int64_t most = length ? length->integer() : 255, slack = leeway && !leeway->isNone() ? leeway->integer() : 5;
  std::string text = input.str(), mark = end ? end->string() : "...";
  int64_t markLength = Value(mark).length();
  if (most < markLength || slack < 0)
    throw TemplateError("truncate: expected a length of at least " + std::to_string(markLength));
  std::vector<std::string_view> characters = templateCharacters(text);
  if (int64_t(characters.size()) <= most + slack)
    return text;
  size_t size = 0;
  for (int64_t i = 0; i < most - markLength; ++i)
    size += characters[size_t(i)].size();
  std::string kept = text.substr(0, size);
  if (!(kill && kill->truthy()))
    if (size_t space = kept.rfind(' '); space != std::string::npos)
      kept.resize(space);
  return kept + mark;
}

static std::string urlEncoded(const std::string &text) {
  std::string out;
  for (char c : text) {
    if (isalnum(uint8_t(c)) || (c && std::strchr("_.-~/", c))) {
      out += c;
      continue;
    }
    char buffer[4];
    std::snprintf(buffer, sizeof buffer, "%%%02X", unsigned(uint8_t(c)));
    out += buffer;
  }
  template_memory::requireText(out.size());
  return out;
}

Value sluice::applyFilter(std::string_view name, const Value &input, const Arguments &arguments) {
  using Filter = Value (*)(const Value &, const Arguments &);
  static const std::map<std::string_view, Filter> filters = {
      {"trim", [](const Value &v, const Arguments &a) -> Value { return strip(v.str(), a, true, true); }},
      {"upper", [](const Value &v, const Arguments &) -> Value { return mapCase(v.str(), toupper); }},
      {"lower", [](const Value &v, const Arguments &) -> Value { return mapCase(v.str(), tolower); }},
      {"title", [](const Value &v, const Arguments &) -> Value { return title(v.str(), /*jinja=*/true); }},
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
      {"abs",
       [](const Value &v, const Arguments &) -> Value {
         if (v.isInteger() && v.integer() == INT64_MIN)
           throw TemplateError("a number is too large");
         return v.isInteger() ? Value(std::abs(v.integer())) : Value(std::fabs(v.real()));
       }},
      {"items",
       [](const Value &v, const Arguments &) -> Value {
         return v.isUndefined() ? Value::list({}) : pairsOf(v.entries());
       }},
      {"select", [](const Value &v, const Arguments &a) { return selectItems(v, a, true, false); }},
      {"reject", [](const Value &v, const Arguments &a) { return selectItems(v, a, false, false); }},
      {"selectattr", [](const Value &v, const Arguments &a) { return selectItems(v, a, true, true); }},
      {"rejectattr", [](const Value &v, const Arguments &a) { return selectItems(v, a, false, true); }},
      {"default",
       [](const Value &v, const Arguments &a) -> Value {
         const Value *fallback = a.find(0, "default_value"), *boolean = a.find(1, "boolean");
         bool use = v.isUndefined() || (boolean && boolean->truthy() && !v.truthy());
         return use ? (fallback ? *fallback : Value("")) : v;
       }},
      {"d", [](const Value &v, const Arguments &a) { return applyFilter("default", v, a); }},
      {"join",
       [](const Value &v, const Arguments &a) -> Value {
         const Value *separator = a.find(0, "d"), *attribute = a.find(1, "attribute");
         std::string result;
         TemplateList items = v.iterate();
         for (size_t i = 0; i < items.size(); ++i) {
           result +=
               (i && separator ? separator->str() : "") + (attribute ? pathOf(items[i], *attribute) : items[i]).str();
           template_memory::requireText(result.size());
         }
         return result;
       }},
      {"tojson",
       [](const Value &v, const Arguments &a) -> Value {
         // The arguments of transformers' own: ensure_ascii, indent, separators, sort_keys.
         const Value *ascii = a.find(0, "ensure_ascii"), *indent = a.find(1, "indent"),
                     *sorted = a.find(3, "sort_keys");
         Value::JsonStyle style;
         style.ascii = ascii && ascii->truthy();
         style.sorted = sorted && sorted->truthy();
         if (indent && !indent->isNone()) {
           style.indent = int(std::clamp<int64_t>(indent->integer(), 0, 32));
           style.item = ",";
         }
         if (const Value *separators = a.find(2, "separators"); separators && !separators->isNone()) {
           if (separators->items().size() != 2)
             throw TemplateError("expected two separators");
           style.item = separators->items()[0].string();
           style.key = separators->items()[1].string();
         }
         return v.json(style);
       }},
      {"attr",
       [](const Value &v, const Arguments &a) -> Value {
         // An attribute and never an entry.
         const std::string &attribute = required(a, 0, "name").string();
         return v.isMapping() && !v.isNamespace() && v.get(attribute) ? Value::undefined(attribute)
                                                                      : attributeOf(v, attribute);
       }},
      {"batch", batchItems},
      {"slice", sliceItems},
      {"groupby", groupItems},
      {"center",
       [](const Value &v, const Arguments &a) -> Value {
         Arguments width;
         const Value *given = a.find(0, "width");
         width.positional = {given ? *given : Value(int64_t(80))};
         return justified(v.str(), "center", width);
       }},
      {"format",
       [](const Value &v, const Arguments &a) -> Value {
         a.useAll();
         return formatText(v.str(), a.positional);
       }},
      {"truncate", truncated},
      {"urlencode", [](const Value &v, const Arguments &) -> Value { return urlEncoded(v.str()); }},
      {"wordcount",
       [](const Value &v, const Arguments &) -> Value {
         Value words = split(v.str(), {}, false);
         return words.length();
       }},
      {"first",
       [](const Value &v, const Arguments &) -> Value {
         TemplateList items = v.iterate();
         return items.empty() ? Value::undefined("first") : items.front();
       }},
      {"last",
       [](const Value &v, const Arguments &) -> Value {
         TemplateList items = v.iterate();
         return items.empty() ? Value::undefined("last") : items.back();
       }},
      {"reverse",
       [](const Value &v, const Arguments &) -> Value {
         if (v.isString()) {
           auto characters = templateCharacters(v.string());
           std::string text;
           for (auto c = characters.rbegin(); c != characters.rend(); ++c)
             text += *c;
           return text;
         }
         TemplateList items = v.iterate();
         std::ranges::reverse(items);
         return Value::list(items);
       }},
      {"replace",
       [](const Value &v, const Arguments &a) -> Value {
         const Value *count = a.find(2, "count");
         return replaceAll(v.str(), required(a, 0, "old").str(), required(a, 1, "new").str(),
                           count && !count->isNone() ? count->integer() : -1);
       }},
      {"dictsort",
       [](const Value &v, const Arguments &) -> Value {
         Arguments byKey;
         byKey.named = {{"attribute", Value(int64_t(0))}};
         return sortItems(pairsOf(v.entries()), byKey);
       }},
      {"unique",
       [](const Value &v, const Arguments &a) -> Value {
         const Value *sensitive = a.find(0, "case_sensitive"), *attribute = a.find(1, "attribute");
         TemplateList result, keys;
         for (const Value &item : v.iterate()) {
           Value key = sortKey(item, attribute, sensitive && sensitive->truthy());
           if (std::ranges::find(keys, key) != keys.end())
             continue;
           if (keys.size() > 10'000)
             throw TemplateError("unique has too many different values");
           keys.push_back(key);
           result.push_back(item);
         }
         return Value::list(result);
       }},
      {"min",
       [](const Value &v, const Arguments &) -> Value {
         TemplateList items = v.iterate();
         auto found = std::ranges::min_element(items, [](const Value &a, const Value &b) {
           return sortKey(a, nullptr, false).compare(sortKey(b, nullptr, false)) < 0;
         });
         return found == items.end() ? Value::undefined("min") : *found;
       }},
      {"max",
       [](const Value &v, const Arguments &) -> Value {
         TemplateList items = v.iterate();
         auto found = std::ranges::max_element(items, [](const Value &a, const Value &b) {
           return sortKey(a, nullptr, false).compare(sortKey(b, nullptr, false)) < 0;
         });
         return found == items.end() ? Value::undefined("max") : *found;
       }},
      {"sum",
       [](const Value &v, const Arguments &a) -> Value {
         const Value *attribute = a.find(0, "attribute"), *start = a.find(1, "start");
         Value total = start ? *start : Value(int64_t(0));
         for (const Value &item : v.iterate()) {
           Value term = attribute && !attribute->isNone() ? pathOf(item, *attribute) : item;
           total = total.isInteger() && term.isInteger()
                       ? Value(int64_t(uint64_t(total.integer()) + uint64_t(term.integer())))
                       : Value(total.real() + term.real());
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
      {"sequence",
       [](const Value &v, const Arguments &) {
         return v.isSequence() || v.isMapping() || v.isString() || v.isUndefined();
       }},
      {"iterable",
       [](const Value &v, const Arguments &) {
         return v.isSequence() || v.isMapping() || v.isString() || v.isUndefined();
       }},
      {"filter",
       [](const Value &v, const Arguments &) {
         return v.isString() && std::ranges::find(templateFilters, v.string()) != std::end(templateFilters);
       }},
      {"test",
       [](const Value &v, const Arguments &) {
         return v.isString() && std::ranges::find(templateTests, v.string()) != std::end(templateTests);
       }},
      {"callable", [](const Value &v, const Arguments &) { return v.isFunction(); }},
      {"odd", [](const Value &v, const Arguments &) { return v.integer() % 2 != 0; }},
      {"even", [](const Value &v, const Arguments &) { return v.integer() % 2 == 0; }},
      {"divisibleby",
       [](const Value &v, const Arguments &a) {
         int64_t by = required(a, 0, "num").integer();
         if (by == 0)
           throw TemplateError("division by zero");
         return by == -1 || v.integer() % by == 0;
       }},
      {"upper", [](const Value &v, const Arguments &) { return isCased(v.str(), toupper); }},
      {"lower", [](const Value &v, const Arguments &) { return isCased(v.str(), tolower); }},
      {"in",
       [](const Value &v, const Arguments &a) {
         const Value &all = required(a, 0, "seq");
         if (all.isString())
           return all.string().find(v.string()) != std::string::npos;
         TemplateList items = all.iterate();
         return std::ranges::find(items, v) != items.end();
       }},
      {"equalto", [](const Value &v, const Arguments &a) { return v == required(a, 0, "other"); }},
      {"eq", [](const Value &v, const Arguments &a) { return v == required(a, 0, "other"); }},
      {"==", [](const Value &v, const Arguments &a) { return v == required(a, 0, "other"); }},
      {"sameas",
       [](const Value &v, const Arguments &a) {
         return v.isBool() == required(a, 0, "other").isBool() && v == required(a, 0, "other");
       }},
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
  arguments.useAll();
  if (a.empty() || a.size() > 3)
    throw TemplateError("range takes one to three arguments");
  int64_t start = a.size() > 1 ? a[0].integer() : 0, stop = a[a.size() > 1 ? 1 : 0].integer(),
          step = a.size() > 2 ? a[2].integer() : 1;
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
  arguments.useAll();
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
