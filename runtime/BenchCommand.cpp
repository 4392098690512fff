//===- BenchCommand.cpp - tokens a second, and share of the read bandwidth -----------===//

#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/ReadBandwidth.h"
#include "runtime/Session.h"
#include "runtime/Streams.h"
#include "runtime/ThreadCount.h"
#include <chrono>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

using namespace sluice::runtime;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

namespace {
// One test: `prompt` tokens at once or `tokens` one by one, after `depth` tokens of context.
struct Test {
  uint64_t prompt, tokens, depth;

  std::string name() const {
    return (prompt ? "pp" + std::to_string(prompt) : "tg" + std::to_string(tokens)) +
           (depth ? " @ d" + std::to_string(depth) : "");
  }
  uint64_t count() const { return prompt ? prompt : tokens; }
};

class Bench {
public:
  Bench(const Executable &executable, const Options &options) : executable(executable), options(options) {}
  std::vector<Json> run();

private:
  Json measure(const Test &test, Session &session, unsigned threads, double bandwidth);
  double bytesPerToken(const Test &test, Session &session) const;
  void printProfile(Program &program, uint64_t runs, const Test &test) const;

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

// Of a step, in all chunks of a prompt or for one token.
static double weightBytes(const sluice_step &step, const Program &program, uint64_t prompt) {
  const uint64_t chunks =
      prompt && !(step.flags & SLUICE_STEP_HEAD) ? (prompt + program.maxTokens() - 1) / program.maxTokens() : 1;
  return double(step.weights_bytes) * double(chunks);
}

// Bytes that have to be read for a token, on average: weights and, when one token is made after the other, the cache.
double Bench::bytesPerToken(const Test &test, Session &session) const {
  const sluice_model &m = executable.model.description();
  double total = 0;
  if (test.prompt) {
    Program &program = session.prefillProgram();
    for (const sluice_step &step : program.steps())
      total += weightBytes(step, program, test.prompt);
  } else {
    for (uint64_t i = 0; i < test.tokens; ++i)
      total += double(m.weight_bytes + session.cacheBytes(test.depth + i));
  }
  return total / double(test.count());
}

Json Bench::measure(const Test &test, Session &session, unsigned threads, double bandwidth) {
  const std::vector<int32_t> ids = someTokens(test.depth + test.count(), session.vocabulary());
  const std::span<const int32_t> before(ids.data(), test.depth), tested(ids.data() + test.depth, test.count());
  session.truncate(0);
  session.prefill(before, Logits::None);
  Program &program = test.prompt ? session.prefillProgram() : session.decodeProgram();
  std::vector<double> rates;
  for (unsigned run = 0; run <= options.repetitions; ++run) {
    session.truncate(test.depth);
    if (run == 1 && options.profile)
      program.startProfile();
    Clock::time_point start = Clock::now();
    if (test.prompt)
      session.prefill(tested, Logits::Last);
    else
      for (int32_t id : tested)
        session.decode(id);
    double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (run) // the first is to warm up
      rates.push_back(double(test.count()) / seconds);
  }
  if (options.profile)
    printProfile(program, options.repetitions * (test.prompt ? 1 : test.tokens), test);

  double mean = 0, squares = 0;
  for (double rate : rates)
    mean += rate / double(rates.size());
  for (double rate : rates)
    squares += (rate - mean) * (rate - mean);
  const double deviation = rates.size() > 1 ? std::sqrt(squares / double(rates.size() - 1)) : 0;
  const double bytes = bytesPerToken(test, session), speed = bytes * mean;
  return {{"test", test.name()},
          {"model", executable.model.string(executable.model.description().name)},
          {"target", executable.variant().target},
          {"n_prompt", test.prompt},
          {"n_gen", test.tokens},
          {"depth", test.depth},
          {"threads", threads},
          {"avg_ts", mean},
          {"stddev_ts", deviation},
          {"samples_ts", rates},
          {"bytes_per_token", uint64_t(bytes)},
          {"gb_per_s", speed / 1e9},
          {"read_gb_per_s", bandwidth / 1e9},
          {"share", speed / bandwidth}};
}

void Bench::printProfile(Program &program, uint64_t runs, const Test &test) const {
  struct Phase {
    std::string name;
    uint64_t steps = 0;
    double bytes = 0, nanoseconds = 0;
  };
  std::vector<Phase> phases;
  std::map<uint32_t, size_t> indices;
  double all = 0;
  for (size_t i = 0; i < program.steps().size(); ++i) {
    const sluice_step &step = program.steps()[i];
    auto [entry, isNew] = indices.try_emplace(step.phase, phases.size());
    if (isNew)
      phases.push_back({executable.model.string(step.phase)});
    Phase &phase = phases[entry->second];
    ++phase.steps;
    phase.bytes += weightBytes(step, program, test.prompt);
    phase.nanoseconds += double(program.nanoseconds()[i]) / double(runs);
    all += double(program.nanoseconds()[i]) / double(runs);
  }
  char line[160];
  snprintf(line, sizeof line, "%s: %.1f us a %s\n%-24s %6s %10s %7s %8s", test.name().c_str(), all / 1e3,
           test.prompt ? "prompt" : "token", "phase", "steps", "us", "share", "GB/s");
  note(line);
  for (const Phase &phase : phases) {
    snprintf(line, sizeof line, "%-24s %6llu %10.1f %6.1f%% %8.2f", phase.name.c_str(), (unsigned long long)phase.steps,
             phase.nanoseconds / 1e3, 100 * phase.nanoseconds / all, phase.bytes / phase.nanoseconds);
    note(line);
  }
}

std::vector<Json> Bench::run() {
  const Model &model = executable.model;
  std::vector<Test> tests;
  uint64_t context = 0;
  for (uint64_t depth : options.benchDepths) {
    for (uint64_t prompt : options.benchPrompts)
      if (prompt)
        tests.push_back({prompt, 0, depth});
    for (uint64_t tokens : options.benchTokens)
      if (tokens)
        tests.push_back({0, tokens, depth});
  }
  for (const Test &test : tests)
    context = std::max(context, test.depth + test.count());
  const uint64_t most = model.description().context_length;
  if (tests.empty() || context > most)
    throw UsageError("expected tests of 1 to " + std::to_string(most) + " tokens with what lies before them, got " +
                     std::to_string(context));

  std::vector<Json> rows;
  std::vector<unsigned> threadCounts = options.benchThreads;
  if (threadCounts.empty())
    threadCounts.push_back(defaultThreadCount());
  for (unsigned threads : threadCounts) {
    Workers team(threads);
    const double bandwidth = readBandwidth(team, model.section(SLUICE_SECTION_WEIGHTS));
    Session session(model, executable.variant(), team, context);
    for (const Test &test : tests)
      rows.push_back(measure(test, session, threads, bandwidth));
  }
  return rows;
}

static std::string asText(const Json &value) {
  char text[32];
  if (!value.is_number_float())
    return value.is_string() ? value.get<std::string>() : value.dump();
  snprintf(text, sizeof text, "%.3f", value.get<double>());
  return text;
}

static constexpr const char *columns[] = {"test",     "n_prompt",      "n_gen",     "depth",
                                          "threads",  "avg_ts",        "stddev_ts", "bytes_per_token",
                                          "gb_per_s", "read_gb_per_s", "share"};

void sluice::runtime::bench(const Executable &executable, const Options &options) {
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
        text += asText(row[column]) + (column == std::string("share") ? "\n" : ",");
    return writeOut(text);
  }
  text = "| test | threads | tok/s | +/- | MB/token | GB/s | machine reads GB/s | share |\n"
         "|---|---:|---:|---:|---:|---:|---:|---:|\n";
  for (const Json &row : rows) {
    char line[256];
    snprintf(line, sizeof line, "| %s | %u | %.1f | %.1f | %.1f | %.1f | %.1f | %.0f %% |\n",
             row["test"].get<std::string>().c_str(), row["threads"].get<unsigned>(), row["avg_ts"].get<double>(),
             row["stddev_ts"].get<double>(), row["bytes_per_token"].get<double>() / 1e6, row["gb_per_s"].get<double>(),
             row["read_gb_per_s"].get<double>(), 100 * row["share"].get<double>());
    text += line;
  }
  writeOut(text);
}
