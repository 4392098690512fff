//===- phase-bench.cpp - how fast single phases are ---------------------------------===//
//
// Judges a lowering or a configuration in seconds: sluice compile MODEL --emit=schedule | phase-bench -
// Attributes that the text gives are kept, so a configuration is tried by editing it.
//
//===--------------------------------------------------------------------------------===//

#include "codegen/Jit.h"
#include "compiler/tune/PhaseRunner.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/CommandLine.h"
#include <benchmark/benchmark.h>

using namespace mlir;
using namespace sluice;
namespace cl = llvm::cl;

static cl::opt<std::string> file(cl::Positional, cl::Required,
                                 cl::desc("<model.mlir after phase schedule, - for stdin>"));
static cl::opt<std::string> targetName("target", cl::init("host"), cl::desc("target or processor to make code for"));
static cl::opt<int64_t> position("position", cl::init(512), cl::desc("tokens in the KV cache (default: 512)"));
static cl::opt<int64_t> weightBytes("weight-bytes", cl::init(PhaseRunner::moreThanCachesHold),
                                    cl::desc("weights to read in turn; few stay in a cache, which shows what the code "
                                             "itself takes (default: more than caches hold)"));
static cl::list<std::string> benchmarkOptions(cl::Sink,
                                              cl::desc("--benchmark_filter=REGEX and others of Google Benchmark"));

static int fail(const llvm::Twine &message) {
  llvm::errs() << "phase-bench: error: " << message << '\n';
  return 1;
}

int main(int argc, char **argv) {
  cl::ParseCommandLineOptions(argc, argv,
                              "Measures the phases of a model on made-up data, with one thread.\n"
                              "  sluice compile MODEL --emit=schedule | phase-bench - --benchmark_filter=decode\n");
  const codegen::Target *target = codegen::lookupTarget(targetName);
  if (!target || !codegen::runsHere(*target))
    return fail("no target '" + targetName + "' that this machine can run; 'sluice targets' lists them");
  DialectRegistry registry;
  registry.insert<llama::LlamaDialect, stream::StreamDialect>();
  codegen::registerCodegenDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(file, &context);
  if (!module)
    return 1; // said by the parser
  auto models = llvm::to_vector(module->getOps<llama::ModelOp>());
  if (models.size() != 1 || models[0].getOps<stream::ProgramOp>().empty())
    return fail(file + ": expected one llama.model with stream programs, as 'sluice compile --emit=schedule' prints");
  PassManager configure(&context);
  target->addConfigurePasses(configure);
  if (failed(configure.run(*module)))
    return 1;
  llvm::Expected<codegen::Jit> jit = codegen::Jit::load(*module, *target);
  if (!jit)
    return fail(toString(jit.takeError()));

  PhaseRunner runner(models[0], *target->asHost(), position, weightBytes);
  stream::Schedule schedule = stream::Schedule::get(models[0]);
  for (size_t index = 0; index < schedule.kernels().size(); ++index) {
    stream::PhaseOp phase = schedule.kernels()[index];
    const sluice_kernel &kernel = jit->kernels()[index];
    std::string name = (phase->getParentOfType<stream::ProgramOp>().getSymName() + "." + phase.getName()).str();
    benchmark::RegisterBenchmark(name.c_str(), [&runner, phase,
                                                run = runner.bind(phase, kernel)](benchmark::State &state) {
      for (auto _ : state)
        run();
      auto rate = [&](int64_t amount) {
        return benchmark::Counter(double(amount) * double(state.iterations()), benchmark::Counter::kIsRate);
      };
      state.counters["bytes"] = rate(runner.bytesOf(phase));
      state.counters["operations"] = rate(runner.operationsOf(phase));
    })->Unit(benchmark::kMicrosecond);
  }
  std::vector<char *> arguments{argv[0]};
  for (std::string &option : benchmarkOptions)
    arguments.push_back(option.data());
  int count = arguments.size();
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data()))
    return 1;
  benchmark::RunSpecifiedBenchmarks();
}
