//===- Traffic.cpp - what a token moves and computes, from the IR alone ------------===//

#include "passes/Traffic.h"
#include "llvm/Support/Format.h"

using namespace sluice;
using namespace sluice::stream;

static PhaseTraffic trafficOf(PhaseOp phase, int64_t runs) {
  PhaseTraffic traffic{phase, runs, 0, 0, 0, 0, 0};
  PhaseStream stream = PhaseStream::get(phase);
  if (!stream.lookedUp)
    traffic.streamedBytes = stream.bytes;
  for (const Segment &segment : stream.segments)
    for (const PackedLayout &layout : segment.layouts) {
      if (stream.lookedUp)
        traffic.lookedUpBytes += layout.cols / layout.format->blockElements * layout.format->blockBytes;
      else
        traffic.operations += 2 * layout.rows * layout.cols;
    }
  for (auto attention : phase.getBody().getOps<AttentionOp>()) {
    auto cache = mlir::cast<llama::CacheType>(attention.getCache());
    int64_t elementBytes = cache.getElementType().getIntOrFloatBitWidth() / 8;
    // A key and a value of every KV head; for every head a product with each.
    traffic.cacheBytes += 2 * cache.getKvHeads() * cache.getHeadDim() * elementBytes;
    traffic.cacheOperations += 2 * 2 * int64_t(attention.getHeads()) * cache.getHeadDim();
  }
  return traffic;
}

Traffic Traffic::get(ProgramOp program) {
  Traffic traffic;
  auto add = [&](PhaseOp phase, int64_t runs) {
    PhaseTraffic one = trafficOf(phase, runs);
    traffic.streamedBytes += runs * one.streamedBytes;
    traffic.lookedUpBytes += runs * one.lookedUpBytes;
    traffic.cacheBytes += runs * one.cacheBytes;
    traffic.operations += runs * one.operations;
    traffic.cacheOperations += runs * one.cacheOperations;
    traffic.phases.push_back(one);
  };
  for (mlir::Operation &op : program.getBody().front()) {
    if (auto phase = mlir::dyn_cast<PhaseOp>(op))
      add(phase, 1);
    if (auto repeat = mlir::dyn_cast<RepeatOp>(op))
      for (auto phase : repeat.getBody().getOps<PhaseOp>())
        add(phase, repeat.getCount());
  }
  return traffic;
}

// "attn_norm, attn_q (q4_1), attn_k (q4_1)": what a phase reads.
static std::string weightsOf(PhaseOp phase) {
  std::string text;
  llvm::raw_string_ostream out(text);
  for (const Segment &segment : PhaseStream::get(phase).segments)
    for (llama::WeightDeclOp weight : segment.weights)
      out << (text.empty() ? "" : ", ") << weight.getSymName() << ' '
          << llama::stringifyFormat(weight.getWeightType().getFormat());
  if (!phase.getBody().getOps<AttentionOp>().empty())
    out << "KV cache";
  return text;
}

void sluice::printTraffic(llama::ModelOp model, llvm::raw_ostream &out) {
  for (auto program : model.getOps<ProgramOp>()) {
    if (program.getSymName() != "decode")
      continue;
    Traffic traffic = Traffic::get(program);
    size_t width = 5;
    int64_t barriers = 0, layerBarriers = 0; // one after each phase; the most that a layer has
    for (PhaseTraffic &phase : traffic.phases) {
      width = std::max(width, phase.phase.getName().size());
      barriers += phase.runs;
    }
    for (auto repeat : program.getBody().getOps<RepeatOp>())
      layerBarriers = std::max<int64_t>(layerBarriers, llvm::range_size(repeat.getBody().getOps<PhaseOp>()));
    auto line = [&](llvm::StringRef name, llvm::StringRef runs, int64_t bytes, int64_t operations,
                    llvm::StringRef weights) {
      out << llvm::left_justify(name, width)
          << llvm::format(" %5s %14lld %8.2f %% %14lld  ", runs.str().c_str(), static_cast<long long>(bytes),
                          100.0 * bytes / traffic.streamedBytes, static_cast<long long>(operations))
          << weights << '\n';
    };
    out << llvm::left_justify("phase", width) << "  runs   weight bytes      share     operations  reads\n";
    for (PhaseTraffic &phase : traffic.phases)
      line(phase.phase.getName(), std::to_string(phase.runs), phase.runs * phase.streamedBytes,
           phase.runs * phase.operations, weightsOf(phase.phase));
    line("token", "", traffic.streamedBytes, traffic.operations, "");
    out << "\nEvery token also reads, for each position before it, " << traffic.cacheBytes << " bytes of KV cache ("
        << traffic.cacheOperations << " operations), and looks up " << traffic.lookedUpBytes
        << " bytes of embedding.\nThe workers meet at " << barriers << " barriers, " << layerBarriers
        << " in a layer.\nMemory sets the speed: at most";
    for (int gigabytes : {20, 100, 1000})
      out << (gigabytes == 20 ? " " : ", ") << llvm::format("%.0f", gigabytes * 1e9 / traffic.streamedBytes)
          << " tokens/s where it gives " << gigabytes << " GB/s";
    out << ".\n";
  }
}
