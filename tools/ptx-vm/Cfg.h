// Blocks of a function, and what is the same in all lanes of a warp.
//
// Lanes part at a branch whose predicate varies and meet again at its immediate post-dominator. The blocks between form
// a region (overlapping regions are merged); there, code runs under a mask, and lanes that go elsewhere wait. Blocks
// are ordered so that a region's blocks stand behind those that lead to them and loops are contiguous; a region is
// executed by walking its blocks in that order, skipping those for which no lane waits, and returning to a loop's head
// at the loop's end while lanes wait there. An edge to a bare `ret` is an exit: those lanes are gone, and the others
// stay together.
#pragma once
#include "tools/ptx-vm/Opcodes.h"
#include <functional>

namespace ptxvm {

/// How blocks of threads are cut into warps; part of what a kernel is compiled for.
struct WarpShape {
  bool full;  // every warp has 32 threads
  bool isRow; // a warp's threads differ in tid.x only
};

constexpr int kExit = -1;

struct CfgBlock {
  size_t first, last;                      // instructions, without the terminator
  const Instruction *terminator = nullptr; // bra, ret or exit; null: falls through
  int taken = kExit, fall = kExit;         // blocks; taken only of a conditional or unconditional bra / guarded exit
  bool isConditional = false;
  bool takenIsValid = false, fallIsValid = false;
  int order = -1;    // position; -1: unreachable
  int region = -1;   // which, or none
  int loopHead = -1; // innermost loop (a block), or none
  int postDominator = kExit;
};

struct Region {
  std::vector<int> blocks; // in order
  int entries = 0;         // blocks outside that lead into it
  int join = kExit;
};

struct Cfg {
  Cfg(const Function &f, WarpShape shape);

  const Function &function;
  WarpShape shape;
  std::vector<CfgBlock> blocks;
  std::vector<int> order;   // blocks that can be reached
  std::vector<int> loopEnd; // by block: if it heads a loop, the order of the loop's last block; else -1
  std::vector<Region> regions;
  std::vector<uint64_t> varyingBits; // by register: which bits may differ between lanes that execute together
  std::vector<bool> needsMerge;      // by register: a write under a mask must keep the other lanes
  std::vector<bool> isWritten;       // by register
  std::vector<bool> isSingle;        // by register: one value, whose place dominates all uses in the compiled code too
  bool lanesMayExit = false;         // at different times

  bool varies(int reg) const { return varyingBits[reg] != 0; }
  bool isVarying(const Operand &o) const { return bitsThatVary(o) != 0; }
  bool isVaryingBranch(const CfgBlock &b) const;
  bool sourcesVary(const Instruction &inst) const;

private:
  uint64_t bitsThatVary(const Operand &o) const;
  uint64_t resultBits(const Instruction &inst) const;
  void split();
  void orderBlocks(const std::vector<int> &set);
  void findDominators();
  void findPostDominators();
  void findMerges();
  void findSingles();
  bool findRegions();
  bool spreadVariation();
  bool dominates(int a, int b) const;
  template <typename F> void successors(int block, F f) const;
  std::vector<int> dominator;
};

} // namespace ptxvm
