//===- FormatTool.cpp - decodes blocks of a weight format, for test_formats.py ------===//
//
// usage: format-tool FORMAT < blocks > f32 values;  format-tool  lists the formats: name, number in GGUF
//
//===--------------------------------------------------------------------------------===//

#include "dialects/llama/Formats.h"
#include <cstdio>
#include <vector>

using namespace sluice::llama;

int main(int argc, char **argv) {
  for (const FormatInfo &format : allFormats()) {
    if (argc < 2)
      std::printf("%s %u\n", format.name.data(), format.ggufType);
    if (argc < 2 || format.name != argv[1])
      continue;
    std::vector<uint8_t> block(format.blockBytes);
    while (std::fread(block.data(), 1, block.size(), stdin) == block.size())
      for (unsigned i = 0; i < format.blockElements; ++i) {
        const float value = decodeElement(format, block.data(), i);
        std::fwrite(&value, sizeof value, 1, stdout);
      }
    return 0;
  }
  return argc >= 2; // no such format
}
