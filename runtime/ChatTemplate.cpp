//===- ChatTemplate.cpp - renders a conversation with the model's own template ------------===//

#include "runtime/ChatTemplate.h"
#include "runtime/TemplateBuiltins.h"
#include <cmath>
#include <optional>
#include <utility>

using namespace sluice;
using Value = TemplateValue;

namespace {

constexpr uint64_t maxSteps = 20'000'000;
constexpr unsigned maxDepth = 400;

size_t padded(size_t size) { return (size + 7) / 8 * 8; }

class Evaluator {
public:
  Evaluator(const uint8_t *bytes, const Value &variables) {
    section = reinterpret_cast<const TemplateSection *>(bytes);
    bytes += padded(sizeof(TemplateSection));
    nodes = reinterpret_cast<const TemplateNode *>(bytes);
    bytes += padded(section->nodeCount * sizeof(TemplateNode));
    children = reinterpret_cast<const uint32_t *>(bytes);
    bytes += padded(section->childCount * sizeof(uint32_t));
    strings = reinterpret_cast<const TemplateString *>(bytes);
    pool = reinterpret_cast<const char *>(bytes + padded(section->stringCount * sizeof(TemplateString)));
    scopes.push_back(Value::dict());
    for (const auto &[name, value] : variables.entries())
      scopes[0].set(name, value);
  }

  std::string run() {
    std::string out;
    execute(nodes[section->root], out);
    return out;
  }

private:
  enum class Flow { Normal, Break, Continue };

  //===-- The tree ----------------------------------------------------------------------------===//
  const TemplateNode &child(const TemplateNode &node, uint32_t index) const {
    if (index >= node.childCount)
      fail(node, "the tree is damaged");
    return nodes[children[node.firstChild + index]];
  }
  std::string text(const TemplateNode &node) const {
    if (node.text == noString)
      fail(node, "the tree is damaged");
    return {pool + strings[node.text].offset, strings[node.text].size};
  }
  [[noreturn]] static void fail(const TemplateNode &node, const std::string &message) {
    throw TemplateError("chat template, line " + std::to_string(node.line) + ": " + message);
  }

  // Counts a step and a level of recursion.
  struct Level {
    Evaluator &evaluator;
    Level(Evaluator &e, const TemplateNode &node) : evaluator(e) {
      if (++e.steps > maxSteps)
        fail(node, "runs for too long");
      if (++e.depth > maxDepth)
        fail(node, "is nested too deeply");
    }
    ~Level() { --evaluator.depth; }
  };

  //===-- Names -------------------------------------------------------------------------------===//
  Value lookup(const std::string &name) {
    for (size_t i = scopes.size(); i-- > 0;) {
      if (const Value *found = scopes[i].get(name))
        return *found;
      if (i == macroBase && i > 0)
        i = 1; // a macro sees its own scopes and the template's outermost
    }
    return globalFunction(name);
  }
  void assign(const TemplateNode &target, const Value &value) {
    if (target.kind == NodeKind::Name) {
      scopes.back().set(text(target), value);
    } else if (target.kind == NodeKind::Attribute) {
      Value object = evaluate(child(target, 0));
      if (!object.isNamespace())
        fail(target, "only attributes of a namespace can be set");
      object.set(text(target), value);
    } else {
      TemplateList items = value.iterate();
      if (items.size() != target.childCount)
        fail(target, "expected " + std::to_string(target.childCount) + " values to unpack, got " +
                         std::to_string(items.size()));
      for (uint32_t i = 0; i < target.childCount; ++i)
        assign(child(target, i), items[i]);
    }
  }

  //===-- Statements --------------------------------------------------------------------------===//
  void emit(const TemplateNode &node, std::string &out, const std::string &what) {
    written += what.size();
    if (written > template_memory::textLimit)
      fail(node, "writes too much");
    out += what;
  }

  Flow execute(const TemplateNode &node, std::string &out) {
    Level level(*this, node);
    switch (node.kind) {
    case NodeKind::Missing:
      return Flow::Normal;
    case NodeKind::Block:
      for (uint32_t i = 0; i < node.childCount; ++i)
        if (Flow flow = execute(child(node, i), out); flow != Flow::Normal)
          return flow;
      return Flow::Normal;
    case NodeKind::Text:
      emit(node, out, text(node));
      return Flow::Normal;
    case NodeKind::Output:
      emit(node, out, evaluate(child(node, 0)).str());
      return Flow::Normal;
    case NodeKind::If:
      return execute(child(node, evaluate(child(node, 0)).truthy() ? 1 : 2), out);
    case NodeKind::For:
      return loop(node, out);
    case NodeKind::Set:
      assign(child(node, 0), evaluate(child(node, 1)));
      return Flow::Normal;
    case NodeKind::SetBlock: {
      std::string body;
      execute(child(node, 1), body);
      assign(child(node, 0), body);
      return Flow::Normal;
    }
    case NodeKind::Macro:
      scopes.back().set(text(node), TemplateFunction([this, &node](const TemplateArguments &arguments) {
                          return callMacro(node, arguments);
                        }));
      return Flow::Normal;
    case NodeKind::CallBlock: {
      // The body sees what is defined here, not what the macro defines.
      const TemplateNode &body = child(node, 1);
      Value caller =
          TemplateFunction([this, &body, here = scopes, base = macroBase](const TemplateArguments &) -> Value {
            std::vector<Value> outer = std::exchange(scopes, here);
            size_t outerBase = std::exchange(macroBase, base);
            scopes.push_back(Value::dict());
            std::string result;
            execute(body, result);
            scopes = std::move(outer);
            macroBase = outerBase;
            return result;
          });
      if (child(node, 0).kind != NodeKind::Call)
        fail(node, "the tree is damaged");
      callerOfNextCall = &caller;
      emit(node, out, evaluate(child(node, 0)).str());
      return Flow::Normal;
    }
    case NodeKind::FilterBlock: {
      std::string body;
      scopes.push_back(Value::dict());
      execute(child(node, 1), body);
      scopes.pop_back();
      filteredBody = std::move(body);
      emit(node, out, evaluate(child(node, 0)).str());
      return Flow::Normal;
    }
    case NodeKind::With: {
      if (node.childCount == 0)
        fail(node, "the tree is damaged");
      Value scope = Value::dict();
      std::vector<Value> values;
      for (uint32_t i = 1; i < node.childCount; i += 2)
        values.push_back(evaluate(child(node, i)));
      scopes.push_back(scope);
      for (uint32_t i = 0; i < values.size(); ++i)
        assign(child(node, 2 * i), values[i]);
      Flow flow = execute(child(node, node.childCount - 1), out);
      scopes.pop_back();
      return flow;
    }
    case NodeKind::Break:
      return Flow::Break;
    case NodeKind::Continue:
      return Flow::Continue;
    default:
      fail(node, "the tree is damaged");
    }
  }

  Flow loop(const TemplateNode &node, std::string &out) {
    const TemplateNode &target = child(node, 0), &filter = child(node, 2), &body = child(node, 3);
    TemplateList items = evaluate(child(node, 1)).iterate();
    if (filter.kind != NodeKind::Missing) {
      TemplateList kept;
      for (const Value &item : items) {
        scopes.push_back(Value::dict());
        assign(target, item);
        if (evaluate(filter).truthy())
          kept.push_back(item);
        scopes.pop_back();
      }
      items = std::move(kept);
    }
    int64_t count = int64_t(items.size());
    for (int64_t i = 0; i < count; ++i) {
      Level step(*this, node);
      scopes.push_back(Value::dict());
      assign(target, items[size_t(i)]);
      TemplateDict facts = {{"index", i + 1},        {"index0", i},
                            {"revindex", count - i}, {"revindex0", count - i - 1},
                            {"first", i == 0},       {"last", i + 1 == count},
                            {"length", count},       {"depth", int64_t(1)},
                            {"depth0", int64_t(0)}};
      if (i > 0)
        facts.emplace_back("previtem", items[size_t(i - 1)]);
      if (i + 1 < count)
        facts.emplace_back("nextitem", items[size_t(i + 1)]);
      facts.emplace_back("cycle", TemplateFunction([i](const TemplateArguments &a) -> Value {
                           if (a.positional.empty())
                             throw TemplateError("loop.cycle takes arguments");
                           a.useAll();
                           return a.positional[size_t(i) % a.positional.size()];
                         }));
      scopes.back().set("loop", Value::dict(std::move(facts), /*isNamespace=*/true));
      Flow flow = execute(body, out);
      scopes.pop_back();
      if (flow == Flow::Break)
        break;
    }
    return count ? Flow::Normal : execute(child(node, 4), out);
  }

  Value callMacro(const TemplateNode &node, const TemplateArguments &arguments) {
    Level level(*this, node);
    Value scope = Value::dict();
    if (const Value *caller = std::exchange(callerOfMacro, nullptr))
      scope.set("caller", *caller);
    for (uint32_t i = 0; i + 1 < node.childCount; ++i) {
      const TemplateNode &parameter = child(node, i);
      if (const Value *given = arguments.find(i, text(parameter).c_str()))
        scope.set(text(parameter), *given);
      else if (child(parameter, 0).kind != NodeKind::Missing)
        scope.set(text(parameter), evaluate(child(parameter, 0)));
      else
        scope.set(text(parameter), Value::undefined(text(parameter)));
    }
    size_t base = macroBase;
    scopes.push_back(scope);
    macroBase = scopes.size() - 1;
    std::string out;
    execute(child(node, node.childCount - 1), out);
    scopes.resize(macroBase);
    macroBase = base;
    return out;
  }

  //===-- Expressions -------------------------------------------------------------------------===//
  TemplateArguments argumentsOf(const TemplateNode &node, uint32_t first) {
    TemplateArguments arguments;
    for (uint32_t i = first; i < node.childCount; ++i) {
      const TemplateNode &argument = child(node, i);
      if (argument.kind == NodeKind::Keyword)
        arguments.named.emplace_back(text(argument), evaluate(child(argument, 0)));
      else
        arguments.positional.push_back(evaluate(argument));
    }
    return arguments;
  }

  Value filtered(const TemplateNode &node, const Value &input) {
    try {
      TemplateArguments arguments = argumentsOf(node, 1);
      Value result = applyFilter(text(node), input, arguments);
      arguments.checkUsed();
      return result;
    } catch (const TemplateError &error) {
      rethrow(node, error);
    }
  }

  // Adds the line to an error that has none yet.
  [[noreturn]] static void rethrow(const TemplateNode &node, const TemplateError &error) {
    if (std::string_view(error.what()).starts_with("chat template,"))
      throw;
    fail(node, error.what());
  }

  // Work on a value grows with its bytes: they count as steps.
  Value evaluate(const TemplateNode &node) {
    Level level(*this, node);
    Value result = valueOf(node);
    steps += result.bytes() / 256;
    return result;
  }

  Value valueOf(const TemplateNode &node) {
    switch (node.kind) {
    case NodeKind::String:
      return text(node);
    case NodeKind::Integer:
      return node.number.integer;
    case NodeKind::Float:
      return node.number.real;
    case NodeKind::True:
    case NodeKind::False:
      return node.kind == NodeKind::True;
    case NodeKind::None:
      return Value::None();
    case NodeKind::Missing:
      return filteredBody ? Value(*std::exchange(filteredBody, std::nullopt)) : Value();
    case NodeKind::Name:
      return lookup(text(node));
    case NodeKind::List:
    case NodeKind::Tuple: {
      TemplateList items;
      for (uint32_t i = 0; i < node.childCount; ++i)
        items.push_back(evaluate(child(node, i)));
      return Value::list(std::move(items), node.kind == NodeKind::Tuple);
    }
    case NodeKind::Dict: {
      Value dict = Value::dict();
      for (uint32_t i = 0; i + 1 < node.childCount; i += 2)
        dict.set(evaluate(child(node, i)), evaluate(child(node, i + 1)));
      return dict;
    }
    case NodeKind::Not:
      return !evaluate(child(node, 0)).truthy();
    case NodeKind::And:
    case NodeKind::Or: {
      Value left = evaluate(child(node, 0));
      return left.truthy() == (node.kind == NodeKind::And) ? evaluate(child(node, 1)) : left;
    }
    case NodeKind::Conditional:
      return evaluate(child(node, evaluate(child(node, 1)).truthy() ? 0 : 2));
    case NodeKind::Filter:
      return filtered(node, evaluate(child(node, 0)));
    default:
      break;
    }
    try {
      return evaluateOperation(node);
    } catch (const TemplateError &error) {
      rethrow(node, error);
    }
  }

  bool tested(const TemplateNode &node) {
    Value input = evaluate(child(node, 0));
    TemplateArguments arguments = argumentsOf(node, 1);
    bool result = applyTest(text(node), input, arguments);
    arguments.checkUsed();
    return result;
  }

  Value evaluateOperation(const TemplateNode &node) {
    if (node.kind == NodeKind::Test)
      return tested(node);
    if (node.kind == NodeKind::Attribute)
      return attributeOf(evaluate(child(node, 0)), text(node));
    if (node.kind == NodeKind::Item)
      return itemOf(evaluate(child(node, 0)), evaluate(child(node, 1)));
    if (node.kind == NodeKind::Slice)
      return slice(node);
    if (node.kind == NodeKind::Call) {
      const Value *caller = std::exchange(callerOfNextCall, nullptr); // it is for this call, not for those in arguments
      Value callee = evaluate(child(node, 0));
      TemplateArguments arguments = argumentsOf(node, 1);
      callerOfMacro = caller;
      Value result = callee.function()(arguments);
      callerOfMacro = nullptr;
      arguments.checkUsed();
      return result;
    }
    if (node.kind == NodeKind::Negate || node.kind == NodeKind::Plus) {
      Value operand = evaluate(child(node, 0));
      if (node.kind == NodeKind::Plus)
        return operand;
      return operand.isInteger() ? Value(int64_t(0 - uint64_t(operand.integer()))) : Value(-operand.real());
    }
    if (node.kind < NodeKind::Add || node.kind > NodeKind::Last)
      fail(node, "the tree is damaged");
    return binary(node.kind, evaluate(child(node, 0)), evaluate(child(node, 1)));
  }

  Value binary(NodeKind kind, const Value &x, const Value &y) {
    TemplateArguments other;
    other.positional.push_back(y);
    switch (kind) {
    case NodeKind::Equal:
      return x == y;
    case NodeKind::NotEqual:
      return !(x == y);
    case NodeKind::Less:
      return x.compare(y) < 0;
    case NodeKind::LessEqual:
      return x.compare(y) <= 0;
    case NodeKind::Greater:
      return x.compare(y) > 0;
    case NodeKind::GreaterEqual:
      return x.compare(y) >= 0;
    case NodeKind::In:
    case NodeKind::NotIn:
      return applyTest("in", x, other) == (kind == NodeKind::In);
    case NodeKind::Concatenate:
      return joined(x.str(), y.str());
    default:
      return arithmetic(kind, x, y);
    }
  }

  static Value joined(const std::string &x, const std::string &y) {
    template_memory::requireText(x.size() + y.size());
    return x + y;
  }
  static Value repeated(const Value &x, int64_t times) {
    size_t count = times > 0 ? size_t(times) : 0, size = x.bytes();
    if (size && count > template_memory::limit / size)
      throw TemplateError("needs too much memory");
    if (x.isString()) {
      template_memory::requireText(size * count);
      std::string result;
      for (size_t i = 0; size && i < count; ++i)
        result += x.string();
      return result;
    }
    TemplateList items;
    for (size_t i = 0; size && i < count; ++i)
      items.insert(items.end(), x.items().begin(), x.items().end());
    return Value::list(std::move(items), x.isTuple());
  }

  Value arithmetic(NodeKind kind, const Value &x, const Value &y) {
    if (kind == NodeKind::Add && x.isString() && y.isString())
      return joined(x.string(), y.string());
    if (kind == NodeKind::Add && x.isSequence() && y.isSequence()) {
      template_memory::require(x.bytes() + y.bytes());
      TemplateList items = x.items();
      items.insert(items.end(), y.items().begin(), y.items().end());
      return Value::list(std::move(items), x.isTuple());
    }
    if (kind == NodeKind::Multiply && (x.isString() || x.isSequence()) && y.isInteger())
      return repeated(x, y.integer());
    if (kind == NodeKind::Multiply && x.isInteger() && (y.isString() || y.isSequence()))
      return repeated(y, x.integer());
    if (kind == NodeKind::Modulo && x.isString())
      return formatText(x.string(), y.isTuple() ? y.items() : TemplateList{y});
    if (x.isInteger() && y.isInteger() && kind != NodeKind::Divide && kind != NodeKind::Power)
      return integerArithmetic(kind, x.integer(), y.integer());
    double a = x.real(), b = y.real();
    if (b == 0 && (kind == NodeKind::Divide || kind == NodeKind::FloorDivide || kind == NodeKind::Modulo))
      throw TemplateError("division by zero");
    switch (kind) {
    case NodeKind::Add:
      return a + b;
    case NodeKind::Subtract:
      return a - b;
    case NodeKind::Multiply:
      return a * b;
    case NodeKind::Divide:
      return a / b;
    case NodeKind::FloorDivide:
      return std::floor(a / b);
    case NodeKind::Modulo:
      return a - std::floor(a / b) * b;
    default: {
      double power = std::pow(a, b);
      bool integral = x.isInteger() && y.isInteger() && b >= 0 && std::fabs(power) < 9e15;
      return integral ? Value(int64_t(power)) : Value(power);
    }
    }
  }

  static Value integerArithmetic(NodeKind kind, int64_t a, int64_t b) {
    int64_t result;
    bool overflow = false;
    if (kind == NodeKind::Add) {
      overflow = __builtin_add_overflow(a, b, &result);
    } else if (kind == NodeKind::Subtract) {
      overflow = __builtin_sub_overflow(a, b, &result);
    } else if (kind == NodeKind::Multiply) {
      overflow = __builtin_mul_overflow(a, b, &result);
    } else {
      if (b == 0)
        throw TemplateError("division by zero");
      if (b == -1)
        return kind == NodeKind::Modulo ? int64_t(0) : int64_t(0 - uint64_t(a));
      int64_t remainder = a % b;
      bool adjust = remainder != 0 && (remainder < 0) != (b < 0); // Python rounds down
      result = kind == NodeKind::Modulo ? remainder + (adjust ? b : 0) : a / b - adjust;
    }
    if (overflow)
      throw TemplateError("a number is too large");
    return result;
  }

  Value slice(const TemplateNode &node) {
    Value object = evaluate(child(node, 0));
    Value bounds[3] = {evaluate(child(node, 1)), evaluate(child(node, 2)), evaluate(child(node, 3))};
    auto given = [&](int i) { return !bounds[i].isUndefined() && !bounds[i].isNone(); };
    int64_t step = given(2) ? bounds[2].integer() : 1;
    if (step == 0)
      throw TemplateError("slice step cannot be zero");
    if (!object.isString() && !object.isSequence())
      throw TemplateError(std::string("a value of type ") + object.typeName() + " has no slices");
    std::vector<std::string_view> characters;
    if (object.isString())
      characters = templateCharacters(object.string());
    int64_t size = object.isString() ? int64_t(characters.size()) : int64_t(object.items().size()),
            lowest = step > 0 ? 0 : -1, highest = step > 0 ? size : size - 1;
    auto bound = [&](int i, int64_t absent) {
      if (!given(i))
        return absent;
      int64_t value = bounds[i].integer();
      return std::clamp(value < 0 ? value + size : value, lowest, highest);
    };
    int64_t start = bound(0, step > 0 ? 0 : size - 1), stop = bound(1, step > 0 ? size : -1);
    step = std::clamp(step, -size - 1, size + 1);
    TemplateList items;
    std::string out;
    for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) {
      if (object.isString())
        out += characters[size_t(i)];
      else
        items.push_back(object.items()[size_t(i)]);
    }
    return object.isString() ? Value(out) : Value::list(std::move(items), object.isTuple());
  }

  const TemplateSection *section;
  const TemplateNode *nodes;
  const uint32_t *children;
  const TemplateString *strings;
  const char *pool;
  std::vector<Value> scopes; // innermost last
  size_t macroBase = 0;      // scope of the macro being called
  const Value *callerOfNextCall = nullptr, *callerOfMacro = nullptr; // the body of a call block, while it lives
  std::optional<std::string> filteredBody; // what the innermost Missing of a filter block's filters stands for
  uint64_t steps = 0;
  size_t written = 0;
  unsigned depth = 0;
};

} // namespace

ChatTemplate::ChatTemplate(std::span<const uint8_t> data) : bytes(data) {
  if (bytes.empty())
    return;
  auto damaged = [] { return std::runtime_error("the chat template section is damaged"); };
  section = reinterpret_cast<const TemplateSection *>(bytes.data());
  if (bytes.size() < sizeof(TemplateSection) || section->magic != templateMagic || section->root >= section->nodeCount)
    throw damaged();
  const size_t sizes[] = {padded(sizeof(TemplateSection)), padded(section->nodeCount * sizeof(TemplateNode)),
                          padded(section->childCount * sizeof(uint32_t)),
                          padded(section->stringCount * sizeof(TemplateString)), section->poolSize};
  size_t total = 0;
  for (size_t size : sizes)
    total += size;
  if (total > bytes.size())
    throw damaged();
  // Every reference in bounds, and children before parents: the tree is one.
  auto nodes = reinterpret_cast<const TemplateNode *>(bytes.data() + sizes[0]);
  auto children = reinterpret_cast<const uint32_t *>(bytes.data() + sizes[0] + sizes[1]);
  auto strings = reinterpret_cast<const TemplateString *>(bytes.data() + sizes[0] + sizes[1] + sizes[2]);
  for (uint32_t i = 0; i < section->stringCount; ++i)
    if (strings[i].offset > section->poolSize || strings[i].size > section->poolSize - strings[i].offset)
      throw damaged();
  for (uint32_t i = 0; i < section->nodeCount; ++i) {
    const TemplateNode &node = nodes[i];
    if (node.kind > NodeKind::Last || node.firstChild > section->childCount ||
        node.childCount > section->childCount - node.firstChild ||
        (node.text != noString && node.text >= section->stringCount))
      throw damaged();
    for (uint32_t c = 0; c < node.childCount; ++c)
      if (children[node.firstChild + c] >= i)
        throw damaged();
  }
}

std::string ChatTemplate::render(std::span<const Message> messages, bool addGenerationPrompt, std::string_view bosText,
                                 std::string_view eosText) const {
  TemplateList list;
  for (const Message &message : messages)
    list.push_back(Value::dict({{"role", message.role}, {"content", message.content}}));
  return render(Value::dict({{"messages", Value::list(std::move(list))},
                             {"add_generation_prompt", addGenerationPrompt},
                             {"bos_token", std::string(bosText)},
                             {"eos_token", std::string(eosText)}}));
}

std::string ChatTemplate::render(const TemplateValue &variables) const {
  if (empty())
    throw std::runtime_error("the model has no chat template; use --raw");
  TemplateLifetime lifetime;
  try {
    return Evaluator(bytes.data(), variables).run();
  } catch (const std::bad_alloc &) {
    throw std::runtime_error("the chat template needs too much memory");
  }
}
