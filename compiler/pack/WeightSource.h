//===- WeightSource.h - a weight's rows, as the packer lays them -----------------------===//
//
// What llama.weight says of the way from the checkpoint's tensor to the weight: rows are taken, reordered, decoded,
// converted. Rows that need none of it are used where they are mapped.
//
//===------------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_PACK_WEIGHTSOURCE_H
#define SLUICE_COMPILER_PACK_WEIGHTSOURCE_H

#include "dialects/llama/Llama.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"

namespace sluice {

// A tensor as the checkpoint stores it, mapped into memory.
struct SourceTensor {
  llvm::ArrayRef<uint8_t> bytes;
  const llama::FormatInfo *format = nullptr; // null: the weight's
  bool isFloat8 = false;                     // F8_E4M3, whatever `format` says
  int64_t cols = 1;                          // of a tensor of scales

  SourceTensor(llvm::ArrayRef<uint8_t> bytes) : bytes(bytes) {}
  SourceTensor(llvm::ArrayRef<uint8_t> bytes, const llama::FormatInfo *format, bool isFloat8, int64_t cols)
      : bytes(bytes), format(format), isFloat8(isFloat8), cols(cols) {}
};
using TensorBytes = llvm::function_ref<llvm::Expected<SourceTensor>(llvm::StringRef name)>;

class WeightSource {
public:
  static llvm::Expected<WeightSource> find(llama::WeightDeclOp weight, int64_t layer, TensorBytes bytesOf);

  llvm::StringRef tensorName() const { return name; }
  // The bytes of the checkpoint that rows [first, last) are made of, or, in reordered heads, lie around.
  llvm::ArrayRef<uint8_t> part(int64_t first, int64_t last) const {
    return tensor.bytes.slice((firstRow + first) * sourceRowBytes(), (last - first) * sourceRowBytes());
  }
  // The weight's bytes in its format, row after row; nothing if they have to be made.
  std::optional<llvm::ArrayRef<uint8_t>> inPlace() const;
  // Makes rows [first, last) in the weight's format. False if a number is not finite where that matters.
  bool read(int64_t first, int64_t last, uint8_t *out) const;
  // Makes a vector: f32, `cols` of them.
  void readVector(float *out) const;
  int64_t rowBytes() const { return format->blockBytes * (cols / format->blockElements); }

private:
  WeightSource(SourceTensor tensor) : tensor(tensor) {}
  int64_t sourceRowBytes() const;
  int64_t sourceRow(int64_t row) const { return firstRow + (split ? split.sourceOf(row) : row); }
  void decode(int64_t row, float *out) const;

  std::string name;
  SourceTensor tensor;
  std::vector<float> scales; // of rows and columns of blocks; empty: none
  int64_t scaleRows = 1, scaleCols = 1;
  const llama::FormatInfo *format = nullptr; // of the weight
  int64_t rows = 0, cols = 0, firstRow = 0, tensorRows = 0;
  llama::HalfSplitAttr split;
  float plus = 0;
};

} // namespace sluice
#endif
