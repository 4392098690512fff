//===- Checkpoint.h - a model as it comes: metadata and tensors -----------------------===//
//
// What a reader of a container (GGUF, safetensors) fills and everyone else asks. Files are mapped; nothing is copied or
// converted here, and whatever lies in a file has been checked to lie in it.
//
//===------------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_IMPORT_CHECKPOINT_H
#define SLUICE_COMPILER_IMPORT_CHECKPOINT_H

#include "dialects/llama/Formats.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <memory>
#include <optional>
#include <variant>
#include <vector>

namespace sluice {

struct TensorInfo {
  std::string name;
  uint32_t type;                      // type id of GGUF
  const llama::FormatInfo *format;    // null: a type that is not read; typeName says which
  bool isFloat8 = false;              // F8_E4M3 on the way to `format`, which can hold its numbers
  std::string typeName;               // as the container spells it: "Q4_1", "Q4_K", "type 77", "F8_E4M3"
  llvm::SmallVector<int64_t, 4> dims; // fastest first, all positive
  uint32_t file = 0;                  // index into the checkpoint's files
  uint64_t offset;                    // in the file
  uint64_t bytes;                     // 0 where the type's size is not known
  int64_t cols() const { return dims[0]; }
  int64_t rows() const { return dims.size() > 1 ? dims[1] : 1; }
  std::string shape() const; // "576 x 1536"
};

// A metadata value. Arrays of numbers are widened; strings point into the file.
using Metadata = std::variant<bool, int64_t, uint64_t, double, llvm::StringRef, std::vector<llvm::StringRef>,
                              std::vector<int64_t>, std::vector<double>>;

struct MappedFile {
  std::string path;
  llvm::ArrayRef<uint8_t> bytes;
};

class Checkpoint {
public:
  // Opens and checks a checkpoint: a GGUF file, any one of the shards of a model in GGUF, or a folder as Hugging Face
  // has them. Errors name the file and what to do.
  static llvm::Expected<std::unique_ptr<Checkpoint>> open(llvm::StringRef path);
  ~Checkpoint();

  llvm::StringRef path() const { return filePath; }
  // The files of tensors, in order.
  llvm::ArrayRef<MappedFile> mappedFiles() const { return files; }
  uint64_t fileBytes() const;
  bool isFolder() const { return !config.empty(); }
  // The text of config.json; empty for GGUF.
  llvm::StringRef configText() const { return config; }

  //===-- Tensors --------------------------------------------------------------------===//
  static constexpr uint64_t mostTensors = 1 << 20; // more are an error
  llvm::ArrayRef<TensorInfo> tensors() const { return tensorList; }
  const TensorInfo *findTensor(llvm::StringRef name) const;
  // The bytes of a tensor, mapped. They must be released after use, so that memory does not grow with the model.
  llvm::Expected<llvm::ArrayRef<uint8_t>> tensorBytes(llvm::StringRef name) const;
  void release(llvm::ArrayRef<uint8_t> mapped) const;

  //===-- Metadata -------------------------------------------------------------------===//
  // None if the key is absent; an error naming key, expected and found type if its value is of another type.
  template <typename T> llvm::Expected<std::optional<T>> find(llvm::StringRef key) const;
  const llvm::MapVector<llvm::StringRef, Metadata> &metadata() const { return values; }
  // The Jinja source of the chat template, if there is one.
  std::optional<llvm::StringRef> chatTemplate() const;

  // An error "FILE: message", the message as by `shown`.
  llvm::Error error(const llvm::Twine &message) const;

private:
  friend class GgufReader;
  friend class SafetensorsReader;
  explicit Checkpoint(llvm::StringRef path) : filePath(path.str()) {}
  // Maps a file; its index.
  llvm::Expected<uint32_t> map(llvm::StringRef path);
  // An error if tensors from number `first` on, which are of one file, overlap.
  llvm::Error expectApart(size_t first) const;
  llvm::Error readGguf();

  std::string filePath, config;
  std::vector<MappedFile> files;
  std::vector<TensorInfo> tensorList;
  llvm::StringMap<size_t> tensorIndex;
  llvm::MapVector<llvm::StringRef, Metadata> values;
};

// Prints metadata (long values shortened) and tensors as a table.
void printCheckpoint(const Checkpoint &checkpoint, llvm::raw_ostream &out);

} // namespace sluice
#endif
