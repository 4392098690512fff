//===- CudaWeights.h - the packed weights on their way to a device -------------------===//
//
// Copied in the order of the file, which is the order of execution, through two pinned buffers: while one is on its
// way, the file is read into the other. What comes first can be used while the rest is copied.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_CUDAWEIGHTS_H
#define SLUICE_RUNTIME_CUDAWEIGHTS_H

#include "runtime/Cuda.h"
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <span>
#include <thread>

namespace sluice::runtime {

class CudaWeights {
public:
  // Allocates, and begins to copy in a thread of its own: first the bytes [firstBegin, firstEnd), which a chunk begins
  // with though they may lie elsewhere (embeddings), then the others. Throws Error when there is no memory for it.
  CudaWeights(std::span<const uint8_t> weights, uint64_t firstBegin, uint64_t firstEnd, CUcontext context);
  CudaWeights(const CudaWeights &) = delete;
  ~CudaWeights();

  CUdeviceptr address() const { return memory; }
  // What is put on `stream`, which is always the same, from now on waits until the bytes [begin, end) are there. Throws
  // Error if copying failed.
  void require(uint64_t begin, uint64_t end, CUstream stream);

private:
  void copy(CUcontext context);

  const std::span<const uint8_t> weights;
  CudaMemory memory;
  CudaHostMemory buffers[2];
  CudaStream stream;
  std::vector<size_t> order, rank; // the pieces as they are copied; when a piece is copied
  std::vector<CudaEvent> copied;   // in that order
  std::mutex mutex;
  std::condition_variable changed;
  size_t underWay = 0;        // pieces whose event is recorded
  size_t required = 0;        // pieces that streams have been told to wait for
  std::exception_ptr failure; // that ended the copying
  std::atomic<bool> stop = false;
  std::thread thread;
};

} // namespace sluice::runtime
#endif
