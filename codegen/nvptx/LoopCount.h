//===- LoopCount.h - instructions of the innermost loop around a marked one --------------===//
//
// On the text of PTX or of nvdisasm: what a warp issues for a chunk of weights, without running anything.
//
//===-------------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_NVPTX_LOOPCOUNT_H
#define SLUICE_CODEGEN_NVPTX_LOOPCOUNT_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"

namespace sluice::codegen {

// Instructions of a loop, of the loop around it (0 if there is none), and how many of the inner loop's are marked.
struct LoopCount {
  unsigned inner = 0, outer = 0, marked = 0;
};

// The body of each function (kernel) in a listing, by name.
llvm::StringMap<llvm::StringRef> ptxFunctions(llvm::StringRef ptx);
llvm::StringMap<llvm::StringRef> sassFunctions(llvm::StringRef listing);

// Every loop of a function that contains `marker` (a part of an instruction's name) and no smaller such loop.
llvm::SmallVector<LoopCount> loopsAround(llvm::StringRef function, llvm::StringRef marker);

} // namespace sluice::codegen
#endif
