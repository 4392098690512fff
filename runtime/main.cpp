//===- main.cpp - the program in front of a compiled model ---------------------------===//

#include "runtime/Commands.h"
#include "runtime/Cpu.h"
#include "runtime/Error.h"
#include "runtime/Faults.h"
#include "runtime/Streams.h"
#include "runtime/Utf8.h"
#include <new>

using namespace sluice::runtime;

static void run(const Executable &executable, const Options &options) {
  if (deviceVariants().empty() && (options.listDevices || options.device >= 0 || options.launch != Launch::Best))
    throw UsageError("the file has code for processors alone: --device, --launch and --list-devices are for files "
                     "compiled with --target=sm_80 or newer");
  if (options.listDevices)
    return writeOut(listDevices());
  switch (options.command) {
  case Options::Command::Generate:
    return generate(executable, options);
  case Options::Command::Tokenize:
    return tokenize(executable, options);
  case Options::Command::Detokenize:
    return detokenize(executable, options);
  case Options::Command::Template:
    return renderTemplate(executable, options);
  case Options::Command::Eval:
    return evaluate(executable, options);
  case Options::Command::Perplexity:
    return perplexity(executable, options);
  case Options::Command::Bench:
    return bench(executable, options);
  case Options::Command::Info:
    return info(executable, options);
  case Options::Command::Verify:
    return verify(executable, options);
  }
}

static SamplingOptions samplingOf(const sluice_model &model) {
  SamplingOptions options;
  auto take = [](auto &option, auto said) {
    if (said >= 0)
      option = said;
  };
  take(options.temperature, model.temperature);
  take(options.topK, model.top_k);
  take(options.topP, model.top_p);
  take(options.minP, model.min_p);
  take(options.repeatPenalty, model.repeat_penalty);
  return options;
}

int main(int argc, char **argv) {
  prepareStreams();
  try {
    Model model;
    reportLostFile(model.file(), model.fileName());
    const sluice_model &description = model.description();
    std::string version = printable(model.string(description.name)) + ", compiled by Sluice " +
                          printable(model.string(description.compiler_version));
    int status = 0;
    std::optional<Options> options =
        parseOptions({argv + (argc > 0), argv + argc}, model.fileName(), version, status, samplingOf(description));
    if (!options)
      return status;
    if (options->command != Options::Command::Verify) // which names all that is damaged
      model.checkTexts();
    run({model, {sluice_variants, sluice_variant_count}}, *options);
    return 0;
  } catch (const BrokenPipe &) {
    return 0;
  } catch (const UsageError &error) {
    note("error: " + printable(error.what()));
    return 2;
  } catch (const std::bad_alloc &) {
    note("error: out of memory");
    return 1;
  } catch (const std::exception &error) {
    note("error: " + printable(error.what()));
    return 1;
  }
}
