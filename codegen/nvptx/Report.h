//===- Report.h - what a token takes on a GPU, known without one --------------------------===//
//
// From the plan: bytes, shares of blocks, what is under way. From the code, where ptxas and nvdisasm are found:
// registers, spills, instructions for each weight; without, instructions are those of PTX. From both: time.
//
//===--------------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_NVPTX_REPORT_H
#define SLUICE_CODEGEN_NVPTX_REPORT_H

#include "codegen/nvptx/GpuFacts.h"
#include "dialects/stream/Schedule.h"
#include "passes/Traffic.h"
#include "llvm/Support/Error.h"

namespace sluice::codegen {

// How phases follow each other, and what that costs (us). Token, in one launch, and Graph are ours, measured on an
// H100; GridBarrier and the reachable share of the bandwidth are fitted on published results of single streams on an
// RTX 4090 (test/codegen/ReportTest.cpp has both).
enum class Following { Token, GridBarrier, Graph };
constexpr double reachableBandwidth = 0.948;
constexpr double phaseMicroseconds(Following following) {
  return following == Following::Token ? 3.4 : following == Following::GridBarrier ? 2.8 : 4.5;
}
inline double predictedMicroseconds(const GpuFacts &facts, double bytes, double phases, Following following) {
  return bytes / (reachableBandwidth * facts.gigabytesPerSecond) / 1e3 + phases * phaseMicroseconds(following);
}

struct PhaseReport {
  std::string name, kernel;
  int64_t runs = 0;
  // Of one run.
  int64_t weightBytes = 0, cacheBytes = 0, weights = 0;
  double slicesOfBlock = 0; // of the busiest
  double tail = 0;          // how much longer the busiest block takes than the average
  double bytesAhead = 0;    // of weights that are copied before they are used, in a multiprocessor
  double wideLoads = 1;     // share of the weights' load instructions that are 128 bits wide
  unsigned registers = 0, spillBytes = 0;
  double instructionsPerWeight = 0; // of a thread
  double budget = 0;                // of them, before issue is the limit and not memory
  double microseconds = 0;          // in one launch for the token, with what lies between phases

  bool hasWeights() const { return weights != 0; }
};

struct TokenReport {
  std::vector<PhaseReport> phases;                  // of @decode, in order
  unsigned tokenRegisters = 0, tokenSpillBytes = 0; // of the kernel of a whole token
  bool assembled = false, disassembled = false;     // ptxas, nvdisasm were there
  int64_t bytes = 0;
  double microseconds = 0, microsecondsByGraph = 0; // in one launch; as a graph of kernels
};

// `configured`: a module with one configured llama.model.
llvm::Expected<TokenReport> reportToken(mlir::ModuleOp configured, const GpuFacts &facts, const Workload &workload);
void printReport(const TokenReport &report, const GpuFacts &facts, llvm::raw_ostream &out);

} // namespace sluice::codegen
#endif
