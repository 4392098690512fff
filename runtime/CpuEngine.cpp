//===- CpuEngine.cpp - programs run by threads of this machine -----------------------===//

#include "runtime/CpuEngine.h"
#include "runtime/ArithmeticPeak.h"
#include "runtime/ReadBandwidth.h"
#include <cstring>

using namespace sluice::runtime;

static uint64_t blocksOf(uint64_t positions) { return (positions + SLUICE_KV_BLOCK - 1) / SLUICE_KV_BLOCK; }

// The cache is touched block by block in every head's run, so large pages would take and clear far more than is used.
CpuEngine::CpuEngine(const Model &model, const sluice_variant &variant, unsigned threads, uint64_t context,
                     uint32_t cacheType)
    : Engine(model, context), variant(variant), cacheType(cacheType),
      headStride(blocksOf(context) * sluice_kv_block_bytes(cacheType, model.description().head_dim)),
      layerStride(headStride * model.description().kv_heads), team(threads),
      cache(layerStride * model.description().layers, false, "the context"),
      decoder(model, variant, SLUICE_PROGRAM_DECODE, &team), prefiller(model, variant, SLUICE_PROGRAM_PREFILL, &team),
      softmaxer(model, variant, SLUICE_PROGRAM_SOFTMAX, nullptr), last(&decoder) {
  team.run([&](unsigned worker) { model.populateWeights(worker, team.count()); });
}

std::string CpuEngine::workers() const {
  return std::to_string(team.count()) + (team.count() == 1 ? " thread" : " threads");
}

void CpuEngine::run(uint32_t kind, std::span<const int32_t> ids, uint64_t position, uint64_t headBegin) {
  Chunk chunk;
  chunk.ids = ids.data();
  chunk.tokens = ids.size();
  chunk.headBegin = headBegin;
  chunk.position = position;
  chunk.kv = cache.data();
  chunk.kvHeadStride = headStride;
  chunk.kvLayerStride = layerStride;
  chunk.cacheType = cacheType;
  last = &program(kind);
  lastToken = ids.size() - 1;
  last->run(chunk);
}

std::span<const float> CpuEngine::softmax(std::span<const float> values, float scale) {
  std::memcpy(softmaxer.input(), values.data(), values.size_bytes());
  Chunk chunk;
  chunk.tokens = 1;
  chunk.count = uint32_t(values.size());
  chunk.parameter = scale;
  softmaxer.run(chunk);
  return {softmaxer.output(), values.size()};
}

int32_t CpuEngine::choose(Sampler &sampler, std::span<const int32_t> recent) {
  return sampler.sample({logits(lastToken), model.description().vocabulary}, recent);
}

Capability CpuEngine::measure() {
  return {.bandwidth = readBandwidth(team, model.section(SLUICE_SECTION_WEIGHTS)),
          .peak = arithmeticPeak(team, model, variant),
          .workers = team.count()};
}

KernelCosts CpuEngine::costsOf(const sluice_step &step) const {
  const sluice_kernel &kernel = variant.kernels[step.kernel];
  return {kernel.prologue_cost, kernel.run_cost, kernel.cache_cost};
}
