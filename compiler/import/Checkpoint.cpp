//===- Checkpoint.cpp - a model as it comes: metadata and tensors ---------------------===//

#include "compiler/import/Checkpoint.h"
#include "compiler/import/Gguf.h"
#include "compiler/import/Safetensors.h"
#include "compiler/import/TextFile.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
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
  const bool isFolder = llvm::sys::fs::is_directory(path);
  if (llvm::Error failure = isFolder ? SafetensorsReader(*checkpoint).read() : checkpoint->readGguf())
    return failure;
  return checkpoint;
}

llvm::Expected<uint32_t> Checkpoint::map(llvm::StringRef path) {
  // What the user named needs no name in the message.
  const std::string name = path == filePath ? "" : (path + ": ").str();
  int file = ::open(path.str().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe must not block
  struct stat facts;
  if (file < 0 || fstat(file, &facts) != 0) {
    std::string reason = std::strerror(errno);
    if (file >= 0)
      close(file);
    return error(name + "cannot open: " + reason);
  }
  if (!S_ISREG(facts.st_mode)) {
    close(file);
    return error(name + "is not an ordinary file; expected a GGUF file or safetensors");
  }
  if (facts.st_size == 0) {
    close(file);
    return error(name + "is empty; expected a GGUF file or safetensors: download it again");
  }
  void *mapped = mmap(nullptr, facts.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (mapped == MAP_FAILED)
    return error(name + "cannot map: " + std::strerror(errno));
  files.push_back({path.str(), {static_cast<const uint8_t *>(mapped), static_cast<size_t>(facts.st_size)}});
  return files.size() - 1;
}

// "model-00002-of-00003.gguf": the path of part `number` (from 0) of a model whose part `known` is at `path`; nothing
// if that is not called so.
static std::optional<std::string> partPath(llvm::StringRef path, int64_t known, int64_t number, int64_t count) {
  auto suffix = [&](int64_t part) {
    std::string text;
    llvm::raw_string_ostream(text) << llvm::format("-%05lld-of-%05lld.gguf", (long long)part + 1, (long long)count);
    return text;
  };
  if (!path.consume_back(suffix(known)))
    return std::nullopt;
  return path.str() + suffix(number);
}

llvm::Error Checkpoint::readGguf() {
  llvm::Expected<uint32_t> given = map(filePath);
  if (!given)
    return given.takeError();
  if (llvm::Error failure = GgufReader(*this, *given).read())
    return failure;
  auto number = [&](llvm::StringRef key, int64_t absent) -> llvm::Expected<int64_t> {
    llvm::Expected<std::optional<int64_t>> found = find<int64_t>(key);
    if (!found)
      return found.takeError();
    return found->value_or(absent);
  };
  llvm::Expected<int64_t> count = number("split.count", 1), known = number("split.no", 0);
  if (!count || !known)
    return joinErrors(count.takeError(), known.takeError());
  if (*count <= 1)
    return llvm::Error::success();
  // The first part has the metadata of all.
  MappedFile part = files[0];
  files.clear(), tensorList.clear(), tensorIndex.clear(), values.clear();
  munmap(const_cast<uint8_t *>(part.bytes.data()), part.bytes.size());
  if (*count > 99999 || *known < 0 || *known >= *count || !partPath(filePath, *known, *known, *count))
    return error("says it is part " + llvm::Twine(*known + 1) + " of " + llvm::Twine(*count) +
                 " of a model; expected a name that ends so, as in model-00001-of-00002.gguf");
  for (int64_t i = 0; i < *count; ++i) {
    const std::string path = *partPath(filePath, *known, i, *count);
    if (!llvm::sys::fs::exists(path))
      return error("is one of " + llvm::Twine(*count) + " parts of a model; '" + path + "' is missing");
    llvm::Expected<uint32_t> file = map(path);
    if (!file)
      return file.takeError();
    GgufReader reader(*this, *file);
    if (llvm::Error failure = reader.read())
      return failure;
    if (reader.integer("split.no") != i || reader.integer("split.count") != *count)
      return error("'" + path + "' is not part " + llvm::Twine(i + 1) + " of " + llvm::Twine(*count) +
                   " of this model, as its name says");
  }
  llvm::Expected<int64_t> tensorCount = number("split.tensors.count", int64_t(tensorList.size()));
  if (!tensorCount)
    return tensorCount.takeError();
  if (*tensorCount != int64_t(tensorList.size()))
    return error("the parts have " + llvm::Twine(tensorList.size()) + " tensors, expected " +
                 llvm::Twine(*tensorCount) + ": some part is of another model");
  return llvm::Error::success();
}

Checkpoint::~Checkpoint() {
  for (const MappedFile &file : files)
    munmap(const_cast<uint8_t *>(file.bytes.data()), file.bytes.size());
}

uint64_t Checkpoint::fileBytes() const {
  uint64_t bytes = 0;
  for (const MappedFile &file : files)
    bytes += file.bytes.size();
  return bytes;
}

llvm::Error Checkpoint::expectApart(size_t first) const {
  std::vector<const TensorInfo *> inOrder;
  for (const TensorInfo &tensor : llvm::drop_begin(tensorList, first))
    inOrder.push_back(&tensor);
  llvm::stable_sort(inOrder, [](const TensorInfo *x, const TensorInfo *y) { return x->offset < y->offset; });
  for (size_t i = 1; i < inOrder.size(); ++i)
    if (const TensorInfo &before = *inOrder[i - 1], &tensor = *inOrder[i]; before.offset + before.bytes > tensor.offset)
      return error("tensors '" + before.name + "' and '" + tensor.name +
                   "' overlap; the file is damaged: download it again");
  return llvm::Error::success();
}

const TensorInfo *Checkpoint::findTensor(llvm::StringRef name) const {
  auto found = tensorIndex.find(name);
  return found == tensorIndex.end() ? nullptr : &tensorList[found->second];
}

llvm::Expected<llvm::ArrayRef<uint8_t>> Checkpoint::tensorBytes(llvm::StringRef name) const {
  const TensorInfo *tensor = findTensor(name);
  if (!tensor)
    return error("tensor '" + name + "' is missing");
  return files[tensor->file].bytes.slice(tensor->offset, tensor->bytes);
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
  return llvm::createStringError(filePath + ": " + shown(message.str()));
}
