//===- Opcodes.cpp - finds the row of an instruction ------------------------------===//

#include "tools/ptx-vm/Opcodes.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/StringRef.h"
#include <unordered_map>

namespace ptxvm {
namespace {

struct Class {
  std::string_view name, members;
};
const Class classes[] = {
    {"$int", "u16|s16|u32|s32|u64|s64"},
    {"$bits", "b16|b32|b64"},
    {"$any", "b16|b32|b64|u16|u32|u64|s16|s32|s64|f32|f64"},
    {"$data", "b8|u8|s8|b16|u16|s16|b32|u32|s32|b64|u64|s64|f32|f64"},
    {"$half", "f16|f16x2|bf16|bf16x2"},
    {"$round", "rn|rz|rm|rp"},
    {"$compare", "eq|ne|lt|le|gt|ge|lo|ls|hi|hs|equ|neu|ltu|leu|gtu|geu|num|nan"},
    {"$space", "global|shared|shared::cta|local|const|param|param::entry|param::func"},
    {"$scope", "cta|cluster|gpu|sys"},
    {"$cache", "ca|cg|cs|lu|cv|wb|wt"},
    {"$evict1", "L1::evict_normal|L1::evict_unchanged|L1::evict_first|L1::evict_last|L1::no_allocate"},
    {"$evict2", "L2::evict_normal|L2::evict_first|L2::evict_last"},
    {"$prefetch", "L2::64B|L2::128B|L2::256B"},
    {"$vector", "v2|v4|v8"},
};

struct Token {
  bool optional;
  std::vector<std::string_view> alternatives;
};

std::vector<Token> parsePattern(std::string_view pattern) {
  std::vector<Token> tokens;
  llvm::SmallVector<llvm::StringRef> words;
  llvm::StringRef(pattern).split(words, ' ', -1, false);
  for (llvm::StringRef word : words) {
    Token token{word.consume_front("?"), {}};
    llvm::SmallVector<llvm::StringRef> alternatives;
    word.split(alternatives, '|');
    for (llvm::StringRef alternative : alternatives) {
      llvm::SmallVector<llvm::StringRef> members{alternative};
      for (const Class &c : classes)
        if (c.name == std::string_view(alternative)) {
          members.clear();
          llvm::StringRef(c.members).split(members, '|');
        }
      for (llvm::StringRef member : members)
        token.alternatives.push_back(member);
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

struct Form {
  const OpcodeRow *row;
  std::vector<Token> tokens;
};
using Table = std::unordered_map<std::string_view, std::vector<Form>>;

const Table &table() {
  static const Table table = [] {
    Table t;
    for (auto rows : {integerRows(), bitRows(), floatRows(), halfRows(), approximateRows(), convertRows(), moveRows(),
                      memoryRows(), atomicRows(), asyncRows(), controlRows(), warpRows(), matrixRows()})
      for (const OpcodeRow &row : rows)
        t[row.opcode].push_back({&row, parsePattern(row.modifiers)});
    return t;
  }();
  return table;
}

/// How many modifiers the pattern accounts for; all of them and the whole pattern if `choice` is filled.
size_t matchModifiers(const Form &form, const std::vector<std::string> &modifiers, std::vector<int> &choice,
                      bool &whole) {
  size_t at = 0;
  choice.clear();
  whole = true;
  for (const Token &token : form.tokens) {
    int found = -1;
    if (at < modifiers.size())
      for (size_t i = 0; i < token.alternatives.size() && found < 0; ++i)
        if (token.alternatives[i] == modifiers[at])
          found = i;
    choice.push_back(found);
    if (found >= 0)
      ++at;
    else if (!token.optional)
      return whole = false, at;
  }
  whole = at == modifiers.size();
  return at;
}

bool matchOperands(const char *pattern, const Instruction &inst) {
  size_t at = 0;
  bool optional = false;
  for (const char *c = pattern; *c; ++c) {
    if (*c == ' ')
      continue;
    if (*c == '?') {
      optional = true;
      continue;
    }
    if (at == inst.operands.size())
      return optional;
    const Operand &o = inst.operands[at];
    bool isSink = o.kind == Operand::Sink, ok = false;
    switch (*c) {
    case 'd':
      ok = (o.kind == Operand::Register || isSink) && o.paired.empty();
      break;
    case 'q':
      ok = o.kind == Operand::Register || isSink;
      for (const Operand &second : o.paired)
        ok &= second.kind == Operand::Register || second.kind == Operand::Sink;
      break;
    case 'D':
      ok = o.kind == Operand::Register || o.kind == Operand::Vector || isSink;
      break;
    case 's':
      ok = o.kind == Operand::Register || o.kind == Operand::Integer || o.kind == Operand::Float ||
           o.kind == Operand::Symbol || o.kind == Operand::Special;
      break;
    case 'S':
      ok = o.kind != Operand::Memory && o.kind != Operand::Name;
      break;
    case 'P':
      ok = o.kind == Operand::Register || o.kind == Operand::Integer;
      break;
    case 'm':
      ok = o.kind == Operand::Memory;
      break;
    case 'L':
      ok = true;
      break;
    }
    if (!ok)
      return false;
    ++at;
  }
  return at == inst.operands.size();
}

std::string spelled(const Instruction &inst) {
  std::string text = inst.opcode;
  for (const std::string &m : inst.modifiers)
    text += "." + m;
  return text;
}

} // namespace

void matchOpcode(Instruction &inst) {
  auto it = table().find(inst.opcode);
  if (it == table().end())
    throw PtxError(inst.line, "unknown opcode '" + inst.opcode + "'");
  for (const std::string &m : inst.modifiers)
    if (auto type = typeNamed(m)) {
      if (inst.type == Type::None)
        inst.type = *type;
      else if (inst.type2 == Type::None)
        inst.type2 = *type;
    }
  size_t best = 0;
  bool anyModifiersMatch = false;
  for (const Form &form : it->second) {
    std::vector<int> choice;
    bool whole;
    size_t matched = matchModifiers(form, inst.modifiers, choice, whole);
    best = std::max(best, matched);
    if (!whole)
      continue;
    anyModifiersMatch = true;
    if (!matchOperands(form.row->operands, inst))
      continue;
    inst.row = form.row;
    inst.choice = std::move(choice);
    return;
  }
  if (anyModifiersMatch)
    throw PtxError(inst.line, "wrong operands of '" + spelled(inst) + "'");
  if (best < inst.modifiers.size()) {
    const std::string &m = inst.modifiers[best];
    throw PtxError(inst.line, std::string(typeNamed(m) ? "unknown type" : "unknown modifier") + " '." + m + "' in '" +
                                  spelled(inst) + "'");
  }
  throw PtxError(inst.line, "incomplete instruction '" + spelled(inst) + "'");
}

bool isDestination(const Instruction &inst, size_t operand) {
  size_t at = 0;
  for (const char *c = inst.row->operands; *c; ++c) {
    if (*c == ' ' || *c == '?')
      continue;
    if (at++ == operand)
      return *c == 'd' || *c == 'q' || *c == 'D';
  }
  return false;
}

bool isSpecialRegister(std::string_view name) {
  if (name.size() > 2 && name[name.size() - 2] == '.') {
    const std::string_view base = name.substr(0, name.size() - 2);
    const char dimension = name.back();
    return dimension >= 'x' && dimension <= 'z' &&
           (base == "%tid" || base == "%ntid" || base == "%ctaid" || base == "%nctaid");
  }
  for (std::string_view known :
       {"%laneid", "%warpid", "%nwarpid", "%smid", "%nsmid", "%gridid", "%clock", "%clock_hi", "%clock64",
        "%globaltimer", "%globaltimer_lo", "%globaltimer_hi", "%lanemask_eq", "%lanemask_lt", "%lanemask_le",
        "%lanemask_gt", "%lanemask_ge", "%dynamic_smem_size", "%total_smem_size"})
    if (name == known)
      return true;
  return false;
}

uint64_t floatBits(const Operand &literal, Type type) {
  using namespace llvm;
  APFloat value = literal.floatBits == 32 ? APFloat(APFloat::IEEEsingle(), APInt(32, literal.bits))
                                          : APFloat(APFloat::IEEEdouble(), APInt(64, literal.bits));
  const fltSemantics &to = type == Type::F64    ? APFloat::IEEEdouble()
                           : type == Type::F16  ? APFloat::IEEEhalf()
                           : type == Type::BF16 ? APFloat::BFloat()
                                                : APFloat::IEEEsingle();
  if (&value.getSemantics() == &to)
    return literal.bits; // a NaN keeps its payload
  bool lost;
  value.convert(to, APFloat::rmNearestTiesToEven, &lost);
  return value.bitcastToAPInt().getZExtValue();
}

} // namespace ptxvm
