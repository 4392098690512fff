//===- Session.cpp - one sequence of tokens and what the model makes of it ---------===//

#include "runtime/Session.h"
#include "runtime/Error.h"

using namespace sluice::runtime;

static uint64_t blocksOf(uint64_t positions) { return (positions + SLUICE_KV_BLOCK - 1) / SLUICE_KV_BLOCK; }

// The cache is touched block by block in every head's run, so large pages would take and clear far more than is used.
Session::Session(const Model &model, const sluice_variant &variant, Workers &team, uint64_t context, uint32_t cacheType)
    : model(model), capacity(context), cacheType(cacheType),
      headStride(blocksOf(context) * sluice_kv_block_bytes(cacheType, model.description().head_dim)),
      layerStride(headStride * model.description().kv_heads),
      cache(layerStride * model.description().layers, false, "the context"),
      decoder(model, variant, SLUICE_PROGRAM_DECODE, &team), prefiller(model, variant, SLUICE_PROGRAM_PREFILL, &team) {
  ids.reserve(context);
  team.run([&](unsigned worker) { model.populateWeights(worker, team.count()); });
}

std::string Session::remedy() const {
  const uint64_t most = model.description().context_length;
  return capacity < most ? "shorten the text or raise -c (at most " + std::to_string(most) + ")"
                         : "shorten the text: the model was trained for no more";
}

void Session::check(std::span<const int32_t> newIds) const {
  if (newIds.size() > capacity - position())
    throw Error(std::to_string(position() + newIds.size()) + " tokens do not fit the context of " +
                std::to_string(capacity) + "; " + remedy());
  for (int32_t id : newIds)
    if (id < 0 || uint32_t(id) >= vocabulary())
      throw Error("expected token ids from 0 to " + std::to_string(vocabulary() - 1) + ", got " + std::to_string(id));
}

Chunk Session::chunkOf(std::span<const int32_t> newIds) const {
  Chunk chunk;
  chunk.ids = newIds.data();
  chunk.tokens = newIds.size();
  chunk.position = position();
  chunk.kv = cache.data();
  chunk.kvHeadStride = headStride;
  chunk.kvLayerStride = layerStride;
  chunk.cacheType = cacheType;
  return chunk;
}

const float *Session::decode(int32_t id) {
  check({&id, 1});
  decoder.run(chunkOf({&id, 1}));
  ids.push_back(id);
  return decoder.output();
}

const float *Session::prefill(std::span<const int32_t> newIds, Logits wanted, const Row &row) {
  check(newIds);
  const uint64_t stride = model.description().logits_padded;
  const float *last = nullptr;
  for (uint64_t at = 0; at < newIds.size();) {
    if (stop && *stop)
      return nullptr;
    std::span<const int32_t> part = newIds.subspan(at, std::min(prefiller.maxTokens(), newIds.size() - at));
    Chunk chunk = chunkOf(part);
    bool final = at + part.size() == newIds.size();
    chunk.headBegin = wanted == Logits::All ? 0 : wanted == Logits::Last && final ? part.size() - 1 : part.size();
    prefiller.run(chunk);
    ids.insert(ids.end(), part.begin(), part.end());
    if (wanted == Logits::All)
      for (uint64_t token = 0; token < part.size(); ++token)
        row(at + token, prefiller.output() + token * stride);
    last = prefiller.output() + (part.size() - 1) * stride;
    at += part.size();
  }
  return wanted == Logits::None ? nullptr : last;
}
