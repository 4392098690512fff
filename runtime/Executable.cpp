//===- Executable.cpp - the model and the code that came with it ---------------------===//

#include "runtime/AvailableMemory.h"
#include "runtime/Commands.h"
#include "runtime/Cpu.h"
#include "runtime/CpuEngine.h"
#include "runtime/Error.h"
#include "runtime/Streams.h"
#include "runtime/ThreadCount.h"
#include <charconv>

using namespace sluice::runtime;

const sluice_variant &Executable::variant() const {
  const sluice_variant &chosen = chooseVariant(variants, cpuFeatures());
  model.checkKernels(chosen.kernel_count);
  return chosen;
}

std::unique_ptr<Engine> Executable::engine(const Options &options, uint64_t context, bool orFewer) const {
  const bool onDevice = !deviceVariants().empty() && !options.onProcessor;
  if (!onDevice && (options.device >= 0 || options.launch != Launch::Best))
    throw UsageError("--launch is for devices, and --device says cpu");
  if (onDevice) {
    try {
      return makeDeviceEngine(model, options.device, options.launch, orFewer ? 0 : context, options.cacheType,
                              !variants.empty());
    } catch (const NoDevice &error) {
      if (variants.empty())
        throw NoDevice(std::string(error.what()) +
                       "; this file has code for devices alone: compile it with --target=...,host for processors, too");
      if (options.device >= 0)
        throw;
      note(std::string(error.what()) + "; running on the processor");
    }
  }
  return std::make_unique<CpuEngine>(model, variant(), options.threads ? options.threads : defaultThreadCount(),
                                     context, options.cacheType);
}

uint64_t Executable::context(const Options &options, uint64_t otherwise) const {
  const uint64_t most = model.description().context_length;
  if (options.context > most)
    throw UsageError("expected a context (-c) of at most " + std::to_string(most) +
                     " tokens, which this file was made for, got " + std::to_string(options.context));
  return options.context ? options.context : std::min(otherwise, most);
}

void Executable::confine(const Options &options, SandboxNeeds needs) const {
  if (options.noSandbox)
    return leaveOutSandbox("--no-sandbox");
  // Commands that compute may do so on a device.
  needs.driver = needs.threads && !deviceVariants().empty() && !options.onProcessor;
  if (needs.threads) { // these ask files of the kernel, which they open at their first call
    defaultThreadCount();
    availableMemory();
  }
  enterSandbox(needs);
}

std::vector<int32_t> sluice::runtime::parseTokenIds(const std::string &text, const std::string &source) {
  std::vector<int32_t> ids;
  const char *separators = " \t\r\n,";
  for (size_t at = text.find_first_not_of(separators); at != std::string::npos;
       at = text.find_first_not_of(separators, at)) {
    size_t end = std::min(text.find_first_of(separators, at), text.size());
    int32_t id;
    auto [rest, error] = std::from_chars(text.data() + at, text.data() + end, id);
    if (error != std::errc() || rest != text.data() + end)
      throw Error(source + ": expected token ids, got '" + text.substr(at, std::min<size_t>(end - at, 40)) + "'");
    ids.push_back(id);
    at = end;
  }
  return ids;
}

std::string sluice::runtime::readableBytes(uint64_t bytes) {
  const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double value = double(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  char text[64];
  snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}
