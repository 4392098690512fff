//===- PackTileTest.cpp - packed bytes, read as PackedLayout.h describes them, are the weight -===//

#include "compiler/pack/PackTile.h"
#include "mlir/IR/MLIRContext.h"
#include "test/compiler/pack/PackedReader.h"
#include "gtest/gtest.h"

using namespace sluice;
using namespace sluice::stream;

namespace {
struct PackTileTest : testing::TestWithParam<int64_t> {};

TEST_P(PackTileTest, EveryFormatAndShape) {
  mlir::MLIRContext context;
  context.loadDialect<llama::LlamaDialect>();
  std::mt19937 random(std::random_device{}());
  int64_t tileRows = GetParam();
  for (const llama::FormatInfo &format : llama::allFormats())
    for (int64_t rows : {1, 5, 16, 31, 32, 33, 100})
      for (int64_t blocks : {1, 2, 3, 5, 16, 17, 33}) {
        if (blocks > 5 && format.blockElements > 32)
          continue;
        int64_t cols = blocks * format.blockElements;
        auto type = llama::WeightType::get(&context, rows, cols, format.format);
        PackedLayout layout = PackedLayout::get(type, tileRows);
        std::vector<uint8_t> tensor = randomTensor(format, rows, cols, random);
        std::vector<uint8_t> packed(layout.totalBytes(), 0xee);
        for (int64_t tile = 0; tile < layout.tiles; ++tile)
          packTile(layout, tensor.data(), tile, packed.data() + tile * layout.tileBytes);

        PackedReader reader(format, cols, tileRows, packed.data());
        SCOPED_TRACE(testing::Message() << format.name.str() << ' ' << rows << 'x' << cols);
        ASSERT_EQ(reader.totalBytes(rows), layout.totalBytes());
        for (int64_t row = 0; row < layout.tiles * tileRows; ++row)
          for (int64_t col = 0; col < layout.recordsPerTile * layout.recordK; ++col) {
            bool inside = row < rows && col < cols;
            const uint8_t *block =
                tensor.data() + (row * blocks + col / format.blockElements) * int64_t(format.blockBytes);
            float expected = inside ? llama::decodeElement(format, block, col % format.blockElements) : 0;
            float actual = reader.at(row, col);
            ASSERT_TRUE(sameValue(actual, expected))
                << row << ',' << col << ": " << actual << " instead of " << expected;
          }
      }
}
INSTANTIATE_TEST_SUITE_P(TileRows, PackTileTest, testing::Values(16, 32));

TEST(PackVectorTest, EveryFormat) {
  std::mt19937 random(std::random_device{}());
  for (const llama::FormatInfo &format : llama::allFormats())
    for (int64_t blocks : {1, 3, 18}) {
      int64_t cols = blocks * format.blockElements;
      std::vector<uint8_t> tensor = randomTensor(format, 1, cols, random);
      std::vector<uint8_t> packed(packedVectorBytes(cols), 0xee);
      packVector(format, tensor.data(), cols, packed.data());
      for (size_t i = 0; i < packed.size() / 4; ++i) {
        float expected =
            int64_t(i) >= cols
                ? 0
                : llama::decodeElement(format, tensor.data() + i / format.blockElements * format.blockBytes,
                                       i % format.blockElements);
        float actual;
        std::memcpy(&actual, packed.data() + i * 4, 4);
        ASSERT_TRUE(sameValue(actual, expected)) << format.name.str() << ' ' << i;
      }
    }
}
} // namespace
