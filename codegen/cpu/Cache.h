//===- Cache.h - how keys and values lie in the KV cache ------------------------------===//
//
// The layouts of runtime/abi.h. The type is an argument of the step: code is made for every one.
//
//===----------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_CPU_CACHE_H
#define SLUICE_CODEGEN_CPU_CACHE_H

#include "codegen/cpu/PhaseScope.h"

namespace sluice::codegen {

struct CacheLayout {
  uint32_t type; // SLUICE_CACHE_*
  int64_t headDim;

  // Elements stand for multiples of a scale, which `scaleChannels` channels of a position share.
  bool scaled() const { return type == SLUICE_CACHE_Q8_0; }
  int64_t elementBytes() const { return type == SLUICE_CACHE_F16 ? 2 : type == SLUICE_CACHE_F32 ? 4 : 1; }
  int64_t scaleChannels() const { return std::min<int64_t>(headDim, SLUICE_CACHE_SCALED); }
  int64_t blockBytes() const { return int64_t(sluice_kv_block_bytes(type, headDim)); }
  int64_t valuesAt() const { return blockBytes() / 2; } // in a block; keys are at 0
  // In the keys or values of a block: the scales of `scaleChannels` channels from `channel`, of all positions.
  int64_t scalesAt() const { return headDim * SLUICE_KV_BLOCK * elementBytes(); }
  Value scalesAt(Lanes &l, Value half, Value channel) const;

  // n elements as f32, without their scale; n scales.
  Value loadElements(Lanes &l, int64_t n, Value pointer) const;
  Value loadScales(Lanes &l, int64_t n, Value pointer) const;
};

// Emits f for each type of cache; the one that the step's arguments name is run.
void forCacheType(Lanes &l, Value args, int64_t headDim, llvm::function_ref<void(const CacheLayout &)> f);

// Address of the KV head `kvHead`.
Value cacheOfHead(Lanes &l, Value args, Value kvHead);

// Writes a KV head's channels of one token to the cache, at the token's position.
void lowerAppend(PhaseScope &scope, stream::AppendOp op, const CacheLayout &layout, Lanes &l, Value args, Value kvHead,
                 Value token);

} // namespace sluice::codegen
#endif
