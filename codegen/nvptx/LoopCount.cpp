//===- LoopCount.cpp - instructions of the innermost loop around a marked one ------------===//

#include "codegen/nvptx/LoopCount.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Regex.h"
#include <vector>

using namespace sluice::codegen;

llvm::StringMap<llvm::StringRef> sluice::codegen::ptxFunctions(llvm::StringRef ptx) {
  llvm::StringMap<llvm::StringRef> functions;
  constexpr llvm::StringRef entry = ".entry ";
  for (size_t at = ptx.find(entry); at != llvm::StringRef::npos; at = ptx.find(entry, at + 1)) {
    llvm::StringRef rest = ptx.substr(at + entry.size());
    llvm::StringRef name = rest.take_until([](char c) { return c == '('; }).trim();
    size_t begin = rest.find("\n{"), end = rest.find("\n}");
    if (begin != llvm::StringRef::npos && end != llvm::StringRef::npos && begin < end)
      functions[name] = rest.slice(begin + 2, end);
  }
  return functions;
}

llvm::StringMap<llvm::StringRef> sluice::codegen::sassFunctions(llvm::StringRef listing) {
  llvm::StringMap<llvm::StringRef> functions;
  constexpr llvm::StringRef section = ".text.";
  for (size_t at = listing.find("\n" + section.str()); at != llvm::StringRef::npos;) {
    llvm::StringRef rest = listing.substr(at + 1 + section.size());
    llvm::StringRef name = rest.take_until([](char c) { return c == ':' || c == '\n'; });
    size_t end = rest.find("\n" + section.str());
    functions[name] = rest.take_front(end == llvm::StringRef::npos ? rest.size() : end);
    at = end == llvm::StringRef::npos ? end : at + 1 + section.size() + end;
  }
  return functions;
}

namespace {
constexpr unsigned nowhere = ~0u;

// A function's instructions and where each goes.
struct Listing {
  struct Instruction {
    unsigned target = nowhere; // of a jump
    bool fallsThrough = true, marked = false;
  };
  std::vector<Instruction> instructions;

  Listing(llvm::StringRef function, llvm::StringRef marker);
  // Whether every way from the first instruction to `at` leads through `head`.
  bool dominates(unsigned head, unsigned at) const;
};

Listing::Listing(llvm::StringRef function, llvm::StringRef marker) {
  llvm::StringMap<unsigned> labels; // the number of the instruction after
  llvm::SmallVector<std::pair<unsigned, llvm::StringRef>> jumps;
  // "$L__BB0_1:", ".L_x_3:"; "@%p1 bra $L__BB0_1;", "/*0a0*/ @P0 BRA `(.L_x_3) ;"
  llvm::Regex label("^[ \t]*([$.][A-Za-z0-9_$.]+):"), jump("(bra|BRA).*[ \t(`]([$.][A-Za-z0-9_$.]+)"),
      end("(^|[ \t])(bra|BRA|ret|RET|exit|EXIT)([ \t;.]|$)");
  llvm::SmallVector<llvm::StringRef> lines, found;
  function.split(lines, '\n');
  for (llvm::StringRef line : lines) {
    if (label.match(line, &found)) {
      labels[found[1]] = instructions.size();
      continue;
    }
    if (!line.contains(';') || line.trim().starts_with(".") || line.trim().starts_with("//"))
      continue; // directives, encodings
    if (jump.match(line, &found))
      jumps.push_back({instructions.size(), found[2]});
    const bool conditional = line.contains('@') || line.contains(", `(") || line.contains(".DIV");
    instructions.push_back({nowhere, conditional || !end.match(line), line.contains(marker)});
  }
  for (auto [at, target] : jumps)
    if (auto to = labels.find(target); to != labels.end())
      instructions[at].target = to->second;
}

bool Listing::dominates(unsigned head, unsigned at) const {
  std::vector<bool> seen(instructions.size());
  llvm::SmallVector<unsigned> next = {0};
  while (!next.empty()) {
    unsigned i = next.pop_back_val();
    if (i >= instructions.size() || i == head || seen[i])
      continue;
    if (i == at)
      return false;
    seen[i] = true;
    if (instructions[i].fallsThrough)
      next.push_back(i + 1);
    if (instructions[i].target != nowhere)
      next.push_back(instructions[i].target);
  }
  return true;
}
} // namespace

llvm::SmallVector<LoopCount> sluice::codegen::loopsAround(llvm::StringRef function, llvm::StringRef marker) {
  const Listing listing(function, marker);
  struct Loop {
    unsigned begin, end;
    unsigned size() const { return end - begin + 1; }
    bool holds(const Loop &other) const { return begin <= other.begin && end >= other.end && size() > other.size(); }
    bool operator==(const Loop &other) const { return begin == other.begin && end == other.end; }
  };
  // A jump back to what every way to it leads through. Others are the returns of code out of line, which the assembler
  // puts behind the function for warps that have diverged. A loop's jumps back to one head are one loop.
  llvm::SmallVector<Loop> loops;
  for (auto [at, instruction] : llvm::enumerate(listing.instructions)) {
    const unsigned head = instruction.target;
    if (head > at || !listing.dominates(head, at))
      continue;
    auto same = llvm::find_if(loops, [&](const Loop &loop) { return loop.begin == head; });
    if (same == loops.end())
      loops.push_back({head, unsigned(at)});
    else
      same->end = std::max(same->end, unsigned(at));
  }
  llvm::sort(loops, [](const Loop &a, const Loop &b) { return a.size() < b.size(); });
  llvm::SmallVector<unsigned> marked;
  for (auto [at, instruction] : llvm::enumerate(listing.instructions))
    if (instruction.marked)
      marked.push_back(at);
  llvm::SmallVector<Loop> inner;
  for (unsigned at : marked)
    for (const Loop &loop : loops)
      if (loop.begin <= at && at <= loop.end) {
        if (!llvm::is_contained(inner, loop))
          inner.push_back(loop);
        break;
      }
  llvm::SmallVector<LoopCount> counts;
  for (const Loop &loop : inner) {
    if (llvm::any_of(inner, [&](const Loop &other) { return loop.holds(other); }))
      continue;
    auto around = llvm::find_if(loops, [&](const Loop &other) { return other.holds(loop); });
    unsigned inside = llvm::count_if(marked, [&](unsigned at) { return loop.begin <= at && at <= loop.end; });
    counts.push_back({loop.size(), around == loops.end() ? 0 : around->size(), inside});
  }
  return counts;
}
