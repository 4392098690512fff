//===- Gguf.h - reads the GGUF container ----------------------------------------------===//
//
// Versions 2 and 3, little-endian. Source: the GGUF specification (ggml, docs/gguf.md). Every count, length and offset
// is checked against what is left of the file before it is used, so nothing is allocated that the file cannot justify.
//
//===------------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_IMPORT_GGUF_H
#define SLUICE_COMPILER_IMPORT_GGUF_H

#include "compiler/import/Checkpoint.h"

namespace sluice {

class GgufReader {
public:
  // Reads file `file` of the checkpoint. Metadata of the first one becomes the checkpoint's.
  GgufReader(Checkpoint &checkpoint, uint32_t file)
      : checkpoint(checkpoint), file(file), bytes(checkpoint.files[file].bytes),
        values(file == 0 ? checkpoint.values : ownValues) {}
  llvm::Error read();
  // A metadata value of this file; -1 if there is none.
  int64_t integer(llvm::StringRef key) const;

private:
  template <typename T> bool take(T &value);
  bool takeString(llvm::StringRef &value);
  llvm::Error readMetadata(uint64_t count);
  llvm::Error readValue(llvm::StringRef key, uint32_t type, Metadata &value);
  llvm::Error readArray(llvm::StringRef key, Metadata &value);
  llvm::Error readTensors(uint64_t count);
  llvm::Error placeTensors(size_t first); // tensors of this file begin at that number
  llvm::Error truncated(const llvm::Twine &where) const;

  Checkpoint &checkpoint;
  uint32_t file;
  llvm::ArrayRef<uint8_t> bytes;
  llvm::MapVector<llvm::StringRef, Metadata> ownValues, &values;
  uint64_t at = 0;       // position in the file
  uint64_t elements = 0; // of all arrays
};

} // namespace sluice
#endif
