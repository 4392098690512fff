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

// Lines of `ptxas -v`: "Compiling entry function 'name' for 'sm_90'", "N bytes stack frame, N bytes spill stores, N
// bytes spill loads", "Used N registers, ...".
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

namespace {
// A file that is gone when this is.
struct TemporaryFile {
  llvm::SmallString<128> path;
  llvm::FileRemover remover;
  llvm::Error create(llvm::StringRef suffix, llvm::StringRef contents = "") {
    int descriptor = -1;
    if (std::error_code code = llvm::sys::fs::createTemporaryFile("sluice", suffix, descriptor, path))
      return llvm::createStringError(code, "cannot create a temporary file: " + code.message());
    remover.setFile(path);
    llvm::raw_fd_ostream out(descriptor, /*shouldClose=*/true);
    out << contents;
    out.close();
    if (!out.has_error())
      return llvm::Error::success();
    out.clear_error();
    return llvm::createStringError(path + ": cannot write the temporary file");
  }
};

// Runs a tool whose output goes to `output`, errors to `errors`.
llvm::Error run(llvm::ArrayRef<llvm::StringRef> command, llvm::StringRef output, llvm::StringRef errors) {
  std::optional<llvm::StringRef> redirects[] = {llvm::StringRef(""), output, errors};
  std::string message;
  const int status = llvm::sys::ExecuteAndWait(command[0], command, std::nullopt, redirects, 0, 0, &message);
  if (status == 0)
    return llvm::Error::success();
  if (auto text = llvm::MemoryBuffer::getFile(errors); message.empty() && text)
    message = (*text)->getBuffer().trim();
  if (message.empty())
    message = "exit status " + std::to_string(status);
  return llvm::createStringError(command[0] + " failed: " + message);
}
} // namespace

llvm::Expected<Assembled> sluice::codegen::assemble(llvm::StringRef ptxas, llvm::StringRef ptx, llvm::StringRef target,
                                                    llvm::ArrayRef<std::string> kernels) {
  TemporaryFile input, output, report;
  if (llvm::Error error =
          llvm::joinErrors(input.create("ptx", ptx), llvm::joinErrors(output.create("cubin"), report.create("txt"))))
    return std::move(error);
  const std::string architecture = ("-arch=" + target).str();
  llvm::SmallVector<llvm::StringRef> command = {ptxas, architecture, "-v", "-O3", input.path, "-o", output.path};
  for (const std::string &kernel : kernels)
    command.append({"--entry", kernel});
  if (llvm::Error error = run(command, report.path, report.path))
    return std::move(error);
  auto cubin = llvm::MemoryBuffer::getFile(output.path), text = llvm::MemoryBuffer::getFile(report.path);
  if (!cubin || !text)
    return llvm::createStringError("cannot read what ptxas wrote");
  Assembled assembled{llvm::SmallString<0>((*cubin)->getBuffer()), readReport((*text)->getBuffer())};
  return std::move(assembled);
}

llvm::Expected<std::string> sluice::codegen::disassemble(llvm::StringRef nvdisasm, llvm::StringRef cubin) {
  TemporaryFile input, output, errors;
  if (llvm::Error error =
          llvm::joinErrors(input.create("cubin", cubin), llvm::joinErrors(output.create("sass"), errors.create("txt"))))
    return std::move(error);
  if (llvm::Error error = run({nvdisasm, "-c", input.path}, output.path, errors.path))
    return std::move(error);
  auto text = llvm::MemoryBuffer::getFile(output.path);
  if (!text)
    return llvm::createStringError("cannot read what nvdisasm wrote");
  return (*text)->getBuffer().str();
}
