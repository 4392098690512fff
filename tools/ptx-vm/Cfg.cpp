//===- Cfg.cpp - order of blocks, regions under a mask, what varies -----------------===//

#include "tools/ptx-vm/Cfg.h"
#include <algorithm>

namespace ptxvm {

static bool isTerminator(const Instruction &inst) {
  return inst.opcode == "bra" || inst.opcode == "ret" || inst.opcode == "exit";
}

Cfg::Cfg(const Function &f, WarpShape shape) : function(f), shape(shape) {
  split();
  loopEnd.assign(blocks.size(), -1);
  std::vector<int> reachable, stack{0};
  std::vector<bool> seen(blocks.size());
  seen[0] = true;
  while (!stack.empty()) {
    int b = stack.back();
    stack.pop_back();
    reachable.push_back(b);
    successors(b, [&](int s) {
      if (s != kExit && !seen[s])
        seen[s] = true, stack.push_back(s);
    });
  }
  std::sort(reachable.begin(), reachable.end());
  orderBlocks(reachable);
  findDominators();
  findPostDominators();
  findMerges();
  varyingBits.assign(f.registers.size(), 0);
  do {
    while (spreadVariation())
      ;
  } while (findRegions());
  findSingles();
  for (int b : order) {
    const CfgBlock &block = blocks[b];
    bool exits = !block.terminator ? block.fall == kExit : block.terminator->opcode != "bra" || block.taken == kExit;
    if (exits && (block.region >= 0 || (block.isConditional && isVaryingBranch(block))))
      lanesMayExit = true;
    if (block.isConditional && block.fall == kExit && isVaryingBranch(block))
      lanesMayExit = true;
  }
}

template <typename F> void Cfg::successors(int block, F f) const {
  const CfgBlock &b = blocks[block];
  if (b.takenIsValid)
    f(b.taken);
  if (b.fallIsValid && !(b.takenIsValid && b.fall == b.taken))
    f(b.fall);
}

void Cfg::split() {
  const auto &body = function.body;
  std::vector<bool> leads(body.size() + 1);
  leads[0] = leads[body.size()] = true;
  for (const auto &[name, at] : function.labels)
    leads[at] = true;
  for (size_t i = 0; i < body.size(); ++i)
    if (isTerminator(body[i]))
      leads[i + 1] = true;
  std::vector<int> blockAt(body.size() + 1, kExit);
  for (size_t i = 0; i < body.size();) {
    size_t end = i + 1;
    while (!leads[end])
      ++end;
    blockAt[i] = blocks.size();
    CfgBlock block{};
    block.first = i;
    block.last = end;
    if (isTerminator(body[end - 1])) {
      block.terminator = &body[end - 1];
      block.last = end - 1;
    }
    blocks.push_back(block);
    i = end;
  }
  if (blocks.empty())
    blocks.push_back({0, 0});
  // A block that only returns is no block: edges to it are exits.
  auto resolve = [&](size_t at) {
    int b = blockAt[at];
    if (b == kExit)
      return kExit;
    const CfgBlock &block = blocks[b];
    bool returns = block.terminator && block.terminator->opcode != "bra" && block.terminator->guard < 0;
    return returns && block.first == block.last ? kExit : b;
  };
  for (size_t i = 0; i < blocks.size(); ++i) {
    CfgBlock &b = blocks[i];
    size_t after = i + 1 < blocks.size() ? blocks[i + 1].first : body.size();
    const Instruction *t = b.terminator;
    b.isConditional = t && t->guard >= 0;
    b.takenIsValid = t;
    b.fallIsValid = !t || b.isConditional;
    if (t)
      b.taken = t->opcode == "bra" ? resolve(function.labels.at(t->operands[0].name)) : kExit;
    if (b.fallIsValid)
      b.fall = resolve(after);
    if (b.isConditional && b.taken == b.fall) { // both ways lead to one place
      b.isConditional = false;
      b.fallIsValid = false;
    }
  }
}

/// Strongly connected components in topological order; within one, its head first, then the rest likewise.
void Cfg::orderBlocks(const std::vector<int> &set) {
  std::vector<int> member(blocks.size(), 0), index(blocks.size(), -1), low(blocks.size(), 0), stack;
  std::vector<bool> onStack(blocks.size());
  for (int b : set)
    member[b] = 1;
  int counter = 0;
  std::vector<std::vector<int>> components;
  std::function<void(int)> visit = [&](int b) {
    index[b] = low[b] = counter++;
    stack.push_back(b);
    onStack[b] = true;
    int next[2], count = 0;
    successors(b, [&](int s) {
      if (s != kExit && member[s])
        next[count++] = s;
    });
    if (count == 2 && next[0] < next[1])
      std::swap(next[0], next[1]);
    for (int i = 0; i < count; ++i) {
      if (index[next[i]] < 0) {
        visit(next[i]);
        low[b] = std::min(low[b], low[next[i]]);
      } else if (onStack[next[i]]) {
        low[b] = std::min(low[b], index[next[i]]);
      }
    }
    if (low[b] != index[b])
      return;
    components.emplace_back();
    int popped;
    do {
      popped = stack.back();
      stack.pop_back();
      onStack[popped] = false;
      components.back().push_back(popped);
    } while (popped != b);
  };
  for (size_t i = set.size(); i-- > 0;)
    if (index[set[i]] < 0)
      visit(set[i]);
  for (size_t c = components.size(); c-- > 0;) {
    std::vector<int> &component = components[c];
    std::sort(component.begin(), component.end());
    int head = component[0];
    bool loops = component.size() > 1;
    if (component.size() == 1)
      successors(head, [&](int s) { loops |= s == head; });
    if (component.size() > 1) {
      // The head is where the component is entered from what is ordered already.
      std::vector<bool> entered(blocks.size());
      for (int b : order)
        successors(b, [&](int s) {
          if (s != kExit)
            entered[s] = true;
        });
      auto it = std::find_if(component.begin(), component.end(), [&](int b) { return entered[b] || b == 0; });
      if (it != component.end())
        head = *it;
    }
    blocks[head].order = order.size();
    order.push_back(head);
    if (!loops)
      continue;
    for (int b : component)
      blocks[b].loopHead = head;
    component.erase(std::find(component.begin(), component.end(), head));
    orderBlocks(component);
    loopEnd[head] = order.size() - 1;
  }
}

void Cfg::findDominators() {
  std::vector<std::vector<int>> predecessors(blocks.size());
  for (int b : order)
    successors(b, [&](int s) {
      if (s != kExit)
        predecessors[s].push_back(b);
    });
  dominator.assign(blocks.size(), -1);
  dominator[0] = 0;
  for (bool changed = true; changed;) {
    changed = false;
    for (int b : order) {
      if (b == 0)
        continue;
      int found = -1;
      for (int p : predecessors[b]) {
        if (dominator[p] < 0)
          continue;
        int other = p;
        while (found >= 0 && found != other) {
          int &later = blocks[found].order > blocks[other].order ? found : other;
          later = dominator[later];
        }
        found = other;
      }
      if (found != dominator[b])
        dominator[b] = found, changed = true;
    }
  }
}

bool Cfg::dominates(int a, int b) const {
  while (blocks[b].order > blocks[a].order)
    b = dominator[b];
  return a == b;
}

void Cfg::findPostDominators() {
  const int exit = blocks.size();
  std::vector<std::vector<int>> before(blocks.size() + 1), after(blocks.size() + 1);
  auto connect = [&](int from, int to) { before[to].push_back(from), after[from].push_back(to); };
  for (int b : order) {
    bool staysToo = false;
    successors(b, [&](int s) { staysToo |= s != kExit; });
    successors(b, [&](int s) {
      if (s != kExit)
        connect(b, s);
      else if (!staysToo) // lanes that exit elsewhere do not matter for where the others meet
        connect(b, exit);
    });
  }
  std::vector<int> number(blocks.size() + 1, -1), finished;
  auto visit = [&](auto &self, int b) -> void {
    number[b] = 0;
    for (int p : before[b])
      if (number[p] < 0)
        self(self, p);
    finished.push_back(b);
  };
  for (;;) {
    std::fill(number.begin(), number.end(), -1);
    finished.clear();
    visit(visit, exit);
    auto stuck = std::find_if(order.rbegin(), order.rend(), [&](int b) { return number[b] < 0; });
    if (stuck == order.rend())
      break;
    connect(*stuck, exit); // an endless loop
  }
  for (size_t i = 0; i < finished.size(); ++i)
    number[finished[i]] = finished.size() - i;
  std::vector<int> found(blocks.size() + 1, -1);
  found[exit] = exit;
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = finished.size() - 1; i-- > 0;) {
      int b = finished[i], best = -1;
      for (int s : after[b]) {
        if (found[s] < 0)
          continue;
        int other = s;
        while (best >= 0 && best != other) {
          int &later = number[best] > number[other] ? best : other;
          later = found[later];
        }
        best = other;
      }
      if (best != found[b])
        found[b] = best, changed = true;
    }
  }
  for (int b : order)
    blocks[b].postDominator = found[b] == exit ? kExit : found[b];
}

/// A write under a mask may overwrite all lanes if every read is reached only through this write, in the same turn of
/// its loop.
void Cfg::findMerges() {
  struct Definition {
    int count = 0, block = -1;
    size_t at = 0;
  };
  std::vector<Definition> definitions(function.registers.size());
  auto forEachInstruction = [&](auto f) {
    for (int b : order) {
      for (size_t i = blocks[b].first; i < blocks[b].last; ++i)
        f(b, i, function.body[i]);
      if (blocks[b].terminator)
        f(b, blocks[b].last, *blocks[b].terminator);
    }
  };
  forEachInstruction([&](int b, size_t i, const Instruction &inst) {
    forEachWritten(inst, [&](int r) { definitions[r] = {definitions[r].count + 1 + (inst.guard >= 0), b, i}; });
  });
  needsMerge.assign(function.registers.size(), false);
  for (size_t r = 0; r < definitions.size(); ++r)
    needsMerge[r] = definitions[r].count > 1;
  forEachInstruction([&](int b, size_t i, const Instruction &inst) {
    forEachRead(inst, [&](int r) {
      const Definition &d = definitions[r];
      if (d.count != 1)
        return;
      bool ok = d.block == b ? d.at < i : dominates(d.block, b);
      if (int head = blocks[d.block].loopHead; head >= 0)
        ok &= blocks[b].order >= blocks[head].order && blocks[b].order <= loopEnd[head];
      if (!ok)
        needsMerge[r] = true;
    });
  });
}

/// A block of a region may be skipped, so what it computes is a single value only for itself. What is computed outside
/// reaches into a region if the region has one entry; merged regions may be walked through blocks that no lane of this
/// entry can reach.
void Cfg::findSingles() {
  for (Region &region : regions) {
    std::vector<bool> enters(blocks.size());
    for (int b : order)
      successors(b, [&](int s) {
        enters[b] = enters[b] || (s != kExit && blocks[b].region < 0 && blocks[s].region == &region - regions.data());
      });
    region.entries = std::count(enters.begin(), enters.end(), true);
  }
  std::vector<int> definedIn(function.registers.size(), -1);
  isSingle.assign(function.registers.size(), false);
  isWritten.assign(function.registers.size(), false);
  for (int b : order)
    for (size_t i = blocks[b].first; i < blocks[b].last; ++i)
      forEachWritten(function.body[i],
                     [&](int r) { definedIn[r] = b, isWritten[r] = true, isSingle[r] = !needsMerge[r]; });
  auto use = [&](int b, const Instruction &inst) {
    forEachRead(inst, [&](int r) {
      const int from = definedIn[r];
      if (from < 0 || from == b)
        return;
      if (blocks[from].region >= 0 || (blocks[b].region >= 0 && regions[blocks[b].region].entries != 1))
        isSingle[r] = false;
    });
  };
  for (int b : order) {
    for (size_t i = blocks[b].first; i < blocks[b].last; ++i)
      use(b, function.body[i]);
    if (blocks[b].terminator)
      use(b, *blocks[b].terminator);
  }
}

bool Cfg::isVaryingBranch(const CfgBlock &b) const { return b.isConditional && varies(b.terminator->guard); }

bool Cfg::findRegions() {
  std::vector<int> before(blocks.size());
  for (size_t b = 0; b < blocks.size(); ++b)
    before[b] = blocks[b].region;
  regions.clear();
  for (CfgBlock &b : blocks)
    b.region = -1;
  std::vector<std::vector<bool>> sets;
  std::vector<int> joins;
  for (int b : order) {
    const CfgBlock &block = blocks[b];
    if (!isVaryingBranch(block) || block.taken == kExit || block.fall == kExit)
      continue;
    std::vector<bool> set(blocks.size());
    std::vector<int> stack{block.taken, block.fall};
    int join = block.postDominator;
    while (!stack.empty()) {
      int at = stack.back();
      stack.pop_back();
      if (at == kExit || at == join || set[at])
        continue;
      set[at] = true;
      successors(at, [&](int s) { stack.push_back(s); });
    }
    // Merge with what overlaps; the outermost join is the one that no merged region contains.
    for (size_t i = 0; i < sets.size();) {
      bool overlaps = false;
      for (size_t x = 0; x < set.size() && !overlaps; ++x)
        overlaps = set[x] && sets[i][x];
      if (!overlaps) {
        ++i;
        continue;
      }
      for (size_t x = 0; x < set.size(); ++x)
        set[x] = set[x] || sets[i][x];
      if (join != kExit && (joins[i] == kExit || set[join]))
        join = joins[i];
      sets.erase(sets.begin() + i);
      joins.erase(joins.begin() + i);
      i = 0;
    }
    sets.push_back(set);
    joins.push_back(join);
  }
  for (size_t i = 0; i < sets.size(); ++i) {
    Region region;
    region.join = joins[i];
    for (int b : order)
      if (sets[i][b])
        region.blocks.push_back(b), blocks[b].region = i;
    regions.push_back(std::move(region));
  }
  for (size_t b = 0; b < blocks.size(); ++b)
    if ((before[b] >= 0) != (blocks[b].region >= 0))
      return true;
  return false;
}

uint64_t Cfg::bitsThatVary(const Operand &o) const {
  uint64_t bits = 0;
  if (o.kind == Operand::Special) {
    std::string_view n = o.name;
    if (n == "%tid.x")
      return shape.isRow ? 31 : ~uint64_t(0);
    if (n == "%tid.y" || n == "%tid.z")
      return shape.isRow ? 0 : ~uint64_t(0);
    if (n == "%laneid")
      return 31;
    return n.substr(0, 9) == "%lanemask" ? ~uint64_t(0) : 0;
  }
  forEachRegister(o, [&](int r) { bits |= varyingBits[r]; });
  return bits;
}

bool Cfg::sourcesVary(const Instruction &inst) const {
  for (size_t i = 0; i < inst.operands.size(); ++i)
    if (!isDestination(inst, i) && isVarying(inst.operands[i]))
      return true;
  return false;
}

/// The bits of the result that may differ between lanes that execute the instruction together.
uint64_t Cfg::resultBits(const Instruction &inst) const {
  const uint64_t all = ~uint64_t(0);
  if (inst.guard >= 0 && varies(inst.guard))
    return all;
  switch (inst.row->result) {
  case Result::Varying:
    return all;
  case Result::Voted: // if all lanes name the same members
    return isVarying(inst.operands.back()) ? all : 0;
  case Result::Load:
    if (inst.has("local"))
      return all;
    break;
  case Result::Pure:
    break;
  }
  const auto &o = inst.operands;
  auto constant = [&](size_t i) { return i < o.size() && o[i].kind == Operand::Integer; };
  if (inst.row->result == Result::Pure && o.size() >= 2 && o[0].kind == Operand::Register) {
    uint64_t first = bitsThatVary(o[1]), mask = bitsOf(inst.type) >= 64 ? all : (uint64_t(1) << bitsOf(inst.type)) - 1;
    if (inst.opcode == "mov" && o.size() == 2 && o[1].kind != Operand::Vector)
      return first;
    if (inst.opcode == "cvt" && !isFloat(inst.type) && !isFloat(inst.type2) && !isSigned(inst.type2))
      return first;
    if (constant(2) && !isSigned(inst.type)) {
      if (inst.opcode == "and")
        return first & o[2].bits;
      if (inst.opcode == "shr" && o[2].bits < 64)
        return (first & mask) >> o[2].bits;
      if (inst.opcode == "shl" && o[2].bits < 64)
        return (first << o[2].bits) & mask;
      if (inst.opcode == "or" || inst.opcode == "xor")
        return first;
    }
  }
  return sourcesVary(inst) ? all : 0;
}

bool Cfg::spreadVariation() {
  bool changed = false;
  for (int b : order)
    for (size_t i = blocks[b].first; i < blocks[b].last; ++i) {
      const Instruction &inst = function.body[i];
      uint64_t bits = resultBits(inst);
      forEachWritten(inst, [&](int r) {
        uint64_t all = blocks[b].region >= 0 && needsMerge[r] ? ~uint64_t(0) : bits;
        if (all & ~varyingBits[r])
          varyingBits[r] |= all, changed = true;
      });
    }
  return changed;
}

} // namespace ptxvm
