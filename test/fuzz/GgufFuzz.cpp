//===- GgufFuzz.cpp - a GGUF file: listed, imported, scheduled and packed -------------===//

#include "test/fuzz/CheckpointUse.h"
#include "test/fuzz/FuzzTarget.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  sluice::test::InputFile file(data, size);
  sluice::test::useCheckpoint(file.path());
  return 0;
}
