//===- ModelTensors.h - which tensors a model consists of, checked --------------------===//
#ifndef SLUICE_COMPILER_IMPORT_MODELTENSORS_H
#define SLUICE_COMPILER_IMPORT_MODELTENSORS_H

#include "compiler/import/LlamaImport.h"
#include "compiler/import/ModelConfig.h"
#include "dialects/llama/Llama.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

namespace sluice {

// A weight of the IR, and where the checkpoint has it; see llama.weight.
struct ModelWeight {
  std::string role; // the weight's name in the IR
  std::string from; // may contain "{layer}"
  int64_t rows, cols;
  int64_t firstRow = 0;
  int64_t tensorRows = 0; // of the whole tensor; 0: rows
  bool isHalfSplit = false, isNorm = false, isOptional = false;
  std::string scaleFrom = {}; // where the tensor has a scale beside it
};

class ModelTensors {
public:
  ModelTensors(const Checkpoint &checkpoint, const ModelConfig &config, const ImportOptions &options)
      : checkpoint(checkpoint), config(config), options(options) {}

  // Finds and checks all tensors. A tensor that is not understood is an error.
  llvm::Error find();

  int64_t vocabulary = 0;
  bool tied = false;
  std::vector<ModelWeight> ofModel, ofLayer; // those of layers: what some layer has

  // Whether a layer has it, and the format in which it is packed.
  bool has(const ModelWeight &weight, int64_t layer) const;
  llama::Format format(const ModelWeight &weight, int64_t layer) const;
  // What the rules of options.quantize ask for and do not get, a line for each reason. A pattern that no matrix matches
  // is a UsageError.
  llvm::Expected<std::vector<std::string>> unquantized() const;

private:
  const QuantizeRule *ruleFor(const ModelWeight &weight) const; // null if there is none
  llvm::Error check(const ModelWeight &weight, int64_t layer);
  void listWeights();
  std::string nameOf(llvm::StringRef role) const { return tensorName(*config.architecture, config.layout, role); }

  const Checkpoint &checkpoint;
  const ModelConfig &config;
  const ImportOptions &options;
  llvm::StringSet<> known;
};

} // namespace sluice
#endif
