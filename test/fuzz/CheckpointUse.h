//===- CheckpointUse.h - what is done with a checkpoint that a fuzzer has written ----===//
#ifndef SLUICE_TEST_FUZZ_CHECKPOINTUSE_H
#define SLUICE_TEST_FUZZ_CHECKPOINTUSE_H

#include "compiler/text/TokenizerModel.h"

namespace sluice::test {

// Lists, imports, schedules and packs the checkpoint at `path`, and uses its tokenizer.
void useCheckpoint(const std::string &path);
// Builds its tables, which the runtime must accept, and encodes with them.
void useTokenizer(llvm::Expected<TokenizerModel> described);
void compileSource(llvm::Expected<std::optional<std::string>> source);

} // namespace sluice::test
#endif
