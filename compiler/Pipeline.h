//===- Pipeline.h - the table of phases, from checkpoint to executable -------------===//
//
// The only place that orders phases and passes. `--emit`, `--dump-phases`, the help text and the order of compilation
// all come from this table. Phases up to the schedule work on the one module of the model, those after it on a copy for
// every target.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_PIPELINE_H
#define SLUICE_COMPILER_PIPELINE_H

#include "codegen/Target.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

namespace sluice {

class Compilation;
struct Options;

// Model: runs once, on the model's module. Target: on every target's. File: once, on all of it.
enum class PhaseScope { Model, Target, File };

// A file that shows what a phase made.
struct Artifact {
  std::string suffix; // ".mlir", ".x86-64-v4.s"
  std::string contents;
  bool isText = true;
};

struct Phase {
  llvm::StringRef name;
  llvm::StringRef summary; // one line
  PhaseScope scope;
  // A phase of passes: adds them to the manager of a module. `target` is null in scope Model.
  void (*addPasses)(mlir::OpPassManager &manager, const codegen::Target *target, const Options &options);
  // Any other phase: does its work.
  llvm::Error (Compilation::*run)();
  // What holds in a module afterwards; reports what does not. May be null.
  mlir::LogicalResult (*check)(mlir::ModuleOp module);
  // What the phase made; null: the IR.
  llvm::Expected<std::vector<Artifact>> (Compilation::*artifacts)();
};

// In order.
llvm::ArrayRef<Phase> phases();
// Null if there is none of this name.
const Phase *findPhase(llvm::StringRef name);
// "import, fuse, ...": for messages.
std::string phaseNames();

} // namespace sluice
#endif
