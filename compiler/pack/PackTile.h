//===- PackTile.h - one tile of a weight, from checkpoint order to packed order ----===//
#ifndef SLUICE_COMPILER_PACK_PACKTILE_H
#define SLUICE_COMPILER_PACK_PACKTILE_H

#include "dialects/stream/PackedLayout.h"

namespace sluice {

// Writes the layout.tileBytes of tile `tile` to `out`. `matrix`: the tensor's bytes in the checkpoint, row after row of
// whole blocks.
void packTile(const stream::PackedLayout &layout, const uint8_t *matrix, int64_t tile, uint8_t *out);

} // namespace sluice
#endif
