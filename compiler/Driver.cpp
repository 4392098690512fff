//===- Driver.cpp - what the sluice tool does --------------------------------------===//

#include "compiler/Driver.h"
#include "compiler/Compilation.h"
#include "compiler/UsageError.h"
#include "compiler/tune/Tune.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "passes/Traffic.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/TargetParser/Host.h"

using namespace sluice;

static llvm::Error loadPlugins(const Options &options) {
  for (const std::string &file : options.passPlugins) {
    llvm::Expected<mlir::PassPlugin> plugin = mlir::PassPlugin::load(file);
    if (!plugin)
      return llvm::createStringError(file + ": cannot load the pass plugin: " + toString(plugin.takeError()));
    plugin->registerPassRegistryCallbacks();
  }
  return llvm::Error::success();
}

static llvm::Error writeFile(llvm::StringRef path, llvm::StringRef contents) {
  std::error_code code;
  llvm::raw_fd_ostream file(path, code);
  if (!code) {
    file << contents;
    file.close();
    code = file.error();
    file.clear_error();
    if (code && llvm::sys::fs::is_regular_file(path))
      llvm::sys::fs::remove(path); // no half of it
  }
  return code ? llvm::createStringError(code, path + ": cannot write: " + code.message()) : llvm::Error::success();
}

// Writes <folder>/<number>-<phase><suffix>.
static llvm::Error dump(Compilation &compilation, const Phase &phase, llvm::StringRef folder) {
  if (std::error_code code = llvm::sys::fs::create_directories(folder, true, llvm::sys::fs::all_all))
    return llvm::createStringError(code, folder + ": cannot create the folder: " + code.message());
  llvm::Expected<std::vector<Artifact>> artifacts = compilation.artifacts(phase);
  if (!artifacts)
    return artifacts.takeError();
  for (const Artifact &artifact : *artifacts) {
    llvm::SmallString<128> path(folder);
    llvm::sys::path::append(path, llvm::Twine(&phase - phases().begin() + 1) + "-" + phase.name + artifact.suffix);
    if (llvm::Error error = writeFile(path, artifact.contents))
      return error;
  }
  return llvm::Error::success();
}

// Prints what --emit asked for, to options.output or standard output.
static llvm::Error print(Compilation &compilation, const Phase &phase, llvm::StringRef path) {
  llvm::Expected<std::vector<Artifact>> artifacts = compilation.artifacts(phase);
  if (!artifacts)
    return artifacts.takeError();
  std::string text;
  for (const Artifact &artifact : *artifacts)
    if (artifact.isText)
      text += artifact.contents;
  if (!path.empty() && path != "-")
    return writeFile(path, text);
  llvm::outs() << text;
  return llvm::Error::success();
}

namespace {
// On a terminal, what is being done; the last phase has a line of its own (Progress.h).
class PhaseLine {
public:
  explicit PhaseLine(bool quiet) : shown(!quiet && llvm::errs().is_displayed()) {}
  ~PhaseLine() { say(""); }
  PhaseLine(const PhaseLine &) = delete;
  void say(llvm::StringRef text) {
    if (shown)
      llvm::errs() << '\r' << text << "\x1b[K";
  }

private:
  bool shown;
};
} // namespace

// Runs the phases up to and including `last`.
static llvm::Error runPhases(Compilation &compilation, const Options &options, const Phase &last) {
  PhaseLine line(options.quiet);
  for (const Phase &phase : phases()) {
    line.say(&phase == &phases().back() ? "" : phase.name);
    if (llvm::Error error = compilation.run(phase))
      return error;
    if (!options.dumpPhases.empty())
      if (llvm::Error error = dump(compilation, phase, options.dumpPhases))
        return error;
    if (&phase == &last)
      break;
  }
  return llvm::Error::success();
}

llvm::Error sluice::compile(const Options &options) {
  auto start = std::chrono::steady_clock::now();
  const Phase *last = options.emit.empty() ? &phases().back() : findPhase(options.emit);
  if (!last)
    return usageError("unknown phase '" + options.emit + "'; expected one of " + phaseNames());
  if (llvm::Error error = loadPlugins(options))
    return error;
  llvm::Expected<std::unique_ptr<Compilation>> compilation = Compilation::create(options);
  if (!compilation)
    return compilation.takeError();
  if (llvm::Error error = runPhases(**compilation, options, *last))
    return error;
  if (last != &phases().back())
    return print(**compilation, *last, options.output);
  if (!options.quiet) {
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    llvm::errs() << (*compilation)->outputPath()
                 << llvm::format(": %.1f MB in %.2f s; a token reads %.1f MB of weights\n",
                                 (*compilation)->outputBytes() / 1e6, seconds, (*compilation)->tokenBytes() / 1e6);
  }
  return llvm::Error::success();
}

llvm::Error sluice::explain(const Options &options, llvm::raw_ostream &out) {
  if (llvm::Error error = loadPlugins(options))
    return error;
  llvm::Expected<std::unique_ptr<Compilation>> compilation = Compilation::create(options);
  if (!compilation)
    return compilation.takeError();
  if (llvm::Error error = runPhases(**compilation, options, *findPhase("configure")))
    return error;
  const TargetModule &target = (*compilation)->targetModules().front();
  llama::ModelOp model = (*compilation)->configuredModel(target);
  if (int64_t context = model.getContextLength(); options.depth + std::max<int64_t>(options.prompt, 1) > context)
    return usageError(options.model + ": expected --depth and --prefill within the context of " + llvm::Twine(context) +
                      " tokens, got " + llvm::Twine(options.depth) + " and " + llvm::Twine(options.prompt));
  static constexpr llvm::StringRef types[] = {SLUICE_CACHE_NAMES};
  const uint32_t cacheType = llvm::find(types, options.cacheType) - types;
  if (!target.target->asHost() && options.prompt)
    return usageError("a prompt's time is not predicted for GPUs; leave --prefill out");
  if (!target.target->asHost() && options.machine.gigaoperationsPerSecond)
    return usageError("--gop-per-s is for processors, and '" + target.target->name() + "' is none; leave it out");
  llvm::Error error = target.target->explain(model, {options.depth, options.prompt, cacheType}, options.machine, out);
  return error ? llvm::createStringError(options.model + ": " + toString(std::move(error))) : llvm::Error::success();
}

llvm::Error sluice::tune(const Options &options, llvm::raw_ostream &out) {
  if (llvm::Error error = loadPlugins(options))
    return error;
  llvm::Expected<std::unique_ptr<Compilation>> compilation = Compilation::create(options);
  if (!compilation)
    return compilation.takeError();
  for (const TargetModule &each : (*compilation)->targetModules())
    if (!codegen::runsHere(*each.target))
      return usageError("this machine cannot run code for '" + each.target->name() + "': tune on one that can");
  if (llvm::Error error = runPhases(**compilation, options, *findPhase("schedule")))
    return error;
  std::string text = "# The tiles of " + llvm::sys::path::filename(options.model).str() + " on " +
                     llvm::sys::getHostCPUName().str() +
                     ", by 'sluice tune': what is faster than the default.\n# sluice compile MODEL --tuning=THIS\n";
  for (const TargetModule &each : (*compilation)->targetModules()) {
    llvm::Expected<std::string> lines = tunePhases((*compilation)->scheduledModel()->getParentOfType<mlir::ModuleOp>(),
                                                   *each.target->asHost(), options.interrupted, !options.quiet);
    if (!lines)
      return lines.takeError();
    text += *lines;
  }
  if (!options.output.empty() && options.output != "-")
    return writeFile(options.output, text);
  out << text;
  return llvm::Error::success();
}

llvm::Error sluice::inspect(llvm::StringRef model, llvm::raw_ostream &out) {
  llvm::Expected<std::unique_ptr<Checkpoint>> checkpoint = Checkpoint::open(model);
  if (!checkpoint)
    return checkpoint.takeError();
  printCheckpoint(**checkpoint, out);
  return llvm::Error::success();
}

void sluice::printTargets(llvm::raw_ostream &out) {
  const codegen::Target *host = codegen::lookupTarget("host");
  size_t width = 0;
  for (const std::unique_ptr<codegen::Target> &target : codegen::allTargets())
    width = std::max(width, target->name().size());
  for (const std::unique_ptr<codegen::Target> &target : codegen::allTargets())
    out << llvm::left_justify(target->name(), width + 2) << target->summary()
        << (target.get() == host          ? " (what --target=host is here)"
            : !codegen::runsHere(*target) ? " (this machine cannot run it)"
                                          : "")
        << '\n';
  out << "\n--target also takes a processor's name as LLVM spells it (znver4, alderlake, haswell ...): the best of "
         "these "
         "for it\n";
}
