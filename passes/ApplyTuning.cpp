//===- ApplyTuning.cpp - the configuration of tiles from a file --------------------===//

#include "mlir/IR/Verifier.h"
#include "passes/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/LineIterator.h"
#include "llvm/Support/MemoryBuffer.h"

namespace sluice {
#define GEN_PASS_DEF_APPLYTUNING
#include "passes/Passes.h.inc"
} // namespace sluice

using namespace mlir;
using namespace sluice;
using namespace sluice::stream;

// What the verifier says of `op`, "" if nothing.
static std::string invalidity(Operation *op) {
  std::string message;
  ScopedDiagnosticHandler handler(op->getContext(), [&](Diagnostic &error) {
    message = error.str();
    return success();
  });
  return succeeded(verify(op)) ? "" : message;
}

namespace {
struct ApplyTuning : sluice::impl::ApplyTuningBase<ApplyTuning> {
  using ApplyTuningBase::ApplyTuningBase;

  void runOnOperation() override {
    auto buffer = llvm::MemoryBuffer::getFile(file, /*IsText=*/true);
    if (!buffer) {
      emitError(UnknownLoc::get(&getContext())) << file << ": cannot read it: " << buffer.getError().message();
      return signalPassFailure();
    }
    for (llvm::line_iterator line(**buffer, /*SkipBlanks=*/true, '#'); !line.is_at_eof(); ++line)
      if (failed(applyLine(line->trim(), line.line_number())))
        return signalPassFailure();
  }

  LogicalResult applyLine(StringRef text, int64_t number) {
    auto fail = [&] {
      return emitError(FileLineColLoc::get(&getContext(), file, number, 1)) << file << ':' << number << ": ";
    };
    SmallVector<StringRef> words;
    llvm::SplitString(text, words);
    auto [program, phase] = words.size() > 1 ? words[1].split('.') : std::pair<StringRef, StringRef>();
    if (words.size() < 3 || phase.empty())
      return fail() << "expected 'TARGET PROGRAM.PHASE NAME=NUMBER ...', got '" << text << "'";
    if (words[0] != target)
      return success();
    SmallVector<TilesOp> found;
    getOperation().walk([&](TilesOp tiles) {
      if (tiles->getParentOfType<ProgramOp>().getSymName() == program &&
          tiles->getParentOfType<PhaseOp>().getName() == phase)
        found.push_back(tiles);
    });
    if (found.empty())
      return fail() << "the model has no phase '" << words[1] << "' with tiles; tune it anew";
    for (StringRef word : ArrayRef(words).drop_front(2)) {
      auto [name, value] = word.split('=');
      int64_t integer;
      if (!llvm::is_contained({"row_block", "lanes", "token_block", "prefetch"}, name) ||
          value.getAsInteger(10, integer))
        return fail() << "expected row_block, lanes, token_block or prefetch=NUMBER, got '" << word << "'";
      for (TilesOp tiles : found)
        tiles->setAttr(name, Builder(&getContext()).getI64IntegerAttr(integer));
    }
    for (TilesOp tiles : found)
      if (std::string message = invalidity(tiles); !message.empty())
        return fail() << message;
    return success();
  }
};
} // namespace
