//===- GpuTarget.h - the targets of the NVIDIA family --------------------------------===//
#ifndef SLUICE_CODEGEN_NVPTX_GPUTARGET_H
#define SLUICE_CODEGEN_NVPTX_GPUTARGET_H

#include "codegen/Target.h"
#include "codegen/nvptx/GpuFacts.h"

namespace sluice::codegen {

// One target a row of allGpus(), in its order.
std::vector<std::unique_ptr<Target>> makeGpuTargets();
// See Target::addLowerPasses.
void addGpuLowerPasses(mlir::OpPassManager &manager, const GpuFacts &facts);

} // namespace sluice::codegen
#endif
