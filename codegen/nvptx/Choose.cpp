//===- Choose.cpp - the next token, chosen on the device ---------------------------------===//
//
// What runtime/Sampler.cpp does, by one block: repeat penalty, top-k, top-p, min-p, temperature, one random number. The
// k largest logits are found by their bits, eight at a time from the top, and sorted; ties go to the lower id.
//
//===-------------------------------------------------------------------------------------===//

#include "codegen/nvptx/Scope.h"
#include <cmath>
#include <cstddef>

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;

namespace {

// Shared memory.
constexpr int64_t most = SLUICE_DEVICE_TOP_K, threads = GpuFacts::threads, warps = GpuFacts::warps;
constexpr int64_t bins = 256, histogramsAt = 0, candidatesAt = histogramsAt + warps * bins * 4; // u64 each
constexpr int64_t probabilitiesAt = candidatesAt + most * 8, wordsAt = probabilitiesAt + most * 4;
constexpr int64_t bytes = wordsAt + (2 * warps + 8) * 4;
enum Word : int64_t { Prefix, Remaining, Equal, Count, Kept, Partial = 8 }; // from wordsAt
static_assert(2 * threads == most, "a thread has two candidates");

class ChooseLowering {
public:
  ChooseLowering(Threads &t, const KernelArgs &args, Value shared, int64_t vocabulary)
      : t(t), args(args), shared(shared), vocabulary(vocabulary) {}

  void lower() {
    Value flags = t.load(t.i32(), state(offsetof(sluice_device_state, flags)), 4);
    t.when(t.isNot(t.equal(t.andi(flags, SLUICE_DEVICE_CHOOSE), 0)), [&] {
      penalise();
      Value isGreedy = t.ori(t.isNot(t.lessf(t.f(0), temperature())), t.equal(topK(), 1));
      Value id = t.choose(
          isGreedy, t.i32(), [&] { return Values{mostLikely()}; }, [&] { return Values{sample()}; })[0];
      t.when(t.equal(t.thread(), 0), [&] { record(id); });
    });
    t.when(t.equal(t.thread(), 0), [&] { advance(); });
  }

private:
  Value state(size_t offset) { return t.at(args.state, int64_t(offset)); }
  Value real(size_t offset) { return t.load(t.f32(), state(offset), 4); }
  Value temperature() { return real(offsetof(sluice_device_state, temperature)); }
  Value topK() { return t.load(t.i32(), state(offsetof(sluice_device_state, top_k)), 4); }
  Value word(int64_t index) { return t.at(shared, wordsAt + index * 4); }
  Value loadWord(int64_t index) { return t.load(t.i32(), word(index), 4); }
  Value isFirst() { return t.equal(t.thread(), 0); }

  void penalise();
  Value mostLikely();
  Value sample();
  void record(Value id);
  void advance();

  // state = f(id, logit, state) for a thread's share of all, in order; what may not be chosen has minus infinity. Ids
  // past the last come too, and what f returns for them is dropped.
  Values overLogits(ValueRange init, function_ref<Values(Value id, Value logit, ValueRange)> f);
  Value keyOf(Value logit); // ordered like the logits, unsigned
  void selectLargest(Value count);
  void gather();
  void sort();
  void probabilities(Value count, Value scale);

  Threads &t;
  const KernelArgs &args;
  Value shared;
  int64_t vocabulary;
};

void ChooseLowering::penalise() {
  constexpr int64_t recent = std::size(sluice_device_state{}.recent);
  Value penalty = real(offsetof(sluice_device_state, repeat_penalty));
  Value count = t.truncate(t.load(t.i64(), state(offsetof(sluice_device_state, recent_count)), 8), t.i32());
  count = t.min(count, t.c(recent));
  auto idAt = [&](Value i) {
    return t.load(t.i32(), t.at(state(offsetof(sluice_device_state, recent)), t.mul(i, 4)), 4);
  };
  t.when(t.andi(t.isNot(t.equalf(penalty, t.f(1))), t.less(t.thread(), count)), [&] {
    Value id = idAt(t.thread());
    Value isRepeated = t.loop(t.c(0), t.thread(), t.c(1), t.constant(t.i1(), 0),
                              [&](Value i, ValueRange is) { return Values{t.ori(is[0], t.equal(idAt(i), id))}; })[0];
    t.when(t.isNot(isRepeated), [&] {
      Value at = t.at(args.logits, t.mul(id, 4)), logit = t.load(t.f32(), at, 4);
      Value factor = t.select(t.lessf(t.f(0), logit), t.divf(t.f(1), penalty), penalty);
      t.store(t.mulf(logit, factor), at, 4);
    });
  });
  t.syncBlock();
}

Values ChooseLowering::overLogits(ValueRange init, function_ref<Values(Value, Value, ValueRange)> f) {
  constexpr int64_t unroll = 8; // loads under way
  Value hasBanned = t.isNot(t.equal(t.toInteger(args.banned), t.constant(t.i64(), 0)));
  return t.loop(t.thread(), t.c(vocabulary), t.c(threads * unroll), init, [&](Value first, ValueRange state) {
    Values ids, logits, after(state.begin(), state.end());
    for (int64_t i = 0; i < unroll; ++i) {
      ids.push_back(t.add(first, i * threads));
      Value inside = t.min(ids[i], t.c(vocabulary - 1));
      logits.push_back(t.load(t.f32(), t.at(args.logits, t.mul(inside, 4)), 4));
    }
    for (int64_t i = 0; i < unroll; ++i) {
      // A warp's ids are one word of the bits.
      Value inside = t.min(ids[i], t.c(vocabulary - 1));
      Value isBanned = t.choose(
          hasBanned, t.i32(),
          [&] {
            Value bits = t.load(t.i32(), t.at(args.banned, t.mul(t.shr(inside, 5), 4)), 4);
            return Values{t.andi(t.shrBy(bits, t.andi(inside, 31)), 1)};
          },
          [&] { return Values{t.c(0)}; })[0];
      Value out = t.ori(t.isNot(t.equal(isBanned, 0)), t.isNot(t.equalf(logits[i], logits[i])));
      Value logit = t.select(out, t.f(-INFINITY), logits[i]);
      Values before = after;
      Values next = f(ids[i], logit, after);
      Value counts = t.less(ids[i], vocabulary);
      for (auto [value, old, updated] : llvm::zip_equal(after, before, next))
        value = t.select(counts, updated, old);
    }
    return after;
  });
}

Value ChooseLowering::mostLikely() {
  auto better = [&](ValueRange x, ValueRange y) { // whether y is
    Value tie = t.andi(t.equalf(x[0], y[0]), t.less(y[1], x[1]));
    return t.ori(t.lessf(x[0], y[0]), tie);
  };
  auto join = [&](ValueRange x, ValueRange y) {
    Value is = better(x, y);
    return Values{t.select(is, y[0], x[0]), t.select(is, y[1], x[1])};
  };
  Values best = overLogits(Values{t.f(-INFINITY), t.thread()}, [&](Value id, Value logit, ValueRange best) {
    Value is = t.lessf(best[0], logit);
    return Values{t.select(is, logit, best[0]), t.select(is, id, best[1])};
  });
  for (int64_t distance = 1; distance < 32; distance *= 2)
    best = join(best, Values{t.shuffleXor(best[0], distance), t.shuffleXor(best[1], distance)});
  t.when(t.equal(t.lane(), 0), [&] {
    Value at = t.at(word(Partial), t.mul(t.warp(), 8));
    t.store(best[0], at, 4);
    t.store(best[1], t.at(at, 4), 4);
  });
  t.syncBlock();
  for (int64_t w = 0; w < warps; ++w) {
    Values each{t.load(t.f32(), t.at(word(Partial), w * 8), 4), t.load(t.i32(), t.at(word(Partial), w * 8 + 4), 4)};
    best = w ? join(best, each) : each;
  }
  return best[1];
}

Value ChooseLowering::keyOf(Value logit) {
  // Minus zero is zero.
  Value x = t.bitcast(t.addf(logit, t.f(0)), t.i32());
  return t.select(t.less(x, t.c(0)), t.xori(x, -1), t.xori(x, 0x80000000));
}

// The key of the `count`-th largest logit into Prefix, how many of those that equal it are wanted into Remaining, and
// how many there are into Equal.
void ChooseLowering::selectLargest(Value count) {
  t.when(isFirst(), [&] {
    t.store(t.c(0), word(Prefix), 4);
    t.store(count, word(Remaining), 4);
  });
  for (int64_t shift = 24; shift >= 0; shift -= 8) {
    t.loop(t.thread(), t.c(warps * bins), t.c(threads),
           [&](Value i) { t.store(t.c(0), t.at(t.at(shared, histogramsAt), t.mul(i, 4)), 4); });
    t.syncBlock();
    Value prefix = loadWord(Prefix), own = t.at(t.at(shared, histogramsAt), t.mul(t.warp(), bins * 4));
    overLogits({}, [&](Value id, Value logit, ValueRange) {
      Value key = keyOf(logit);
      Value matches = t.less(id, vocabulary);
      if (shift < 24)
        matches = t.andi(matches, t.equal(t.shr(key, shift + 8), prefix));
      t.when(matches, [&] { t.atomicAddShared(t.at(own, t.mul(t.andi(t.shr(key, shift), bins - 1), 4)), t.c(1)); });
      return Values{};
    });
    t.syncBlock();
    // A lane of the first warp has eight bins; those above come from the lanes after it.
    t.when(t.less(t.thread(), 32), [&] {
      constexpr int64_t each = bins / 32;
      Values counts;
      Value sum = t.c(0);
      for (int64_t i = 0; i < each; ++i) {
        Value bin = t.add(t.mul(t.lane(), each), i), total = t.c(0);
        for (int64_t w = 0; w < warps; ++w)
          total = t.add(total, t.load(t.i32(), t.at(t.at(shared, histogramsAt + w * bins * 4), t.mul(bin, 4)), 4));
        counts.push_back(total);
        sum = t.add(sum, total);
      }
      Value upTo = sum; // of this lane's bins and all above
      for (int64_t distance = 1; distance < 32; distance *= 2) {
        Value from = t.add(t.lane(), distance), other = t.shuffle(upTo, from);
        upTo = t.add(upTo, t.select(t.less(from, 32), other, t.c(0)));
      }
      Value remaining = loadWord(Remaining), above = t.sub(upTo, sum);
      t.syncWarp();
      for (int64_t i = each - 1; i >= 0; --i) {
        Value reached = t.add(above, counts[i]);
        Value isIt = t.andi(t.less(above, remaining), t.isNot(t.less(reached, remaining)));
        t.when(isIt, [&] {
          t.store(t.ori(t.shl(prefix, 8), t.add(t.mul(t.lane(), each), i)), word(Prefix), 4);
          t.store(t.sub(remaining, above), word(Remaining), 4);
          t.store(counts[i], word(Equal), 4);
        });
        above = reached;
      }
    });
    t.syncBlock();
  }
}

// All that are larger than Prefix, and the first Remaining ones that equal it, as (not key, id).
void ChooseLowering::gather() {
  Value candidates = t.at(shared, candidatesAt);
  t.loop(t.thread(), t.c(most), t.c(threads),
         [&](Value i) { t.store(t.constant(t.i64(), -1), t.at(candidates, t.mul(i, 8)), 8); });
  t.when(isFirst(), [&] { t.store(t.c(0), word(Count), 4); });
  t.syncBlock();
  Value key = loadWord(Prefix), remaining = loadWord(Remaining);
  Value all = t.equal(remaining, loadWord(Equal));
  auto put = [&](Value id, Value eachKey) {
    Value at = t.atomicAddShared(word(Count), t.c(1));
    Value entry = t.ori(t.shl(t.extend(t.xori(eachKey, -1), t.i64()), 32), t.extend(id, t.i64()));
    t.store(entry, t.at(candidates, t.mul(at, 8)), 8);
  };
  overLogits({}, [&](Value id, Value logit, ValueRange) {
    Value each = keyOf(logit), wanted = t.ori(t.below(key, each), t.andi(all, t.equal(key, each)));
    t.when(t.andi(t.less(id, vocabulary), wanted), [&] { put(id, each); });
    return Values{};
  });
  // Of too many equal ones the lowest ids, found one after another.
  t.syncBlock();
  t.when(t.andi(t.isNot(all), isFirst()), [&] {
    Value hasBanned = t.isNot(t.equal(t.toInteger(args.banned), t.constant(t.i64(), 0)));
    t.whileTrue(
        Values{t.c(0), remaining}, [&](ValueRange s) { return t.andi(t.less(s[0], vocabulary), t.less(t.c(0), s[1])); },
        [&](ValueRange s) {
          Value logit = t.load(t.f32(), t.at(args.logits, t.mul(s[0], 4)), 4);
          Value isBanned = t.choose(
              hasBanned, t.i32(),
              [&] {
                Value bits = t.load(t.i32(), t.at(args.banned, t.mul(t.shr(s[0], 5), 4)), 4);
                return Values{t.andi(t.shrBy(bits, t.andi(s[0], 31)), 1)};
              },
              [&] { return Values{t.c(0)}; })[0];
          Value out = t.ori(t.isNot(t.equal(isBanned, 0)), t.isNot(t.equalf(logit, logit)));
          Value isEqual = t.equal(keyOf(t.select(out, t.f(-INFINITY), logit)), key);
          t.when(isEqual, [&] { put(s[0], key); });
          return Values{t.add(s[0], 1), t.sub(s[1], t.extend(isEqual, t.i32()))};
        });
  });
  t.syncBlock();
}

// Bitonic, ascending: the largest logit first, then the lowest id.
void ChooseLowering::sort() {
  Value candidates = t.at(shared, candidatesAt);
  for (int64_t size = 2; size <= most; size *= 2)
    for (int64_t distance = size / 2; distance; distance /= 2) {
      Value i = t.thread();
      Value low = t.add(t.mul(t.div(i, distance), 2 * distance), t.rem(i, distance)), high = t.add(low, distance);
      Value a = t.load(t.i64(), t.at(candidates, t.mul(low, 8)), 8);
      Value b = t.load(t.i64(), t.at(candidates, t.mul(high, 8)), 8);
      Value ascending = t.equal(t.andi(low, size), 0), isBelow = t.below(b, a);
      Value swap = t.equal(ascending, isBelow);
      t.store(t.select(swap, b, a), t.at(candidates, t.mul(low, 8)), 8);
      t.store(t.select(swap, a, b), t.at(candidates, t.mul(high, 8)), 8);
      t.syncBlock();
    }
}

// Of exp(scale * logit) of the first `count` candidates.
void ChooseLowering::probabilities(Value count, Value scale) {
  auto logitAt = [&](Value i) {
    Value key = t.xori(t.load(t.i32(), t.at(t.at(shared, candidatesAt + 4), t.mul(i, 8)), 4), -1);
    Value bits = t.select(t.less(key, t.c(0)), t.xori(key, 0x80000000), t.xori(key, -1));
    return t.mulf(t.bitcast(bits, t.f32()), scale);
  };
  Value largest = logitAt(t.c(0)), sum;
  Values exponentials;
  for (int64_t part = 0; part < 2; ++part) {
    Value i = t.add(t.thread(), part * threads);
    Value e = t.select(t.less(i, count), t.exp(t.subf(logitAt(i), largest)), t.f(0));
    exponentials.push_back(e);
    sum = part ? t.addf(sum, e) : e;
  }
  sum = t.reduceWarp(sum, [&](Value a, Value b) { return t.addf(a, b); });
  t.syncBlock();
  t.when(t.equal(t.lane(), 0), [&] { t.store(sum, t.at(word(Partial), t.mul(t.warp(), 4)), 4); });
  t.syncBlock();
  Value all = t.f(0);
  for (int64_t w = 0; w < warps; ++w)
    all = t.addf(all, t.load(t.f32(), t.at(word(Partial), w * 4), 4));
  Value factor = t.divf(t.f(1), all);
  for (int64_t part = 0; part < 2; ++part)
    t.store(t.mulf(exponentials[part], factor),
            t.at(t.at(shared, probabilitiesAt), t.mul(t.add(t.thread(), part * threads), 4)), 4);
  t.syncBlock();
}

Value ChooseLowering::sample() {
  Value count = t.min(topK(), t.c(std::min(most, vocabulary)));
  selectLargest(count);
  gather();
  sort();
  auto probabilityAt = [&](Value i) { return t.load(t.f32(), t.at(t.at(shared, probabilitiesAt), t.mul(i, 4)), 4); };
  Value topP = real(offsetof(sluice_device_state, top_p)), minP = real(offsetof(sluice_device_state, min_p));
  Value trims = t.ori(t.lessf(topP, t.f(1)), t.lessf(t.f(0), minP));
  t.when(isFirst(), [&] { t.store(count, word(Kept), 4); });
  t.when(trims, [&] {
    probabilities(count, t.f(1));
    t.when(isFirst(), [&] {
      Value least = t.mulf(minP, probabilityAt(t.c(0)));
      Values kept = t.whileTrue(
          Values{t.c(0), t.real(t.f64(), 0)},
          [&](ValueRange s) {
            Value p = probabilityAt(t.min(s[0], t.c(most - 1)));
            Value goesOn = t.andi(t.lessf(s[1], t.toDoubleFromSingle(topP)), t.isNot(t.lessf(p, least)));
            return t.andi(t.less(s[0], count), t.ori(t.equal(s[0], 0), goesOn));
          },
          [&](ValueRange s) {
            return Values{t.add(s[0], 1), t.addf(s[1], t.toDoubleFromSingle(probabilityAt(s[0])))};
          });
      t.store(kept[0], word(Kept), 4);
    });
  });
  t.syncBlock();
  Value kept = loadWord(Kept);
  probabilities(kept, t.divf(t.f(1), temperature()));
  // SplitMix64, see runtime/Sampler.h.
  Value z = t.add(t.load(t.i64(), state(offsetof(sluice_device_state, random)), 8),
                  t.constant(t.i64(), int64_t(0x9E3779B97F4A7C15)));
  t.syncBlock(); // all have read the state
  t.when(isFirst(), [&] { t.store(z, state(offsetof(sluice_device_state, random)), 8); });
  z = t.mul(t.xori(z, t.shr(z, 30)), t.constant(t.i64(), int64_t(0xBF58476D1CE4E5B9)));
  z = t.mul(t.xori(z, t.shr(z, 27)), t.constant(t.i64(), int64_t(0x94D049BB133111EB)));
  z = t.xori(z, t.shr(z, 31));
  Value uniform = t.mulf(t.toDouble(t.shr(z, 11)), t.real(t.f64(), 0x1p-53));
  return t.choose(
      isFirst(), t.i32(),
      [&] {
        Value sum = t.loop(t.c(0), kept, t.c(1), t.real(t.f64(), 0), [&](Value i, ValueRange s) {
          return Values{t.addf(s[0], t.toDoubleFromSingle(probabilityAt(i)))};
        })[0];
        Values chosen = t.whileTrue(
            Values{t.c(0), t.subf(t.mulf(uniform, sum), t.toDoubleFromSingle(probabilityAt(t.c(0))))},
            [&](ValueRange s) {
              Value isPast = t.lessf(s[1], t.real(t.f64(), 0));
              return t.andi(t.less(t.add(s[0], 1), kept), t.isNot(isPast));
            },
            [&](ValueRange s) {
              Value next = t.add(s[0], 1);
              return Values{next, t.subf(s[1], t.toDoubleFromSingle(probabilityAt(next)))};
            });
        return Values{t.load(t.i32(), t.at(t.at(shared, candidatesAt), t.mul(chosen[0], 8)), 4)};
      },
      [&] { return Values{t.c(0)}; })[0];
}

void ChooseLowering::record(Value id) {
  auto increment = [&](size_t offset) {
    Value count = t.load(t.i64(), state(offset), 8);
    t.store(t.add(count, 1), state(offset), 8);
    return t.truncate(count, t.i32());
  };
  t.store(id, args.ids, 4);
  Value chosen = t.rem(increment(offsetof(sluice_device_state, chosen)), SLUICE_DEVICE_CHOSEN);
  t.store(id, t.at(args.chosen, t.mul(chosen, 4)), 4);
  constexpr int64_t recent = std::size(sluice_device_state{}.recent);
  Value at = t.rem(increment(offsetof(sluice_device_state, recent_count)), recent);
  t.store(id, t.at(state(offsetof(sluice_device_state, recent)), t.mul(at, 4)), 4);
}

void ChooseLowering::advance() {
  Value position = state(offsetof(sluice_device_state, position)),
        tokens = state(offsetof(sluice_device_state, tokens));
  Value count = t.extend(t.load(t.i32(), tokens, 4), t.i64());
  t.store(t.add(t.load(t.i64(), position, 8), count), position, 8);
  t.store(t.c(1), tokens, 4);
  t.store(t.c(0), state(offsetof(sluice_device_state, token_begin)), 4);
}
} // namespace

int64_t sluice::codegen::chooseBytes() { return bytes; }

void sluice::codegen::lowerChoose(Threads &t, const KernelArgs &args, Value shared, int64_t vocabulary) {
  ChooseLowering(t, args, shared, vocabulary).lower();
}
