//===- PatternCompiler.cpp - a regular expression as an automaton ---------------------------===//
//
// Thompson's construction with alternatives in order, then the subset construction over ordered lists of threads: a
// thread behind one that has matched is dropped, so that the automaton's last match is the one that backtracking finds
// first. What looks ahead is decided when the next character's class is known, on the way to the next state.
//
//===----------------------------------------------------------------------------------------===//

#include "compiler/text/PatternCompiler.h"
#include "compiler/text/PatternParser.h"
#include "compiler/text/TokenizerModel.h"
#include "runtime/TokenizerFormat.h"
#include <climits>
#include <map>

using namespace sluice;
using Node = PatternNode;

namespace {

struct Instruction {
  enum Kind { Characters, LookAhead, Split, Match } kind;
  uint32_t set = 0; // index of the set
  bool atEnd = false;
  uint32_t next = 0, other = 0; // Split: `next` comes first
};

struct TooComplex {};

class Program {
public:
  explicit Program(const Node &root) { start = compile(root, add({Instruction::Match})); }

  std::vector<Instruction> code;
  std::vector<icu::UnicodeSet> sets;
  uint32_t start;

private:
  uint32_t add(Instruction instruction) {
    if (code.size() >= 20000)
      throw TooComplex();
    code.push_back(instruction);
    return uint32_t(code.size() - 1);
  }
  uint32_t setOf(const icu::UnicodeSet &set) {
    for (size_t i = 0; i < sets.size(); ++i)
      if (sets[i] == set)
        return uint32_t(i);
    sets.push_back(set);
    return uint32_t(sets.size() - 1);
  }

  // Code that does what the node says and goes on at `next`.
  uint32_t compile(const Node &node, uint32_t next) {
    switch (node.kind) {
    case Node::Characters:
      return add({Instruction::Characters, setOf(node.set), false, next});
    case Node::LookAhead:
      return add({Instruction::LookAhead, setOf(node.set), node.atEnd, next});
    case Node::Sequence:
      for (auto child = node.children.rbegin(); child != node.children.rend(); ++child)
        next = compile(**child, next);
      return next;
    case Node::Alternatives: {
      uint32_t rest = compile(*node.children.back(), next);
      for (size_t i = node.children.size() - 1; i-- > 0;) {
        uint32_t first = compile(*node.children[i], next);
        rest = add({Instruction::Split, 0, false, first, rest});
      }
      return rest;
    }
    case Node::Repeat: {
      const Node &child = *node.children[0];
      auto choice = [&](uint32_t again, uint32_t leave) {
        return node.lazy ? add({Instruction::Split, 0, false, leave, again})
                         : add({Instruction::Split, 0, false, again, leave});
      };
      uint32_t at = next;
      if (node.most == UINT_MAX) {
        at = choice(next, next);
        uint32_t body = compile(child, at);
        (node.lazy ? code[at].other : code[at].next) = body;
      } else {
        for (unsigned i = node.least; i < node.most; ++i)
          at = choice(compile(child, at), next);
      }
      for (unsigned i = 0; i < node.least; ++i)
        at = compile(child, at);
      return at;
    }
    }
    throw TooComplex();
  }
};

class AutomatonBuilder {
public:
  explicit AutomatonBuilder(const Program &program) : program(program) {}

  PatternAutomaton build() {
    partition();
    stateOf({}, false); // state 0: no match can follow
    stateOf({program.start}, true);
    for (size_t state = 1; state < threads.size(); ++state)
      for (uint32_t kind = 0; kind <= automaton.endClass; ++kind)
        automaton.transitions.push_back(transition(state, kind));
    automaton.transitions.insert(automaton.transitions.begin(), automaton.classCount, 0);
    automaton.stateCount = uint32_t(threads.size());
    return std::move(automaton);
  }

private:
  // Characters that all sets treat alike are one class.
  void partition() {
    std::vector<UChar32> bounds{0, 0x110000};
    for (const icu::UnicodeSet &set : program.sets)
      for (int32_t i = 0; i < set.getRangeCount(); ++i)
        bounds.insert(bounds.end(), {set.getRangeStart(i), set.getRangeEnd(i) + 1});
    llvm::sort(bounds);
    bounds.erase(llvm::unique(bounds), bounds.end());
    std::map<std::vector<bool>, uint8_t> kinds;
    std::vector<uint8_t> all(0x110000);
    for (size_t i = 0; i + 1 < bounds.size(); ++i) {
      std::vector<bool> members;
      for (const icu::UnicodeSet &set : program.sets)
        members.push_back(set.contains(bounds[i]));
      auto [found, isNew] = kinds.try_emplace(members, uint8_t(kinds.size()));
      if (isNew)
        classMembers.push_back(members);
      if (kinds.size() > 250)
        throw TooComplex();
      std::fill(all.begin() + bounds[i], all.begin() + bounds[i + 1], found->second);
    }
    automaton.endClass = uint32_t(classMembers.size());
    automaton.classCount = automaton.endClass + 1;
    std::map<std::vector<uint8_t>, uint16_t> blocks;
    for (size_t block = 0; block < 0x1100; ++block) {
      std::vector<uint8_t> part(all.begin() + block * 256, all.begin() + block * 256 + 256);
      auto [found, isNew] = blocks.try_emplace(part, uint16_t(blocks.size()));
      if (isNew)
        automaton.classes.insert(automaton.classes.end(), part.begin(), part.end());
      automaton.blocks.push_back(found->second);
    }
    for (uint32_t byte = 0; byte < 256; ++byte)
      automaton.standIns[byte] = all[standInOf(uint8_t(byte))];
  }

  uint32_t stateOf(const std::vector<uint32_t> &list, bool isStart) {
    auto [found, isNew] = states.try_emplace({isStart, list}, uint32_t(threads.size()));
    if (isNew) {
      if (threads.size() >= 0x4000)
        throw TooComplex();
      threads.push_back(list);
    }
    return found->second;
  }

  uint16_t transition(size_t state, uint32_t kind) {
    std::vector<bool> seen(program.code.size());
    std::vector<uint32_t> next, stack;
    bool matched = false;
    const std::vector<uint32_t> list = threads[state];
    auto holds = [&](const Instruction &instruction) {
      return kind == automaton.endClass ? instruction.atEnd : bool(classMembers[kind][instruction.set]);
    };
    for (size_t i = 0; i < list.size() && !matched; ++i) {
      stack.push_back(list[i]);
      while (!stack.empty() && !matched) {
        uint32_t at = stack.back();
        stack.pop_back();
        if (seen[at])
          continue;
        seen[at] = true;
        if (++steps > mostSteps)
          throw TooComplex();
        const Instruction &instruction = program.code[at];
        switch (instruction.kind) {
        case Instruction::Characters:
          if (kind != automaton.endClass && holds(instruction) && !llvm::is_contained(next, instruction.next))
            next.push_back(instruction.next);
          break;
        case Instruction::LookAhead:
          if (holds(instruction))
            stack.push_back(instruction.next);
          break;
        case Instruction::Split:
          stack.push_back(instruction.other);
          stack.push_back(instruction.next);
          break;
        case Instruction::Match:
          matched = state != 1; // an empty match is none
          break;
        }
      }
      stack.clear();
    }
    return uint16_t(stateOf(next, false) | (matched ? patternAccepts : 0));
  }

  static constexpr uint64_t mostSteps = 100'000'000; // seconds
  uint64_t steps = 0;
  const Program &program;
  PatternAutomaton automaton;
  std::vector<std::vector<bool>> classMembers; // by class, of the sets
  std::map<std::pair<bool, std::vector<uint32_t>>, uint32_t> states;
  std::vector<std::vector<uint32_t>> threads; // of the states
};

} // namespace

llvm::Expected<PatternAutomaton> sluice::compilePattern(llvm::StringRef pattern) {
  constexpr size_t longestPattern = 4096;
  if (pattern.size() > longestPattern)
    return llvm::createStringError("a pattern has " + llvm::Twine(pattern.size()) + " bytes; expected at most " +
                                   llvm::Twine(longestPattern));
  llvm::Expected<std::unique_ptr<Node>> root = parsePattern(pattern);
  if (!root)
    return root.takeError();
  try {
    Program program(**root);
    return AutomatonBuilder(program).build();
  } catch (const TooComplex &) {
    return llvm::createStringError("the pattern '" + pattern + "' is too complex");
  }
}

std::string sluice::literalPattern(llvm::StringRef text) {
  std::string out;
  for (char c : text) {
    if (uint8_t(c) < 0x80 && !isalnum(uint8_t(c)))
      out += '\\';
    out += c;
  }
  return out;
}
