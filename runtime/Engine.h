//===- Engine.h - what runs a model's programs: threads of this machine, or a device -===//
//
// An engine holds the KV cache of one sequence and the memory of its programs. It knows nothing of text.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_ENGINE_H
#define SLUICE_RUNTIME_ENGINE_H

#include "runtime/Model.h"
#include "runtime/Sampler.h"
#include <optional>
#include <vector>

namespace sluice::runtime {

// Of a step, in all runs since startProfile(): until all had done it, and of that what a worker waited for the others,
// on average.
struct StepTime {
  double nanoseconds = 0, waiting = 0;
};

// What the compiler expects a kernel to take where memory is no limit; see sluice_kernel.
struct KernelCosts {
  double prologue = 0, run = 0, cache = 0;
};

// What the machine or the device can do, in bytes and operations a second. Each of `workers` computes prologues that
// are not shared for itself.
struct Capability {
  double bandwidth, peak;
  unsigned workers = 1;
  bool nominal = false; // by the data of the chip, not measured
};

class Engine {
public:
  explicit Engine(const Model &model, uint64_t context) : model(model), capacity(context) {}
  Engine(const Engine &) = delete;
  virtual ~Engine() = default;

  virtual const char *target() const = 0;       // the code in use: "x86-64-v4"
  virtual std::string workers() const = 0;      // who runs it: "2 threads"
  uint64_t context() const { return capacity; } // the most tokens of the sequence
  uint64_t chunkTokens() const { return model.program(SLUICE_PROGRAM_PREFILL).max_tokens; }

  // Runs the program `kind`, SLUICE_PROGRAM_DECODE (one token) or _PREFILL (at most chunkTokens()), for the tokens
  // `ids` of the sequence from `position` on. Logits are computed for those from `headBegin` on.
  virtual void run(uint32_t kind, std::span<const int32_t> ids, uint64_t position, uint64_t headBegin) = 0;
  // The logits of the last run's token `token`, [vocabulary], valid until the next run.
  virtual const float *logits(uint64_t token) = 0;

  // Probabilities of exp(scale * value), valid until the next call.
  virtual std::span<const float> softmax(std::span<const float> values, float scale) = 0;
  // After softmax(): log(sum(exp(scale * value))).
  virtual float logSum() const = 0;

  // Returns when everything asked for so far is done.
  virtual void finish() {}

  // The token that `sampler` takes after the last run's last token. `recent`: the sequence so far. The logits cannot be
  // had any more then.
  virtual int32_t choose(Sampler &sampler, std::span<const int32_t> recent) = 0;

  virtual Capability measure() = 0; // takes a second or so
  virtual KernelCosts costsOf(const sluice_step &step) const = 0;
  virtual void startProfile(uint32_t kind) = 0;
  virtual StepTime timeOf(uint32_t kind, size_t step) const = 0;

protected:
  const Model &model;
  const uint64_t capacity;
};

} // namespace sluice::runtime
#endif
