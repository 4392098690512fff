//===- QuantizeTool.cpp - floats in, blocks out: what test_quantize.py compares --------===//
//
// usage: quantize-tool FORMAT < f32 > blocks; without a format, it lists those it knows.
//
//===------------------------------------------------------------------------------------===//

#include "compiler/pack/Quantize.h"
#include <cstdio>
#include <iterator>
#include <vector>

using namespace sluice;

int main(int argc, char **argv) {
  if (argc != 2) {
    std::puts(encodableFormats().c_str());
    return 0;
  }
  const llama::FormatInfo *format = nullptr;
  for (const llama::FormatInfo &info : llama::allFormats())
    if (info.name == argv[1])
      format = &info;
  if (!format)
    return 2;
  std::vector<float> numbers(1 << 16);
  numbers.resize(std::fread(numbers.data(), sizeof(float), numbers.size(), stdin));
  std::vector<uint8_t> blocks(numbers.size() / format->blockElements * format->blockBytes);
  const bool isFinite = encodeRow(*format, numbers, blocks.data());
  std::fwrite(blocks.data(), 1, blocks.size(), stdout);
  return isFinite ? 0 : 3;
}
