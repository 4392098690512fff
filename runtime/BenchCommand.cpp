//===- BenchCommand.cpp - tokens a second, and share of the read bandwidth -----------===//

#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/Profile.h"
#include "runtime/Session.h"
#include "runtime/Streams.h"
#include "runtime/ThreadCount.h"
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

using namespace sluice::runtime;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

namespace {
class Bench {
public:
  Bench(const Executable &executable, const Options &options) : executable(executable), options(options) {}
  std::vector<Json> run();

private:
  Json measure(const Workload &test, Engine &engine, unsigned threads, const Machine &machine);

  const Executable &executable;
  const Options &options;
};
} // namespace

// The content is irrelevant to speed; ids only have to be valid and not all alike.
static std::vector<int32_t> someTokens(uint64_t count, uint32_t vocabulary) {
  std::vector<int32_t> ids(count);
  Random random(1);
  for (int32_t &id : ids)
    id = int32_t(random.next() % vocabulary);
  return ids;
}

// JSON has no infinity: what is not known of a device is null there.
static Json known(double value) { return std::isfinite(value) ? Json(value) : Json(); }

// Of weights and cache, for a token on average.
static double bytesPerToken(const Workload &test, const Model &model, const Engine &engine) {
  double total = 0;
  for (const sluice_step &step : model.steps(model.program(test.program())))
    total += workOf(step, model, engine, test, 1).bytes();
  return total / double(test.count());
}

Json Bench::measure(const Workload &test, Engine &engine, unsigned threads, const Machine &machine) {
  const Model &model = executable.model;
  Session session(model, engine);
  const std::vector<int32_t> ids = someTokens(test.depth + test.count(), session.vocabulary());
  const std::span<const int32_t> before(ids.data(), test.depth), tested(ids.data() + test.depth, test.count());
  session.prefill(before, Logits::None);
  std::vector<double> rates;
  for (unsigned run = 0; run <= options.repetitions; ++run) {
    session.truncate(test.depth);
    if (run == 1 && options.profile)
      engine.startProfile(test.program());
    session.finish();
    const Clock::time_point start = Clock::now();
    if (test.prompt)
      session.prefill(tested, Logits::Last);
    else
      for (int32_t id : tested)
        session.decode(id);
    session.finish();
    double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (run) // the first is to warm up
      rates.push_back(double(test.count()) / seconds);
  }
  if (options.profile)
    note(profileTable(model, engine, test, options.repetitions, machine));

  double mean = 0, squares = 0;
  for (double rate : rates)
    mean += rate / double(rates.size());
  for (double rate : rates)
    squares += (rate - mean) * (rate - mean);
  const double deviation = rates.size() > 1 ? std::sqrt(squares / double(rates.size() - 1)) : 0;
  const double bytes = bytesPerToken(test, model, engine), speed = bytes * mean;
  double least = 0; // seconds
  for (const sluice_step &step : model.steps(model.program(test.program())))
    least += machine.least(workOf(step, model, engine, test, threads));
  return {{"test", test.name()},
          {"model", model.string(model.description().name)},
          {"target", engine.target()},
          {"n_prompt", test.prompt},
          {"n_gen", test.tokens},
          {"depth", test.depth},
          {"threads", threads},
          {"avg_ts", mean},
          {"stddev_ts", deviation},
          {"samples_ts", rates},
          {"bytes_per_token", uint64_t(bytes)},
          {"gb_per_s", speed / 1e9},
          {"read_gb_per_s", known(machine.bandwidth / 1e9)},
          {"read_is_nominal", machine.nominal}, // by the data of the chip, not measured
          {"peak_gop_per_s", known(machine.peak / 1e9)},
          {"roofline_ts", known(double(test.count()) / least)},
          {"share", std::isfinite(machine.bandwidth) ? Json(speed / machine.bandwidth) : Json()}};
}

std::vector<Json> Bench::run() {
  const Model &model = executable.model;
  std::vector<Workload> tests;
  uint64_t context = 0;
  for (uint64_t depth : options.benchDepths) {
    for (uint64_t prompt : options.benchPrompts)
      if (prompt)
        tests.push_back({prompt, 0, depth, options.cacheType});
    for (uint64_t tokens : options.benchTokens)
      if (tokens)
        tests.push_back({0, tokens, depth, options.cacheType});
  }
  for (const Workload &test : tests)
    context = std::max(context, test.depth + test.count());
  const uint64_t most = model.description().context_length;
  if (tests.empty())
    throw UsageError("expected something to measure: -p or -n of at least 1, got 0 for both");
  if (context > most)
    throw UsageError("expected tests of 1 to " + std::to_string(most) + " tokens with what lies before them, got " +
                     std::to_string(context));

  std::vector<Json> rows;
  std::vector<unsigned> threadCounts = options.benchThreads;
  if (threadCounts.empty())
    threadCounts.push_back(defaultThreadCount());
  for (unsigned threads : threadCounts) {
    Options each = options;
    each.threads = threads;
    const std::unique_ptr<Engine> engine = executable.engine(each, context);
    const Machine machine{engine->measure()};
    for (const Workload &test : tests)
      rows.push_back(measure(test, *engine, machine.workers, machine));
  }
  return rows;
}

static std::string asText(const Json &value) {
  char text[32];
  if (value.is_null())
    return "";
  if (!value.is_number_float())
    return value.is_string() ? value.get<std::string>() : value.dump();
  snprintf(text, sizeof text, "%.3f", value.get<double>());
  return text;
}

static constexpr const char *columns[] = {"test",        "n_prompt",       "n_gen",     "depth",
                                          "threads",     "avg_ts",         "stddev_ts", "bytes_per_token",
                                          "gb_per_s",    "read_gb_per_s",  "share",     "peak_gop_per_s",
                                          "roofline_ts", "read_is_nominal"};

void sluice::runtime::bench(const Executable &executable, const Options &options) {
  executable.confine(options, {.threads = true});
  const std::vector<Json> rows = Bench(executable, options).run();
  if (options.format == "json")
    return writeOut(Json(rows).dump(2) + "\n");
  std::string text;
  if (options.format == "csv") {
    for (const char *column : columns)
      text += (text.empty() ? "" : ",") + std::string(column);
    text += "\n";
    for (const Json &row : rows)
      for (const char *column : columns)
        text += asText(row[column]) + (column == std::end(columns)[-1] ? "\n" : ",");
    return writeOut(text);
  }
  const bool nominal = !rows.empty() && rows.front()["read_is_nominal"].get<bool>();
  text = "| test | threads | tok/s | +/- | MB/token | GB/s | " +
         std::string(nominal ? "memory's nominal GB/s" : "machine reads GB/s") +
         " | share | of roofline |\n"
         "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n";
  for (const Json &row : rows) {
    char line[256];
    snprintf(line, sizeof line, "| %s | %u | %.1f | %.1f | %.1f | %.1f |", row["test"].get<std::string>().c_str(),
             row["threads"].get<unsigned>(), row["avg_ts"].get<double>(), row["stddev_ts"].get<double>(),
             row["bytes_per_token"].get<double>() / 1e6, row["gb_per_s"].get<double>());
    text += line;
    if (row["read_gb_per_s"].is_null()) {
      text += " - | - | - |\n";
      continue;
    }
    snprintf(line, sizeof line, " %.1f | %.0f %% | %.0f %% |\n", row["read_gb_per_s"].get<double>(),
             100 * row["share"].get<double>(), 100 * row["avg_ts"].get<double>() / row["roofline_ts"].get<double>());
    text += line;
  }
  writeOut(text);
}
