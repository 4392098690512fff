//===- InfoCommands.cpp - info and verify --------------------------------------------===//

#include "runtime/Commands.h"
#include "runtime/Cpu.h"
#include "runtime/Error.h"
#include "runtime/Integrity.h"
#include "runtime/Streams.h"
#include "runtime/Utf8.h"
#include <cctype>
#include <nlohmann/json.hpp>

using namespace sluice::runtime;
using Json = nlohmann::ordered_json;

static std::string targetNames(const Executable &executable) {
  std::string names;
  for (const sluice_device_variant *variant : deviceVariants())
    names += (names.empty() ? "" : ", ") + std::string(variant->target);
  for (const sluice_variant &variant : executable.variants)
    names += (names.empty() ? "" : ", ") + std::string(variant.target);
  return names;
}

// Which target this machine's processor takes, or why it takes none. No device is asked for.
static std::string chosenTarget(const Executable &executable) {
  const std::string devices = deviceVariants().empty() ? "" : "; of devices see --list-devices";
  try {
    return executable.variant().target + devices;
  } catch (const Error &error) {
    return "none: " + std::string(error.what()) + devices;
  }
}

// What is in force here, and what is left to a device's driver, whether there is one or not.
static std::string sandbox() {
  std::string text = sandboxState().summary();
  if (!deviceVariants().empty())
    text += "; where a device may be used, without --device cpu: no network, no other program, files are left to its "
            "driver";
  return text;
}

// Bytes of the KV cache that a token takes.
static uint64_t kvBytes(const sluice_model &model, uint32_t type) {
  return uint64_t(model.layers) * model.kv_heads * sluice_kv_block_bytes(type, model.head_dim) / SLUICE_KV_BLOCK;
}

static Json describe(const Executable &executable) {
  const Model &model = executable.model;
  const sluice_model &m = model.description();
  return {{"model", model.string(m.name)},
          {"architecture", model.string(m.architecture)},
          {"formats", model.string(m.formats)},
          {"peaks", m.peaks},
          {"layers", m.layers},
          {"width", m.width},
          {"heads", m.heads},
          {"kv_heads", m.kv_heads},
          {"head_dim", m.head_dim},
          {"feed_forward", m.feed_forward},
          {"vocabulary", m.vocabulary},
          {"context_length", m.context_length},
          {"kv_bytes_per_token_f16", kvBytes(m, SLUICE_CACHE_F16)},
          {"kv_bytes_per_token_f32", kvBytes(m, SLUICE_CACHE_F32)},
          {"kv_bytes_per_token_q8_0", kvBytes(m, SLUICE_CACHE_Q8_0)},
          {"bytes_per_token", m.weight_bytes},
          {"packed_bytes", model.section(SLUICE_SECTION_WEIGHTS).size()},
          {"file_bytes", model.fileBytes()},
          {"chat_template", !model.section(SLUICE_SECTION_TEMPLATE).empty()},
          {"targets", targetNames(executable)},
          {"target_here", chosenTarget(executable)},
          {"compiler", std::string("Sluice ") + model.string(m.compiler_version)},
          {"source_file", model.string(m.source_file)},
          {"source_bytes", m.source_bytes},
          {"source_hash", model.string(m.source_hash)},
          {"sandbox", sandbox()}};
}

void sluice::runtime::info(const Executable &executable, const Options &options) {
  executable.confine(options);
  const Json facts = describe(executable);
  if (options.json)
    return writeOut(facts.dump(2, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace) + "\n");
  std::string text;
  for (auto &[key, value] : facts.items()) {
    std::string name = key, shown = value.is_string() ? printable(value.get<std::string>()) : value.dump();
    if (name.find("bytes") != std::string::npos)
      shown += " (" + readableBytes(value.get<uint64_t>()) + ")";
    if (value.is_boolean())
      shown = value.get<bool>() ? "yes" : "no";
    for (size_t i = 1; i + 1 < name.size(); ++i) // "q8_0" is a name
      if (name[i] == '_' && !(std::isdigit(name[i - 1]) && std::isdigit(name[i + 1])))
        name[i] = ' ';
    text += name + std::string(25 - std::min<size_t>(name.size(), 24), ' ') + shown + "\n";
  }
  writeOut(text);
}

void sluice::runtime::verify(const Executable &executable, const Options &options) {
  executable.confine(options);
  const Model &model = executable.model;
  const std::vector<std::string> damaged = findDamage(model);
  try {
    for (const std::string &what : damaged)
      writeOut("damaged: " + what + "\n");
  } catch (const BrokenPipe &) { // the status still says it
  }
  if (!damaged.empty())
    throw Error(model.fileName() + " is damaged; copy or compile it again");
  model.checkUnchanged();
  writeOut("whole: " + std::to_string(model.tensors().size()) + " tensors, " +
           readableBytes(model.section(SLUICE_SECTION_WEIGHTS).size()) + " of weights\n");
}
