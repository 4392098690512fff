//===- OutputFile.h - a file that exists under its name only when it is whole ------===//
#ifndef SLUICE_COMPILER_PACK_OUTPUTFILE_H
#define SLUICE_COMPILER_PACK_OUTPUTFILE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace sluice {

// Written as `<path>.tmp-<process id>` in the same folder, renamed by commit(), removed if it is not committed; where
// `path` is a link, in the place that it leads to. Errors name `path`; a full disk is said with the bytes that the
// whole file needs.
class OutputFile {
public:
  explicit OutputFile(llvm::StringRef path);
  OutputFile(const OutputFile &) = delete;
  ~OutputFile();
  const std::string &temporaryPath() const { return temporary; }

  // Fails if `path` is there and no ordinary file: a device or a pipe would be replaced.
  llvm::Error checkKind() const;
  // Fails if the folder's file system has not `bytes` left.
  llvm::Error checkSpace(uint64_t bytes) const;
  // Opens the temporary file, which exists, to append to it.
  llvm::Error openToAppend();
  // Takes the space that the file needs to have `totalBytes`, where the file system can.
  llvm::Error reserve(uint64_t totalBytes);
  llvm::Error append(llvm::ArrayRef<uint8_t> bytes);
  // Appends zeros up to a multiple of `alignment`.
  llvm::Error padTo(uint64_t alignment);
  uint64_t size() const { return written; }
  llvm::Error commit();

private:
  llvm::Error fail(llvm::StringRef what, int number) const;

  std::string path, temporary;
  int descriptor = -1;
  uint64_t written = 0, needed = 0;
  bool committed = false;
};

} // namespace sluice
#endif
