//===- PackWeights.h - the packed weights as one stream of bytes -------------------===//
//
// Walks a schedule's placements and hands the packed bytes out in file order. Pieces are packed by a few threads into a
// ring of buffers, so memory does not grow with the model.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_PACK_PACKWEIGHTS_H
#define SLUICE_COMPILER_PACK_PACKWEIGHTS_H

#include "compiler/pack/WeightSource.h"
#include "dialects/stream/Schedule.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"

namespace sluice {

// Where one tensor of the checkpoint lies in the packed weights.
struct PackedTensor {
  std::string name;
  const llama::FormatInfo *format;
  int64_t offset, size;  // the range that holds it; tensors whose tiles alternate share one
  uint64_t checksum = 0; // XXH3-64 of the range, once packed
};

// In file order.
std::vector<PackedTensor> packedTensors(const stream::Schedule &schedule);

// Called when a part of a tensor's bytes is not needed any more.
using BytesDone = llvm::function_ref<void(llvm::ArrayRef<uint8_t>)>;
// Receives schedule.weightBytes() bytes in order. An error ends the packing.
using Sink = llvm::function_ref<llvm::Error(llvm::ArrayRef<uint8_t>)>;

// Fills the checksums of `tensors` (as packedTensors made them) and returns that of all the bytes.
llvm::Expected<uint64_t> packWeights(const stream::Schedule &schedule, TensorBytes bytesOf, BytesDone done, Sink sink,
                                     std::vector<PackedTensor> &tensors);

} // namespace sluice
#endif
