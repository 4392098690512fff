//===- PhaseRunner.cpp - single phases on made-up data ------------------------------===//

#include "compiler/tune/PhaseRunner.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>

using namespace sluice;
using namespace sluice::stream;

// f16 1.06, bf16 and f32 0.0115, codes within their range.
static constexpr uint8_t moderate = 0x3C;
static constexpr uint32_t cacheType = SLUICE_CACHE_F16;

PhaseRunner::Memory PhaseRunner::allocate(int64_t bytes) {
  bytes = llvm::alignTo(std::max<int64_t>(bytes, 1), 4096);
  Memory memory(static_cast<uint8_t *>(std::aligned_alloc(4096, bytes)));
  if (!memory)
    llvm::report_fatal_error("no memory for the weights of a phase");
  std::memset(memory.get(), moderate, bytes);
  return memory;
}

static int64_t tokensOf(PhaseOp phase) { return phase->getParentOfType<ProgramOp>().getMaxTokens(); }

PhaseRunner::PhaseRunner(llama::ModelOp model, const codegen::HostTarget &target, int64_t position, int64_t weightBytes)
    : target(target), position(position), weightBytes(weightBytes) {
  int64_t arenaBytes = 0, tokens = 0, kvHeads = 0, blockBytes = 0;
  model.walk([&](ProgramOp program) {
    int64_t bytes = 0;
    bufferOffsets(program, &bytes);
    arenaBytes = std::max(arenaBytes, bytes);
    tokens = std::max<int64_t>(tokens, program.getMaxTokens());
  });
  model.walk([&](PhaseOp phase) { this->weightBytes = std::max(this->weightBytes, PhaseStream::get(phase).bytes); });
  model.walk([&](AttentionOp attention) {
    auto cache = mlir::cast<llama::CacheType>(attention.getCache());
    kvHeads = cache.getKvHeads();
    blockBytes = sluice_kv_block_bytes(cacheType, cache.getHeadDim());
  });
  kvHeadStride = llvm::divideCeil(position + tokens, SLUICE_KV_BLOCK) * blockBytes;
  weights = allocate(this->weightBytes);
  arena = allocate(arenaBytes);
  kv = allocate(kvHeads * kvHeadStride);
  ids.resize(tokens);
}

int64_t PhaseRunner::bytesOf(PhaseOp phase) const {
  PhaseTraffic traffic = PhaseTraffic::get(phase);
  int64_t positions = tokensOf(phase) * position + tokensOf(phase) * (tokensOf(phase) - 1) / 2;
  return traffic.streamedBytes + (traffic.cacheTokens ? traffic.cacheBytes * positions / traffic.cacheTokens : 0);
}

int64_t PhaseRunner::operationsOf(PhaseOp phase) const {
  PhaseTraffic traffic = PhaseTraffic::get(phase);
  int64_t positions = tokensOf(phase) * position + tokensOf(phase) * (tokensOf(phase) - 1) / 2;
  return traffic.operations * tokensOf(phase) + traffic.cacheOperations * positions;
}

std::function<void()> PhaseRunner::bind(PhaseOp phase, const sluice_kernel &kernel) {
  codegen::WorkerMemory needed = worker.max(target.workerMemory(phase->getParentOfType<ProgramOp>()));
  if (needed.scratch > worker.scratch)
    scratch = allocate(needed.scratch);
  if (needed.prepared > worker.prepared)
    prepared = allocate(needed.prepared);
  worker = needed;
  const int64_t bytes = PhaseStream::get(phase).bytes, tokens = tokensOf(phase);
  const PhaseUnits units = PhaseUnits::get(phase);
  auto pieces = [](int64_t count, int64_t size) { return size ? llvm::divideCeil(count, size) : 1; };
  const int64_t count = units.units * pieces(tokens, units.unitTokens) * pieces(position + tokens, units.unitPositions);
  return [=, this] {
    if (weightsAt + bytes > weightBytes)
      weightsAt = 0;
    sluice_args args{};
    args.weights = weights.get() + std::exchange(weightsAt, weightsAt + bytes);
    args.arena = arena.get();
    args.scratch = scratch.get();
    args.prepared = prepared.get();
    args.kv = kv.get();
    args.kv_head_stride = kvHeadStride;
    args.ids = ids.data();
    args.position = position;
    args.token_end = tokens;
    args.parameter = 1;
    args.count = 1;
    args.cache_type = cacheType;
    if (kernel.prologue)
      kernel.prologue(&args);
    kernel.run(&args, 0, count);
  };
}
