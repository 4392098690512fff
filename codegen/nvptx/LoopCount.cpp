//===- LoopCount.cpp - instructions of the innermost loop around a marked one ------------===//

#include "codegen/nvptx/LoopCount.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"
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
  // What is reached from the first instruction without `avoided`.
  std::vector<bool> reached(unsigned avoided = nowhere) const;
};

// A natural loop.
struct Loop {
  unsigned head;
  std::vector<bool> body; // which instructions are of it
  unsigned size() const { return llvm::count(body, true); }
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
    // To code for a warp that has diverged, which the assembler puts behind the function: the usual way goes on.
    const bool seldom = line.contains(".DIV"), conditional = line.contains('@') || line.contains(", `(");
    if (!seldom && jump.match(line, &found))
      jumps.push_back({instructions.size(), found[2]});
    instructions.push_back({nowhere, seldom || conditional || !end.match(line), line.contains(marker)});
  }
  for (auto [at, target] : jumps)
    if (auto to = labels.find(target); to != labels.end())
      instructions[at].target = to->second;
}

std::vector<bool> Listing::reached(unsigned avoided) const {
  std::vector<bool> seen(instructions.size());
  llvm::SmallVector<unsigned> next = {0};
  while (!next.empty()) {
    const unsigned i = next.pop_back_val();
    if (i >= instructions.size() || i == avoided || seen[i])
      continue;
    seen[i] = true;
    if (instructions[i].fallsThrough)
      next.push_back(i + 1);
    next.push_back(instructions[i].target);
  }
  return seen;
}

std::vector<Loop> loopsOf(const Listing &listing) {
  const size_t count = listing.instructions.size();
  std::vector<llvm::SmallVector<unsigned, 2>> before(count);
  const std::vector<bool> reached = listing.reached();
  for (auto [at, instruction] : llvm::enumerate(listing.instructions)) {
    if (!reached[at])
      continue;
    if (instruction.fallsThrough && at + 1 < count)
      before[at + 1].push_back(at);
    if (instruction.target < count)
      before[instruction.target].push_back(at);
  }
  std::vector<Loop> loops;
  for (unsigned head = 0; head < count; ++head) {
    if (before[head].size() < 2)
      continue;
    // Every way to a jump back leads through the head.
    const std::vector<bool> without = listing.reached(head);
    llvm::SmallVector<unsigned> next;
    llvm::copy_if(before[head], std::back_inserter(next), [&](unsigned at) { return !without[at]; });
    if (next.empty())
      continue;
    Loop loop{head, std::vector<bool>(count)};
    loop.body[head] = true;
    while (!next.empty()) {
      const unsigned at = next.pop_back_val();
      if (loop.body[at])
        continue;
      loop.body[at] = true;
      next.append(before[at]);
    }
    loops.push_back(std::move(loop));
  }
  llvm::sort(loops, [](const Loop &a, const Loop &b) { return a.size() < b.size(); });
  return loops;
}
} // namespace

llvm::SmallVector<LoopCount> sluice::codegen::loopsAround(llvm::StringRef function, llvm::StringRef marker) {
  const Listing listing(function, marker);
  const std::vector<Loop> loops = loopsOf(listing); // small ones first
  llvm::SetVector<const Loop *> innermost;
  llvm::DenseMap<const Loop *, unsigned> marked;
  for (auto [at, instruction] : llvm::enumerate(listing.instructions)) {
    if (!instruction.marked)
      continue;
    auto around = llvm::find_if(loops, [&](const Loop &loop) { return loop.body[at]; });
    if (around == loops.end())
      continue;
    innermost.insert(&*around);
    for (const Loop &loop : loops)
      marked[&loop] += loop.body[at];
  }
  llvm::SmallVector<LoopCount> counts;
  for (const Loop *loop : innermost) {
    auto holds = [](const Loop &outer, const Loop &inner) { return &outer != &inner && outer.body[inner.head]; };
    if (llvm::any_of(innermost, [&](const Loop *other) { return holds(*loop, *other); }))
      continue;
    auto around = llvm::find_if(loops, [&](const Loop &other) { return holds(other, *loop); });
    counts.push_back({loop->size(), around == loops.end() ? 0 : around->size(), marked[loop]});
  }
  return counts;
}
