//===- Safetensors.cpp - reads the safetensors of a Hugging Face folder ----------------===//
//
// A file is the length of a JSON header in 8 bytes, the header, and the data that it describes. Source: the format's
// specification (safetensors, docs/source/index.mdx).
//
//===------------------------------------------------------------------------------------===//

#include "compiler/import/Safetensors.h"
#include "compiler/import/TextFile.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <set>

using namespace sluice;
using llvm::Twine;

namespace {
constexpr uint64_t maxHeaderBytes = 100'000'000; // of the specification
constexpr const char *indexName = "model.safetensors.index.json", *singleName = "model.safetensors";

struct Type {
  llvm::StringRef name;
  unsigned bytes;
  std::optional<llama::Format> format; // in which it is packed
};
constexpr Type types[] = {
    {"F32", 4, llama::Format::F32},
    {"F16", 2, llama::Format::F16},
    {"BF16", 2, llama::Format::BF16},
    {"F8_E4M3", 1, llama::Format::BF16},
    {"F8_E5M2", 1, {}},
    {"F64", 8, {}},
    {"I64", 8, {}},
    {"I32", 4, {}},
    {"I16", 2, {}},
    {"I8", 1, {}},
    {"U8", 1, {}},
    {"U16", 2, {}},
    {"U32", 4, {}},
    {"U64", 8, {}},
    {"BOOL", 1, {}},
    {"F8_E8M0", 1, {}},
};
} // namespace

llvm::Expected<std::string> SafetensorsReader::readText(llvm::StringRef name) {
  llvm::SmallString<128> path(checkpoint.path());
  llvm::sys::path::append(path, name);
  llvm::Expected<std::string> text = readTextFile(path.str().str());
  if (!text)
    return checkpoint.error(name + ": " + toString(text.takeError()));
  if (text->empty())
    return checkpoint.error(name + ": is empty; expected JSON: download it again");
  return text;
}

llvm::Error SafetensorsReader::read() {
  llvm::SmallString<128> config(checkpoint.path());
  llvm::sys::path::append(config, "config.json");
  if (!llvm::sys::fs::exists(config))
    return checkpoint.error("is a folder without config.json; expected a GGUF file or a model as Hugging Face has it");
  llvm::Expected<std::string> text = readText("config.json");
  if (!text)
    return text.takeError();
  checkpoint.config = std::move(*text);
  llvm::Expected<std::vector<std::string>> names = shards();
  if (!names)
    return names.takeError();
  for (const std::string &name : *names)
    if (llvm::Error error = readShard(name))
      return error;
  for (const auto &[tensor, shard] : expected) {
    const TensorInfo *found = checkpoint.findTensor(tensor);
    if (!found || llvm::sys::path::filename(checkpoint.files[found->file].path) != shard)
      return checkpoint.error(shard + ": tensor '" + tensor + "' is missing, which " + indexName +
                              " says is there: download the folder again");
  }
  return llvm::Error::success();
}

// The names of the files with tensors, in the order of their names.
llvm::Expected<std::vector<std::string>> SafetensorsReader::shards() {
  auto exists = [&](llvm::StringRef name) {
    llvm::SmallString<128> path(checkpoint.path());
    llvm::sys::path::append(path, name);
    return llvm::sys::fs::exists(path);
  };
  if (!exists(indexName)) {
    if (exists(singleName))
      return std::vector<std::string>{singleName};
    if (exists("pytorch_model.bin") || exists("pytorch_model.bin.index.json"))
      return checkpoint.error("has its weights as PyTorch pickles only, which may run any code; expected safetensors");
    return checkpoint.error(Twine("has neither ") + singleName + " nor " + indexName + "; download the whole model");
  }
  llvm::Expected<std::string> text = readText(indexName);
  if (!text)
    return text.takeError();
  llvm::Expected<Json> json = parseJsonObject(*text);
  if (!json)
    return checkpoint.error(Twine(indexName) + ": " + toString(json.takeError()));
  auto map = json->find("weight_map");
  if (map == json->end() || !map->is_object() || map->empty())
    return checkpoint.error(Twine(indexName) + ": expected an object 'weight_map' of tensors and their files");
  std::set<std::string> names;
  for (const auto &[tensor, file] : map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
      return checkpoint.error(Twine(indexName) + ": tensor '" + tensor +
                              "': expected the name of a file of the folder");
    names.insert(name);
    expected.push_back({tensor, name});
  }
  for (const std::string &name : names)
    if (!exists(name))
      return checkpoint.error("has no file '" + name + "', which " + indexName + " names: download the whole model");
  return std::vector<std::string>(names.begin(), names.end());
}

llvm::Error SafetensorsReader::readShard(llvm::StringRef name) {
  llvm::SmallString<128> path(checkpoint.path());
  llvm::sys::path::append(path, name);
  llvm::Expected<uint32_t> file = checkpoint.map(path.str());
  if (!file)
    return file.takeError();
  llvm::ArrayRef<uint8_t> bytes = checkpoint.files[*file].bytes;
  auto damaged = [&](const Twine &what) {
    return checkpoint.error(name + ": " + what + "; the file is truncated or damaged: download it again");
  };
  if (bytes.size() < 8)
    return damaged("expected 8 bytes with the length of its header, got " + Twine(bytes.size()));
  const uint64_t length = llvm::support::endian::read64le(bytes.data());
  if (length > maxHeaderBytes || length > bytes.size() - 8)
    return damaged("its header claims " + Twine(length) + " bytes, the file has " + Twine(bytes.size()));
  llvm::Expected<Json> header =
      parseJsonObject({reinterpret_cast<const char *>(bytes.data()) + 8, static_cast<size_t>(length)});
  if (!header)
    return damaged("its header: " + toString(header.takeError()));
  const size_t first = checkpoint.tensorList.size();
  for (const auto &[tensor, description] : header->items())
    if (tensor != "__metadata__")
      if (llvm::Error error = readTensor(*file, tensor, description, 8 + length))
        return error;
  sortByPlace(first);
  return checkpoint.expectApart(first);
}

// As they lie in the file: JSON does not keep an order.
void SafetensorsReader::sortByPlace(size_t first) {
  auto added = llvm::MutableArrayRef(checkpoint.tensorList).drop_front(first);
  llvm::stable_sort(added, [](const TensorInfo &x, const TensorInfo &y) { return x.offset < y.offset; });
  for (auto [i, tensor] : llvm::enumerate(added))
    checkpoint.tensorIndex[tensor.name] = first + i;
}

llvm::Error SafetensorsReader::readTensor(uint32_t file, const std::string &name, const Json &description,
                                          uint64_t dataBegin) {
  const MappedFile &mapped = checkpoint.files[file];
  auto wrong = [&](const Twine &what) {
    return checkpoint.error(llvm::sys::path::filename(mapped.path) + ": tensor '" + name + "': " + what +
                            "; the file is damaged: download it again");
  };
  auto isCount = [](const Json &number) { return number.is_number_unsigned() && number <= uint64_t(INT64_MAX); };
  const Json &dtype = description.is_object() ? description.value("dtype", Json()) : Json();
  if (!dtype.is_string())
    return wrong("expected an object with a dtype");
  const Json &shape = description.value("shape", Json()), &offsets = description.value("data_offsets", Json());
  if (!shape.is_array() || shape.size() > 8 || !llvm::all_of(shape, isCount))
    return wrong("expected a shape of at most 8 whole numbers");
  if (!offsets.is_array() || offsets.size() != 2 || !llvm::all_of(offsets, isCount))
    return wrong("expected two data_offsets");

  TensorInfo tensor;
  tensor.name = name;
  tensor.file = file;
  tensor.typeName = dtype.get<std::string>();
  std::optional<int64_t> elements = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    tensor.dims.push_back(shape[i].get<int64_t>());
    if (tensor.dims.back() == 0)
      return wrong("impossible dimension 0");
    elements = elements ? llvm::checkedMul(*elements, tensor.dims.back()) : std::nullopt;
  }
  if (tensor.dims.empty())
    tensor.dims.push_back(1);
  const Type *type = llvm::find_if(types, [&](const Type &type) { return type.name == tensor.typeName; });
  if (type == std::end(types))
    return checkpoint.error(llvm::sys::path::filename(mapped.path) + ": tensor '" + name + "': unknown dtype '" +
                            tensor.typeName + "'");
  std::optional<int64_t> size = elements ? llvm::checkedMul<int64_t>(*elements, type->bytes) : std::nullopt;
  const uint64_t begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
  if (!size)
    return wrong("its shape " + tensor.shape() + " overflows");
  if (begin > end || end - begin != uint64_t(*size))
    return wrong("its shape " + tensor.shape() + " of " + tensor.typeName + " takes " + Twine(*size) +
                 " bytes, its data_offsets " + Twine(begin) + " to " + Twine(end) + " hold another number");
  if (end > mapped.bytes.size() - dataBegin)
    return wrong("it reaches past the end of the file");
  tensor.format = type->format ? &llama::formatInfo(*type->format) : nullptr;
  tensor.isFloat8 = type->name == "F8_E4M3";
  tensor.type = tensor.format ? tensor.format->ggufType : ~0u;
  tensor.offset = dataBegin + begin;
  tensor.bytes = end - begin;
  if (!checkpoint.tensorIndex.try_emplace(name, checkpoint.tensorList.size()).second)
    return wrong("it is in another file of the folder, too");
  if (checkpoint.tensorList.size() == Checkpoint::mostTensors)
    return checkpoint.error("has more than " + Twine(Checkpoint::mostTensors) + " tensors");
  checkpoint.tensorList.push_back(std::move(tensor));
  return llvm::Error::success();
}
