//===- CudaEngine.h - programs run by an NVIDIA device --------------------------------===//
//
// Weights, cache and activations are the device's; of a token only its id crosses the bus. A token that is to be
// decoded waits until it is known what for: its logits, or the id that a sampler chooses. While the host looks at a
// chosen id, the device works on the next token already, as if the host would ask for it; if it does not, nothing is
// lost: the cache beyond the sequence holds nothing.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_CUDAENGINE_H
#define SLUICE_RUNTIME_CUDAENGINE_H

#include "runtime/CudaCode.h"
#include "runtime/CudaWeights.h"
#include "runtime/Engine.h"
#include <memory>

namespace sluice::runtime {

// Makes a device's context the thread's own, and gives it back.
class CudaContext {
public:
  explicit CudaContext(int ordinal);
  CudaContext(const CudaContext &) = delete;
  ~CudaContext();
  operator CUcontext() const { return context; }

private:
  CUdevice device;
  CUcontext context = nullptr;
};

class CudaEngine final : public Engine {
public:
  // As makeDeviceEngine.
  CudaEngine(const Model &model, const sluice_device_variant &variant, const CudaDeviceInfo &device,
             Launch launch, uint64_t context, uint32_t cacheType);
  ~CudaEngine() override;

  const char *target() const override { return variant.target; }
  std::string workers() const override { return device.name; }
  void run(uint32_t kind, std::span<const int32_t> ids, uint64_t position, uint64_t headBegin) override;
  const float *logits(uint64_t token) override;
  std::span<const float> softmax(std::span<const float> values, float scale) override;
  float logSum() const override { return probabilities.back(); }
  void finish() override;
  int32_t choose(Sampler &sampler, std::span<const int32_t> recent) override;
  Capability measure() override;
  KernelCosts costsOf(const sluice_step &) const override { return {}; }
  void startProfile(uint32_t kind) override;
  StepTime timeOf(uint32_t kind, size_t step) const override { return profiles[kind].times[step]; }

private:
  // The memory of SLUICE_PROGRAM_DECODE, _PREFILL and _SOFTMAX.
  struct DeviceProgram {
    const sluice_program *program = nullptr;
    CudaMemory arena;
  };
  struct Profile {
    std::vector<StepTime> times; // empty: none
    std::vector<CudaEvent> events;
  };
  // What the state on the device says that comes next, as long as the host has not written another.
  struct Next {
    bool known = false;
    int32_t id = 0;
    uint64_t position = 0;
    const Sampler *sampler = nullptr;
    uint64_t random = 0;
  };

  sluice_device_args argsOf(uint32_t kind) const;
  void buildGraph();
  void launchSteps(uint32_t kind, bool withHead);
  void launchToken();
  void writeState(uint64_t position, std::span<const int32_t> ids, uint64_t headBegin, const Sampler *sampler,
                  std::span<const int32_t> recent);
  void writeBanned(const Sampler &sampler);
  void decodePending();
  bool canChoose(const Sampler &sampler) const;
  int32_t readChosen(uint64_t number);

  const sluice_device_variant &variant;
  const CudaDeviceInfo device;
  const uint32_t cacheType;
  const CudaContext context;
  const CudaCode code;
  const bool wholeToken; // launched as one kernel
  CudaStream stream;
  DeviceProgram programs[3]; // by kind
  CudaMemory prepared, cache, ids, state, softmaxState, sync, banned;
  CudaHostMemory chosen; // int32[SLUICE_DEVICE_CHOSEN], which the device writes
  CUdeviceptr chosenOnDevice = 0;
  uint64_t headStride = 0, layerStride = 0; // bytes
  CudaGraphExec graph;                      // the steps of a token and the choice
  std::unique_ptr<CudaWeights> weights;     // last: its thread uses the context

  uint32_t lastKind = SLUICE_PROGRAM_DECODE; // of the last run
  uint64_t lastToken = 0;
  bool pending = false; // the token `pendingId` at `pendingPosition` is still to be decoded
  int32_t pendingId = 0;
  uint64_t pendingPosition = 0;
  Next next;
  uint64_t launched = 0;             // ids that are chosen when all that was launched is done
  const Sampler *bannedBy = nullptr; // whose list is on the device
  CudaEvent done[2];                 // of the choices number n % 2
  std::vector<float> row;            // logits on the host
  std::vector<float> probabilities;  // likewise, and the logarithm of their sum
  Profile profiles[2];               // by kind
};

} // namespace sluice::runtime
#endif
