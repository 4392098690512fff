//===- Traffic.cpp - what a token moves and computes, from the IR alone ------------===//

#include "passes/Traffic.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/MathExtras.h"

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

// "attn_norm f32, attn_q q4_1, attn_k q4_1": what a phase reads.
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

// After a phase, and before its tiles if the workers share its prologue.
static int64_t barriersOf(PhaseOp phase) { return phase.getPrologueTokens() ? 2 : 1; }

void sluice::printTraffic(llama::ModelOp model, llvm::raw_ostream &out, Workload workload) {
  llvm::StringRef name = workload.prompt ? "prefill" : "decode";
  auto programs = llvm::make_filter_range(model.getOps<ProgramOp>(), [&](auto op) { return op.getSymName() == name; });
  if (programs.empty())
    return;
  ProgramOp program = *programs.begin();
  Traffic traffic = Traffic::get(program);
  const int64_t tokens = std::max<int64_t>(workload.prompt, 1), capacity = program.getMaxTokens();
  const int64_t chunks = llvm::divideCeil(tokens, capacity);
  const int64_t positions = tokens * workload.depth + tokens * (tokens - 1) / 2; // before each token, summed

  struct Line {
    int64_t weightBytes, cacheBytes, operations;
    int64_t bytes() const { return weightBytes + cacheBytes; }
  };
  std::vector<Line> lines;
  Line total{0, 0, 0};
  size_t width = 6;
  int64_t barriers = 0, layerBarriers = 0; // in all; the most that a layer has
  for (const PhaseTraffic &phase : traffic.phases) {
    PhaseOp op = phase.phase;
    bool once = op.getHead(); // for the prompt's last token
    int64_t together = 1;     // tokens of a prompt for which attention reads the cache once
    for (auto attention : op.getBody().getOps<AttentionOp>())
      together = attention.getTokenBlock().value_or(1);
    lines.push_back({phase.runs * phase.streamedBytes * (once ? 1 : chunks),
                     phase.runs * phase.cacheBytes * positions / together,
                     phase.runs * (phase.operations * (once ? 1 : tokens) + phase.cacheOperations * positions)});
    total = {total.weightBytes + lines.back().weightBytes, total.cacheBytes + lines.back().cacheBytes,
             total.operations + lines.back().operations};
    width = std::max(width, op.getName().size());
    barriers += phase.runs * (once ? 1 : chunks) * barriersOf(op);
  }
  for (auto repeat : program.getBody().getOps<RepeatOp>()) {
    int64_t inLayer = 0;
    for (auto phase : repeat.getBody().getOps<PhaseOp>())
      inLayer += barriersOf(phase);
    layerBarriers = std::max(layerBarriers, inLayer);
  }

  auto print = [&](llvm::StringRef name, const std::string &runs, const Line &line, const std::string &reads) {
    out << llvm::left_justify(name, width)
        << llvm::format(" %5s %14lld %14lld %8.2f %% %16lld  ", runs.c_str(), static_cast<long long>(line.weightBytes),
                        static_cast<long long>(line.cacheBytes), 100.0 * line.bytes() / total.bytes(),
                        static_cast<long long>(line.operations))
        << reads << '\n';
  };
  out << llvm::left_justify("phase", width)
      << "  runs   weight bytes    cache bytes      share       operations  reads\n";
  for (auto [phase, line] : llvm::zip_equal(traffic.phases, lines))
    print(PhaseOp(phase.phase).getName(), std::to_string(phase.runs), line, weightsOf(phase.phase));
  print(workload.prompt ? "prompt" : "token", "", total, "");
  out << "\nEvery token of an answer also reads, for each position before it, " << traffic.cacheBytes
      << " bytes of KV cache (" << traffic.cacheOperations << " operations), and looks up " << traffic.lookedUpBytes
      << " bytes of embedding.\nThe workers meet at " << barriers << " barriers, " << layerBarriers << " in a layer.\n";
  if (workload.prompt) {
    out << "Chunks of at most " << capacity << " tokens: " << chunks
        << llvm::format(". Operations for every byte read: %.1f.\n", double(total.operations) / total.bytes());
    return;
  }
  out << "Memory sets the speed: at most";
  for (int gigabytes : {20, 100, 1000})
    out << (gigabytes == 20 ? " " : ", ") << llvm::format("%.0f", gigabytes * 1e9 / total.bytes())
        << " tokens/s where it gives " << gigabytes << " GB/s";
  out << ".\n";
}
