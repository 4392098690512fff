//===- OutputFile.cpp - a file that exists under its name only when it is whole ----===//

#include "compiler/pack/OutputFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace sluice;

static std::string followed(llvm::StringRef path) {
  llvm::SmallString<128> real;
  const bool leads = llvm::sys::fs::is_symlink_file(path) && !llvm::sys::fs::real_path(path, real);
  return leads ? real.str().str() : path.str();
}

OutputFile::OutputFile(llvm::StringRef path)
    : path(followed(path)), temporary(this->path + ".tmp-" + std::to_string(llvm::sys::Process::getProcessId())) {}

OutputFile::~OutputFile() {
  if (descriptor >= 0)
    close(descriptor);
  if (!committed)
    unlink(temporary.c_str());
}

static llvm::Error noSpace(llvm::StringRef path, uint64_t needed) {
  return llvm::createStringError(std::make_error_code(std::errc::no_space_on_device),
                                 path + ": no space left on the disk; " + llvm::Twine(needed) +
                                     " bytes are needed, free them or choose another place with -o");
}

llvm::Error OutputFile::fail(llvm::StringRef what, int number) const {
  if (number == ENOSPC || number == EDQUOT)
    return noSpace(path, needed);
  std::error_code code(number, std::generic_category());
  return llvm::createStringError(code, path + ": cannot " + what + ": " + code.message());
}

llvm::Error OutputFile::checkKind() const {
  llvm::sys::fs::file_status status;
  if (llvm::sys::fs::status(path, status) || llvm::sys::fs::is_regular_file(status))
    return llvm::Error::success();
  return llvm::createStringError(std::make_error_code(std::errc::invalid_argument),
                                 path +
                                     ": expected an ordinary file or none to write to; choose another place with -o");
}

llvm::Error OutputFile::checkSpace(uint64_t bytes) const {
  llvm::StringRef folder = llvm::sys::path::parent_path(path);
  llvm::ErrorOr<llvm::sys::fs::space_info> space = llvm::sys::fs::disk_space(folder.empty() ? "." : folder);
  // A folder that does not exist, or that is on a file system without blocks, is an error that opening the file
  // explains.
  if (space && space->capacity && space->available < bytes)
    return noSpace(path, bytes);
  return llvm::Error::success();
}

llvm::Error OutputFile::openToAppend() {
  descriptor = open(temporary.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  struct stat status;
  if (descriptor < 0 || fstat(descriptor, &status) < 0)
    return fail("open", errno);
  written = status.st_size;
  return llvm::Error::success();
}

llvm::Error OutputFile::reserve(uint64_t totalBytes) {
  needed = totalBytes;
  // Fails at once instead of minutes later; a file system that cannot reserve is as good.
  if (fallocate(descriptor, FALLOC_FL_KEEP_SIZE, 0, totalBytes) < 0 && errno != EOPNOTSUPP && errno != ENOSYS)
    return fail("reserve space", errno);
  return llvm::Error::success();
}

llvm::Error OutputFile::append(llvm::ArrayRef<uint8_t> bytes) {
  while (!bytes.empty()) {
    ssize_t count = write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return fail("write", errno);
    written += count;
    bytes = bytes.drop_front(count);
  }
  return llvm::Error::success();
}

llvm::Error OutputFile::padTo(uint64_t alignment) {
  return append(std::vector<uint8_t>((alignment - written % alignment) % alignment));
}

llvm::Error OutputFile::commit() {
  int result = close(descriptor);
  descriptor = -1;
  if (result < 0)
    return fail("write", errno);
  if (rename(temporary.c_str(), path.c_str()) < 0)
    return fail("rename", errno);
  committed = true;
  return llvm::Error::success();
}
