//===- WeightSource.cpp - a weight's rows, as the packer lays them ---------------------===//

#include "compiler/pack/WeightSource.h"
#include "compiler/pack/Quantize.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"
#include <array>
#include <cstring>
#include <memory>

using namespace sluice;
using namespace sluice::llama;

// Sign, four bits of exponent biased by 7, three of mantissa; no infinities, all ones are not a number.
static float decodeFloat8(uint8_t bits) {
  const float sign = bits & 0x80 ? -1.0f : 1.0f;
  const int exponent = (bits >> 3) & 15, mantissa = bits & 7;
  if (exponent == 15 && mantissa == 7)
    return llvm::bit_cast<float>(0x7fc00000u);
  return sign * (exponent ? std::ldexp(8.0f + float(mantissa), exponent - 10) : std::ldexp(float(mantissa), -9));
}

// Of all values of a small type: tables are faster than bits.
template <typename Bits, typename Decode> static const float *tableOf(Decode decode) {
  auto values = std::make_unique<float[]>(size_t(1) << (8 * sizeof(Bits)));
  for (size_t i = 0; i < size_t(1) << (8 * sizeof(Bits)); ++i)
    values[i] = decode(Bits(i));
  return values.release(); // lives as long as the process
}
static const float *float8Table() {
  static const float *table = tableOf<uint8_t>(decodeFloat8);
  return table;
}
static const float *halfTable() {
  static const float *table = tableOf<uint16_t>([](uint16_t bits) {
    uint8_t bytes[2] = {uint8_t(bits), uint8_t(bits >> 8)};
    return decodeElement(formatInfo(Format::F16), bytes, 0);
  });
  return table;
}

static void decodeFloats(const FormatInfo &format, bool isFloat8, const uint8_t *bytes, int64_t count, float *out) {
  if (isFloat8) {
    const float *table = float8Table();
    for (int64_t i = 0; i < count; ++i)
      out[i] = table[bytes[i]];
  } else if (format.format == Format::F32) {
    std::memcpy(out, bytes, count * sizeof(float));
  } else if (format.format == Format::F16) {
    const float *table = halfTable();
    for (int64_t i = 0; i < count; ++i)
      out[i] = table[bytes[2 * i] | bytes[2 * i + 1] << 8];
  } else {
    for (int64_t i = 0; i < count; ++i)
      out[i] = decodeElement(format, bytes + i * format.blockBytes, 0);
  }
}

llvm::Expected<WeightSource> WeightSource::find(WeightDeclOp weight, int64_t layer, TensorBytes bytesOf) {
  const std::string name = weight.tensorName(layer);
  llvm::Expected<SourceTensor> tensor = bytesOf(name);
  if (!tensor)
    return tensor.takeError();
  WeightSource source(*tensor);
  source.name = name;
  const WeightType type = weight.getWeightType();
  source.format = &formatInfo(type.getFormat());
  if (!source.tensor.format)
    source.tensor.format = source.format;
  source.rows = type.getRows(), source.cols = type.getCols(), source.firstRow = weight.getFirstRow();
  source.split = weight.getHalfSplit().value_or(HalfSplitAttr());
  source.plus = weight.getPlus().convertToFloat();
  const FormatInfo &from = *source.tensor.format;
  const int64_t rowBytes = source.sourceRowBytes(), expected = (source.firstRow + source.rows) * rowBytes;
  const int64_t actual = int64_t(source.tensor.bytes.size());
  if (source.cols % from.blockElements != 0 || actual < expected || actual % rowBytes != 0)
    return llvm::createStringError("tensor '%s': expected %lld bytes, got %lld", name.c_str(), (long long)expected,
                                   (long long)actual);
  source.tensorRows = actual / rowBytes;
  if (!from.isFloat && &from != source.format)
    return llvm::createStringError("tensor '%s': expected a float format, got %s", name.c_str(),
                                   from.name.str().c_str());
  if (std::optional<llvm::StringRef> scaleFrom = weight.getScaleFrom()) {
    llvm::Expected<SourceTensor> scale = bytesOf(WeightDeclOp::nameInLayer(*scaleFrom, layer));
    if (!scale)
      return scale.takeError();
    const FormatInfo &scaleFormat = scale->format ? *scale->format : formatInfo(Format::F32);
    source.scales.resize(scale->bytes.size() / scaleFormat.blockBytes);
    decodeFloats(scaleFormat, scale->isFloat8, scale->bytes.data(), source.scales.size(), source.scales.data());
    source.scaleCols = scale->cols;
    source.scaleRows = source.scales.size() / scale->cols;
    // One a row may also lie in a row.
    if (source.scaleRows == 1 && source.scaleCols == source.tensorRows)
      std::swap(source.scaleRows, source.scaleCols);
  }
  return source;
}

int64_t WeightSource::sourceRowBytes() const {
  return tensor.isFloat8 ? cols : tensor.format->blockBytes * (cols / tensor.format->blockElements);
}

std::optional<llvm::ArrayRef<uint8_t>> WeightSource::inPlace() const {
  if (tensor.format != format || tensor.isFloat8 || split)
    return std::nullopt;
  return part(0, rows);
}

void WeightSource::decode(int64_t row, float *out) const {
  decodeFloats(*tensor.format, tensor.isFloat8, tensor.bytes.data() + row * sourceRowBytes(), cols, out);
  if (scales.empty())
    return;
  // Scales are shared by equal shares of rows and columns: all, one, or blocks.
  constexpr int64_t block = 128;
  const int64_t scaleRow = scaleRows == 1 ? 0 : scaleRows == tensorRows ? row : row / block;
  for (int64_t col = 0; col < cols; ++col)
    out[col] *= scales[scaleRow * scaleCols + (scaleCols == 1 ? 0 : col / block)];
}

bool WeightSource::read(int64_t first, int64_t last, uint8_t *out) const {
  std::vector<float> numbers(cols);
  bool isFinite = true;
  for (int64_t row = first; row < last; ++row, out += rowBytes()) {
    const int64_t from = sourceRow(row);
    if (tensor.format == format && !tensor.isFloat8) {
      std::memcpy(out, tensor.bytes.data() + from * rowBytes(), rowBytes());
      continue;
    }
    decode(from, numbers.data());
    isFinite &= encodeRow(*format, numbers, out);
  }
  return isFinite;
}

void WeightSource::readVector(float *out) const {
  std::vector<float> numbers(cols);
  decode(firstRow, numbers.data());
  for (int64_t i = 0; i < cols; ++i)
    out[i] = numbers[split ? split.sourceOf(i) : i] + plus;
}
