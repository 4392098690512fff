//===- Checkpoint.cpp - a model as it comes: metadata and tensors ---------------------===//

#include "compiler/import/Checkpoint.h"
#include "compiler/import/Gguf.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace sluice;

std::string TensorInfo::shape() const {
  return llvm::join(llvm::map_range(dims, [](int64_t dim) { return std::to_string(dim); }), " x ");
}

llvm::Expected<std::unique_ptr<Checkpoint>> Checkpoint::open(llvm::StringRef path) {
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(path));
  int file = ::open(checkpoint->filePath.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe must not block
  struct stat facts;
  if (file < 0 || fstat(file, &facts) != 0) {
    std::string reason = std::strerror(errno);
    if (file >= 0)
      close(file);
    return checkpoint->error("cannot open: " + reason);
  }
  if (!S_ISREG(facts.st_mode)) {
    close(file);
    return checkpoint->error(S_ISDIR(facts.st_mode) ? "is a folder; expected a GGUF file"
                                                    : "is not an ordinary file; expected a GGUF file");
  }
  if (facts.st_size == 0) {
    close(file);
    return checkpoint->error("is empty; expected a GGUF file: download it again");
  }
  void *mapped = mmap(nullptr, facts.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (mapped == MAP_FAILED)
    return checkpoint->error(llvm::Twine("cannot map: ") + std::strerror(errno));
  checkpoint->bytes = {static_cast<const uint8_t *>(mapped), static_cast<size_t>(facts.st_size)};
  if (llvm::Error failure = GgufReader(*checkpoint).read())
    return failure;
  return checkpoint;
}

Checkpoint::~Checkpoint() {
  if (!bytes.empty())
    munmap(const_cast<uint8_t *>(bytes.data()), bytes.size());
}

const TensorInfo *Checkpoint::findTensor(llvm::StringRef name) const {
  auto found = tensorIndex.find(name);
  return found == tensorIndex.end() ? nullptr : &tensorList[found->second];
}

llvm::Expected<llvm::ArrayRef<uint8_t>> Checkpoint::tensorBytes(llvm::StringRef name) const {
  const TensorInfo *tensor = findTensor(name);
  if (!tensor)
    return error("tensor '" + name + "' is missing");
  return bytes.slice(tensor->offset, tensor->bytes);
}

void Checkpoint::release(llvm::ArrayRef<uint8_t> mapped) const {
  const uintptr_t page = sysconf(_SC_PAGESIZE);
  uintptr_t from = reinterpret_cast<uintptr_t>(mapped.begin()) / page * page;
  uintptr_t to =
      reinterpret_cast<uintptr_t>(mapped.end()) / page * page; // the last page may hold the next tensor's start
  if (to > from)
    madvise(reinterpret_cast<void *>(from), to - from, MADV_DONTNEED);
}

static const char *const typeNames[] = {
    "a bool",   "an integer",          "an integer",           "a float",
    "a string", "an array of strings", "an array of integers", "an array of floats"};

template <typename T> llvm::Expected<std::optional<T>> Checkpoint::find(llvm::StringRef key) const {
  auto found = values.find(key);
  if (found == values.end())
    return std::nullopt;
  const Metadata &value = found->second;
  if (const T *exact = std::get_if<T>(&value))
    return *exact;
  if constexpr (std::is_same_v<T, int64_t>)
    if (const uint64_t *wide = std::get_if<uint64_t>(&value); wide && *wide <= uint64_t(INT64_MAX))
      return static_cast<int64_t>(*wide);
  if constexpr (std::is_same_v<T, int64_t>)
    if (const uint64_t *wide = std::get_if<uint64_t>(&value))
      return error("metadata key '" + key + "': " + llvm::Twine(*wide) + " is impossibly large");
  size_t expected = Metadata(T()).index();
  return error("metadata key '" + key + "': expected " + typeNames[expected] + ", got " + typeNames[value.index()]);
}

namespace sluice {
template llvm::Expected<std::optional<bool>> Checkpoint::find(llvm::StringRef) const;
template llvm::Expected<std::optional<int64_t>> Checkpoint::find(llvm::StringRef) const;
template llvm::Expected<std::optional<double>> Checkpoint::find(llvm::StringRef) const;
template llvm::Expected<std::optional<llvm::StringRef>> Checkpoint::find(llvm::StringRef) const;
template llvm::Expected<std::optional<std::vector<llvm::StringRef>>> Checkpoint::find(llvm::StringRef) const;
template llvm::Expected<std::optional<std::vector<int64_t>>> Checkpoint::find(llvm::StringRef) const;
template llvm::Expected<std::optional<std::vector<double>>> Checkpoint::find(llvm::StringRef) const;
} // namespace sluice

std::optional<llvm::StringRef> Checkpoint::chatTemplate() const {
  auto found = values.find("tokenizer.chat_template");
  if (found == values.end() || !std::holds_alternative<llvm::StringRef>(found->second))
    return std::nullopt;
  return std::get<llvm::StringRef>(found->second);
}

llvm::Error Checkpoint::error(const llvm::Twine &message) const {
  // Names come from the file: whatever would act on a terminal is shown as its code.
  std::string text;
  for (char c : llvm::json::fixUTF8(message.str()))
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      text += "\\x" + llvm::utohexstr(static_cast<unsigned char>(c), /*LowerCase=*/true, /*Width=*/2);
    else
      text += c;
  return llvm::createStringError(llvm::Twine(filePath) + ": " + text);
}
