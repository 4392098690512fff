//===- Report.cpp - what a token takes on a GPU, known without one ------------------------===//

#include "codegen/nvptx/Report.h"
#include "codegen/nvptx/Device.h"
#include "codegen/nvptx/EmitPtx.h"
#include "codegen/nvptx/GpuTarget.h"
#include "codegen/nvptx/LoopCount.h"
#include "codegen/nvptx/Plan.h"
#include "codegen/nvptx/Ptxas.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/Format.h"
#include <cmath>

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

// The code of all kernels, as far as the tools that are there let us know it.
struct Code {
  llvm::SmallString<0> ptx;
  std::string sass; // empty without nvdisasm
  Assembled assembled;
  DeviceKernels kernels;
};

llvm::Expected<Code> codeOf(ModuleOp configured, const GpuFacts &facts) {
  OwningOpRef<ModuleOp> lowered = configured.clone();
  PassManager manager(configured.getContext());
  addGpuLowerPasses(manager, facts);
  Code code;
  llvm::raw_svector_ostream out(code.ptx);
  if (failed(manager.run(*lowered)) || failed(emitPtx(*lowered, facts, EmitKind::Assembly, out)))
    return llvm::createStringError("no code could be made for " + llvm::Twine(facts.name));
  FailureOr<DeviceKernels> kernels = DeviceKernels::read(*lowered);
  if (failed(kernels))
    return llvm::createStringError("no kernels");
  code.kernels = *kernels;
  std::string ptxas = findCudaTool("ptxas"), nvdisasm = findCudaTool("nvdisasm");
  if (ptxas.empty())
    return std::move(code);
  llvm::Expected<Assembled> assembled = assemble(ptxas, code.ptx, facts.name);
  if (!assembled)
    return assembled.takeError();
  code.assembled = std::move(*assembled);
  if (!nvdisasm.empty()) {
    llvm::Expected<std::string> listing = disassemble(nvdisasm, code.assembled.cubin);
    if (!listing)
      return listing.takeError();
    code.sass = std::move(*listing);
  }
  return std::move(code);
}

// The bytes of each block's run of a group, largest and average.
void addShares(const TileGroup &group, int64_t blocks, std::vector<double> &bytesOfBlock, double &mostSlices) {
  const int64_t slices = group.slices(), active = std::min(blocks, slices), tileSlices = group.tileSlices();
  std::vector<double> sliceBytes; // of a tile
  for (const WeightPlan &weight : group.weights)
    for (int64_t i = 0; i < weight.k.slices; ++i) {
      int64_t records = std::min(weight.k.sliceRecords, weight.layout.recordsPerTile - i * weight.k.sliceRecords);
      sliceBytes.push_back(double(records * weight.layout.recordBytes));
    }
  for (int64_t b = 0; b < active; ++b) {
    const int64_t begin = b * slices / active, end = (b + 1) * slices / active;
    for (int64_t i = begin; i < end; ++i)
      bytesOfBlock[b] += sliceBytes[i % tileSlices];
    mostSlices = std::max(mostSlices, double(end - begin));
  }
}

// Instructions of a thread for a weight: those of the loop over chunks, and its share of the loop over slices. A loop
// may hold the copies of several chunks: of a record's, and what the assembler has unrolled; of a whole slice, then it
// is the one over slices.
double instructionsPerWeight(const LoopCount &loop, const TileGroup &group, const WeightPlan &weight) {
  constexpr int64_t copyBytes = 512; // of a warp
  const double copies = double(llvm::divideCeil(group.chunkStride, copyBytes));
  const double chunks = std::max(1.0, std::round(double(loop.marked) / copies)),
               ofSlice = double(weight.chunksOfSlice());
  double instructions = loop.inner / chunks;
  if (chunks < ofSlice && loop.outer)
    instructions += double(loop.outer - loop.inner) / ofSlice;
  return instructions / double(weight.chunkColumns());
}

double instructionsPerWeight(StringRef function, StringRef marker, ArrayRef<TileGroup> groups) {
  SmallVector<std::pair<const TileGroup *, const WeightPlan *>> own; // that have a loop each, in order
  for (const TileGroup &group : groups)
    for (const WeightPlan &weight : group.weights)
      if (&weight == group.weights.begin() || !llvm::all_equal(group.weights))
        own.push_back({&group, &weight});
  const SmallVector<LoopCount> loops = loopsAround(function, marker);
  double most = 0;
  for (auto [i, loop] : llvm::enumerate(loops)) {
    if (loops.size() == own.size()) {
      most = std::max(most, instructionsPerWeight(loop, *own[i].first, *own[i].second));
      continue;
    }
    // Which weight's a loop is cannot be told; the smallest chunk gives the most instructions a weight.
    auto smallest = *llvm::min_element(
        own, [](const auto &a, const auto &b) { return a.second->chunkColumns() < b.second->chunkColumns(); });
    most = std::max(most, instructionsPerWeight(loop, *smallest.first, *smallest.second));
  }
  return most;
}

// The share of 128-bit copies and loads among those that read weights: asynchronous copies, and loads of what nobody
// writes.
double wideShare(StringRef function) {
  double wide = 0, all = 0;
  SmallVector<StringRef> lines;
  function.split(lines, '\n');
  for (StringRef line : lines) {
    const bool copy = line.contains("cp.async.cg"), load = line.contains("ld.global.nc");
    if (!copy && !load)
      continue;
    // Offsets in a table of the steps are one number for a phase.
    if (load && line.contains(".b64"))
      continue;
    ++all;
    wide += (copy && line.contains(", 16")) || line.contains(".v4.b32") || line.contains(".v4.f32");
  }
  return all ? wide / all : 1;
}
} // namespace

llvm::Expected<TokenReport> sluice::codegen::reportToken(ModuleOp configured, const GpuFacts &facts,
                                                         const Workload &workload) {
  llvm::Expected<Code> code = codeOf(configured, facts);
  if (!code)
    return code.takeError();
  auto model = *configured.getOps<llama::ModelOp>().begin();
  Schedule schedule = Schedule::get(model);
  llvm::StringMap<StringRef> ptx = ptxFunctions(code->ptx), sass = sassFunctions(code->sass);
  TokenReport report;
  report.assembled = !code->assembled.kernels.empty();
  report.disassembled = !sass.empty();
  for (auto [index, program] : llvm::enumerate(model.getOps<ProgramOp>())) {
    if (program.getSymName() != "decode")
      continue;
    ArrayRef<Step> steps = schedule.steps(index);
    for (const PhaseTraffic &traffic : Traffic::get(program, workload.cacheType).phases) {
      PhaseReport phase{.name = stream::PhaseOp(traffic.phase).getName().str(),
                        .runs = traffic.runs,
                        .weightBytes = traffic.streamedBytes};
      phase.cacheBytes = traffic.cacheBytes * workload.depth;
      // Phases of the same code share a kernel.
      auto step = llvm::find_if(steps, [&](const Step &each) { return each.phase == traffic.phase; });
      phase.kernel = code->kernels.steps[step->kernel].run.name;
      PhasePlan plan(traffic.phase, facts);
      std::vector<double> bytesOfBlock(facts.multiprocessors);
      phase.bytesAhead = plan.groups.empty() ? 0 : 1e30;
      for (const TileGroup &group : plan.groups) {
        addShares(group, facts.multiprocessors, bytesOfBlock, phase.slicesOfBlock);
        int64_t chunk = INT64_MAX; // on average
        for (const WeightPlan &weight : group.weights) {
          phase.weights += group.tiles * weight.layout.tileRows * weight.layout.cols;
          chunk = std::min(chunk, weight.chunkRecords * weight.layout.recordBytes / weight.recordChunks);
        }
        phase.bytesAhead = std::min(phase.bytesAhead, double(facts.warps * (group.stages - 1) * chunk));
      }
      if (phase.hasWeights()) {
        double all = 0;
        for (double bytes : bytesOfBlock)
          all += bytes;
        phase.tail = *llvm::max_element(bytesOfBlock) * facts.multiprocessors / all - 1;
        const bool disassembled = sass.count(phase.kernel);
        phase.instructionsPerWeight = disassembled
                                          ? instructionsPerWeight(sass.lookup(phase.kernel), "LDGSTS", plan.groups)
                                          : instructionsPerWeight(ptx.lookup(phase.kernel), "cp.async.cg", plan.groups);
        phase.budget = facts.instructionsPerByte() * double(phase.weightBytes) / double(phase.weights);
        phase.wideLoads = wideShare(ptx.lookup(phase.kernel));
      }
      const KernelResources resources = code->assembled.kernels.lookup(phase.kernel);
      phase.registers = resources.registers;
      phase.spillBytes = resources.spillStores + resources.spillLoads;
      const double bytes = double(phase.weightBytes + phase.cacheBytes);
      const double reading = predictedMicroseconds(facts, bytes, 0, Following::Token) * (1 + phase.tail);
      const double issuing = double(phase.weights) * phase.instructionsPerWeight /
                             (facts.multiprocessors * facts.gigahertz * facts.instructionsPerCycle) / 1e3;
      const double working = std::max(reading, issuing);
      phase.microseconds = working + phaseMicroseconds(Following::Token);
      report.bytes += phase.runs * (phase.weightBytes + phase.cacheBytes);
      report.microseconds += double(phase.runs) * phase.microseconds;
      report.microsecondsByGraph += double(phase.runs) * (working + phaseMicroseconds(Following::Graph));
      report.phases.push_back(std::move(phase));
    }
  }
  const KernelResources token = code->assembled.kernels.lookup(code->kernels.token.name);
  report.tokenRegisters = token.registers;
  report.tokenSpillBytes = token.spillStores + token.spillLoads;
  return report;
}

void sluice::codegen::printReport(const TokenReport &report, const GpuFacts &facts, llvm::raw_ostream &out) {
  size_t width = 6;
  for (const PhaseReport &phase : report.phases)
    width = std::max(width, StringRef(phase.name).size());
  out << llvm::left_justify("phase", width)
      << "  runs   weight bytes    cache bytes  slices   tail       ahead  128-bit  registers  spills  instr/weight    "
         "    "
         "  us\n";
  for (const PhaseReport &phase : report.phases) {
    out << llvm::left_justify(StringRef(phase.name), width)
        << llvm::format(" %5lld %14lld %14lld", (long long)phase.runs, (long long)(phase.runs * phase.weightBytes),
                        (long long)(phase.runs * phase.cacheBytes));
    if (phase.hasWeights())
      out << llvm::format("  %6.0f %5.1f %%  %5.1f KiB  %5.0f %%", phase.slicesOfBlock, 100 * phase.tail,
                          phase.bytesAhead / 1024, 100 * phase.wideLoads);
    else
      out << llvm::format("  %6s %7s  %9s  %7s", "-", "-", "-", "-");
    if (report.assembled)
      out << llvm::format("  %9u  %6u", phase.registers, phase.spillBytes);
    else
      out << llvm::format("  %9s  %6s", "?", "?");
    if (phase.hasWeights() && !phase.instructionsPerWeight)
      out << llvm::format("      ? of %5.2f", phase.budget);
    else if (phase.hasWeights())
      out << llvm::format("  %5.2f of %5.2f", phase.instructionsPerWeight, phase.budget);
    else
      out << llvm::format("  %14s", "-");
    out << llvm::format(" %11.1f\n", double(phase.runs) * phase.microseconds);
  }
  double phases = 0;
  for (const PhaseReport &phase : report.phases)
    phases += double(phase.runs);
  const double share = double(report.bytes) / report.microseconds / 1e3 / facts.gigabytesPerSecond;
  out << llvm::format(
      "\nA token reads %lld bytes. On an %s (%u multiprocessors, %.0f GB/s) in one launch it should take %.1f us "
      "(predicted): %.1f tokens/s, %.1f %% of the bandwidth; of that, %.1f us lie between phases, %.1f us each; as a "
      "graph of kernels %.1f us.\n",
      (long long)report.bytes, facts.processor, facts.multiprocessors, facts.gigabytesPerSecond, report.microseconds,
      1e6 / report.microseconds, 100 * share, phases * phaseMicroseconds(Following::Token),
      phaseMicroseconds(Following::Token), report.microsecondsByGraph);
  out << llvm::format("Ahead: bytes of weights that are copied before they are used, in each multiprocessor; by "
                      "Little's law %.1f KiB keep the memory busy "
                      "(%.0f ns). %u of %u warps of a multiprocessor are in use, by design: one block.\n",
                      facts.bytesInFlight() / 1024, facts.loadedLatency, facts.warps, facts.maxWarps);
  out << "Bytes and us: of all runs. Slices: of the busiest block; tail: how much longer it reads than the average. "
         "Instructions: of a thread, "
      << (report.disassembled ? "of machine code"
                              : "of PTX (nvdisasm was not found: $PATH, $CUDA_HOME, an active Python environment with "
                                "nvidia-cuda-nvdisasm)")
      << ", and what would take as long as the memory.\n";
  if (report.assembled)
    out << llvm::format("The kernel of a whole token has %u registers, %u bytes of spills.\n", report.tokenRegisters,
                        report.tokenSpillBytes);
  else
    out << "Registers and spills are not known: ptxas was not found ($PATH, $CUDA_HOME, an active Python environment "
           "with nvidia-cuda-nvcc).\n";
}
