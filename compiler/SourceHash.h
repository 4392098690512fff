//===- SourceHash.h - the identity of a checkpoint ---------------------------------===//
#ifndef SLUICE_COMPILER_SOURCEHASH_H
#define SLUICE_COMPILER_SOURCEHASH_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <atomic>
#include <future>
#include <string>
#include <vector>

namespace sluice {

// Computes "blake3:" and 64 hexadecimal digits of files, one after another, in a thread of its own. Destruction ends
// the thread early.
class SourceHash {
public:
  static constexpr size_t length = 7 + 64; // of the result
  explicit SourceHash(std::vector<std::string> paths);
  ~SourceHash();
  // Waits for it; once only.
  llvm::Expected<std::string> get() { return result.get(); }

private:
  std::atomic<bool> stopped = false;
  std::future<llvm::Expected<std::string>> result;
};

} // namespace sluice
#endif
