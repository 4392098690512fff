//===- Ptxas.h - NVIDIA's assembler, where it is installed --------------------------------===//
//
// Nothing needs it: without, a file carries PTX, which the driver compiles when the file is started for the first time,
// and nobody knows registers and spills beforehand.
//
//===--------------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_NVPTX_PTXAS_H
#define SLUICE_CODEGEN_NVPTX_PTXAS_H

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"

namespace sluice::codegen {

// The path of ptxas, nvdisasm ...: $SLUICE_<NAME>, else on $PATH, in $CUDA_HOME/bin or $CUDA_PATH/bin,
// /usr/local/cuda/bin, or where PyPI's packages put it in the Python environment that $VIRTUAL_ENV names. Empty if
// there is none.
std::string findCudaTool(llvm::StringRef name);

// What ptxas says of one kernel.
struct KernelResources {
  unsigned registers = 0, spillStores = 0, spillLoads = 0, stackBytes = 0; // bytes, but for registers
};
struct Assembled {
  llvm::SmallString<0> cubin;
  llvm::StringMap<KernelResources> kernels;
};
// `target`: "sm_90"; `kernels`: those to assemble, all if empty.
llvm::Expected<Assembled> assemble(llvm::StringRef ptxas, llvm::StringRef ptx, llvm::StringRef target,
                                   llvm::ArrayRef<std::string> kernels = {});

// What nvdisasm prints of machine code.
llvm::Expected<std::string> disassemble(llvm::StringRef nvdisasm, llvm::StringRef cubin);

} // namespace sluice::codegen
#endif
