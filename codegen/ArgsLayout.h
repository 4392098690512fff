//===- ArgsLayout.h - byte offsets of sluice_args, as generated code reads them ----===//
#ifndef SLUICE_CODEGEN_ARGSLAYOUT_H
#define SLUICE_CODEGEN_ARGSLAYOUT_H

#include "runtime/abi.h"
#include <cstddef>

namespace sluice::codegen {

enum ArgsOffset : int64_t {
  WeightsArg = offsetof(sluice_args, weights),
  ArenaArg = offsetof(sluice_args, arena),
  ScratchArg = offsetof(sluice_args, scratch),
  PreparedArg = offsetof(sluice_args, prepared),
  KvArg = offsetof(sluice_args, kv),
  KvHeadStrideArg = offsetof(sluice_args, kv_head_stride),
  IdsArg = offsetof(sluice_args, ids),
  PositionArg = offsetof(sluice_args, position),
  TokenBeginArg = offsetof(sluice_args, token_begin),
  TokenEndArg = offsetof(sluice_args, token_end),
  ParameterArg = offsetof(sluice_args, parameter),
  CountArg = offsetof(sluice_args, count),
  CacheTypeArg = offsetof(sluice_args, cache_type),
};

} // namespace sluice::codegen
#endif
