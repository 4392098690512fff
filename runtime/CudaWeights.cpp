//===- CudaWeights.cpp - the packed weights on their way to a device -----------------===//

#include "runtime/CudaWeights.h"
#include <algorithm>
#include <cstring>

using namespace sluice::runtime;

static constexpr uint64_t pieceBytes = 16 << 20;

static size_t piecesOf(uint64_t bytes) { return (bytes + pieceBytes - 1) / pieceBytes; }

CudaWeights::CudaWeights(std::span<const uint8_t> weights, CUcontext context)
    : weights(weights), memory(allocateCuda(weights.size(), "the weights", /*zeroed=*/false)), stream(makeCudaStream()) {
  for (CudaHostMemory &buffer : buffers)
    buffer = allocatePinned(std::min<uint64_t>(pieceBytes, std::max<size_t>(weights.size(), 1)));
  for (size_t piece = 0; piece < piecesOf(weights.size()); ++piece)
    copied.push_back(makeCudaEvent(/*timed=*/false));
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
  for (size_t piece = 0; piece < copied.size() && !stop; ++piece) {
    if (piece >= 2) // the last copy out of this buffer
      SLUICE_CUDA(cuEventSynchronize, CUevent(copied[piece - 2]));
    const uint64_t begin = piece * pieceBytes, bytes = std::min(pieceBytes, weights.size() - begin);
    void *buffer = buffers[piece % 2];
    std::memcpy(buffer, weights.data() + begin, bytes);
    SLUICE_CUDA(cuMemcpyHtoDAsync_v2, CUdeviceptr(memory + begin), static_cast<const void *>(buffer), size_t(bytes),
                CUstream(stream));
    SLUICE_CUDA(cuEventRecord, CUevent(copied[piece]), CUstream(stream));
    std::lock_guard lock(mutex);
    underWay = piece + 1;
    changed.notify_all();
  }
}

void CudaWeights::require(uint64_t bytes, CUstream waiting) {
  const size_t pieces = piecesOf(std::min<uint64_t>(bytes, weights.size()));
  if (pieces == 0)
    return;
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return underWay >= pieces || failure; });
  if (failure)
    std::rethrow_exception(failure);
  SLUICE_CUDA(cuStreamWaitEvent, waiting, CUevent(copied[pieces - 1]), 0u);
}
