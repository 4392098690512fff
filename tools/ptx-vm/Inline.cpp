//===- Inline.cpp - calls of functions, replaced by their bodies
//-----------------------------------------------------===//
//
// A function's parameters are the caller's .param variables; those of all callers become local memory of the kernel.

#include "tools/ptx-vm/Inline.h"
#include "tools/ptx-vm/Opcodes.h"
#include <set>

namespace ptxvm {
namespace {

constexpr int kMaxDepth = 32;

class Inliner {
public:
  Inliner(const Module &module, Function &out) : module(module), out(out) {}

  /// Appends the body of `f`; names maps its parameters to variables of `out`. Returns go to the label `end`, if there
  /// is one.
  void append(const Function &f, std::map<std::string, std::string> names, const std::string &prefix,
              const std::string &end, int depth, int line) {
    if (depth > kMaxDepth)
      throw PtxError(line,
                     "calls are nested more than " + std::to_string(kMaxDepth) + " deep: recursion is not supported");
    const int firstRegister = out.registers.size();
    out.registers.insert(out.registers.end(), f.registers.begin(), f.registers.end());
    for (Variable v : f.variables) {
      const std::string unique = prefix + v.name;
      names[v.name] = unique;
      v.name = unique;
      if (v.space == Space::Param) {
        v.space = Space::Local;
        moved.insert(v.name);
      }
      out.variables.push_back(v);
    }
    std::multimap<size_t, std::string> labels;
    for (const auto &[name, at] : f.labels)
      labels.emplace(at, name);
    auto label = labels.begin();
    for (size_t i = 0; i <= f.body.size(); ++i) {
      for (; label != labels.end() && label->first == i; ++label)
        out.labels[prefix + label->second] = out.body.size();
      if (i == f.body.size())
        break;
      Instruction inst = f.body[i];
      if (inst.guard >= 0)
        inst.guard += firstRegister;
      bool isMoved = false;
      for (Operand &o : inst.operands)
        rename(o, firstRegister, names, isMoved);
      if (isMoved)
        for (std::string &m : inst.modifiers)
          if (m.substr(0, 5) == "param")
            m = "local";
      if (inst.opcode == "bra")
        inst.operands[0].name = prefix + inst.operands[0].name;
      if (inst.opcode == "ret" && !end.empty()) {
        inst.opcode = "bra";
        inst.operands.resize(1);
        inst.operands[0].kind = Operand::Name;
        inst.operands[0].name = end;
        matchOpcode(inst);
      }
      if (inst.opcode == "call")
        call(inst, depth);
      else
        out.body.push_back(std::move(inst));
    }
  }

private:
  void rename(Operand &o, int firstRegister, const std::map<std::string, std::string> &names, bool &isMoved) {
    if (o.reg >= 0)
      o.reg += firstRegister;
    else if (auto it = names.find(o.name);
             it != names.end() && (o.kind == Operand::Symbol || o.kind == Operand::Memory))
      o.name = it->second;
    if (o.reg < 0)
      isMoved |= moved.count(o.name);
    for (Operand &e : o.elements)
      rename(e, firstRegister, names, isMoved);
    for (Operand &e : o.paired)
      rename(e, firstRegister, names, isMoved);
  }

  void call(const Instruction &inst, int depth) {
    size_t at = 0;
    const Operand none;
    const Operand &results = inst.operands[0].kind == Operand::Vector ? inst.operands[at++] : none;
    if (at == inst.operands.size() || inst.operands[at].kind != Operand::Name)
      throw PtxError(inst.line, "indirect calls are not supported");
    const std::string &name = inst.operands[at++].name;
    const Operand &arguments =
        at < inst.operands.size() && inst.operands[at].kind == Operand::Vector ? inst.operands[at] : none;
    const Function *f = module.function(name);
    if (!f || f->isDeclaration || f->isEntry)
      throw PtxError(inst.line, "undefined function '" + name + "'");
    if (f->parameters.size() != arguments.elements.size() || f->results.size() != results.elements.size())
      throw PtxError(inst.line, "'" + name + "' has " + std::to_string(f->parameters.size()) + " parameters and " +
                                    std::to_string(f->results.size()) + " results, the call " +
                                    std::to_string(arguments.elements.size()) + " and " +
                                    std::to_string(results.elements.size()));
    std::map<std::string, std::string> names;
    auto bind = [&](const std::vector<Variable> &formal, const std::vector<Operand> &actual) {
      for (size_t i = 0; i < formal.size(); ++i) {
        if (actual[i].kind != Operand::Symbol)
          throw PtxError(inst.line, "arguments of a call must be .param variables");
        for (const Variable &v : out.variables)
          if (v.name == actual[i].name && v.bytes != formal[i].bytes)
            throw PtxError(inst.line, "parameter '" + formal[i].name + "' of '" + name + "' has " +
                                          std::to_string(formal[i].bytes) + " bytes, the argument " +
                                          std::to_string(v.bytes));
        names[formal[i].name] = actual[i].name;
      }
    };
    bind(f->parameters, arguments.elements);
    bind(f->results, results.elements);
    const std::string prefix = "call" + std::to_string(++calls) + ":", end = prefix + "end";
    if (inst.guard >= 0) { // around it
      Instruction skip = inst;
      skip.opcode = "bra";
      skip.guardNegated = !inst.guardNegated;
      skip.modifiers.clear();
      skip.operands.assign(1, {});
      skip.operands[0].kind = Operand::Name;
      skip.operands[0].name = end;
      matchOpcode(skip);
      out.body.push_back(skip);
    }
    append(*f, names, prefix, end, depth + 1, inst.line);
    out.labels[end] = out.body.size();
  }

  const Module &module;
  Function &out;
  std::set<std::string> moved; // .param variables that are local memory now
  int calls = 0;
};

} // namespace

std::unique_ptr<Function> withCallsInlined(const Module &module, const Function &kernel) {
  auto out = std::make_unique<Function>(kernel);
  out->registers.clear();
  out->variables.clear();
  out->body.clear();
  out->labels.clear();
  Inliner(module, *out).append(kernel, {}, "", "", 0, kernel.line);
  return out;
}

} // namespace ptxvm
