//===- TemplateCompiler.cpp - a Jinja template as a flat tree ---------------------------------===//
//
// A recursive-descent parser for the Jinja that chat templates use, with Jinja's precedences. Source: the Jinja
// documentation, "Template Designer Documentation".
//
//===----------------------------------------------------------------------------------------===//

#include "compiler/text/TemplateCompiler.h"
#include "compiler/text/TemplateLexer.h"
#include "runtime/TemplateFormat.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSwitch.h"
#include <cstring>

using namespace sluice;

namespace {

constexpr unsigned maxDepth = 200; // of nesting: neither this parser nor the runtime may run out of stack

// Thrown inside the parser only; compileTemplate turns it into an llvm::Error.
struct SyntaxError {
  unsigned line;
  std::string message;
};

class Parser {
public:
  explicit Parser(std::vector<TemplateToken> tokens) : tokens(std::move(tokens)) {}

  std::vector<uint8_t> parse() {
    uint32_t root = parseBlock({});
    if (peek().kind != TokenKind::End)
      fail("unexpected '" + peek().text + "'");
    return write(root);
  }

private:
  //===-- Tokens ------------------------------------------------------------------------------===//
  const TemplateToken &peek(size_t ahead = 0) const { return tokens[std::min(at + ahead, tokens.size() - 1)]; }
  const TemplateToken &take() { return tokens[std::min(at++, tokens.size() - 1)]; }
  bool accept(llvm::StringRef text) {
    if (!peek().is(text))
      return false;
    ++at;
    return true;
  }
  [[noreturn]] void fail(const std::string &message) const { throw SyntaxError{peek().line, message}; }
  void expect(llvm::StringRef text) {
    if (!accept(text))
      fail("expected '" + text.str() + "', got '" + peek().text + "'");
  }
  std::string expectName() {
    if (peek().kind != TokenKind::Name)
      fail("expected a name, got '" + peek().text + "'");
    return take().text;
  }
  void expectTagEnd() {
    if (take().kind != TokenKind::TagEnd) {
      --at;
      fail("expected the end of the tag, got '" + peek().text + "'");
    }
  }

  //===-- Nodes -------------------------------------------------------------------------------===//
  uint32_t add(NodeKind kind, llvm::ArrayRef<uint32_t> children = {},
               std::optional<llvm::StringRef> text = std::nullopt) {
    TemplateNode node{};
    node.kind = kind;
    node.line = peek().line;
    node.text = text ? intern(*text) : noString;
    node.firstChild = uint32_t(childList.size());
    node.childCount = uint32_t(children.size());
    childList.insert(childList.end(), children.begin(), children.end());
    nodes.push_back(node);
    return uint32_t(nodes.size() - 1);
  }
  uint32_t intern(llvm::StringRef text) {
    auto [entry, isNew] = stringIndex.try_emplace(text, uint32_t(strings.size()));
    if (isNew) {
      strings.push_back({uint32_t(pool.size()), uint32_t(text.size())});
      pool += text;
    }
    return entry->second;
  }
  struct Nested {
    unsigned &depth;
    ~Nested() { --depth; }
  };
  Nested nest() {
    if (++depth > maxDepth)
      fail("is nested too deeply");
    return {depth};
  }

  //===-- Statements --------------------------------------------------------------------------===//

  // Statements until a tag whose first word is in `ends`, which is left for the caller behind its TagBegin.
  uint32_t parseBlock(llvm::ArrayRef<llvm::StringRef> ends) {
    Nested nested = nest();
    std::vector<uint32_t> statements;
    for (;;) {
      const TemplateToken &token = peek();
      if (token.kind == TokenKind::End) {
        if (!ends.empty())
          fail("expected '{% " + ends.back().str() + " %}' before the end of the template");
        break;
      }
      if (token.kind == TokenKind::Text) {
        statements.push_back(add(NodeKind::Text, {}, take().text));
      } else if (token.kind == TokenKind::OutputBegin) {
        take();
        uint32_t value = parseTuple();
        if (take().kind != TokenKind::OutputEnd) {
          --at;
          fail("expected '}}', got '" + peek().text + "'");
        }
        statements.push_back(add(NodeKind::Output, value));
      } else {
        take();
        if (llvm::any_of(ends, [&](llvm::StringRef end) { return peek().is(end); }))
          break;
        statements.push_back(parseTag());
      }
    }
    return add(NodeKind::Block, statements);
  }

  // Body up to {% `end` %}, which is consumed.
  uint32_t parseBody(llvm::StringRef end) {
    expectTagEnd();
    uint32_t body = parseBlock({end});
    expect(end);
    return body;
  }

  uint32_t parseTag() {
    std::string tag = expectName();
    uint32_t result;
    if (tag == "if")
      return parseIf();
    if (tag == "for")
      return parseFor();
    if (tag == "set")
      return parseSet();
    if (tag == "macro")
      return parseMacro();
    if (tag == "break" || tag == "continue") {
      result = add(tag == "break" ? NodeKind::Break : NodeKind::Continue);
    } else if (tag == "generation") { // transformers' mark of what the assistant said
      result = add(NodeKind::With, parseBody("endgeneration"));
    } else if (tag == "with") {
      std::vector<uint32_t> children;
      while (peek().kind == TokenKind::Name) {
        children.push_back(parseTarget());
        expect("=");
        children.push_back(parseExpression());
        if (!accept(","))
          break;
      }
      children.push_back(parseBody("endwith"));
      result = add(NodeKind::With, children);
    } else if (tag == "call") {
      uint32_t call = parseExpression();
      if (nodes[call].kind != NodeKind::Call)
        fail("a call block needs a call, as in {% call name() %}");
      result = add(NodeKind::CallBlock, {call, parseBody("endcall")});
    } else if (tag == "filter") {
      uint32_t filter = parseFiltersAndTests(parseFilter(add(NodeKind::Missing)));
      result = add(NodeKind::FilterBlock, {filter, parseBody("endfilter")});
    } else {
      --at;
      fail("unsupported tag '" + tag + "'");
    }
    expectTagEnd();
    return result;
  }

  uint32_t parseIf() {
    uint32_t condition = parseExpression();
    expectTagEnd();
    uint32_t then = parseBlock({"elif", "else", "endif"}), otherwise;
    if (accept("elif")) {
      Nested nested = nest();
      otherwise = parseIf(); // takes the endif
      return add(NodeKind::If, {condition, then, otherwise});
    }
    otherwise = accept("else") ? parseBody("endif") : (expect("endif"), add(NodeKind::Missing));
    expectTagEnd();
    return add(NodeKind::If, {condition, then, otherwise});
  }

  uint32_t parseTarget() {
    std::vector<uint32_t> names;
    bool parenthesised = accept("(");
    do
      names.push_back(add(NodeKind::Name, {}, expectName()));
    while (accept(",") && peek().kind == TokenKind::Name);
    if (parenthesised)
      expect(")");
    return names.size() == 1 ? names[0] : add(NodeKind::Tuple, names);
  }

  uint32_t parseFor() {
    uint32_t target = parseTarget();
    expect("in");
    uint32_t iterable = parseOr(); // no conditional: an `if` here filters
    if (peek().is(",")) {
      std::vector<uint32_t> items{iterable};
      while (accept(","))
        items.push_back(parseOr());
      iterable = add(NodeKind::Tuple, items);
    }
    uint32_t filter = accept("if") ? parseExpression() : add(NodeKind::Missing);
    if (peek().is("recursive"))
      fail("unsupported: recursive loops");
    expectTagEnd();
    uint32_t body = parseBlock({"else", "endfor"});
    uint32_t otherwise = accept("else") ? parseBody("endfor") : (expect("endfor"), add(NodeKind::Missing));
    expectTagEnd();
    return add(NodeKind::For, {target, iterable, filter, body, otherwise});
  }

  uint32_t parseSet() {
    uint32_t target = parseTarget();
    if (nodes[target].kind == NodeKind::Name && accept("."))
      target = add(NodeKind::Attribute, target, expectName());
    if (accept("=")) {
      uint32_t value = parseTuple();
      expectTagEnd();
      return add(NodeKind::Set, {target, value});
    }
    std::optional<uint32_t> filter;
    if (accept("|"))
      filter = parseFiltersAndTests(parseFilter(add(NodeKind::Missing)));
    uint32_t body = parseBody("endset");
    if (filter)
      body = add(NodeKind::FilterBlock, {*filter, body});
    expectTagEnd();
    return add(NodeKind::SetBlock, {target, body});
  }

  uint32_t parseMacro() {
    std::string name = expectName();
    std::vector<uint32_t> children;
    expect("(");
    while (!accept(")")) {
      std::string parameter = expectName();
      uint32_t value = accept("=") ? parseExpression() : add(NodeKind::Missing);
      children.push_back(add(NodeKind::Parameter, value, parameter));
      if (!accept(",") && !peek().is(")"))
        fail("expected ',' or ')', got '" + peek().text + "'");
    }
    children.push_back(parseBody("endmacro"));
    if (peek().kind == TokenKind::Name) // {% endmacro name %}
      take();
    expectTagEnd();
    return add(NodeKind::Macro, children, name);
  }

  //===-- Expressions, loosest binding first ----------------------------------------------------===//

  // a, b, c without brackets is a tuple.
  uint32_t parseTuple() {
    uint32_t first = parseExpression();
    if (!peek().is(","))
      return first;
    std::vector<uint32_t> items{first};
    while (accept(",") && peek().kind != TokenKind::TagEnd && peek().kind != TokenKind::OutputEnd)
      items.push_back(parseExpression());
    return add(NodeKind::Tuple, items);
  }

  uint32_t parseExpression() {
    Nested nested = nest();
    uint32_t value = parseOr();
    while (accept("if")) {
      uint32_t condition = parseOr();
      uint32_t otherwise = accept("else") ? parseExpression() : add(NodeKind::Missing);
      value = add(NodeKind::Conditional, {value, condition, otherwise});
    }
    return value;
  }
  uint32_t parseOr() {
    uint32_t left = parseAnd();
    while (accept("or"))
      left = add(NodeKind::Or, {left, parseAnd()});
    return left;
  }
  uint32_t parseAnd() {
    uint32_t left = parseNot();
    while (accept("and"))
      left = add(NodeKind::And, {left, parseNot()});
    return left;
  }
  uint32_t parseNot() {
    if (!accept("not"))
      return parseCompare();
    Nested nested = nest();
    return add(NodeKind::Not, parseNot());
  }
  uint32_t parseCompare() {
    uint32_t left = parseSum(), result = 0;
    bool chained = false;
    for (;;) {
      NodeKind kind = NodeKind::Missing;
      if (peek().is("not") && peek(1).is("in"))
        kind = NodeKind::NotIn;
      else if (peek().kind == TokenKind::Operator || peek().kind == TokenKind::Name)
        kind = llvm::StringSwitch<NodeKind>(peek().text)
                   .Case("==", NodeKind::Equal)
                   .Case("!=", NodeKind::NotEqual)
                   .Case("<", NodeKind::Less)
                   .Case("<=", NodeKind::LessEqual)
                   .Case(">", NodeKind::Greater)
                   .Case(">=", NodeKind::GreaterEqual)
                   .Case("in", NodeKind::In)
                   .Default(NodeKind::Missing);
      if (kind == NodeKind::Missing)
        return chained ? result : left;
      at += kind == NodeKind::NotIn ? 2 : 1;
      uint32_t right = parseSum();
      uint32_t comparison = add(kind, {left, right});
      result = chained ? add(NodeKind::And, {result, comparison}) : comparison; // a < b < c
      chained = true;
      left = right;
    }
  }
  uint32_t parseSum() {
    uint32_t left = parseConcatenation();
    for (;;) {
      if (accept("+"))
        left = add(NodeKind::Add, {left, parseConcatenation()});
      else if (accept("-"))
        left = add(NodeKind::Subtract, {left, parseConcatenation()});
      else
        return left;
    }
  }
  uint32_t parseConcatenation() {
    uint32_t left = parseProduct();
    while (accept("~"))
      left = add(NodeKind::Concatenate, {left, parseProduct()});
    return left;
  }
  uint32_t parseProduct() {
    uint32_t left = parseUnary();
    for (;;) {
      NodeKind kind = peek().is("*")    ? NodeKind::Multiply
                      : peek().is("/")  ? NodeKind::Divide
                      : peek().is("//") ? NodeKind::FloorDivide
                      : peek().is("%")  ? NodeKind::Modulo
                                        : NodeKind::Missing;
      if (kind == NodeKind::Missing)
        return left;
      take();
      left = add(kind, {left, parseUnary()});
    }
  }
  // Filters and tests bind to the signed value only when it is not signed: -x|abs is -(x|abs), as in Jinja.
  uint32_t parseUnary(bool withFilters = true) {
    Nested nested = nest();
    uint32_t value;
    if (accept("-"))
      value = add(NodeKind::Negate, parseUnary(false));
    else if (accept("+"))
      value = add(NodeKind::Plus, parseUnary(false));
    else
      value = parsePower();
    return withFilters ? parseFiltersAndTests(value) : value;
  }
  uint32_t parsePower() {
    uint32_t left = parsePostfix(parsePrimary());
    while (accept("**"))
      left = add(NodeKind::Power, {left, parseUnary(false)});
    return left;
  }

  uint32_t parsePrimary() {
    const TemplateToken &token = peek();
    switch (token.kind) {
    case TokenKind::String: {
      std::string text = take().text;
      while (peek().kind == TokenKind::String) // neighbours join
        text += take().text;
      return add(NodeKind::String, {}, text);
    }
    case TokenKind::Integer: {
      int64_t value;
      if (llvm::StringRef(token.text).getAsInteger(10, value))
        fail("the number " + token.text + " is too large");
      take();
      uint32_t node = add(NodeKind::Integer);
      nodes[node].number.integer = value;
      return node;
    }
    case TokenKind::Float: {
      double value = std::strtod(take().text.c_str(), nullptr);
      uint32_t node = add(NodeKind::Float);
      nodes[node].number.real = value;
      return node;
    }
    case TokenKind::Name: {
      std::string name = take().text;
      NodeKind constant = llvm::StringSwitch<NodeKind>(name)
                              .Cases({"true", "True"}, NodeKind::True)
                              .Cases({"false", "False"}, NodeKind::False)
                              .Cases({"none", "None"}, NodeKind::None)
                              .Default(NodeKind::Name);
      return constant == NodeKind::Name ? add(constant, {}, name) : add(constant);
    }
    default:
      break;
    }
    Nested nested = nest();
    if (accept("(")) {
      std::vector<uint32_t> items;
      bool tuple = false;
      while (!accept(")")) {
        items.push_back(parseExpression());
        if (accept(","))
          tuple = true;
        else if (!peek().is(")"))
          fail("expected ',' or ')', got '" + peek().text + "'");
      }
      return tuple || items.empty() ? add(NodeKind::Tuple, items) : items[0];
    }
    if (accept("[")) {
      std::vector<uint32_t> items;
      while (!accept("]")) {
        items.push_back(parseExpression());
        if (!accept(",") && !peek().is("]"))
          fail("expected ',' or ']', got '" + peek().text + "'");
      }
      return add(NodeKind::List, items);
    }
    if (accept("{")) {
      std::vector<uint32_t> items;
      while (!accept("}")) {
        items.push_back(parseExpression());
        expect(":");
        items.push_back(parseExpression());
        if (!accept(",") && !peek().is("}"))
          fail("expected ',' or '}', got '" + peek().text + "'");
      }
      return add(NodeKind::Dict, items);
    }
    fail(token.text.empty() ? "expected an expression" : "unexpected '" + token.text + "'");
  }

  uint32_t parsePostfix(uint32_t value) {
    for (;;) {
      if (accept(".")) {
        if (peek().kind == TokenKind::Integer) {
          uint32_t index = parsePrimary();
          value = add(NodeKind::Item, {value, index});
        } else {
          value = add(NodeKind::Attribute, value, expectName());
        }
      } else if (accept("[")) {
        value = parseSubscript(value);
      } else if (peek().is("(")) {
        std::vector<uint32_t> children = parseArguments();
        children.insert(children.begin(), value);
        value = add(NodeKind::Call, children);
      } else {
        return value;
      }
    }
  }

  uint32_t parseSubscript(uint32_t value) {
    auto bound = [&] { return peek().is(":") || peek().is("]") ? add(NodeKind::Missing) : parseExpression(); };
    uint32_t start = bound();
    if (!accept(":")) {
      expect("]");
      if (nodes[start].kind == NodeKind::Missing)
        fail("expected an index");
      return add(NodeKind::Item, {value, start});
    }
    uint32_t stop = bound();
    uint32_t step = accept(":") ? bound() : add(NodeKind::Missing);
    expect("]");
    return add(NodeKind::Slice, {value, start, stop, step});
  }

  std::vector<uint32_t> parseArguments() {
    std::vector<uint32_t> arguments;
    expect("(");
    while (!accept(")")) {
      if (peek().is("*") || peek().is("**"))
        fail("unsupported: unpacked arguments");
      if (peek().kind == TokenKind::Name && peek(1).is("=")) {
        std::string name = take().text;
        take();
        uint32_t value = parseExpression();
        arguments.push_back(add(NodeKind::Keyword, value, name));
      } else {
        arguments.push_back(parseExpression());
      }
      if (!accept(",") && !peek().is(")"))
        fail("expected ',' or ')', got '" + peek().text + "'");
    }
    return arguments;
  }

  // NAME(arguments) behind a | or the tag `filter`.
  uint32_t parseFilter(uint32_t value) {
    std::string name = expectName();
    if (!llvm::is_contained(templateFilters, name))
      fail("unsupported filter '" + name + "'");
    std::vector<uint32_t> children;
    if (peek().is("("))
      children = parseArguments();
    children.insert(children.begin(), value);
    return add(NodeKind::Filter, children, name);
  }

  uint32_t parseFiltersAndTests(uint32_t value) {
    for (;;) {
      if (accept("|")) {
        value = parsePostfix(parseFilter(value));
      } else if (accept("is")) {
        bool negated = accept("not");
        std::string name = expectName();
        if (!llvm::is_contained(templateTests, name))
          fail("unsupported test '" + name + "'");
        std::vector<uint32_t> children{value};
        if (peek().is("(")) {
          llvm::append_range(children, parseArguments());
        } else if (bool operand = peek().kind == TokenKind::String || peek().kind == TokenKind::Integer ||
                                  (peek().kind == TokenKind::Name &&
                                   !llvm::is_contained({"and", "or", "if", "else", "not", "in", "is"}, peek().text)) ||
                                  peek().is("[") || peek().is("{")) {
          (void)operand; // `x is divisibleby 3`
          children.push_back(parsePostfix(parsePrimary()));
        }
        value = add(NodeKind::Test, children, name);
        if (negated)
          value = add(NodeKind::Not, value);
      } else {
        return value;
      }
    }
  }

  //===-- Writing -----------------------------------------------------------------------------===//

  std::vector<uint8_t> write(uint32_t root) {
    TemplateSection header{templateMagic,
                           uint32_t(nodes.size()),
                           uint32_t(childList.size()),
                           uint32_t(strings.size()),
                           uint32_t(pool.size()),
                           root};
    std::vector<uint8_t> out;
    auto append = [&](const void *data, size_t size) {
      size_t start = out.size();
      out.resize((start + size + 7) / 8 * 8);
      if (size)
        std::memcpy(out.data() + start, data, size);
    };
    append(&header, sizeof header);
    append(nodes.data(), nodes.size() * sizeof(TemplateNode));
    append(childList.data(), childList.size() * sizeof(uint32_t));
    append(strings.data(), strings.size() * sizeof(TemplateString));
    append(pool.data(), pool.size());
    return out;
  }

  std::vector<TemplateToken> tokens;
  size_t at = 0;
  unsigned depth = 0;
  std::vector<TemplateNode> nodes;
  std::vector<uint32_t> childList;
  std::vector<TemplateString> strings;
  llvm::StringMap<uint32_t> stringIndex;
  std::string pool;
};

} // namespace

llvm::Expected<std::vector<uint8_t>> sluice::compileTemplate(llvm::StringRef source) {
  llvm::Expected<std::vector<TemplateToken>> tokens = lexTemplate(source);
  if (!tokens)
    return tokens.takeError();
  try {
    return Parser(std::move(*tokens)).parse();
  } catch (const SyntaxError &error) {
    return llvm::createStringError("chat template, line " + std::to_string(error.line) + ": " + error.message);
  }
}
