//===- Profile.cpp - what a test moves and computes, and how long its phases took ----===//

#include "runtime/Profile.h"
#include <cmath>
#include <map>

using namespace sluice::runtime;

static const char *cacheTypeName(uint32_t type) {
  static constexpr const char *names[] = {SLUICE_CACHE_NAMES};
  return names[type];
}

std::string Workload::name() const {
  return (prompt ? "pp" + std::to_string(prompt) : "tg" + std::to_string(tokens)) +
         (depth ? " @ d" + std::to_string(depth) : "") +
         (cacheType == SLUICE_CACHE_F16 ? "" : std::string(" ") + cacheTypeName(cacheType));
}

Work &Work::operator+=(const Work &other) {
  weightBytes += other.weightBytes;
  cacheBytes += other.cacheBytes;
  operations += other.operations;
  cost += other.cost;
  prologueCost += other.prologueCost;
  return *this;
}

Work sluice::runtime::workOf(const sluice_step &step, const Model &model, const Engine &engine,
                             const Workload &workload, unsigned workers) {
  const double count = double(workload.count());
  const double positions = double(sluice_positions_seen(workload.depth, workload.count(), step.window));
  const uint64_t chunks = (workload.prompt + engine.chunkTokens() - 1) / engine.chunkTokens();
  const bool once = workload.prompt && step.flags & SLUICE_STEP_HEAD; // for the prompt's last token
  const double passes = once ? 1 : workload.prompt ? double(chunks) : count;
  const sluice_model &shape = model.description();
  const double cacheBytes = // of a layer, for each position
      double(shape.kv_heads * sluice_kv_block_bytes(workload.cacheType, shape.head_dim)) / SLUICE_KV_BLOCK;
  const double tokens = once ? 1 : count;
  const KernelCosts costs = engine.costsOf(step);
  return {double(step.weights_bytes) * passes, step.cache_tokens ? cacheBytes * positions / step.cache_tokens : 0,
          double(step.operations) * tokens + double(step.cache_operations) * positions,
          costs.run * tokens + costs.cache * positions, costs.prologue * tokens * (step.prologue_tokens ? 1 : workers)};
}

namespace {
struct Line {
  std::string name;
  uint64_t steps = 0;
  Work work = {};
  double least = 0, predicted = 0, nanoseconds = 0, waiting = 0; // in ns

  Line &operator+=(const Line &other) {
    steps += other.steps;
    work += other.work;
    least += other.least;
    predicted += other.predicted;
    nanoseconds += other.nanoseconds;
    waiting += other.waiting;
    return *this;
  }
  std::string text(double all) const {
    char text[256];
    const std::string limit = least > 0 ? std::to_string(std::lround(100 * least / nanoseconds)) + "%" : "-";
    snprintf(text, sizeof text, "%-16s %5llu %13.0f %12.0f %11.1f %11.1f %6.1f%% %8.2f %8.1f %9s %6.1f%%\n",
             name.c_str(), (unsigned long long)steps, work.weightBytes, work.cacheBytes, nanoseconds / 1e3,
             predicted / 1e3, 100 * nanoseconds / all, work.bytes() / nanoseconds, work.operations / nanoseconds,
             limit.c_str(), 100 * waiting / nanoseconds);
    return text;
  }
};
} // namespace

std::string sluice::runtime::profileTable(const Model &model, const Engine &engine, const Workload &workload,
                                          uint64_t runs, const Machine &machine) {
  const double tokens = workload.prompt ? 1 : double(workload.tokens);
  std::vector<Line> lines;
  std::map<uint32_t, size_t> indices;
  Line total;
  total.name = workload.prompt ? "prompt" : "token";
  const std::span<const sluice_step> steps = model.steps(model.program(workload.program()));
  for (size_t i = 0; i < steps.size(); ++i) {
    const sluice_step &step = steps[i];
    auto [entry, isNew] = indices.try_emplace(step.phase, lines.size());
    if (isNew)
      lines.emplace_back().name = model.string(step.phase);
    const StepTime time = engine.timeOf(workload.program(), i);
    const double each = tokens * double(runs);
    const Work work = workOf(step, model, engine, workload, machine.workers) / tokens;
    const Line line{"",
                    1,
                    work,
                    machine.least(work) * 1e9,
                    machine.predicted(work) * 1e9,
                    time.nanoseconds / each,
                    time.waiting / each};
    lines[entry->second] += line;
    total += line;
  }
  char text[256];
  std::string table;
  if (std::isfinite(machine.peak))
    snprintf(text, sizeof text, "%s; the machine reads %.1f GB/s and does %.0f GOP/s of 8-bit dot products\n",
             workload.name().c_str(), machine.bandwidth / 1e9, machine.peak / 1e9);
  else if (!std::isfinite(machine.bandwidth))
    snprintf(text, sizeof text, "%s; how fast the device's memory is, its driver does not say\n",
             workload.name().c_str());
  else
    snprintf(text, sizeof text, "%s; the device's memory gives %.1f GB/s by its clock and width\n",
             workload.name().c_str(), machine.bandwidth / 1e9);
  table = text;
  table += "phase            steps  weight bytes  cache bytes          us   predicted   share     GB/s    GOP/s "
           "roofline waiting\n";
  for (const Line &line : lines)
    table += line.text(total.nanoseconds);
  table += total.text(total.nanoseconds);
  if (!std::isfinite(machine.bandwidth))
    return table;
  snprintf(text, sizeof text, "The roofline allows %.1f us: %.2f times that was measured.", total.least / 1e3,
           total.nanoseconds / total.least);
  table += text;
  if (!std::isfinite(machine.peak)) // nothing was predicted
    return table + "\n";
  snprintf(text, sizeof text, " The compiler's prediction is %.0f %% %s.\n",
           100 * std::abs(total.predicted / total.nanoseconds - 1),
           total.predicted < total.nanoseconds ? "too short" : "too long");
  return table + text;
}
