//===- CpuEngine.h - programs run by threads of this machine -------------------------===//
#ifndef SLUICE_RUNTIME_CPUENGINE_H
#define SLUICE_RUNTIME_CPUENGINE_H

#include "runtime/Engine.h"
#include "runtime/Program.h"

namespace sluice::runtime {

class CpuEngine final : public Engine {
public:
  // `context`: the most tokens that the sequence can have; `cacheType`: SLUICE_CACHE_*. Throws Error when there is no
  // memory for it.
  CpuEngine(const Model &model, const sluice_variant &variant, unsigned threads, uint64_t context,
            uint32_t cacheType = SLUICE_CACHE_F16);

  const char *target() const override { return variant.target; }
  std::string workers() const override;
  void run(uint32_t kind, std::span<const int32_t> ids, uint64_t position, uint64_t headBegin) override;
  const float *logits(uint64_t token) override { return logitsOf(*last, token); }
  std::span<const float> softmax(std::span<const float> values, float scale) override;
  float logSum() const override { return softmaxer.output()[model.description().vocabulary]; }
  int32_t choose(Sampler &sampler, std::span<const int32_t> recent) override;
  Capability measure() override;
  KernelCosts costsOf(const sluice_step &step) const override;
  void startProfile(uint32_t kind) override { program(kind).startProfile(); }
  StepTime timeOf(uint32_t kind, size_t step) const override {
    return const_cast<CpuEngine *>(this)->program(kind).timeOf(step);
  }

private:
  Program &program(uint32_t kind) { return kind == SLUICE_PROGRAM_DECODE ? decoder : prefiller; }
  float *logitsOf(const Program &program, uint64_t token) const {
    return program.output() + token * model.description().logits_padded;
  }

  const sluice_variant &variant;
  const uint32_t cacheType;
  const uint64_t headStride, layerStride; // bytes
  Workers team;
  Memory cache;
  Program decoder, prefiller, softmaxer;
  Program *last; // that has run
  uint64_t lastToken = 0;
};

} // namespace sluice::runtime
#endif
