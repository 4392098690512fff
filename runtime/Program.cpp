//===- Program.cpp - the steps of one program, run by all workers ------------------===//

#include "runtime/Program.h"
#include <algorithm>
#include <chrono>

using namespace sluice::runtime;

static uint64_t wholePages(uint64_t bytes) { return (bytes + SLUICE_PAGE - 1) / SLUICE_PAGE * SLUICE_PAGE; }

Program::Program(const Model &model, const sluice_variant &variant, uint32_t kind, Workers *team)
    : model(model), variant(variant), program(model.program(kind)), stepList(model.steps(program)), team(team),
      scratchStride(wholePages(program.scratch_bytes)), preparedStride(wholePages(program.prepared_bytes)),
      arena(program.arena_bytes, true, "activations"),
      scratch(scratchStride * (team ? team->count() : 1), true, "the threads' scratch"),
      prepared(preparedStride * (team ? team->count() : 1), true, "the threads' activations") {}

void Program::run(const Chunk &chunk) {
  if (team)
    team->run([&](unsigned worker) { runSteps(chunk, worker); });
  else
    runSteps(chunk, 0);
}

void Program::runSteps(const Chunk &chunk, unsigned worker) {
  using Clock = std::chrono::steady_clock;
  auto nanoseconds = [](Clock::duration time) { return std::chrono::duration<double, std::nano>(time).count(); };
  const bool timed = !times.empty();
  Clock::time_point before = timed ? Clock::now() : Clock::time_point();
  // The part of a step's weights that this worker begins with.
  auto ownWeights = [&](const sluice_step &step) {
    const uint64_t shared = step.shared_bytes, own = step.weights_bytes - shared;
    return model.weights() + step.weights_offset + shared + own * worker / (team ? team->count() : 1) / 64 * 64;
  };
  // Waits in step `index` for the others; `next` comes then.
  auto meet = [&](size_t index, size_t next) {
    Clock::time_point arrival = timed ? Clock::now() : Clock::time_point();
    team->barrier(next < stepList.size() ? ownWeights(stepList[next]) : nullptr);
    if (timed)
      times[worker][index].waiting += nanoseconds(Clock::now() - arrival);
  };
  for (size_t index = 0; index < stepList.size(); ++index) {
    const sluice_step &step = stepList[index];
    const bool head = step.flags & SLUICE_STEP_HEAD;
    if (head && chunk.headBegin == chunk.tokens && program.kind != SLUICE_PROGRAM_SOFTMAX)
      continue;
    const bool shared = step.prologue_tokens && team;
    const sluice_args args = {
        .weights = model.weights() + step.weights_offset,
        .arena = arena.data(),
        .scratch = scratch.data() + worker * scratchStride,
        .prepared = prepared.data() + (shared ? 0 : worker * preparedStride),
        .kv = step.layer == UINT32_MAX ? nullptr : chunk.kv + step.layer * chunk.kvLayerStride,
        .kv_head_stride = chunk.kvHeadStride,
        .ids = chunk.ids,
        .position = chunk.position,
        .token_begin = head ? chunk.headBegin : 0,
        .token_end = chunk.tokens,
        .parameter = chunk.parameter,
        .count = chunk.count,
        .cache_type = chunk.cacheType,
        .reserved = 0,
    };
    const sluice_kernel &kernel = variant.kernels[step.kernel];
    auto pieces = [](uint64_t count, uint64_t size) { return size ? (count + size - 1) / size : 1; };
    const uint64_t units = step.units * pieces(args.token_end - args.token_begin, step.unit_tokens) *
                           pieces(args.position + args.token_end, step.unit_positions);
    if (shared && kernel.prologue) {
      sharePrologue(step, kernel, args, worker);
      meet(index, index);
    }
    bool isPrepared = shared || kernel.prologue == nullptr;
    auto compute = [&](uint64_t begin, uint64_t end) {
      if (!isPrepared)
        kernel.prologue(&args);
      isPrepared = true;
      kernel.run(&args, begin, end);
    };
    if (team) {
      team->share(worker, units, step.unit_tokens != 0, compute);
      meet(index, index + 1);
    } else {
      compute(0, units);
    }
    if (timed) {
      Clock::time_point now = Clock::now();
      times[worker][index].nanoseconds += nanoseconds(now - before);
      before = now;
    }
  }
}

void Program::sharePrologue(const sluice_step &step, const sluice_kernel &kernel, const sluice_args &all,
                            unsigned worker) {
  const uint64_t size = step.prologue_tokens, first = all.token_begin / size;
  team->share(worker, (all.token_end + size - 1) / size - first, false, [&](uint64_t begin, uint64_t end) {
    sluice_args args = all;
    args.token_begin = std::max(all.token_begin, (first + begin) * size);
    args.token_end = std::min(all.token_end, (first + end) * size);
    kernel.prologue(&args);
  });
}

void Program::startProfile() { times.assign(team ? team->count() : 1, std::vector<StepTime>(stepList.size())); }

StepTime Program::timeOf(size_t step) const {
  StepTime time;
  for (const std::vector<StepTime> &worker : times) {
    time.nanoseconds += worker[step].nanoseconds / double(times.size());
    time.waiting += worker[step].waiting / double(times.size());
  }
  return time;
}
