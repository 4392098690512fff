//===- OrderChecker.cpp - vector clocks over the memory of a launch ----------------------------------------------===//

#include "tools/ptx-vm/OrderChecker.h"
#include "tools/ptx-vm/Faults.h"
#include <algorithm>

namespace ptxvm {

static constexpr uint64_t kPage = 4096;

/// Cells of words, or of bytes once something smaller than a word was written.
struct OrderChecker::Page {
  std::vector<Cell> cells{kPage / 4};
  bool isSplit = false;

  void split() {
    std::vector<Cell> bytes(kPage);
    for (size_t i = 0; i < kPage; ++i) {
      const Cell &from = cells[i / 4];
      bytes[i].write = from.write, bytes[i].read = from.read, bytes[i].writeIsStrong = from.writeIsStrong;
      if (from.readers)
        bytes[i].readers = std::make_unique<std::vector<Epoch>>(*from.readers);
    }
    cells = std::move(bytes);
    isSplit = true;
  }
};

void VectorClock::join(const VectorClock &other) {
  for (const auto &[chunk, theirs] : other.clocks) {
    auto &mine = clocks[chunk];
    for (uint32_t i = 0; i < kChunk; ++i)
      mine[i] = std::max(mine[i], theirs[i]);
  }
}

OrderChecker::OrderChecker(Launch &launch)
    : launch(launch), warps((launch.config.block.count() + kLanes - 1) / kLanes) {}
OrderChecker::~OrderChecker() = default;

uint32_t OrderChecker::agentOf(const Warp *w) const { return w->block->linear * warps + w->warpId; }

void OrderChecker::beginWarp(Warp *w) {
  auto made = std::make_unique<Agent>();
  made->clock.set(agentOf(w), made->own);
  agents[agentOf(w)] = std::move(made);
}

void OrderChecker::endBlock(Block &block) {
  for (uint32_t i = 0; i < warps; ++i)
    agents.erase(block.linear * warps + i);
  // Pages of its .shared.
  const uint64_t first = (uint64_t(1) << 63 | block.linear << 20) / kPage;
  for (uint64_t page = first; page < first + (1 << 20) / kPage; ++page)
    pages.erase(page);
}

static uint64_t barrierKey(const Block &block, unsigned barrier) { return block.linear * 16 + barrier; }

void OrderChecker::arrive(Warp *w, unsigned barrier) {
  Agent &a = agent(w);
  barriers[barrierKey(*w->block, barrier)].join(a.clock);
  a.clock.set(agentOf(w), ++a.own);
}
void OrderChecker::depart(Warp *w, unsigned barrier) { agent(w).clock.join(barriers[barrierKey(*w->block, barrier)]); }
void OrderChecker::endBarrier(Block &block, unsigned barrier) { barriers.erase(barrierKey(block, barrier)); }

void OrderChecker::fence(Warp *w, uint32_t site) {
  const Site &s = siteOf(w, site);
  Agent &a = agent(w);
  const bool wide = s.scope >= 2;
  if (wide)
    a.clock.join(a.seen);
  a.clock.join(a.seenInBlock);
  for (int any = wide ? 0 : 1; any < 2; ++any) {
    a.released[any] = a.clock;
    a.hasReleased[any] = true;
  }
  a.clock.set(agentOf(w), ++a.own);
}

/// A strong access of a location: what it publishes and what it sees.
void OrderChecker::synchronize(Warp *w, const Site &s, uint64_t key, Use use) {
  Agent &a = agent(w);
  Published &p = published[key];
  const bool wide = s.scope >= 2;
  const uint64_t block = w->block->linear;
  if (use != Use::Store) { // sees
    VectorClock none;
    const VectorClock &inBlock = p.narrowBlock == block ? p.narrow : none;
    if (s.isAcquire) {
      if (wide)
        a.clock.join(p.wide);
      a.clock.join(inBlock);
    } else {
      if (wide)
        a.seen.join(p.wide);
      a.seenInBlock.join(inBlock);
    }
  }
  if (use == Use::Load)
    return;
  if (use == Use::Store) // an atomic goes on with what was released before, a store does not
    p = {};
  if (p.narrowBlock != block)
    p.narrow.clear();
  p.narrowBlock = block;
  if (s.isRelease) {
    if (wide)
      p.wide.join(a.clock);
    p.narrow.join(a.clock);
    a.clock.set(agentOf(w), ++a.own);
    return;
  }
  if (wide && a.hasReleased[0])
    p.wide.join(a.released[0]);
  if (a.hasReleased[1])
    p.narrow.join(a.released[1]);
}

OrderChecker::Page *OrderChecker::pageOf(uint64_t key, bool make) {
  auto &page = pages[key];
  if (!page && make)
    page = std::make_unique<Page>();
  if (!page)
    pages.erase(key);
  return page ? page.get() : nullptr;
}

void OrderChecker::race(Warp *w, uint32_t site, unsigned lane, uint64_t address, Use use, const Epoch &other,
                        const char *what) {
  const uint64_t block = other.agent / warps;
  const Site &theirs = launch.compiled.sites[other.site];
  std::string who = block == w->block->linear ? "warp " + std::to_string(other.agent % warps) + " of this block"
                                              : "block " + std::to_string(block);
  fault(w, site, lane, CUDA_ERROR_LAUNCH_FAILED,
        std::string("race: ") +
            (use == Use::Load    ? "load"
             : use == Use::Store ? "store"
                                 : "atomic") +
            " at " + hex(address) + " of what " + who + " " + what + " in line " + std::to_string(theirs.line) +
            ", and nothing orders the two");
}

void OrderChecker::check(Warp *w, uint32_t site, unsigned lane, Cell &cell, uint64_t address, Use use, bool strong) {
  Agent &me = agent(w);
  const uint32_t self = agentOf(w);
  auto isBefore = [&](const Epoch &e) { return e.clock == 0 || e.agent == self || e.clock <= me.clock.of(e.agent); };
  if (!(strong && cell.writeIsStrong) && !isBefore(cell.write))
    race(w, site, lane, address, use, cell.write, "wrote");
  if (use == Use::Load) {
    if (strong)
      return;
    const Epoch now{self, me.own, site};
    if (cell.readers) {
      for (Epoch &r : *cell.readers)
        if (r.agent == self)
          return void(r = now);
      cell.readers->push_back(now);
    } else if (isBefore(cell.read)) {
      cell.read = now;
    } else {
      cell.readers = std::make_unique<std::vector<Epoch>>(std::vector<Epoch>{cell.read, now});
    }
    return;
  }
  if (cell.readers) {
    for (const Epoch &r : *cell.readers)
      if (!isBefore(r))
        race(w, site, lane, address, use, r, "read");
    cell.readers.reset();
  } else if (!isBefore(cell.read)) {
    race(w, site, lane, address, use, cell.read, "read");
  }
  cell.read = {};
  cell.write = {self, me.own, site};
  cell.writeIsStrong = strong;
}

void OrderChecker::access(Warp *w, uint32_t site, unsigned lane, const Resolved &at, unsigned bytes, Use use) {
  const Site &s = siteOf(w, site);
  if (s.space == Space::Local || s.space == Space::Param || s.space == Space::Const)
    return;
  const bool strong = s.isStrong;
  // .shared of a block has pages of its own, above all addresses of user space.
  const uint64_t address =
      at.isShared ? uint64_t(1) << 63 | w->block->linear << 20 | at.offset : reinterpret_cast<uint64_t>(at.host);
  const uint64_t shown = at.isShared ? at.offset : address;
  if (strong && use == Use::Load)
    synchronize(w, s, address, use);
  for (uint64_t from = address; from < address + bytes;) {
    const uint64_t number = from / kPage, end = std::min(address + bytes, (number + 1) * kPage);
    if (s.isNonCoherent) {
      auto &words = nonCoherent[number];
      for (uint64_t a = from; a < end; a += 4)
        words.set(a % kPage / 4);
    } else if (use != Use::Load) {
      if (auto it = nonCoherent.find(number); it != nonCoherent.end())
        for (uint64_t a = from; a < end; a += 4)
          if (it->second.test(a % kPage / 4))
            fault(w, site, lane, CUDA_ERROR_LAUNCH_FAILED,
                  "race: store at " + hex(shown) + " to what ld.global.nc has read in this launch");
    }
    Page *page = pageOf(number, use != Use::Load);
    if (page) {
      if (!page->isSplit && (from % 4 || end % 4))
        page->split();
      const unsigned grain = page->isSplit ? 1 : 4;
      for (uint64_t a = from; a < end; a += grain) {
        Cell &cell = page->cells[a % kPage / grain];
        if (s.isNonCoherent && cell.write.clock)
          fault(w, site, lane, CUDA_ERROR_LAUNCH_FAILED,
                "race: ld.global.nc at " + hex(shown) + " of what this launch wrote in line " +
                    std::to_string(launch.compiled.sites[cell.write.site].line));
        check(w, site, lane, cell, shown + (a - address), use, strong);
      }
    }
    from = end;
  }
  if (strong && use != Use::Load)
    synchronize(w, s, address, use);
}

} // namespace ptxvm
