//===- CudaWeights.cpp - the packed weights on their way to a device -----------------===//

#include "runtime/CudaWeights.h"
#include <algorithm>
#include <cstring>

using namespace sluice::runtime;

static constexpr uint64_t pieceBytes = 16 << 20;

static size_t piecesOf(uint64_t bytes) { return (bytes + pieceBytes - 1) / pieceBytes; }

CudaWeights::CudaWeights(std::span<const uint8_t> weights, uint64_t firstBegin, uint64_t firstEnd, CUcontext context)
    : weights(weights), memory(allocateCuda(weights.size(), "the weights", /*zeroed=*/false)),
      stream(makeCudaStream()) {
  for (CudaHostMemory &buffer : buffers)
    buffer = allocatePinned(std::min<uint64_t>(pieceBytes, std::max<size_t>(weights.size(), 1)));
  const size_t pieces = piecesOf(weights.size()), first = firstBegin / pieceBytes, last = piecesOf(firstEnd);
  for (size_t piece = first; piece < last; ++piece)
    order.push_back(piece);
  for (size_t piece = 0; piece < pieces; ++piece)
    if (piece < first || piece >= last)
      order.push_back(piece);
  rank.resize(pieces);
  for (size_t i = 0; i < pieces; ++i) {
    rank[order[i]] = i;
    copied.push_back(makeCudaEvent(/*timed=*/false));
  }
  thread = std::thread([this, context] {
    try {
      copy(context);
    } catch (...) {
      std::lock_guard lock(mutex);
      failure = std::current_exception();
      changed.notify_all();
    }
  });
}

CudaWeights::~CudaWeights() {
  stop = true;
  thread.join();
  cudaDriver().cuStreamSynchronize(stream);
}

void CudaWeights::copy(CUcontext context) {
  SLUICE_CUDA(cuCtxSetCurrent, context);
  for (size_t i = 0; i < order.size() && !stop; ++i) {
    if (i >= 2) // the last copy out of this buffer
      SLUICE_CUDA(cuEventSynchronize, CUevent(copied[i - 2]));
    const uint64_t begin = order[i] * pieceBytes, bytes = std::min(pieceBytes, weights.size() - begin);
    void *buffer = buffers[i % 2];
    std::memcpy(buffer, weights.data() + begin, bytes);
    SLUICE_CUDA(cuMemcpyHtoDAsync_v2, CUdeviceptr(memory + begin), static_cast<const void *>(buffer), size_t(bytes),
                CUstream(stream));
    SLUICE_CUDA(cuEventRecord, CUevent(copied[i]), CUstream(stream));
    std::lock_guard lock(mutex);
    underWay = i + 1;
    changed.notify_all();
  }
}

void CudaWeights::require(uint64_t begin, uint64_t end, CUstream waiting) {
  size_t needed = 0;
  for (size_t piece = begin / pieceBytes; piece < piecesOf(std::min<uint64_t>(end, weights.size())); ++piece)
    needed = std::max(needed, rank[piece] + 1);
  if (needed <= required)
    return;
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return underWay >= needed || failure; });
  if (failure)
    std::rethrow_exception(failure);
  SLUICE_CUDA(cuStreamWaitEvent, waiting, CUevent(copied[needed - 1]), 0u);
  required = needed;
}
