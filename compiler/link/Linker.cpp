//===- Linker.cpp - objects and the runtime become an executable -------------===//

#include "compiler/link/Linker.h"
#include "lld/Common/Driver.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <cerrno>
#include <sys/mman.h>
#include <unistd.h>

LLD_HAS_DRIVER(elf)

using namespace sluice;

namespace {
// lld reads its inputs by path: a file that exists in memory only.
class MemoryFile {
public:
  static llvm::Expected<MemoryFile> create(llvm::StringRef contents) {
    MemoryFile file;
    file.descriptor = memfd_create("sluice-object", MFD_CLOEXEC);
    bool ok = file.descriptor >= 0;
    while (ok && !contents.empty()) {
      ssize_t written = write(file.descriptor, contents.data(), contents.size());
      if (written < 0 && errno == EINTR)
        continue;
      ok = written > 0;
      if (ok)
        contents = contents.drop_front(written);
    }
    if (!ok)
      return llvm::createStringError(std::error_code(errno, std::generic_category()),
                                     "cannot hold an object file in memory");
    file.name = "/proc/self/fd/" + std::to_string(file.descriptor);
    return file;
  }
  MemoryFile(MemoryFile &&other) : descriptor(other.descriptor), name(std::move(other.name)) { other.descriptor = -1; }
  ~MemoryFile() {
    if (descriptor >= 0)
      close(descriptor);
  }
  const char *path() const { return name.c_str(); }

private:
  MemoryFile() = default;
  int descriptor = -1;
  std::string name;
};
} // namespace

llvm::Error sluice::linkExecutable(llvm::ArrayRef<llvm::StringRef> objects, llvm::StringRef outputPath,
                                   const RuntimeObjects &runtime) {
  llvm::SmallVector<llvm::StringRef> inputs{runtime.prelinked};
  inputs.append(objects.begin(), objects.end());
  if (!runtime.isStatic())
    inputs.append({runtime.libc, runtime.libm});
  inputs.append({runtime.crtend, runtime.crtn});
  std::vector<MemoryFile> files;
  for (llvm::StringRef input : inputs) {
    llvm::Expected<MemoryFile> file = MemoryFile::create(input);
    if (!file)
      return file.takeError();
    files.push_back(std::move(*file));
  }

  std::string output = outputPath.str();
  // The unwinder finds its tables by --eh-frame-hdr. Symbols stay: profilers and backtraces name kernels by them.
  llvm::SmallVector<const char *> args{"ld.lld", "--eh-frame-hdr", "--strip-debug", "-z", "noexecstack", "--threads=2",
                                       "-o",     output.c_str()};
  if (runtime.isStatic())
    args.push_back("-static");
  else
    args.append({"-pie", "--gc-sections", "--dynamic-linker", "/lib64/ld-linux-x86-64.so.2"});
  for (const MemoryFile &file : files)
    args.push_back(file.path());

  std::string messages;
  llvm::raw_string_ostream stream(messages);
  lld::Result result = lld::lldMain(args, stream, stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode == 0)
    return llvm::Error::success();
  llvm::sys::fs::remove(output);
  return llvm::createStringError(llvm::inconvertibleErrorCode(), "cannot link: " + llvm::StringRef(messages).trim());
}
