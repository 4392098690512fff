//===- Target.h - the seam between the compiler and an instruction set --------------===//
//
// Everything the compiler asks of a target. A new chip of a known family is a row in that family's table; a new family
// is a folder beside this file that implements Target and registers itself in Targets.cpp.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_TARGET_H
#define SLUICE_CODEGEN_TARGET_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Traffic.h"
#include "llvm/Support/Error.h"
#include <memory>

namespace sluice::codegen {

enum class EmitKind { Object, Assembly, LlvmIr };

// Bytes of a worker's own memory: sluice_program.scratch_bytes and prepared_bytes.
struct WorkerMemory {
  int64_t scratch = 0, prepared = 0;
  WorkerMemory max(WorkerMemory other) const {
    return {std::max(scratch, other.scratch), std::max(prepared, other.prepared)};
  }
};

class HostTarget;

class Target {
public:
  virtual ~Target() = default;
  virtual llvm::StringRef name() const = 0;    // as --target spells it, and as the file reports it
  virtual llvm::StringRef summary() const = 0; // one line for `sluice targets`
  // Itself, if its code is run by the processor that runs the file; null if by a device.
  virtual const HostTarget *asHost() const { return nullptr; }

  // stream -> stream: writes the configuration (row_block, lanes, token_block, prefetch) into attributes where absent.
  virtual void addConfigurePasses(mlir::OpPassManager &manager) const = 0;
  // stream -> LLVM dialect: every phase becomes functions; none of our operations survives. Runs on a module that holds
  // one configured llama.model.
  virtual void addLowerPasses(mlir::OpPassManager &manager) const = 0;
  // LLVM dialect -> bytes. Errors are reported on the module. An object is the host's and defines one symbol: a host
  // target's `sluice_kernels.<name>`, a sluice_kernel[] in the order of stream::Schedule::kernels(); a device's
  // `sluice_device.<name>`, a sluice_device_variant, whose kernels are in that order.
  virtual mlir::LogicalResult emit(mlir::ModuleOp module, EmitKind kind, llvm::raw_pwrite_stream &out) const = 0;
  // Prints what its code for a configured model takes, phase by phase; on `machine`, where that is not the target's to
  // know.
  virtual llvm::Error explain(llama::ModelOp model, const Workload &workload, const Machine &machine,
                              llvm::raw_ostream &out) const = 0;
};

class HostTarget : public Target {
public:
  const HostTarget *asHost() const override { return this; }
  virtual uint64_t features() const = 0; // bit set of SLUICE_CPU_* that its code needs (runtime/abi.h)
  // What the phases of a configured program need.
  virtual WorkerMemory workerMemory(stream::ProgramOp program) const = 0;
  // What its code for a configured phase takes; the kernels of the object say the same.
  virtual PhaseCost cost(stream::PhaseOp phase) const = 0;
  // 8-bit dot products of its code at the best: multiplications and additions a cycle.
  virtual double operationsPerCycle() const = 0;
};

// All targets that this build knows, best first within a family.
llvm::ArrayRef<std::unique_ptr<Target>> allTargets();
// The target called `name`, or the best one for "host", this machine, or for a processor by LLVM's name ("znver4").
// Null if there is none.
const Target *lookupTarget(llvm::StringRef name);
// Whether this machine's processor can run its code.
bool runsHere(const Target &target);

// Emits the object that defines sluice_variants, sluice_device_variants and their counts over the objects of `targets`, in
// their order.
mlir::LogicalResult emitVariantTable(llvm::ArrayRef<const Target *> targets, unsigned kernelCount,
                                     llvm::raw_pwrite_stream &out);

// What a context needs for the passes and emission of all targets.
void registerCodegenDialects(mlir::DialectRegistry &registry);
void registerCodegenPasses();

} // namespace sluice::codegen
#endif
