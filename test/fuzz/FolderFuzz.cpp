//===- FolderFuzz.cpp - a Hugging Face folder: config, safetensors, index, tokenizer ---===//

#include "test/fuzz/CheckpointUse.h"
#include "test/fuzz/InputFolder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  sluice::test::InputFolder folder(data, size);
  sluice::test::useCheckpoint(folder.path());
  return 0;
}
