//===- ConfigureGpu.cpp - what a warp of a GPU has under way ------------------------------===//
//
// Choosing is apart from obeying: this pass only writes attributes. Twice what Little's law asks for, and what memory
// could bring between two phases, shared out over the warps of a multiprocessor, as far as shared memory allows beside
// a phase's activations.
//
//===--------------------------------------------------------------------------------------===//

#include "codegen/nvptx/Passes.h"
#include "codegen/nvptx/Plan.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/STLExtras.h"

namespace sluice::codegen {
#define GEN_PASS_DEF_CONFIGUREGPU
#include "codegen/nvptx/Passes.h.inc"
} // namespace sluice::codegen

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

struct ConfigureGpu : codegen::impl::ConfigureGpuBase<ConfigureGpu> {
  using ConfigureGpuBase::ConfigureGpuBase;

  static constexpr int64_t rows = 32;        // of a tile, one a lane
  static constexpr int64_t manyAhead = 4096; // a chunk of half of it is what many tokens read at a time

  void runOnOperation() override {
    const GpuFacts *facts = findGpu(gpu);
    if (!facts) {
      getOperation().emitError("unknown gpu '") << gpu << "'";
      return signalPassFailure();
    }
    WalkResult result = getOperation().walk([&](TilesOp op) {
      if (int64_t(op.getTileRows()) != rows) {
        op.emitError("expected tiles of ") << rows << " rows for a GPU, got " << op.getTileRows();
        return WalkResult::interrupt();
      }
      op.setRowBlock(rows);
      op.setLanes(rows);
      if (!op.getTokenBlock())
        op.setTokenBlock(1);
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
    for (auto program : getOperation().getOps<ProgramOp>())
      program.getMaxTokens() == 1 ? configure(program, *facts) : program.walk([](TilesOp op) {
        if (!op.getPrefetch())
          op.setPrefetch(manyAhead);
      });
  }

  // All phases of a program keep as much under way: their rings share one place. In steps of what shared memory allows.
  void configure(ProgramOp program, const GpuFacts &facts) {
    SmallVector<TilesOp> open;
    program.walk([&](TilesOp op) {
      if (!op.getPrefetch())
        open.push_back(op);
    });
    constexpr int64_t unit = 512, least = 2 * unit;
    const double wanted = std::max(2 * facts.bytesInFlight(), facts.bytesBetween());
    int64_t ahead = std::max<int64_t>(llvm::alignTo(uint64_t(wanted) / facts.warps, unit), least);
    for (; !open.empty(); ahead -= unit) {
      for (TilesOp op : open)
        op.setPrefetch(ahead);
      int64_t shared = 0;
      program.walk([&](PhaseOp phase) { shared = std::max(shared, PhasePlan(phase, facts).sharedBytes); });
      if (ahead <= least || shared + ringBytes(program) * facts.warps <= facts.blockSharedBytes)
        break;
    }
    for (TilesOp op : open)
      remark::passed(op.getLoc(), remark::RemarkOpts::name("ConfigureGpu").category("configure"))
          << "keeps " << std::to_string(ahead) << " bytes of weights under way in each of "
          << std::to_string(facts.warps) << " warps";
  }
};
} // namespace
