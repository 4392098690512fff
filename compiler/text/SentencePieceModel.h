//===- SentencePieceModel.h - SentencePiece's own file --------------------------------------===//
#ifndef SLUICE_COMPILER_TEXT_SENTENCEPIECEMODEL_H
#define SLUICE_COMPILER_TEXT_SENTENCEPIECEMODEL_H

#include "compiler/text/TokenizerModel.h"

namespace sluice {

// Reads a `tokenizer.model`. BOS is put before a text; nothing else in the file says so.
llvm::Expected<TokenizerModel> readSentencePieceModel(llvm::StringRef path);

} // namespace sluice
#endif
