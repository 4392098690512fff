//===- Compilation.h - one model on its way through the phases ---------------------===//
//
// What the phases of Pipeline.cpp work on and hand to each other. Internal to compiler/.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_COMPILATION_H
#define SLUICE_COMPILER_COMPILATION_H

#include "codegen/Target.h"
#include "compiler/Options.h"
#include "compiler/Pipeline.h"
#include "compiler/SourceHash.h"
#include "compiler/import/Checkpoint.h"
#include "compiler/pack/Image.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/SmallString.h"

namespace sluice {

struct TargetModule {
  const codegen::Target *target;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  llvm::SmallString<0> object; // after emit
};

class Compilation {
public:
  // Fails on options that name what does not exist.
  static llvm::Expected<std::unique_ptr<Compilation>> create(const Options &options);
  ~Compilation();

  // Runs one phase, with its extra passes and its check.
  llvm::Error run(const Phase &phase);
  // What `phase` made, which has just run.
  llvm::Expected<std::vector<Artifact>> artifacts(const Phase &phase);

  llama::ModelOp scheduledModel() { return modelOf(*module); } // after schedule
  llama::ModelOp configuredModel(const TargetModule &target) { return modelOf(*target.module); } // after configure
  llvm::ArrayRef<TargetModule> targetModules() const { return targets; }
  llvm::StringRef outputPath() const { return output; }
  uint64_t outputBytes() const { return written; }
  uint64_t tokenBytes() const { return image->tables.model.weight_bytes; }

  // The phases that are not made of passes.
  llvm::Error importCheckpoint();
  llvm::Error placeWeights();
  llvm::Error emitObjects();
  llvm::Error linkFile();
  llvm::Expected<std::vector<Artifact>> placementArtifacts();
  llvm::Expected<std::vector<Artifact>> objectArtifacts();

private:
  explicit Compilation(const Options &options);
  llvm::Error runPasses(const Phase &phase, mlir::ModuleOp module, const codegen::Target *target);
  // The diagnostics since the last call as one error; `fallback` if there was none.
  llvm::Error takeDiagnostics(const llvm::Twine &fallback);
  llvm::Error checkInterrupted();
  llama::ModelOp modelOf(mlir::ModuleOp module);

  const Options &options;
  std::string output;
  uint64_t written = 0;
  std::unique_ptr<mlir::MLIRContext> context;
  std::string diagnostics; // of errors, to be taken
  std::unique_ptr<Checkpoint> checkpoint;
  mlir::OwningOpRef<mlir::ModuleOp> module; // up to the schedule
  std::vector<TargetModule> targets;
  std::optional<stream::Schedule> schedule; // of `module`
  std::unique_ptr<Image> image;
};

} // namespace sluice
#endif
