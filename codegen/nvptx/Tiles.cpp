//===- Tiles.cpp - the tiles of a phase for one token: slices through rings, then sums ----===//
//
// A group's slices, tile by tile, are cut into one run for each block. A block works on its last tile first: if that
// tile goes on in the next block's run, the sum so far is handed over long before the next block, for which it is the
// last to do, asks for it. Within a block the slices go round the warps; after every batch of tiles the block adds them
// up.
//
// The positions of a run are numbered in the order of work, as if the first tile were whole: position v is in the
// (v / slices of a tile)-th tile, counted back from the last one.
//
//===--------------------------------------------------------------------------------------===//

#include "codegen/nvptx/Dots.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

// What this block does of a group.
struct Run {
  Value firstTile, lastTile;  // the first one may have begun in the block before, the last one may go on in the next
  Value firstSlice;           // of the first tile
  Value skipped;              // positions of the first tile in work that are not this block's
  Value end;                  // past the last position
  Value continues, continued; // i1: the first tile began before; the last tile goes on
};

class TilesLowering {
public:
  TilesLowering(const Scope &scope, const TileGroup &group)
      : scope(scope), t(scope.t), group(group), tileSlices(group.tileSlices()), run(runOf()) {}

  void begin(int64_t from, int64_t to, bool paced) {
    Loader loader = startOf();
    for (int64_t stage = 0; stage < to; ++stage) {
      if (stage > from && paced)
        t.waitCopies(0);
      if (stage >= from)
        issue(loader, t.c(stage * group.chunkStride), known(stage));
      if (stage + 1 < to)
        loader = next(loader, known(stage));
    }
  }
  void lower(Value slots, int64_t slotBytes);

private:
  static constexpr int64_t warps = GpuFacts::warps;

  struct Place {       // of a slice
    Value tile, slice; // of its weight
    Value weight;      // i32
  };
  // The chunk to be copied next: of position `v`, from `source`, of which `left` bytes are the weight's tile's, and
  // `chunks` of the slice.
  struct Loader {
    Value v, source, left, chunks;
    Values state() const { return {v, source, left, chunks}; }
    static Loader of(ValueRange state) { return {state[0], state[1], state[2], state[3]}; }
  };

  Run runOf();
  Place placeOf(Value v);
  int64_t firstSliceOf(size_t weight) const {
    int64_t slices = 0;
    for (size_t i = 0; i < weight; ++i)
      slices += group.weights[i].k.slices;
    return slices;
  }
  bool uniform() const { return llvm::all_equal(group.weights); }
  // f(weight) for the one that `which` says.
  Value ofWeight(Value which, function_ref<Value(size_t)> f) {
    Value value = f(0);
    for (size_t i = 1; i < group.weights.size(); ++i)
      value = t.select(t.equal(which, i), f(i), value);
    return value;
  }
  Value chunksOf(Place place) {
    return ofWeight(place.weight, [&](size_t i) {
      const WeightPlan &weight = group.weights[i];
      Value isLast = t.equal(place.slice, weight.k.slices - 1);
      return t.select(isLast, t.c(weight.chunksOfLastSlice()), t.c(weight.chunksOfSlice()));
    });
  }
  // Short slices, all of one length, are worked on without a loop. Where the ring is a number of them long, what is
  // copied is as far in its slice as what is worked on, and so known.
  bool isUnrolled() const {
    constexpr int64_t mostBytes = 8192; // more need more registers than there are
    const WeightPlan &weight = group.weights[0];
    return uniform() && weight.chunksOfSlice() == weight.chunksOfLastSlice() && weight.sliceBytes() <= mostBytes;
  }
  using Known = std::optional<int64_t>; // the number of a chunk in its slice
  Known known(int64_t chunk) const {
    const int64_t chunks = group.weights[0].chunksOfSlice();
    return isUnrolled() && (group.stages - 1) % chunks == 0 ? Known(chunk % chunks) : std::nullopt;
  }
  // Whether records are cut into chunks, which then differ in length.
  bool cutsRecords() const {
    return llvm::any_of(group.weights, [](const WeightPlan &weight) { return weight.recordChunks > 1; });
  }

  Loader startOf() { return loaderAt(t.add(run.skipped, t.warp())); }
  Loader loaderAt(Value v);
  Loader next(Loader loader, Known number);
  void issue(Loader loader, Value slot, Known number);
  Value chunkBytesOf(Loader loader, Known number);
  Value ring() { return t.at(scope.args.shared, t.mul(t.warp(), scope.ringBytes)); }

  Values slice(size_t weight, Place place, Value slot, Loader loader);
  Values sliceOfAny(size_t weight, Place place, Value slot, Loader loader);
  void join(Value batch, Value slots, int64_t slotBytes);
  Value valueAt(Value slots, size_t weight) { return t.at(t.at(slots, weight * 32 * 8), t.mul(t.lane(), 8)); }

  const Scope &scope;
  Threads &t;
  const TileGroup &group;
  const int64_t tileSlices;
  Run run;
};

Run TilesLowering::runOf() {
  Value all = t.c(group.slices()), active = t.min(t.blocks(), all), block = t.min(t.block(), active);
  Value start = t.div(t.mul(block, all), active);
  Value end = t.div(t.mul(t.min(t.add(block, 1), active), all), active); // without work: start
  Run run;
  run.firstTile = t.div(start, tileSlices);
  run.lastTile = t.div(t.sub(end, 1), tileSlices);
  run.firstSlice = t.sub(start, t.mul(run.firstTile, tileSlices));
  Value lastBegin = t.mul(run.lastTile, tileSlices), inLast = t.sub(end, t.max(lastBegin, start));
  run.skipped = t.sub(t.c(tileSlices), inLast);
  run.end = t.add(run.skipped, t.sub(end, start));
  run.continues = t.isNot(t.equal(run.firstSlice, 0));
  run.continued = t.isNot(t.equal(end, t.add(lastBegin, tileSlices)));
  return run;
}

TilesLowering::Place TilesLowering::placeOf(Value v) {
  Value back = t.div(v, tileSlices), tile = t.sub(run.lastTile, back);
  Value slice = t.sub(v, t.mul(back, tileSlices));
  slice = t.add(slice, t.select(t.equal(tile, run.firstTile), run.firstSlice, t.c(0)));
  slice = t.sub(slice, t.select(t.equal(back, 0), run.skipped, t.c(0)));
  Value weight = t.c(0), inWeight = slice;
  for (size_t i = 1; i < group.weights.size(); ++i) {
    Value isIn = t.less(t.c(firstSliceOf(i) - 1), slice);
    weight = t.select(isIn, t.c(i), weight);
    inWeight = t.select(isIn, t.sub(slice, firstSliceOf(i)), inWeight);
  }
  return {tile, inWeight, weight};
}

//===-- Copies ---------------------------------------------------------------------------===//

TilesLowering::Loader TilesLowering::loaderAt(Value v) {
  Place place = placeOf(v);
  Value tile = t.mul(t.extend(place.tile, t.i64()), group.tileBytes);
  Value source = t.at(t.at(scope.args.weights, group.offset), tile);
  int64_t at = 0;
  SmallVector<int64_t> tileAt;
  for (const WeightPlan &weight : group.weights)
    tileAt.push_back(std::exchange(at, at + weight.layout.tileBytes));
  Value inTile = ofWeight(place.weight, [&](size_t i) { return t.mul(place.slice, group.weights[i].sliceBytes()); });
  Value inTiles = t.add(inTile, ofWeight(place.weight, [&](size_t i) { return t.c(tileAt[i]); }));
  Value left = t.sub(ofWeight(place.weight, [&](size_t i) { return t.c(group.weights[i].layout.tileBytes); }), inTile);
  return {v, t.at(source, inTiles), left, chunksOf(place)};
}

Value TilesLowering::chunkBytesOf(Loader loader, Known number) {
  auto bytes = [&](size_t i) {
    const WeightPlan &weight = group.weights[i];
    if (weight.recordChunks == 1)
      return t.c(weight.chunkBytes());
    if (number)
      return t.c(*number % weight.recordChunks ? weight.laterChunkBytes() : weight.chunkBytes());
    Value isFirst = t.equal(t.rem(loader.chunks, weight.recordChunks), 0); // of a record
    return t.select(isFirst, t.c(weight.chunkBytes()), t.c(weight.laterChunkBytes()));
  };
  return uniform() ? bytes(0) : ofWeight(placeOf(loader.v).weight, bytes);
}

TilesLowering::Loader TilesLowering::next(Loader loader, Known number) {
  auto nextSlice = [&] { return loaderAt(t.add(loader.v, warps)); };
  auto nextInSlice = [&] {
    Value bytes = chunkBytesOf(loader, number);
    return Loader{loader.v, t.at(loader.source, bytes), t.sub(loader.left, bytes), t.sub(loader.chunks, 1)};
  };
  if (number)
    return *number + 1 < group.weights[0].chunksOfSlice() ? nextInSlice() : nextSlice();
  if (llvm::all_of(group.weights, [](const WeightPlan &weight) { return weight.chunksOfSlice() == 1; }))
    return nextSlice();
  Values state = loader.state();
  return Loader::of(t.choose(
      t.less(t.c(1), loader.chunks), ValueRange(state).getTypes(), [&] { return nextInSlice().state(); },
      [&] { return nextSlice().state(); }));
}

void TilesLowering::issue(Loader loader, Value slot, Known number) {
  constexpr int64_t each = 16, all = 32 * each;
  const WeightPlan &weight = group.weights[0];
  // Whether every chunk is whole and within its tile; records that are cut are.
  const bool cut = uniform() && cutsRecords();
  const bool whole = cut || (uniform() && weight.layout.recordsPerTile % weight.chunkRecords == 0 &&
                             group.chunkStride == weight.chunkBytes());
  Value lane = t.mul(t.lane(), each);
  Value to = t.at(t.at(ring(), slot), lane), from = t.at(loader.source, lane);
  Value limit = loader.left, isWithin = t.less(loader.v, run.end);
  if (cut)
    limit = chunkBytesOf(loader, number);
  else if (!uniform())
    limit = t.min(limit, chunkBytesOf(loader, number));
  auto copy = [&](int64_t at) {
    Value bytes = whole ? t.c(each) : t.select(t.less(t.add(lane, at), limit), t.c(each), t.c(0));
    t.copyAsync(t.at(to, at), t.at(from, at), bytes);
  };
  // Of the whole warp, then of lanes: side by side, for such conditions become predicates.
  const int64_t ofAllLanes = (cut ? weight.laterChunkBytes() : group.chunkStride) / all * all;
  t.when(isWithin, [&] {
    for (int64_t at = 0; at < ofAllLanes; at += all)
      copy(at);
  });
  for (int64_t at = ofAllLanes; at < group.chunkStride; at += all)
    t.when(t.andi(isWithin, t.less(t.add(lane, at), cut ? limit : t.c(group.chunkStride))), [&] { copy(at); });
  t.commitCopies();
}

//===-- Work -----------------------------------------------------------------------------===//

// One slice of `weight`: {slot, loader..., the sum of this lane's row}.
Values TilesLowering::slice(size_t index, Place place, Value slot, Loader loader) {
  const WeightPlan &weight = group.weights[index];
  const OperandPlan &operand = scope.plan.operand(weight.operand);
  Dots dots(t, weight, operand);
  Value activations = scope.operandAt(weight.operand, t.c(0));
  Value firstColumn = t.mul(place.slice, weight.sliceColumns());
  const int64_t lastSlot = (group.stages - 1) * group.chunkStride;
  Values state{slot};
  llvm::append_range(state, loader.state());
  llvm::append_range(state, dots.zero());
  auto chunk = [&](Value number, int64_t part, Known known, ValueRange state) {
    Value slot = state[0];
    Loader loader = Loader::of(state.slice(1, 4));
    t.waitCopies(group.stages - 2);
    t.syncWarp();
    issue(loader, t.select(t.equal(slot, 0), t.c(lastSlot), t.sub(slot, group.chunkStride)), known);
    loader = next(loader, known);
    Value column = t.add(firstColumn, t.mul(number, weight.chunkColumns()));
    Values sums = dots.add(state.drop_front(5), t.at(ring(), slot), activations, column, part);
    Values after{t.select(t.equal(slot, lastSlot), t.c(0), t.add(slot, group.chunkStride))};
    llvm::append_range(after, loader.state());
    llvm::append_range(after, sums);
    return after;
  };
  // A record's chunks follow each other in the code: what its first one brings stays in registers.
  const int64_t parts = weight.recordChunks, chunks = weight.chunksOfSlice();
  if (isUnrolled()) {
    for (int64_t number = 0; number < chunks; ++number)
      state = chunk(t.c(number), number % parts, known(number), state);
  } else {
    state = t.loop(t.c(0), chunks == weight.chunksOfLastSlice() ? t.c(chunks / parts) : t.div(chunksOf(place), parts),
                   t.c(1), state, [&](Value number, ValueRange before) {
                     Values state(before);
                     for (int64_t part = 0; part < parts; ++part)
                       state = chunk(t.add(t.mul(number, parts), part), part, std::nullopt, state);
                     return state;
                   });
  }
  Value sum = dots.finish(ValueRange(state).drop_front(5));
  state.truncate(5);
  state.push_back(sum);
  return state;
}

// Of the weight that `place` says, which is number `index` or a later one.
Values TilesLowering::sliceOfAny(size_t index, Place place, Value slot, Loader loader) {
  if (uniform() || index + 1 == group.weights.size())
    return slice(index, place, slot, loader);
  SmallVector<Type> types{t.i32()};
  llvm::append_range(types, ValueRange(loader.state()).getTypes());
  types.push_back(t.f32());
  return t.choose(
      t.equal(place.weight, index), types, [&] { return slice(index, place, slot, loader); },
      [&] { return sliceOfAny(index + 1, place, slot, loader); });
}

void TilesLowering::lower(Value slots, int64_t slotBytes) {
  const int64_t batchSlices = group.batchTiles() * tileSlices;
  Value sums = scope.sharedAt(scope.plan.sumsAt);
  Loader loader = startOf();
  for (int64_t stage = 0; stage + 1 < group.stages; ++stage)
    loader = next(loader, known(stage));
  Values state{t.add(run.skipped, t.warp()), t.c(0)}; // position, slot, loader
  llvm::append_range(state, loader.state());
  Value batches = t.div(t.add(run.end, batchSlices - 1), batchSlices);
  // Without work `end` is `skipped`, and that a whole tile.
  batches = t.select(t.less(run.skipped, run.end), batches, t.c(0));
  t.loop(t.c(0), batches, t.c(1), state, [&](Value batch, ValueRange state) {
    Value first = t.mul(batch, batchSlices), end = t.min(t.add(first, batchSlices), run.end);
    Values after = t.whileTrue(
        state, [&](ValueRange state) { return t.less(state[0], end); },
        [&](ValueRange state) {
          Value v = state[0];
          Place place = placeOf(v);
          Loader loader = Loader::of(state.drop_front(2));
          Values made = sliceOfAny(0, place, state[1], loader);
          Value at = t.add(t.mul(t.sub(v, first), 32), t.lane());
          t.store(made.pop_back_val(), t.at(sums, t.mul(at, 4)), 4);
          Values next{t.add(v, warps)};
          llvm::append_range(next, made);
          return next;
        });
    t.syncBlock();
    t.apart([&] { join(batch, slots, slotBytes); });
    t.syncBlock();
    return after;
  });
}

//===-- Sums -----------------------------------------------------------------------------===//

// Adds up the tiles of a batch, one a warp, a lane a row; what is done with the dots follows.
void TilesLowering::join(Value batch, Value slots, int64_t slotBytes) {
  Value sums = t.at(scope.sharedAt(scope.plan.sumsAt), t.mul(t.lane(), 4));
  Value firstBack = t.mul(batch, group.batchTiles()), firstV = t.mul(firstBack, tileSlices);
  Value endBack = t.min(t.add(firstBack, group.batchTiles()), t.add(t.sub(run.lastTile, run.firstTile), 1));
  t.loop(t.add(firstBack, t.warp()), endBack, t.c(warps), [&](Value back) {
    Value tile = t.sub(run.lastTile, back);
    Value begin = t.max(t.mul(back, tileSlices), run.skipped), end = t.min(t.mul(t.add(back, 1), tileSlices), run.end);
    Value isFirst = t.equal(tile, run.firstTile), isLast = t.equal(tile, run.lastTile);
    Value firstSlice = t.select(isFirst, run.firstSlice, t.c(0));
    const size_t weights = group.weights.size();
    Values totals = t.choose(
        t.andi(isFirst, run.continues), SmallVector<Type>(weights, t.f32()),
        [&] {
          Values received;
          for (size_t i = 0; i < weights; ++i) {
            // A value and a mark that it is there are one word, which is read whole.
            Value at = valueAt(t.at(slots, -slotBytes), i);
            Value word = t.whileTrue(
                t.loadRelaxed(t.i64(), at), [&](ValueRange word) { return t.equal(t.shr(word[0], 32), 0); },
                [&](ValueRange) { return Values{t.loadRelaxed(t.i64(), at)}; })[0];
            t.storeRelaxed(t.constant(t.i64(), 0), at);
            received.push_back(t.bitcast(t.truncate(word, t.i32()), t.f32()));
          }
          return received;
        },
        [&] { return Values(weights, t.f(0)); });
    for (auto [i, total] : llvm::enumerate(totals)) {
      // Positions of this weight's slices.
      Value zero = t.sub(begin, firstSlice);
      Value from = t.max(begin, t.add(zero, firstSliceOf(i))), to = t.min(end, t.add(zero, firstSliceOf(i + 1)));
      // Several at a time are on their way; adding 0 changes nothing.
      constexpr int64_t atOnce = 8;
      total = t.loop(from, to, t.c(atOnce), total, [&](Value first, ValueRange total) {
        Values terms;
        for (int64_t i = 0; i < atOnce; ++i) {
          Value v = t.add(first, i), within = t.min(v, t.sub(to, 1));
          Value term = t.load(t.f32(), t.at(sums, t.mul(t.sub(within, firstV), 32 * 4)), 4);
          terms.push_back(t.select(t.less(v, to), term, t.f(0)));
        }
        Value sum = total[0];
        for (Value term : terms)
          sum = t.addf(sum, term);
        return Values{sum};
      })[0];
    }
    Value handsOver = t.andi(isLast, run.continued);
    t.when(handsOver, [&] {
      for (auto [i, total] : llvm::enumerate(totals)) {
        Value word = t.extend(t.bitcast(total, t.i32()), t.i64());
        t.storeRelaxed(t.ori(word, t.constant(t.i64(), int64_t(1) << 32)), valueAt(slots, i));
      }
    });
    t.when(t.isNot(handsOver), [&] {
      SmallVector<Values> dots;
      for (Value total : totals)
        dots.push_back({total});
      for (auto [i, op] : llvm::enumerate(group.ops)) {
        auto epilogue = [&] {
          Value row = t.add(t.mul(t.sub(tile, group.firstTile[i]), 32), t.lane());
          lowerEpilogue(scope, op, dots, row, t.c(0));
        };
        const int64_t end = i + 1 < group.ops.size() ? group.firstTile[i + 1] : group.tiles;
        if (group.ops.size() == 1)
          epilogue();
        else
          t.when(t.andi(t.less(t.c(group.firstTile[i] - 1), tile), t.less(tile, end)), epilogue);
      }
    });
  });
}
} // namespace

void sluice::codegen::beginCopies(const Scope &scope, const TileGroup &group, unsigned firstPart, unsigned lastPart,
                                  bool paced) {
  const int64_t first = group.partBegin(firstPart), end = group.partBegin(lastPart + 1);
  if (first < end)
    TilesLowering(scope, group).begin(first, end, paced);
}

void sluice::codegen::lowerTiles(const Scope &scope, unsigned index, int64_t slotsAt) {
  const SyncPlan sync = SyncPlan::get(scope.phase()->getParentOfType<llama::ModelOp>());
  Threads &t = scope.t;
  Value slots = t.at(scope.args.sync, slotsAt + index * sync.slotBytes());
  slots = t.at(slots, t.mul(t.block(), sync.blockBytes()));
  TilesLowering(scope, scope.plan.groups[index]).lower(slots, sync.blockBytes());
}
