//===- TokenizerFuzz.cpp - tokenizer.json, tokenizer.model and what lies beside them ----===//

#include "compiler/text/HuggingFaceTokenizer.h"
#include "test/fuzz/CheckpointUse.h"
#include "test/fuzz/InputFolder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  sluice::test::InputFolder folder(data, size);
  sluice::test::useTokenizer(sluice::readHuggingFaceTokenizer(folder.path()));
  sluice::test::compileSource(sluice::readHuggingFaceTemplate(folder.path()));
  return 0;
}
