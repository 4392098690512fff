//===- Ptxas.cpp - NVIDIA's assembler, where it is installed ------------------------------===//

#include "codegen/nvptx/Ptxas.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Regex.h"

using namespace sluice::codegen;

std::string sluice::codegen::findCudaTool(llvm::StringRef name) {
  if (const char *path = std::getenv(("SLUICE_" + name.upper()).c_str()))
    return llvm::sys::fs::can_execute(path) ? path : "";
  if (llvm::ErrorOr<std::string> path = llvm::sys::findProgramByName(name))
    return *path;
  llvm::SmallVector<std::string> folders;
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char *home = std::getenv(variable))
      folders.push_back(std::string(home) + "/bin");
  folders.push_back("/usr/local/cuda/bin");
  if (const char *environment = std::getenv("VIRTUAL_ENV")) {
    // nvidia-cuda-nvcc and its like: lib/python3.N/site-packages/nvidia/{cuda_nvcc,cu13,...}/bin.
    std::error_code code;
    auto each = [&](const llvm::Twine &folder, auto f) {
      for (llvm::sys::fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code))
        f(it->path());
    };
    each(llvm::Twine(environment) + "/lib", [&](const std::string &python) {
      each(python + "/site-packages/nvidia", [&](const std::string &package) { folders.push_back(package + "/bin"); });
    });
  }
  for (const std::string &folder : folders) {
    std::string path = folder + "/" + name.str();
    if (llvm::sys::fs::can_execute(path))
      return path;
  }
  return "";
}

// Lines of `ptxas -v`: "Compiling entry function 'name' for 'sm_90'", "N bytes stack frame, N bytes spill stores, N bytes
// spill loads", "Used N registers, ...".
static llvm::StringMap<KernelResources> readReport(llvm::StringRef report) {
  llvm::StringMap<KernelResources> kernels;
  llvm::Regex entry("entry function '([^']+)'"), used("Used ([0-9]+) registers"),
      spills("([0-9]+) bytes stack frame, ([0-9]+) bytes spill stores, ([0-9]+) bytes spill loads");
  KernelResources *kernel = nullptr;
  llvm::SmallVector<llvm::StringRef> lines, found;
  report.split(lines, '\n');
  auto number = [](llvm::StringRef text) {
    unsigned value = 0;
    text.getAsInteger(10, value);
    return value;
  };
  for (llvm::StringRef line : lines) {
    if (entry.match(line, &found))
      kernel = &kernels[found[1]];
    if (kernel && spills.match(line, &found)) {
      kernel->stackBytes = number(found[1]);
      kernel->spillStores = number(found[2]);
      kernel->spillLoads = number(found[3]);
    }
    if (kernel && used.match(line, &found))
      kernel->registers = number(found[1]);
  }
  return kernels;
}

llvm::Expected<Assembled> sluice::codegen::assemble(llvm::StringRef ptxas, llvm::StringRef ptx, llvm::StringRef target) {
  constexpr const char *suffixes[] = {"ptx", "cubin", "txt"};
  llvm::SmallString<128> input, output, report;
  llvm::SmallString<128> *files[] = {&input, &output, &report};
  llvm::FileRemover removers[std::size(suffixes)];
  for (auto [file, suffix, remover] : llvm::zip_equal(files, suffixes, removers)) {
    if (std::error_code code = llvm::sys::fs::createTemporaryFile("sluice", suffix, *file))
      return llvm::createStringError(code, "cannot create a temporary file: " + code.message());
    remover.setFile(*file);
  }
  {
    std::error_code code;
    llvm::raw_fd_ostream out(input, code);
    out << ptx;
    out.close();
    if (code || out.has_error()) {
      out.clear_error();
      return llvm::createStringError("cannot write a temporary file for ptxas");
    }
  }
  const std::string architecture = ("-arch=" + target).str();
  std::optional<llvm::StringRef> redirects[] = {llvm::StringRef(""), report.str(), report.str()};
  std::string message;
  int result = llvm::sys::ExecuteAndWait(ptxas, {ptxas, architecture, "-v", "-O3", input, "-o", output}, std::nullopt,
                                         redirects, 0, 0, &message);
  auto text = llvm::MemoryBuffer::getFile(report);
  llvm::StringRef said = text ? (*text)->getBuffer().trim() : "";
  if (result != 0)
    return llvm::createStringError(ptxas + " failed for " + target + ": " + (message.empty() ? said : message));
  auto cubin = llvm::MemoryBuffer::getFile(output);
  if (!cubin)
    return llvm::createStringError(cubin.getError(), "cannot read what ptxas wrote");
  Assembled assembled{llvm::SmallString<0>((*cubin)->getBuffer()), readReport(said)};
  return std::move(assembled);
}
