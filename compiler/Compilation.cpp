//===- Compilation.cpp - one model on its way through the phases -------------------===//

#include "compiler/Compilation.h"
#include "compiler/UsageError.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace sluice;

namespace {
// "sluice: remark: fuse: FuseNorm missed at "blk": reason, BytesSaved=1024".
struct RemarkPrinter : remark::detail::MLIRRemarkStreamerBase {
  void streamOptimizationRemark(const remark::detail::Remark &remark) override {
    std::string text;
    llvm::raw_string_ostream stream(text);
    for (const remark::detail::Remark::Arg &arg : remark.getArgs()) {
      if (arg.key == "Remark")
        stream << arg.val;
      else
        stream << (text.empty() ? "" : ", ") << arg.key << '=' << arg.val;
    }
    llvm::errs() << "sluice: remark: " << remark.getCombinedCategoryName() << ": " << remark.getRemarkName() << ' '
                 << remark.getRemarkTypeString().lower();
    if (!isa<UnknownLoc>(remark.getLocation()))
      llvm::errs() << " at " << remark.getLocation();
    llvm::errs() << ": " << text << '\n';
  }
};
} // namespace

Compilation::Compilation(const Options &options) : options(options) {
  DialectRegistry registry;
  registry.insert<llama::LlamaDialect, stream::StreamDialect>();
  codegen::registerCodegenDialects(registry);
  context = std::make_unique<MLIRContext>(registry);
  context->printOpOnDiagnostic(false); // a diagnostic is a sentence, not a module
  context->getDiagEngine().registerHandler([this](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() != DiagnosticSeverity::Error) {
      llvm::StringRef kind = diagnostic.getSeverity() == DiagnosticSeverity::Remark ? "remark" : "warning";
      llvm::errs() << (llvm::errs().is_displayed() ? "\r\x1b[K" : "") // over the name of the phase, see Driver.cpp
                   << "sluice: " << kind << ": " << diagnostic.str() << '\n';
      return;
    }
    llvm::raw_string_ostream text(diagnostics);
    text << (diagnostics.empty() ? "" : "\n") << diagnostic;
    for (Diagnostic &note : diagnostic.getNotes())
      text << "\n  " << note;
  });
}

Compilation::~Compilation() = default;

// The model's file name without its folder and last suffix, in the current folder; that of a folder in whole, whatever
// it is called by, as `.` or `..`.
static std::string defaultOutput(llvm::StringRef model) {
  if (!llvm::sys::fs::is_directory(model))
    return llvm::sys::path::stem(model).str();
  llvm::SmallString<128> real;
  const bool isKnown = !llvm::sys::fs::real_path(model, real) && real != "/";
  return isKnown ? llvm::sys::path::filename(real).str() : "model";
}

static size_t rank(const TargetModule &each) {
  return llvm::find_if(codegen::allTargets(), [&](const auto &target) { return target.get() == each.target; }) -
         codegen::allTargets().begin();
}

static bool writesExecutable(const Options &options) {
  return options.emit.empty() || options.emit == phases().back().name;
}

llvm::Expected<std::unique_ptr<Compilation>> Compilation::create(const Options &options) {
  std::unique_ptr<Compilation> result(new Compilation(options));
  for (const std::string &name : options.targets) {
    const codegen::Target *target = codegen::lookupTarget(name);
    if (!target)
      return usageError("unknown target '" + name + "'; 'sluice targets' lists those of this build, 'host' is this machine");
    if (llvm::none_of(result->targets, [&](const TargetModule &other) { return other.target == target; }))
      result->targets.push_back({target, {}, {}});
  }
  // The executable takes the first target that its machine can run, so the best come first.
  llvm::sort(result->targets, [](const TargetModule &a, const TargetModule &b) { return rank(a) < rank(b); });
  result->output = options.output.empty() ? defaultOutput(options.model) : options.output;
  if (options.output.empty() && llvm::sys::fs::equivalent(result->output, options.model))
    result->output += ".out";
  if (llvm::sys::fs::equivalent(result->output, options.model))
    return llvm::createStringError(result->output + ": would overwrite the checkpoint; choose another name with -o");
  if (writesExecutable(options) && llvm::sys::fs::is_directory(result->output))
    return llvm::createStringError(result->output +
                                   ": expected a file to write, got a folder; choose another name with -o");
  llvm::StringRef folder = llvm::sys::path::parent_path(result->output);
  if (writesExecutable(options) && !folder.empty() && !llvm::sys::fs::is_directory(folder))
    return llvm::createStringError(result->output + ": there is no folder '" + folder +
                                   "'; create it or choose another place with -o");
  for (const auto &[phase, pipeline] : options.extraPasses) {
    const Phase *found = findPhase(phase);
    if (!found || found->scope == PhaseScope::File)
      return usageError("cannot run passes after phase '" + phase + "'; expected one that leaves IR");
  }
  if (!options.remarks.empty()) {
    remark::RemarkCategories categories;
    // Each kind has its own filter; `all` is only added to those that are set.
    categories.passed = categories.missed = categories.analysis = categories.failed = options.remarks;
    if (failed(remark::enableOptimizationRemarks(*result->context, std::make_unique<RemarkPrinter>(),
                                                 std::make_unique<remark::RemarkEmittingPolicyAll>(), categories)))
      return llvm::createStringError("cannot enable remarks");
  }
  return result;
}

llvm::Error Compilation::takeDiagnostics(const llvm::Twine &fallback) {
  std::string text = diagnostics.empty() ? fallback.str() : diagnostics;
  diagnostics.clear();
  return llvm::createStringError(options.model + ": " + text);
}

llvm::Error Compilation::checkInterrupted() {
  if (options.interrupted && *options.interrupted)
    return llvm::createStringError(std::make_error_code(std::errc::interrupted), "interrupted");
  return llvm::Error::success();
}

llama::ModelOp Compilation::modelOf(ModuleOp module) { return *module.getOps<llama::ModelOp>().begin(); }

llvm::Error Compilation::runPasses(const Phase &phase, ModuleOp module, const codegen::Target *target) {
  PassManager manager(context.get());
  if (phase.addPasses)
    phase.addPasses(manager, target, options);
  for (const auto &[name, pipeline] : options.extraPasses) {
    std::string messages;
    llvm::raw_string_ostream stream(messages);
    if (phase.name == name && failed(parsePassPipeline(pipeline, manager, stream)))
      return usageError("cannot parse the passes after phase '" + name + "': " + llvm::StringRef(messages).trim());
  }
  if (failed(manager.run(module)) || (phase.check && failed(phase.check(module))))
    return takeDiagnostics("phase '" + phase.name + "' failed");
  return llvm::Error::success();
}

llvm::Error Compilation::run(const Phase &phase) {
  if (llvm::Error error = checkInterrupted())
    return error;
  if (phase.run)
    if (llvm::Error error = (this->*phase.run)())
      return error;
  switch (phase.scope) {
  case PhaseScope::Model:
    return runPasses(phase, *module, nullptr);
  case PhaseScope::Target:
    for (TargetModule &each : targets) {
      if (!each.module)
        each.module = module->clone();
      if (llvm::Error error = runPasses(phase, *each.module, each.target))
        return error;
    }
    return llvm::Error::success();
  case PhaseScope::File:
    return llvm::Error::success();
  }
  llvm_unreachable("every scope is handled");
}

llvm::Expected<std::vector<Artifact>> Compilation::artifacts(const Phase &phase) {
  if (phase.artifacts)
    return (this->*phase.artifacts)();
  std::vector<Artifact> result;
  auto add = [&](std::string suffix, ModuleOp module) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    module.print(stream);
    stream << '\n';
    result.push_back({std::move(suffix), std::move(text)});
  };
  if (phase.scope == PhaseScope::Model)
    add(".mlir", *module);
  if (phase.scope == PhaseScope::Target)
    for (TargetModule &each : targets)
      add(("." + each.target->name() + ".mlir").str(), *each.module);
  return result;
}
