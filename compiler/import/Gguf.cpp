//===- Gguf.cpp - reads the GGUF container --------------------------------------------===//

#include "compiler/import/Gguf.h"
#include "llvm/Support/CheckedArithmetic.h"
#include <cstring>

using namespace sluice;

namespace {
enum ValueType : uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };

// Sizes of all ggml types, so that a file with types we do not read can still be listed and checked.
struct GgmlType {
  uint32_t id;
  const char *name;
  unsigned elements, bytes; // of a block
};
constexpr GgmlType ggmlTypes[] = {
    {0, "F32", 1, 4},
    {1, "F16", 1, 2},
    {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},
    {6, "Q5_0", 32, 22},
    {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},
    {9, "Q8_1", 32, 36},
    {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},
    {12, "Q4_K", 256, 144},
    {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},
    {15, "Q8_K", 256, 292},
    {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98},
    {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},
    {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136},
    {24, "I8", 1, 1},
    {25, "I16", 1, 2},
    {26, "I32", 1, 4},
    {27, "I64", 1, 8},
    {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},
    {30, "BF16", 1, 2},
    {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},
    {39, "MXFP4", 32, 17},
    // Of these only the names are known here.
    {40, "NVFP4", 1, 0},
    {41, "Q1_0", 1, 0},
};

// No model has so many, and each takes much more memory than its bytes in the file.
constexpr uint64_t mostKeys = 1 << 20, mostElements = 1 << 24;
constexpr uint64_t maxNameBytes = 4096;
} // namespace

template <typename T> bool GgufReader::take(T &value) {
  if (bytes.size() - at < sizeof(T))
    return false;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  at += sizeof(T);
  return true;
}

bool GgufReader::takeString(llvm::StringRef &value) {
  uint64_t length;
  if (!take(length) || length > bytes.size() - at)
    return false;
  value = {reinterpret_cast<const char *>(bytes.data()) + at, static_cast<size_t>(length)};
  at += length;
  return true;
}

llvm::Error GgufReader::truncated(const llvm::Twine &where) const {
  return checkpoint.error("ends, or has an impossible length, in " + where +
                          "; the file is truncated or damaged: download it again");
}

llvm::Error GgufReader::read() {
  uint32_t version;
  uint64_t tensorCount, metadataCount;
  if (bytes.size() < 4 || std::memcmp(bytes.data(), "GGUF", 4) != 0)
    return checkpoint.error(
        "is not a GGUF file (it does not begin with 'GGUF'); expected a GGUF file, or the folder of a "
        "Hugging Face checkpoint (not one of its files)");
  at = 4;
  if (!take(version))
    return truncated("the header");
  if (version != 2 && version != 3) {
    if (llvm::byteswap(version) == 2 || llvm::byteswap(version) == 3)
      return checkpoint.error("is big-endian GGUF; convert it to little-endian (gguf-py's gguf_convert_endian.py)");
    return checkpoint.error("has GGUF version " + llvm::Twine(version) +
                            "; expected 2 or 3: convert the model anew with a current converter");
  }
  if (!take(tensorCount) || !take(metadataCount))
    return truncated("the header");
  // The shortest entries take 12 and 24 bytes.
  if (metadataCount > (bytes.size() - at) / 12 || tensorCount > (bytes.size() - at) / 24)
    return checkpoint.error("claims " + llvm::Twine(metadataCount) + " metadata keys and " + llvm::Twine(tensorCount) +
                            " tensors, more than fit in it; the file is damaged: download it again");
  if (metadataCount > mostKeys || tensorCount > Checkpoint::mostTensors - checkpoint.tensorList.size())
    return checkpoint.error("has " + llvm::Twine(metadataCount) + " metadata keys and " + llvm::Twine(tensorCount) +
                            " tensors; expected at most " + llvm::Twine(mostKeys) + " and " +
                            llvm::Twine(Checkpoint::mostTensors));
  if (llvm::Error failure = readMetadata(metadataCount))
    return failure;
  const size_t first = checkpoint.tensorList.size();
  if (llvm::Error failure = readTensors(tensorCount))
    return failure;
  return placeTensors(first);
}

//===-- Metadata ------------------------------------------------------------------------===//

llvm::Error GgufReader::readMetadata(uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    llvm::StringRef key;
    uint32_t type;
    if (!takeString(key) || !take(type))
      return truncated("metadata key " + llvm::Twine(i));
    if (key.empty() || key.size() > maxNameBytes)
      return checkpoint.error("metadata key " + llvm::Twine(i) + " has a name of " + llvm::Twine(key.size()) +
                              " bytes");
    Metadata value;
    if (llvm::Error failure = readValue(key, type, value))
      return failure;
    if (!values.insert({key, std::move(value)}).second)
      return checkpoint.error("metadata key '" + key + "' appears twice");
  }
  return llvm::Error::success();
}

llvm::Error GgufReader::readValue(llvm::StringRef key, uint32_t type, Metadata &value) {
  bool whole = true;
  auto integer = [&](auto raw) {
    whole = take(raw);
    if constexpr (std::is_same_v<decltype(raw), uint64_t>)
      value = raw;
    else
      value = static_cast<int64_t>(raw);
  };
  switch (type) {
  case U8:
    integer(uint8_t());
    break;
  case I8:
    integer(int8_t());
    break;
  case U16:
    integer(uint16_t());
    break;
  case I16:
    integer(int16_t());
    break;
  case U32:
    integer(uint32_t());
    break;
  case I32:
    integer(int32_t());
    break;
  case U64:
    integer(uint64_t());
    break;
  case I64:
    integer(int64_t());
    break;
  case F32: {
    float raw = 0;
    whole = take(raw);
    value = static_cast<double>(raw);
    break;
  }
  case F64: {
    double raw = 0;
    whole = take(raw);
    value = raw;
    break;
  }
  case Bool: {
    uint8_t raw = 0;
    whole = take(raw);
    value = raw != 0;
    break;
  }
  case String: {
    llvm::StringRef raw;
    whole = takeString(raw);
    value = raw;
    break;
  }
  case Array:
    return readArray(key, value);
  default:
    return checkpoint.error("metadata key '" + key + "' has unknown value type " + llvm::Twine(type));
  }
  return whole ? llvm::Error::success() : truncated("metadata key '" + key + "'");
}

llvm::Error GgufReader::readArray(llvm::StringRef key, Metadata &value) {
  uint32_t type;
  uint64_t count;
  if (!take(type) || !take(count))
    return truncated("metadata key '" + key + "'");
  static constexpr unsigned sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};
  if (type > F64 || type == Array)
    return checkpoint.error("metadata key '" + key + "' is an array of unsupported type " + llvm::Twine(type));
  if (count > (bytes.size() - at) / sizes[type])
    return truncated("metadata key '" + key + "'");
  elements += count;
  if (elements > mostElements)
    return checkpoint.error("metadata key '" + key + "' is an array of " + llvm::Twine(count) + "; expected at most " +
                            llvm::Twine(mostElements) + " elements of all arrays");
  auto numbers = [&](auto raw, auto element) {
    std::vector<decltype(element)> result(count);
    for (auto &out : result) {
      take(raw); // fits: checked above
      out = static_cast<decltype(element)>(raw);
    }
    value = std::move(result);
  };
  switch (type) {
  case U8:
  case Bool:
    numbers(uint8_t(), int64_t());
    break;
  case I8:
    numbers(int8_t(), int64_t());
    break;
  case U16:
    numbers(uint16_t(), int64_t());
    break;
  case I16:
    numbers(int16_t(), int64_t());
    break;
  case U32:
    numbers(uint32_t(), int64_t());
    break;
  case I32:
    numbers(int32_t(), int64_t());
    break;
  case U64:
    numbers(uint64_t(), int64_t());
    break;
  case I64:
    numbers(int64_t(), int64_t());
    break;
  case F32:
    numbers(float(), double());
    break;
  case F64:
    numbers(double(), double());
    break;
  case String: {
    std::vector<llvm::StringRef> result(count);
    for (llvm::StringRef &out : result)
      if (!takeString(out))
        return truncated("metadata key '" + key + "'");
    value = std::move(result);
    break;
  }
  }
  return llvm::Error::success();
}

//===-- Tensors -------------------------------------------------------------------------===//

llvm::Error GgufReader::readTensors(uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    llvm::StringRef name;
    uint32_t dimensions, type;
    if (!takeString(name) || !take(dimensions))
      return truncated("the description of tensor " + llvm::Twine(i));
    if (name.empty() || name.size() > maxNameBytes)
      return checkpoint.error("tensor " + llvm::Twine(i) + " has a name of " + llvm::Twine(name.size()) + " bytes");
    TensorInfo tensor;
    tensor.name = name.str();
    tensor.file = file;
    if (dimensions < 1 || dimensions > 4)
      return checkpoint.error("tensor '" + name + "': expected 1 to 4 dimensions, got " + llvm::Twine(dimensions));
    std::optional<int64_t> elements = 1;
    for (uint32_t d = 0; d < dimensions; ++d) {
      uint64_t dim;
      if (!take(dim))
        return truncated("the description of tensor '" + name + "'");
      if (dim == 0 || dim > uint64_t(INT64_MAX))
        return checkpoint.error("tensor '" + name + "': impossible dimension " + llvm::Twine(dim));
      tensor.dims.push_back(static_cast<int64_t>(dim));
      elements = elements ? llvm::checkedMul(*elements, static_cast<int64_t>(dim)) : std::nullopt;
    }
    if (!take(type) || !take(tensor.offset))
      return truncated("the description of tensor '" + name + "'");
    if (!elements)
      return checkpoint.error("tensor '" + name + "': its dimensions " + tensor.shape() + " overflow");
    tensor.type = type;
    tensor.format = llama::formatOfGgufType(type);
    tensor.typeName = "type " + std::to_string(type);
    tensor.bytes = 0;
    for (const GgmlType &known : ggmlTypes) {
      if (known.id != type)
        continue;
      tensor.typeName = known.name;
      if (tensor.cols() % known.elements != 0)
        return checkpoint.error("tensor '" + name + "': expected rows of a multiple of " + llvm::Twine(known.elements) +
                                " elements for " + known.name + ", got " + llvm::Twine(tensor.cols()));
      std::optional<int64_t> size = llvm::checkedMul<int64_t>(*elements / known.elements, known.bytes);
      if (!size)
        return checkpoint.error("tensor '" + name + "': its dimensions " + tensor.shape() + " overflow");
      tensor.bytes = static_cast<uint64_t>(*size);
    }
    if (!checkpoint.tensorIndex.try_emplace(name, checkpoint.tensorList.size()).second)
      return checkpoint.error("tensor '" + name + "' appears twice");
    checkpoint.tensorList.push_back(std::move(tensor));
  }
  return llvm::Error::success();
}

int64_t GgufReader::integer(llvm::StringRef key) const {
  auto found = values.find(key);
  const int64_t *number = found == values.end() ? nullptr : std::get_if<int64_t>(&found->second);
  return number ? *number : -1;
}

llvm::Error GgufReader::placeTensors(size_t first) {
  uint64_t align = values.contains("general.alignment") ? integer("general.alignment") : 32;
  if (align == 0 || align > (1u << 20) || (align & (align - 1)) != 0)
    return checkpoint.error("metadata key 'general.alignment': expected a power of two up to 1048576, got " +
                            llvm::Twine(align));
  uint64_t data = (at + align - 1) / align * align;
  for (TensorInfo &tensor : llvm::drop_begin(checkpoint.tensorList, first)) {
    if (tensor.offset % align != 0)
      return checkpoint.error("tensor '" + tensor.name + "': its offset " + llvm::Twine(tensor.offset) +
                              " is no multiple of the alignment " + llvm::Twine(align));
    if (data > bytes.size() || tensor.offset > bytes.size() - data ||
        tensor.bytes > bytes.size() - data - tensor.offset)
      return checkpoint.error("tensor '" + tensor.name + "' (" + llvm::Twine(tensor.bytes) +
                              " bytes) reaches past the end of the file; it is truncated: download it again");
    tensor.offset += data;
  }
  return checkpoint.expectApart(first);
}
