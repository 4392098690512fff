// The checker of memory order (PTX_VM_CHECK_ORDER=1): finds two accesses of which nothing says that one comes first.
//
// Each warp has a vector clock. What orders: a barrier, for the warps that meet there; a release (st.release,
// atom.release, or a fence before a strong store or atomic) and the acquire that sees its value (ld.acquire,
// atom.acquire, or a strong load or atomic before a fence), if the scopes of both reach the other side. Ordering is
// transitive, so a thread that fences speaks for all whose work it has seen. For every byte that a launch writes there
// is the last write and the reads since; an access that conflicts with one of them and is not ordered behind it is a
// fault, unless both are strong. ld.global.nc must never touch what the launch writes.
//
// The lanes of a warp count as ordered among themselves. A plain read of a 4 KiB page that the launch has not yet
// written is not remembered (so that weights cost nothing); a later write is not checked against it.
#pragma once
#include "tools/ptx-vm/Access.h"
#include <array>
#include <bitset>
#include <unordered_map>

namespace ptxvm {

/// What an agent (a warp, numbered through the grid) knows of others: everything up to this clock of theirs.
class VectorClock {
public:
  uint32_t of(uint32_t agent) const {
    auto it = clocks.find(agent / kChunk);
    return it == clocks.end() ? 0 : it->second[agent % kChunk];
  }
  void set(uint32_t agent, uint32_t clock) { clocks[agent / kChunk][agent % kChunk] = clock; }
  void join(const VectorClock &other);
  bool empty() const { return clocks.empty(); }
  void clear() { clocks.clear(); }

private:
  static constexpr uint32_t kChunk = 32;
  std::unordered_map<uint32_t, std::array<uint32_t, kChunk>> clocks;
};

class OrderChecker {
public:
  explicit OrderChecker(Launch &launch);
  ~OrderChecker();
  void beginWarp(Warp *w);
  void arrive(Warp *w, unsigned barrier); // before it waits
  void depart(Warp *w, unsigned barrier); // when the barrier lets it go
  void endBarrier(Block &block, unsigned barrier);
  void fence(Warp *w, uint32_t site);
  /// Before the access is made. Faults on a race.
  void access(Warp *w, uint32_t site, unsigned lane, const Resolved &at, unsigned bytes, Use use);
  void endBlock(Block &block);

private:
  struct Epoch {
    uint32_t agent = 0, clock = 0; // clock 0: never
    uint32_t site = 0;
  };
  struct Cell {
    Epoch write, read;
    bool writeIsStrong = false;
    std::unique_ptr<std::vector<Epoch>> readers; // when there are several
  };
  struct Page;
  /// What a strong write published, and how far it reaches.
  struct Published {
    VectorClock wide, narrow; // to the device; to the block
    uint64_t narrowBlock = 0;
  };
  struct Agent {
    VectorClock clock;
    uint32_t own = 1;
    VectorClock released[2]; // at the last fence: of gpu scope or wider; of any scope
    bool hasReleased[2] = {false, false};
    VectorClock seen, seenInBlock; // by strong loads, not yet by a fence
  };

  uint32_t agentOf(const Warp *w) const;
  Agent &agent(const Warp *w) { return *agents.at(agentOf(w)); }
  void check(Warp *w, uint32_t site, unsigned lane, Cell &cell, uint64_t address, Use use, bool strong);
  void synchronize(Warp *w, const Site &s, uint64_t key, Use use);
  [[noreturn]] void race(Warp *w, uint32_t site, unsigned lane, uint64_t address, Use use, const Epoch &other,
                         const char *what);
  Page *pageOf(uint64_t key, bool make);

  Launch &launch;
  const uint32_t warps; // of a block
  std::unordered_map<uint32_t, std::unique_ptr<Agent>> agents;
  std::unordered_map<uint64_t, std::unique_ptr<Page>> pages;
  std::unordered_map<uint64_t, Published> published;
  std::unordered_map<uint64_t, VectorClock> barriers;
  std::unordered_map<uint64_t, std::bitset<1024>> nonCoherent; // words read by ld.global.nc, by page
};

} // namespace ptxvm
