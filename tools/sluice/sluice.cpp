//===- sluice.cpp - the compiler's command line ------------------------------------===//
//
// Exit codes: 0 done, 1 an error (one diagnostic on standard error), 2 wrong usage; a signal ends it as that signal.
//
//===------------------------------------------------------------------------------===//

#include "codegen/Target.h"
#include "compiler/Driver.h"
#include "compiler/Pipeline.h"
#include "compiler/UsageError.h"
#include "compiler/Version.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"
#include "runtime/EmptyValues.h"
#include "runtime/Error.h"
#include "runtime/Integrity.h"
#include "runtime/Utf8.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Regex.h"
#include <CLI/CLI.hpp>
#include <csignal>
#include <fstream>

using namespace sluice;

static volatile std::sig_atomic_t interrupted = 0;

static constexpr int64_t maximumContext = int64_t(1) << 31; // of any model

static std::string phaseTable() {
  std::string text = "Phases, in order (--emit=PHASE prints what one makes):\n";
  for (const Phase &phase : phases())
    text += "  " + phase.name.str() + std::string(11 - phase.name.size(), ' ') + phase.summary.str() + "\n";
  return text;
}

static const char *examples = R"(Examples:
  sluice compile model.gguf -o model     one executable: code, weights, tokenizer, chat template
  ./model -p "Why is the sky blue?"      ask it something; without -p, chat in the terminal
  sluice inspect model.gguf              metadata and tensors of the checkpoint
  sluice explain model.gguf              what a token costs: bytes and operations of every phase
  sluice compile model.gguf --emit=fuse  the IR after fusion; runs through sluice-opt
  sluice compile model.gguf -o model --dump-phases=ir    every phase's IR, assembly and object in ir/

More: README.md and docs/ of the source.
)";

// Ends the process as the signal that interrupted it would have.
static int endBySignal() {
  std::signal(interrupted, SIG_DFL);
  std::raise(interrupted);
  return 1;
}

static int report(llvm::Error error) {
  bool wasInterrupted = false, isUsage = false;
  std::string text;
  llvm::handleAllErrors(std::move(error), [&](const llvm::ErrorInfoBase &info) {
    isUsage |= info.isA<UsageError>();
    wasInterrupted |= info.convertToErrorCode() == std::errc::interrupted;
    text += (text.empty() ? "" : "\n") + info.message();
  });
  // Whoever read our output has gone.
  if (interrupted == SIGPIPE)
    return endBySignal();
  if (wasInterrupted && interrupted) {
    llvm::errs() << "sluice: interrupted, no file written\n";
    return endBySignal();
  }
  if (text.empty())
    return 0;
  llvm::errs() << "sluice: error: " << text << '\n';
  return isUsage ? 2 : 1;
}

// "PHASE:PIPELINE", at the first colon.
static std::string addExtraPasses(const std::string &text, Options &options) {
  auto [phase, pipeline] = llvm::StringRef(text).split(':');
  if (!findPhase(phase) || pipeline.empty())
    return "expected PHASE:PIPELINE with PHASE one of " + phaseNames() + ", got '" + text + "'";
  options.extraPasses.push_back({phase.str(), pipeline.str()});
  return "";
}

static std::string checkPhase(const std::string &name) {
  return findPhase(name) ? "" : "unknown phase '" + name + "'; expected one of " + phaseNames();
}

static std::string checkRegex(const std::string &text) {
  std::string message;
  return llvm::Regex(text).isValid(message) ? "" : "not a regular expression: " + message;
}

// "TYPE", or "WEIGHTS=TYPE" with a regular expression.
static std::string addQuantizeRule(const std::string &text, Options &options) {
  const size_t at = text.rfind('=');
  const std::string pattern = at == std::string::npos ? "" : text.substr(0, at);
  options.quantize.push_back({pattern, llvm::StringRef(text).substr(at == std::string::npos ? 0 : at + 1).lower()});
  return pattern.empty() ? "" : checkRegex(pattern);
}

// Options of the commands that run phases.
static void addPhaseOptions(CLI::App &command, Options &options) {
  command.add_option("MODEL", options.model, "checkpoint: a GGUF file, or a folder with config.json and safetensors")
      ->required();
  command
      .add_option_function<std::vector<std::string>>(
          "--quantize",
          [&options](const std::vector<std::string> &values) {
            for (const std::string &value : values)
              if (std::string message = addQuantizeRule(value, options); !message.empty())
                throw CLI::ValidationError("--quantize", message);
          },
          "pack matrices that the checkpoint has in floats as TYPE; with a REGEX, those whose names match, as in "
          "'q4_0,^output$=q8_0' (token_embd, output, attn_q ...; attn_output has output in it)")
      ->type_name("[REGEX=]TYPE")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      .add_option("--context", options.context,
                  "make it for at most N positions; models with rotations for short and long contexts choose by it")
      ->type_name("N")
      ->check(CLI::Range(int64_t(1), maximumContext));
  command
      .add_option(
          "--peaks", options.peaks,
          "how many groups of four, of every 32 activations, get a second byte: 0 reads prompts 10-20 % faster at "
          "six to eight times the error, see docs/numerics.md")
      ->type_name("N")
      ->check(CLI::Range(int64_t(0), int64_t(8)))
      ->capture_default_str();
  command.add_option("--remarks", options.remarks, "print what passes did and declined, for categories matching REGEX")
      ->type_name("REGEX")
      ->check(checkRegex);
  command.add_option("--load-pass-plugin", options.passPlugins, "shared library with further passes")
      ->type_name("FILE")
      ->allow_extra_args(false);
  command
      .add_option_function<std::vector<std::string>>(
          "--passes-after",
          [&options](const std::vector<std::string> &values) {
            for (const std::string &value : values)
              if (std::string message = addExtraPasses(value, options); !message.empty())
                throw CLI::ValidationError("--passes-after", message);
          },
          "run a pass pipeline after a phase, e.g. 'fuse:llama.model(my-pass)'")
      ->type_name("PHASE:PIPELINE")
      ->allow_extra_args(false);
}

// What `path` is, if that cannot be a compiled model. Other errors are the reader's to tell.
static std::string otherKind(const std::string &path) {
  llvm::sys::fs::file_status status;
  if (llvm::sys::fs::status(path, status))
    return "";
  if (status.type() == llvm::sys::fs::file_type::directory_file)
    return "a folder";
  if (status.type() != llvm::sys::fs::file_type::regular_file)
    return "no ordinary file";
  if (status.getSize() == 0)
    return "an empty file";
  char start[4] = {};
  std::ifstream(path, std::ios::binary).read(start, sizeof start);
  const llvm::StringRef magic(start, sizeof start);
  if (magic == "GGUF")
    return "a GGUF file, which has no checksums";
  return magic == "\177ELF" ? "" : "no executable";
}

// Reads what the file says of itself; runs nothing of it.
static llvm::Error verify(const std::string &path, llvm::raw_ostream &out) {
  try {
    runtime::Model model(path.c_str());
    const std::vector<std::string> damaged = runtime::findDamage(model);
    for (const std::string &what : damaged)
      out << "damaged: " << what << '\n';
    if (!damaged.empty())
      return llvm::createStringError(path + " is damaged; copy or compile it again");
    out << "whole: " << model.tensors().size() << " tensors, " << model.fileBytes() << " bytes\n";
    const sluice_model &description = model.description();
    auto said = [&](uint32_t text) { return runtime::printable(model.string(text)); };
    out << "it says: " << said(description.name) << ", compiled by Sluice " << said(description.compiler_version)
        << " from " << said(description.source_file) << " (" << description.source_bytes << " bytes, "
        << said(description.source_hash) << ")\n";
    return llvm::Error::success();
  } catch (const runtime::Error &error) {
    if (const std::string kind = otherKind(path); !kind.empty())
      return llvm::createStringError(path + ": expected a compiled model, as 'sluice compile' writes it, got " + kind);
    return llvm::createStringError(error.what());
  }
}

int main(int argc, char **argv) {
  // What --passes-after may name.
  mlir::registerTransformsPasses();
  registerSluicePasses();
  codegen::registerCodegenPasses();

  Options options;
  options.interrupted = &interrupted;
  std::signal(SIGXFSZ, SIG_IGN); // a limit on file sizes is an error like a full disk

  CLI::App app("Sluice compiles a Llama-family model to one executable file.", "sluice");
  app.require_subcommand(1);
  app.set_version_flag("--version", "sluice " SLUICE_VERSION);
  app.footer("\n" + std::string(examples) + "\n" + phaseTable());

  CLI::App *compileCommand = app.add_subcommand("compile", "compile MODEL to an executable");
  addPhaseOptions(*compileCommand, options);
  compileCommand
      ->add_option("-o,--output", options.output,
                   "executable to write; default: MODEL's name without suffix (with .out, if that is MODEL)")
      ->type_name("FILE");
  compileCommand
      ->add_option("--target", options.targets,
                   "make code for these targets or processors; the best that a machine can run is used there; see "
                   "'sluice targets'")
      ->type_name("NAME[,NAME]")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  compileCommand->add_option("--tuning", options.tuning, "configuration that 'sluice tune' wrote")->type_name("FILE");
  compileCommand->add_option("--emit", options.emit, "stop after PHASE and print what it made, to FILE if -o is given")
      ->type_name("PHASE")
      ->check(checkPhase);
  compileCommand->add_option("--dump-phases", options.dumpPhases, "write what every phase makes into DIR")
      ->type_name("DIR");
  compileCommand->add_flag("-q,--quiet", options.quiet, "no progress, no summary");
  compileCommand->footer("\n" + phaseTable());

  CLI::App *explainCommand = app.add_subcommand("explain", "print what a token of MODEL costs, phase by phase");
  addPhaseOptions(*explainCommand, options);
  explainCommand->add_option("--depth", options.depth, "count with N positions already in the KV cache")
      ->type_name("N")
      ->check(CLI::Range(int64_t(0), maximumContext))
      ->capture_default_str();
  explainCommand->add_option("--cache-type", options.cacheType, "numbers of the KV cache: f16, f32 or q8_0")
      ->check(CLI::IsMember({SLUICE_CACHE_NAMES}))
      ->type_name("TYPE")
      ->capture_default_str();
  explainCommand->add_option("--prefill", options.prompt, "count a prompt of N tokens instead of one token")
      ->type_name("N")
      ->check(CLI::Range(int64_t(1), maximumContext));
  explainCommand
      ->add_option("--target", options.targets, "predict for this target's code, with one thread; see 'sluice targets'")
      ->type_name("NAME")
      ->expected(1)
      ->check([](const std::string &name) {
        return name.find(',') == std::string::npos ? "" : "expected one target, got '" + name + "'";
      })
      ->capture_default_str();
  explainCommand
      ->add_option("--gb-per-s", options.machine.gigabytesPerSecond,
                   "predict for memory of this speed; default: 25, or the GPU's")
      ->type_name("X")
      ->check(CLI::PositiveNumber);
  explainCommand
      ->add_option(
          "--gop-per-s", options.machine.gigaoperationsPerSecond,
          "predict for this many 10^9 operations of 8-bit dot products a second; default: the target's at 3.5 GHz")
      ->type_name("X")
      ->check(CLI::PositiveNumber);
  CLI::App *tuneCommand =
      app.add_subcommand("tune", "try configurations of MODEL's phases on this machine; minutes; for compile --tuning");
  addPhaseOptions(*tuneCommand, options);
  tuneCommand->add_option("-o,--output", options.output, "file to write; default: standard output")->type_name("FILE");
  tuneCommand->add_option("--target", options.targets, "tune code for these; this machine must run them")
      ->type_name("NAME[,NAME]")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  tuneCommand->add_flag("-q,--quiet", options.quiet, "say nothing of what is found");
  CLI::App *inspectCommand = app.add_subcommand("inspect", "print metadata and tensors of MODEL");
  inspectCommand->add_option("MODEL", options.model, "checkpoint: a GGUF file, or a folder")->required();
  CLI::App *verifyCommand =
      app.add_subcommand("verify", "compare a compiled FILE with its checksums, without running it");
  verifyCommand->add_option("FILE", options.model, "what 'sluice compile' wrote")->required();
  CLI::App *targetsCommand = app.add_subcommand("targets", "print the targets that this build can compile for");

  try {
    auto isFirst = [&](const CLI::App *command) { return command->check_name(argv[1]); };
    if (argc > 1 && argv[1][0] != '-' && app.get_subcommands(isFirst).empty())
      throw CLI::ExtrasError({argv[1]});
    std::vector<std::string> arguments = runtime::withEmptyValues({argv + (argc > 0), argv + argc});
    std::reverse(arguments.begin(), arguments.end()); // what CLI11 wants
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError &error) {
    if (error.get_exit_code() == int(CLI::ExitCodes::Success))
      return app.exit(error);
    std::string text = error.what();
    if (text.size() > 1 && llvm::isLower(text[1]))
      text[0] = llvm::toLower(text[0]);
    std::string command; // whose help has the options
    for (const CLI::App *sub : app.get_subcommands())
      command = sub->get_name() + " ";
    llvm::errs() << "sluice: error: " << text << "; see 'sluice " << command << "--help'\n";
    return 2;
  }
  // These may have a file to remove. A second signal does not wait for that.
  if (*compileCommand || *tuneCommand) {
    struct sigaction action = {};
    action.sa_handler = [](int number) { interrupted = number; };
    action.sa_flags = SA_RESTART | SA_RESETHAND;
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE})
      if (struct sigaction before; sigaction(signal, nullptr, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(signal, &action, nullptr);
  }
  llvm::Error error = llvm::Error::success();
  if (*compileCommand)
    error = compile(options);
  else if (*explainCommand)
    error = explain(options, llvm::outs());
  else if (*tuneCommand)
    error = tune(options, llvm::outs());
  else if (*inspectCommand)
    error = inspect(options.model, llvm::outs());
  else if (*verifyCommand)
    error = verify(options.model, llvm::outs());
  else if (*targetsCommand)
    printTargets(llvm::outs());
  llvm::outs().flush();
  if (std::error_code code = llvm::outs().error()) {
    llvm::outs().clear_error();
    error = llvm::joinErrors(std::move(error),
                             llvm::createStringError("cannot write to standard output: " + code.message()));
  }
  return report(std::move(error));
}
