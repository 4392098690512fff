//===- Sampling.cpp - how a model's makers choose the next token -----------------------===//

#include "compiler/import/Sampling.h"
#include "compiler/import/Json.h"
#include "compiler/import/TextFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"

using namespace sluice;

namespace {
struct Setting {
  const char *json, *gguf;
  std::optional<double> SamplingDefaults::*field;
  double least, most;
};
constexpr Setting settings[] = {
    {"temperature", "general.sampling.temp", &SamplingDefaults::temperature, 0, 1000},
    {"top_k", "general.sampling.top_k", &SamplingDefaults::topK, 0, INT32_MAX},
    {"top_p", "general.sampling.top_p", &SamplingDefaults::topP, 0, 1},
    {"min_p", "general.sampling.min_p", &SamplingDefaults::minP, 0, 1},
    {"repetition_penalty", "general.sampling.penalty_repeat", &SamplingDefaults::repeatPenalty, 0.01, 100},
};
} // namespace

static llvm::Error outside(const Checkpoint &checkpoint, const llvm::Twine &key, const Setting &setting,
                           llvm::StringRef got) {
  std::string text;
  llvm::raw_string_ostream(text) << key << ": expected a number from "
                                 << llvm::format("%g to %g, got ", setting.least, setting.most) << got;
  return checkpoint.error(text);
}

static llvm::Expected<SamplingDefaults> readJson(const Checkpoint &checkpoint) {
  llvm::SmallString<128> path(checkpoint.path());
  llvm::sys::path::append(path, "generation_config.json");
  SamplingDefaults defaults;
  if (!llvm::sys::fs::exists(path))
    return defaults;
  llvm::Expected<std::string> text = readTextFile(path.str().str());
  if (!text)
    return checkpoint.error("generation_config.json: " + toString(text.takeError()));
  llvm::Expected<Json> json = parseJsonObject(*text);
  if (!json)
    return checkpoint.error("generation_config.json: " + toString(json.takeError()));
  // Without it the rest is not used by its makers; they take the likeliest token, which is no use in a chat.
  if (json->value("do_sample", Json()) != true)
    return defaults;
  defaults = {.temperature = 1, .topK = 50, .topP = 1, .minP = 0, .repeatPenalty = 1};
  for (const Setting &setting : settings) {
    auto found = json->find(setting.json);
    if (found == json->end() || found->is_null())
      continue;
    if (!found->is_number() || !(*found >= setting.least) || !(*found <= setting.most))
      return outside(checkpoint, llvm::Twine("generation_config.json: '") + setting.json + "'", setting,
                     shown(found->dump()));
    defaults.*setting.field = found->get<double>();
  }
  return defaults;
}

llvm::Expected<SamplingDefaults> sluice::readSampling(const Checkpoint &checkpoint) {
  if (checkpoint.isFolder())
    return readJson(checkpoint);
  SamplingDefaults defaults;
  for (const Setting &setting : settings) {
    auto found = checkpoint.metadata().find(setting.gguf);
    if (found == checkpoint.metadata().end())
      continue;
    const int64_t *integer = std::get_if<int64_t>(&found->second);
    const double *real = std::get_if<double>(&found->second);
    const bool isNumber = integer || real;
    const double value = integer ? double(*integer) : real ? *real : 0;
    if (!isNumber || !(value >= setting.least && value <= setting.most))
      return outside(checkpoint, llvm::Twine("metadata key '") + setting.gguf + "'", setting,
                     isNumber ? llvm::formatv("{0}", value).str() : "another type");
    defaults.*setting.field = value;
  }
  return defaults;
}
