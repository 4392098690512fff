//===- Traffic.cpp - what a token moves and computes, from the IR alone ------------===//

#include "passes/Traffic.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/MathExtras.h"

using namespace sluice;
using namespace sluice::stream;

PhaseTraffic PhaseTraffic::get(PhaseOp phase, int64_t runs, uint32_t cacheType) {
  PhaseTraffic traffic{.phase = phase, .runs = runs};
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
    // A key and a value of every KV head; for every head a product with each.
    traffic.cacheBytes += cache.getKvHeads() * sluice_kv_block_bytes(cacheType, cache.getHeadDim()) / SLUICE_KV_BLOCK;
    traffic.cacheOperations += 2 * 2 * int64_t(attention.getHeads()) * cache.getHeadDim();
    traffic.cacheTokens = attention.getTokenBlock().value_or(1);
    traffic.window = attention.getWindow().value_or(0);
  }
  return traffic;
}

Traffic Traffic::get(ProgramOp program, uint32_t cacheType) {
  Traffic traffic;
  auto add = [&](PhaseOp phase, int64_t runs) {
    PhaseTraffic one = PhaseTraffic::get(phase, runs, cacheType);
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

void sluice::printTraffic(llama::ModelOp model, llvm::raw_ostream &out, llvm::StringRef target, PhaseCosts costs,
                          Workload workload, Machine machine) {
  llvm::StringRef name = workload.prompt ? "prefill" : "decode";
  auto programs = llvm::make_filter_range(model.getOps<ProgramOp>(), [&](auto op) { return op.getSymName() == name; });
  if (programs.empty())
    return;
  ProgramOp program = *programs.begin();
  Traffic traffic = Traffic::get(program, workload.cacheType);
  const int64_t tokens = std::max<int64_t>(workload.prompt, 1), capacity = program.getMaxTokens();
  const int64_t chunks = llvm::divideCeil(tokens, capacity);

  struct Line {
    int64_t weightBytes, cacheBytes, operations;
    double least = 0, predicted = 0; // us
    int64_t bytes() const { return weightBytes + cacheBytes; }
  };
  std::vector<Line> lines;
  Line total{};
  size_t width = 6;
  int64_t barriers = 0, layerBarriers = 0; // in all; the most that a layer has
  for (const PhaseTraffic &phase : traffic.phases) {
    PhaseOp op = phase.phase;
    bool once = op.getHead(); // for the prompt's last token
    const int64_t positions = workload.positions(phase.window);
    lines.push_back({phase.runs * phase.streamedBytes * (once ? 1 : chunks),
                     phase.runs * phase.cacheBytes * positions / std::max<int64_t>(phase.cacheTokens, 1),
                     phase.runs * (phase.operations * (once ? 1 : tokens) + phase.cacheOperations * positions)});
    Line &line = lines.back();
    const double memory = line.bytes() / machine.gigabytesPerSecond / 1e3;
    auto computing = [&](double operations) { return operations / machine.gigaoperationsPerSecond / 1e3; };
    const PhaseCost cost = costs(op);
    const double count = phase.runs * (once ? 1 : tokens);
    line.least = std::max(memory, computing(line.operations));
    line.predicted = std::max(memory, computing(cost.run * count + cost.cache * phase.runs * positions)) +
                     computing(cost.prologue * count);
    total = {total.weightBytes + line.weightBytes, total.cacheBytes + line.cacheBytes,
             total.operations + line.operations, total.least + line.least, total.predicted + line.predicted};
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
        << llvm::format(" %5s %14lld %14lld %8.2f %% %16lld %11.1f  ", runs.c_str(),
                        static_cast<long long>(line.weightBytes), static_cast<long long>(line.cacheBytes),
                        100.0 * line.bytes() / total.bytes(), static_cast<long long>(line.operations), line.predicted)
        << reads << '\n';
  };
  out << llvm::left_justify("phase", width)
      << "  runs   weight bytes    cache bytes      share       operations          us  reads\n";
  for (auto [phase, line] : llvm::zip_equal(traffic.phases, lines))
    print(PhaseOp(phase.phase).getName(), std::to_string(phase.runs), line, weightsOf(phase.phase));
  print(workload.prompt ? "prompt" : "token", "", total, "");
  out << "\nEvery token of an answer also reads, for each position before it, " << traffic.cacheBytes
      << " bytes of KV cache (" << traffic.cacheOperations << " operations), and looks up " << traffic.lookedUpBytes
      << " bytes of embedding.\n";
  int64_t windowed = 0, widest = 0;
  for (const PhaseTraffic &phase : traffic.phases)
    if (phase.window) {
      windowed += phase.runs * phase.cacheBytes;
      widest = std::max(widest, phase.window);
    }
  if (windowed)
    out << "Of the cache, " << windowed << " bytes are read for the last " << widest - 1 << " positions only.\n";
  out << "The workers meet at " << barriers << " barriers, " << layerBarriers << " in a layer.\n";
  out << llvm::format(
      "At %g GB/s and %g GOP/s (--gb-per-s, --gop-per-s; 'bench -t 1 --profile' of the compiled model measures "
      "them), the code for %s makes that %.1f tokens/s; the roofline allows %.1f (%.1f us).\n",
      machine.gigabytesPerSecond, machine.gigaoperationsPerSecond, target.str().c_str(), tokens * 1e6 / total.predicted,
      tokens * 1e6 / total.least, total.least);
  if (workload.prompt)
    out << "Chunks of at most " << capacity << " tokens: " << chunks
        << llvm::format(". Operations for every byte read: %.1f.\n", double(total.operations) / total.bytes());
}
