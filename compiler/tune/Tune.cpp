//===- Tune.cpp - tries configurations of tiles and keeps the fastest ---------------===//
//
// One attribute after the other, each against the best so far, in turn (A B A B): the median of the rounds' ratios
// decides. Machines are noisy, so what is not clearly faster is not taken.
//
//===--------------------------------------------------------------------------------===//

#include "compiler/tune/Tune.h"
#include "codegen/Jit.h"
#include "compiler/tune/PhaseRunner.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include <chrono>

using namespace mlir;
using namespace sluice;
using namespace sluice::stream;

namespace {

using Config = llvm::MapVector<StringRef, int64_t>; // attributes of stream.tiles

// A configuration made code.
struct Candidate {
  Config config;
  OwningOpRef<ModuleOp> module;
  std::optional<codegen::Jit> jit;
  std::function<void()> run;
};

class Tuner {
public:
  Tuner(ModuleOp scheduled, const codegen::HostTarget &target, const volatile std::sig_atomic_t *interrupted, bool progress)
      : scheduled(scheduled), target(target), interrupted(interrupted), progress(progress) {}
  llvm::Expected<std::string> run();

private:
  llvm::Expected<std::string> tunePhase(PhaseRunner &runner, unsigned kernel, const std::string &name);
  std::unique_ptr<Candidate> make(PhaseRunner &runner, unsigned kernel, const Config &config);
  double speedup(Candidate &candidate, Candidate &best);
  static double secondsOf(Candidate &candidate, unsigned runs);

  ModuleOp scheduled;
  const codegen::HostTarget &target;
  const volatile std::sig_atomic_t *interrupted;
  bool progress;
};

llama::ModelOp modelOf(ModuleOp module) { return *module.getOps<llama::ModelOp>().begin(); }

TilesOp firstTiles(ModuleOp module) {
  TilesOp first;
  module.walk([&](TilesOp tiles) { first = first ? first : tiles; });
  return first;
}

std::string textOf(const Config &config) {
  return llvm::join(
      llvm::map_range(config, [](auto &each) { return each.first.str() + "=" + std::to_string(each.second); }), " ");
}
} // namespace

// The phase number `kernel` alone with `config`; null where that is not valid.
std::unique_ptr<Candidate> Tuner::make(PhaseRunner &runner, unsigned kernel, const Config &config) {
  auto candidate = std::make_unique<Candidate>();
  candidate->config = config;
  candidate->module = scheduled.clone();
  SmallVector<PhaseOp> phases(Schedule::get(modelOf(*candidate->module)).kernels());
  PhaseOp phase = phases[kernel];
  for (PhaseOp other : phases)
    if (other != phase)
      other.erase();
  for (auto tiles : phase.getBody().getOps<TilesOp>())
    for (auto [name, value] : config)
      tiles->setAttr(name, Builder(tiles.getContext()).getI64IntegerAttr(value));
  ScopedDiagnosticHandler quiet(phase.getContext(), [](Diagnostic &) { return success(); });
  PassManager configure(phase.getContext());
  target.addConfigurePasses(configure);
  if (failed(verify(*candidate->module)) || failed(configure.run(*candidate->module)))
    return nullptr;
  llvm::Expected<codegen::Jit> jit = codegen::Jit::load(*candidate->module, target);
  if (!jit) {
    llvm::consumeError(jit.takeError());
    return nullptr;
  }
  candidate->jit = std::move(*jit);
  candidate->run = runner.bind(phase, candidate->jit->kernels()[0]);
  return candidate;
}

double Tuner::secondsOf(Candidate &candidate, unsigned runs) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point start = Clock::now();
  for (unsigned i = 0; i < runs; ++i)
    candidate.run();
  return std::chrono::duration<double>(Clock::now() - start).count() / runs;
}

// How many times as fast `candidate` is.
double Tuner::speedup(Candidate &candidate, Candidate &best) {
  constexpr unsigned rounds = 9;
  constexpr double sample = 4e-3; // seconds
  const unsigned runs = std::max(1.0, sample / std::max(secondsOf(best, 1), secondsOf(candidate, 1)));
  std::vector<double> ratios;
  for (unsigned round = 0; round < rounds; ++round) {
    double before = secondsOf(best, runs);
    ratios.push_back(before / secondsOf(candidate, runs));
  }
  llvm::sort(ratios);
  return ratios[rounds / 2];
}

llvm::Expected<std::string> Tuner::tunePhase(PhaseRunner &runner, unsigned kernel, const std::string &name) {
  std::unique_ptr<Candidate> best = make(runner, kernel, {});
  if (!best)
    return llvm::createStringError("phase '" + name + "' cannot be compiled alone");
  TilesOp tiles = firstTiles(*best->module);
  const int64_t lanes = *tiles.getLanes(), tokens = tiles->getParentOfType<ProgramOp>().getMaxTokens();
  std::vector<std::pair<StringRef, std::vector<int64_t>>> choices;
  if (tokens > 1)
    choices = {{"token_block", {2, 4, 8, 16}}};
  choices.push_back({"row_block", {4, 8, 16, 32}});
  choices.push_back({"lanes", {lanes / 2, lanes}});
  choices.push_back(
      {"prefetch", tokens > 1 ? std::vector<int64_t>{0} : std::vector<int64_t>{0, 1024, 2048, 4096, 8192}});
  double total = 1;
  for (const auto &[attribute, values] : choices)
    for (int64_t value : values) {
      if (interrupted && *interrupted)
        return llvm::createStringError(std::make_error_code(std::errc::interrupted), "interrupted");
      TilesOp current = firstTiles(*best->module);
      if (auto attr = current->getAttrOfType<IntegerAttr>(attribute); attr && attr.getInt() == value)
        continue;
      Config config = best->config;
      config[attribute] = value;
      std::unique_ptr<Candidate> candidate = make(runner, kernel, config);
      if (!candidate)
        continue;
      // Taken only if it wins twice.
      double ratio = speedup(*candidate, *best);
      if (ratio > 1.02)
        ratio = std::min(ratio, speedup(*candidate, *best));
      if (ratio > 1.02) {
        best = std::move(candidate);
        total *= ratio;
      }
    }
  if (progress)
    llvm::errs() << name << ": "
                 << (best->config.empty() ? "the default is the best that was tried"
                                          : textOf(best->config) + llvm::formatv(": {0:f2} times as fast", total).str())
                 << '\n';
  return best->config.empty() ? "" : (target.name() + " " + name + " " + textOf(best->config) + "\n").str();
}

llvm::Expected<std::string> Tuner::run() {
  OwningOpRef<ModuleOp> configured = scheduled.clone();
  PassManager configure(scheduled.getContext());
  target.addConfigurePasses(configure);
  if (failed(configure.run(*configured)))
    return llvm::createStringError("the model cannot be configured for " + target.name());
  PhaseRunner runner(modelOf(*configured), target, /*position=*/512);
  std::string lines;
  llvm::StringMap<bool> done; // the same phase of another layer body takes the same line
  Schedule schedule = Schedule::get(modelOf(*configured));
  for (unsigned kernel = 0; kernel < schedule.kernels().size(); ++kernel) {
    PhaseOp phase = schedule.kernels()[kernel];
    std::string name = (phase->getParentOfType<ProgramOp>().getSymName() + "." + phase.getName()).str();
    if (phase.getBody().getOps<TilesOp>().empty() || std::exchange(done[name], true))
      continue;
    llvm::Expected<std::string> line = tunePhase(runner, kernel, name);
    if (!line)
      return line.takeError();
    lines += *line;
  }
  return lines;
}

llvm::Expected<std::string> sluice::tunePhases(ModuleOp scheduled, const codegen::HostTarget &target,
                                               const volatile std::sig_atomic_t *interrupted, bool progress) {
  return Tuner(scheduled, target, interrupted, progress).run();
}
