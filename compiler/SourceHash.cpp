//===- SourceHash.cpp - the identity of a checkpoint -------------------------------===//

#include "compiler/SourceHash.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/BLAKE3.h"
#include "llvm/Support/FileSystem.h"

using namespace sluice;

static llvm::Error addFile(llvm::BLAKE3 &hasher, const std::string &path, const std::atomic<bool> &stopped) {
  llvm::Expected<llvm::sys::fs::file_t> file = llvm::sys::fs::openNativeFileForRead(path);
  if (!file)
    return llvm::createStringError(path + ": cannot open: " + toString(file.takeError()));
  std::vector<char> buffer(1 << 20);
  llvm::Error error = llvm::Error::success();
  while (!stopped) {
    llvm::Expected<size_t> count = llvm::sys::fs::readNativeFile(*file, buffer);
    if (!count)
      error = llvm::createStringError(path + ": cannot read: " + toString(count.takeError()));
    if (!count || *count == 0)
      break;
    hasher.update(llvm::StringRef(buffer.data(), *count));
  }
  llvm::sys::fs::closeFile(*file);
  return error;
}

static llvm::Expected<std::string> hashFiles(const std::vector<std::string> &paths, const std::atomic<bool> &stopped) {
  llvm::BLAKE3 hasher;
  for (const std::string &path : paths)
    if (llvm::Error error = addFile(hasher, path, stopped))
      return error;
  return "blake3:" + llvm::toHex(hasher.final(), /*LowerCase=*/true);
}

SourceHash::SourceHash(std::vector<std::string> paths)
    : result(std::async(std::launch::async, [this, paths = std::move(paths)] { return hashFiles(paths, stopped); })) {}

SourceHash::~SourceHash() {
  stopped = true;
  if (result.valid())
    consumeError(result.get().takeError());
}
