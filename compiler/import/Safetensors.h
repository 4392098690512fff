//===- Safetensors.h - reads the safetensors of a Hugging Face folder ------------------===//
//
// One model.safetensors, or the shards that model.safetensors.index.json names. Every length, offset and shape is
// checked against the file before it is used.
//
//===------------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_IMPORT_SAFETENSORS_H
#define SLUICE_COMPILER_IMPORT_SAFETENSORS_H

#include "compiler/import/Checkpoint.h"
#include "compiler/import/Json.h"

namespace sluice {

class SafetensorsReader {
public:
  explicit SafetensorsReader(Checkpoint &checkpoint) : checkpoint(checkpoint) {}
  llvm::Error read();

private:
  llvm::Expected<std::string> readText(llvm::StringRef name);
  llvm::Expected<std::vector<std::string>> shards();
  llvm::Error readShard(llvm::StringRef name);
  void sortByPlace(size_t first); // tensors of this file begin at that number
  llvm::Error readTensor(uint32_t file, const std::string &name, const Json &description, uint64_t dataBegin);

  Checkpoint &checkpoint;
  std::vector<std::pair<std::string, std::string>> expected; // tensors of the index, and their shards
};

} // namespace sluice
#endif
