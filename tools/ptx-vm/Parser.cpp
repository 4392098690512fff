//===- Parser.cpp - PTX text to Module -----------------------------------------===//
//
// Names are resolved here: registers to their index, variables of nested scopes to names that are unique in the
// function. Whether an instruction exists is decided by the table of opcodes, at the end, so that a module is refused
// when it is loaded.

#include "tools/ptx-vm/Lexer.h"
#include "tools/ptx-vm/Opcodes.h"
#include <cstring>

namespace ptxvm {

static const TypeInfo types[] = {
    {"", 0, '-'},        {"pred", 1, 'p'},   {"b8", 8, 'b'},   {"b16", 16, 'b'},   {"b32", 32, 'b'},
    {"b64", 64, 'b'},    {"b128", 128, 'b'}, {"u8", 8, 'u'},   {"u16", 16, 'u'},   {"u32", 32, 'u'},
    {"u64", 64, 'u'},    {"s8", 8, 's'},     {"s16", 16, 's'}, {"s32", 32, 's'},   {"s64", 64, 's'},
    {"u16x2", 32, 'u'},  {"s16x2", 32, 's'}, {"f16", 16, 'f'}, {"f16x2", 32, 'f'}, {"bf16", 16, 'f'},
    {"bf16x2", 32, 'f'}, {"tf32", 32, 'f'},  {"f32", 32, 'f'}, {"f32x2", 64, 'f'}, {"f64", 64, 'f'}};

const TypeInfo &info(Type type) { return types[size_t(type)]; }

std::optional<Type> typeNamed(std::string_view name) {
  for (size_t i = 1; i < std::size(types); ++i)
    if (types[i].name == name)
      return Type(i);
  return std::nullopt;
}

std::string_view nameOf(Space space) {
  static const std::string_view names[] = {"generic", "global", "const", "shared", "local", "param"};
  return names[size_t(space)];
}

std::string Module::textOf(int line) const {
  if (line < 1 || size_t(line) > lines.size())
    return "";
  std::string text = lines[line - 1];
  size_t from = text.find_first_not_of(" \t"), to = text.find_last_not_of(" \t\r;");
  return from == text.npos ? "" : text.substr(from, to + 1 - from);
}

namespace {

std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

class Parser {
public:
  explicit Parser(std::string_view text) : tokens(tokenize(text)) {
    size_t from = 0;
    while (from <= text.size()) {
      size_t end = std::min(text.find('\n', from), text.size());
      module.lines.emplace_back(text.substr(from, end - from));
      from = end + 1;
    }
  }

  Module run() {
    header();
    while (peek().kind != Token::End)
      topLevel();
    for (Function &f : module.functions)
      for (Instruction &inst : f.body) {
        matchOpcode(inst);
        if (inst.row->minChip > module.chip)
          throw PtxError(inst.line, "'" + inst.opcode + "' needs sm_" + std::to_string(inst.row->minChip) +
                                        ", the target is " + module.target);
      }
    return std::move(module);
  }

private:
  struct Scope {
    std::map<std::string, int, std::less<>> registers;
    std::map<std::string, std::pair<Type, unsigned>, std::less<>> ranges; // prefix: type and count
    std::map<std::string, std::string, std::less<>> variables;
  };

  // --- tokens ---
  const Token &peek(size_t ahead = 0) const { return tokens[std::min(at + ahead, tokens.size() - 1)]; }
  const Token &next() { return tokens[at < tokens.size() - 1 ? at++ : at]; }
  bool accept(std::string_view text) { return peek().is(text) ? (next(), true) : false; }
  [[noreturn]] void fail(const std::string &message) const { throw PtxError(peek().line, message); }
  void expect(std::string_view text) {
    if (!accept(text))
      fail("expected " + quoted(text) + ", got " + quoted(peek().text));
  }
  std::string identifier() {
    if (peek().kind != Token::Word || peek().text[0] == '.')
      fail("expected a name, got " + quoted(peek().text));
    return std::string(next().text);
  }
  uint64_t integer() {
    bool minus = accept("-");
    if (peek().kind != Token::Integer)
      fail("expected an integer, got " + quoted(peek().text));
    uint64_t value = next().bits;
    return minus ? -value : value;
  }

  // --- module ---
  void header() {
    expect(".version");
    const Token &version = next();
    size_t dot = version.text.find('.');
    if (version.kind != Token::Float || dot == version.text.npos)
      throw PtxError(version.line, "expected a version such as 8.3, got " + quoted(version.text));
    module.version =
        std::stoi(std::string(version.text.substr(0, dot))) * 10 + std::stoi(std::string(version.text.substr(dot + 1)));
    expect(".target");
    module.target = identifier();
    if (module.target.substr(0, 3) != "sm_")
      fail("expected a target such as sm_80, got " + quoted(module.target));
    module.chip = std::atoi(module.target.c_str() + 3);
    while (accept(","))
      next();
    if (accept(".address_size") && integer() != 64)
      throw PtxError(peek().line, "expected an address size of 64");
  }

  void topLevel() {
    bool isExtern = false;
    for (;;) {
      const Token &token = peek();
      if (accept(".extern"))
        isExtern = true;
      else if (accept(".visible") || accept(".weak") || accept(".common"))
        ;
      else if (token.is(".entry") || token.is(".func"))
        return function();
      else if (auto space = spaceNamed(token.text))
        return next(), variableList(module.variables, *space, isExtern, nullptr);
      else if (debugDirective())
        return;
      else
        fail("unknown directive " + quoted(token.text));
    }
  }

  /// .loc, .file, .section and .pragma say nothing about what is computed.
  bool debugDirective() {
    if (accept(".file")) {
      integer(), next();
      while (accept(","))
        integer();
    } else if (accept(".loc")) {
      int line = peek().line;
      while (peek().line == line && peek().kind != Token::End)
        next();
    } else if (accept(".pragma")) {
      next();
      while (accept(","))
        next();
      expect(";");
    } else if (accept(".section")) {
      next();
      expect("{");
      while (!accept("}"))
        if (next().kind == Token::End)
          fail("section has no end");
    } else {
      return false;
    }
    return true;
  }

  static std::optional<Space> spaceNamed(std::string_view text) {
    if (text == ".global")
      return Space::Global;
    if (text == ".const")
      return Space::Const;
    if (text == ".shared")
      return Space::Shared;
    if (text == ".local")
      return Space::Local;
    if (text == ".param")
      return Space::Param;
    return std::nullopt;
  }

  /// After the space: .align N .type name[count] = {...}, more; or, with `single`, one declaration without the
  /// semicolon.
  Variable variable(Space space, bool isExtern) {
    Variable v;
    v.space = space;
    v.isExtern = isExtern;
    uint64_t vector = 1;
    bool haveType = false, haveAlign = false;
    while (peek().text[0] == '.') {
      std::string_view word = next().text;
      if (word == ".align")
        v.align = integer(), haveAlign = true;
      else if (word == ".attribute") {
        expect("(");
        while (!accept(")"))
          next();
      } else if (word == ".v2" || word == ".v4")
        vector = word[2] - '0';
      else if (word == ".ptr") { // .ptr .global .align N
      } else if (auto type = typeNamed(word.substr(1)))
        v.type = *type, haveType = true;
      else if (!spaceNamed(word))
        throw PtxError(tokens[at - 1].line, "unknown directive " + quoted(word) + " in a declaration");
    }
    if (!haveType)
      fail("declaration has no type");
    uint64_t element = std::max(1u, bitsOf(v.type) / 8), count = 1;
    if (!haveAlign)
      v.align = element * vector;
    if (v.align == 0 || (v.align & (v.align - 1)))
      fail("alignment " + std::to_string(v.align) + " is no power of two");
    v.line = peek().line;
    v.name = identifier();
    while (accept("[")) {
      if (accept("]")) {
        v.isUnsized = true;
        count = 0;
        continue;
      }
      count *= integer();
      expect("]");
    }
    v.bytes = count * element * vector;
    if (accept("="))
      initializer(v, element);
    return v;
  }

  void initializer(Variable &v, uint64_t element) {
    v.init.assign(v.bytes, 0);
    uint64_t at = 0;
    auto value = [&](auto &self) -> void {
      if (accept("{")) {
        if (!accept("}")) {
          do
            self(self);
          while (accept(","));
          expect("}");
        }
        return;
      }
      if (v.isUnsized)
        v.init.resize(v.bytes = at + element);
      if (at + element > v.bytes)
        fail("more initial values than " + quoted(v.name) + " has elements");
      if (peek().kind == Token::Word) {
        Variable::Address address{at, "", 0, unsigned(element)};
        bool generic = accept("generic");
        if (generic)
          expect("(");
        address.symbol = identifier();
        if (generic)
          expect(")");
        if (peek().is("+") || peek().is("-")) {
          bool minus = next().is("-");
          address.offset = int64_t(integer()) * (minus ? -1 : 1);
        }
        v.addresses.push_back(address);
      } else {
        Operand literal = number();
        uint64_t bits = literal.bits;
        if (literal.kind == Operand::Float && isFloat(v.type))
          bits = floatBits(literal, v.type);
        std::memcpy(v.init.data() + at, &bits, std::min<uint64_t>(element, 8));
      }
      at += element;
    };
    value(value);
  }

  void variableList(std::vector<Variable> &into, Space space, bool isExtern, Function *owner) {
    do {
      Variable v = variable(space, isExtern);
      if (owner) {
        std::string unique = v.name;
        if (scopes.size() > 1 || space == Space::Param)
          unique += "@" + std::to_string(++uniqueNames);
        declareName(scopes.back().variables, v.name, unique);
        v.name = unique;
      } else {
        for (const Variable &other : into)
          if (other.name == v.name && !other.isExtern && !v.isExtern)
            throw PtxError(v.line, "second definition of " + quoted(v.name));
      }
      into.push_back(std::move(v));
    } while (accept(","));
    expect(";");
  }

  template <typename Map, typename Value> void declareName(Map &map, const std::string &name, const Value &value) {
    if (!map.emplace(name, value).second)
      fail("second declaration of " + quoted(name));
  }

  // --- functions ---
  void parameterList(std::vector<Variable> &into, uint64_t *bytes) {
    expect("(");
    uint64_t offset = 0;
    while (!accept(")")) {
      if (accept(".reg"))
        fail("parameters in registers are not supported: use .param");
      expect(".param");
      Variable v = variable(Space::Param, false);
      offset = (offset + v.align - 1) / v.align * v.align;
      v.offset = offset;
      offset += v.bytes;
      into.push_back(v);
      if (!accept(","))
        if (!peek().is(")"))
          fail("expected ',' or ')', got " + quoted(peek().text));
    }
    if (bytes)
      *bytes = offset;
  }

  void function() {
    Function f;
    f.isEntry = next().is(".entry");
    if (peek().is("("))
      parameterList(f.results, nullptr);
    f.line = peek().line;
    f.name = identifier();
    if (peek().is("("))
      parameterList(f.parameters, &f.parameterBytes);
    auto three = [&](unsigned(&to)[3]) {
      to[1] = to[2] = 1;
      unsigned i = 0;
      do
        to[i++] = integer();
      while (i < 3 && accept(","));
    };
    for (;;) {
      if (accept(".maxntid"))
        three(f.maxThreads);
      else if (accept(".reqntid"))
        three(f.requiredThreads);
      else if (accept(".minnctapersm"))
        f.minBlocks = integer();
      else if (accept(".maxnreg") || accept(".maxnctapersm") || accept(".abi_preserve"))
        integer();
      else if (accept(".noreturn"))
        ;
      else if (!debugDirective())
        break;
    }
    if (accept(";")) {
      f.isDeclaration = true;
      module.functions.push_back(std::move(f));
      return;
    }
    current = &f;
    scopes.assign(1, {});
    for (const Variable &v : f.parameters)
      scopes.back().variables[v.name] = v.name;
    for (const Variable &v : f.results)
      scopes.back().variables[v.name] = v.name;
    expect("{");
    body();
    for (const Instruction &inst : f.body)
      if (inst.opcode == "bra" && !f.labels.count(inst.operands.empty() ? "" : inst.operands[0].name))
        throw PtxError(inst.line, "undefined label " + (inst.operands.empty() ? "''" : quoted(inst.operands[0].name)));
    if (const Function *other = module.function(f.name); other && !other->isDeclaration)
      throw PtxError(f.line, "second definition of " + quoted(f.name));
    module.functions.push_back(std::move(f));
    current = nullptr;
  }

  void body() {
    while (!accept("}")) {
      if (peek().kind == Token::End)
        fail("function has no end: expected '}'");
      if (accept("{")) {
        scopes.emplace_back();
        body();
        scopes.pop_back();
      } else if (accept(".reg")) {
        registers();
      } else if (auto space = spaceNamed(peek().text); space && *space != Space::Global && *space != Space::Const) {
        next();
        variableList(current->variables, *space, false, current);
      } else if (accept(".branchtargets")) {
        if (pendingLabel.empty())
          fail("expected a label before .branchtargets");
        do
          current->branchTargets[pendingLabel].push_back(identifier());
        while (accept(","));
        expect(";");
      } else if (accept(".callprototype")) {
        while (!accept(";"))
          next();
      } else if (debugDirective()) {
      } else if (peek().kind == Token::Word && peek(1).is(":")) {
        pendingLabel = identifier();
        next();
        declareName(current->labels, pendingLabel, current->body.size());
      } else {
        instruction();
      }
    }
  }

  void registers() {
    std::string_view word = next().text;
    auto type = word[0] == '.' ? typeNamed(word.substr(1)) : std::nullopt;
    if (!type)
      throw PtxError(tokens[at - 1].line, "unknown register type " + quoted(word));
    do {
      std::string name = identifier();
      if (accept("<")) {
        declareName(scopes.back().ranges, name, std::pair(*type, unsigned(integer())));
        expect(">");
      } else {
        declareName(scopes.back().registers, name, int(current->registers.size()));
        current->registers.push_back({name, *type});
      }
    } while (accept(","));
    expect(";");
  }

  int findRegister(std::string_view name) {
    for (size_t i = scopes.size(); i-- > 0;) {
      if (auto it = scopes[i].registers.find(name); it != scopes[i].registers.end())
        return it->second;
      size_t digits = name.find_last_not_of("0123456789") + 1;
      if (digits == name.size() || name.size() - digits > 9)
        continue;
      auto range = scopes[i].ranges.find(name.substr(0, digits));
      if (range == scopes[i].ranges.end() ||
          unsigned(std::stoul(std::string(name.substr(digits)))) >= range->second.second)
        continue;
      scopes[i].registers.emplace(name, int(current->registers.size()));
      current->registers.push_back({std::string(name), range->second.first});
      return current->registers.size() - 1;
    }
    return -1;
  }

  void instruction() {
    Instruction inst;
    inst.line = peek().line;
    if (accept("@")) {
      inst.guardNegated = accept("!");
      inst.guard = findRegister(peek().text);
      if (inst.guard < 0 || current->registers[inst.guard].type != Type::Pred)
        fail("expected a predicate register, got " + quoted(peek().text));
      next();
    }
    inst.line = peek().line;
    if (peek().kind != Token::Word || peek().text[0] == '.' || peek().text[0] == '%')
      fail("expected an instruction, got " + quoted(peek().text));
    std::string_view word = next().text;
    size_t dot = std::min(word.find('.'), word.size());
    inst.opcode = word.substr(0, dot);
    while (dot < word.size()) {
      size_t end = std::min(word.find('.', dot + 1), word.size());
      inst.modifiers.emplace_back(word.substr(dot + 1, end - dot - 1));
      dot = end;
    }
    while (!accept(";")) {
      if (!inst.operands.empty())
        expect(",");
      inst.operands.push_back(operand());
      if (accept("|"))
        inst.operands.back().paired.push_back(operand());
    }
    current->body.push_back(std::move(inst));
  }

  Operand number() {
    bool minus = accept("-");
    const Token &token = next();
    Operand o;
    o.kind = token.kind == Token::Integer ? Operand::Integer : Operand::Float;
    if (token.kind != Token::Integer && token.kind != Token::Float)
      throw PtxError(token.line, "expected a number, got " + quoted(token.text));
    o.bits = token.bits;
    o.floatBits = token.floatBits;
    if (minus)
      o.bits = o.kind == Operand::Integer ? -o.bits : o.bits ^ (uint64_t(1) << (o.floatBits - 1));
    return o;
  }

  Operand operand() {
    Operand o;
    if (accept("{") || peek().is("(")) {
      bool round = accept("(");
      o.kind = Operand::Vector;
      while (!accept(round ? ")" : "}")) {
        if (!o.elements.empty())
          expect(",");
        o.elements.push_back(operand());
      }
      return o;
    }
    if (accept("[")) {
      o.kind = Operand::Memory;
      if (peek().kind == Token::Integer) {
        o.offset = integer();
      } else {
        Operand base = operand();
        o.reg = base.reg;
        o.name = base.name;
        o.offset = base.offset;
        if (base.kind != Operand::Register && base.kind != Operand::Symbol)
          fail("expected a register or variable as an address, got " + quoted(base.name));
      }
      if (peek().is("+") || peek().is("-")) {
        bool minus = next().is("-");
        o.offset += int64_t(integer()) * (minus ? -1 : 1);
      }
      expect("]");
      return o;
    }
    if (accept("!")) {
      o = operand();
      o.negated = true;
      return o;
    }
    if (peek().is("-") || peek().kind == Token::Integer || peek().kind == Token::Float)
      return number();
    if (peek().kind != Token::Word)
      fail("expected an operand, got " + quoted(peek().text));
    std::string_view word = next().text;
    o.name = word;
    if (word == "_")
      return o;
    if (int reg = findRegister(word); reg >= 0) {
      o.kind = Operand::Register;
      o.reg = reg;
      return o;
    }
    if (word[0] == '%') {
      o.kind = Operand::Special;
      if (!isSpecialRegister(word))
        throw PtxError(tokens[at - 1].line, "undeclared register " + quoted(word));
      return o;
    }
    o.kind = Operand::Name;
    if (word == "WARP_SZ") {
      o.kind = Operand::Integer;
      o.bits = 32;
      return o;
    }
    bool isVariable = false;
    for (size_t i = scopes.size(); i-- > 0 && !isVariable;)
      if (auto it = scopes[i].variables.find(word); it != scopes[i].variables.end())
        o.name = it->second, isVariable = true;
    for (const Variable &v : module.variables)
      isVariable |= v.name == word;
    if (isVariable) {
      o.kind = Operand::Symbol;
      if ((peek().is("+") || peek().is("-")) && peek(1).kind == Token::Integer) {
        bool minus = next().is("-");
        o.offset = int64_t(integer()) * (minus ? -1 : 1);
      }
    }
    return o;
  }

  Module module;
  std::vector<Token> tokens;
  size_t at = 0;
  Function *current = nullptr;
  std::vector<Scope> scopes;
  std::string pendingLabel;
  int uniqueNames = 0;
};

} // namespace

Module parse(std::string_view text) { return Parser(text).run(); }

} // namespace ptxvm
