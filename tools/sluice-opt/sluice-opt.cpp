//===- sluice-opt.cpp - runs any pass on any IR text, the MLIR way -----------------===//

#include "codegen/Target.h"
#include "dialects/stream/Stream.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "passes/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<sluice::llama::LlamaDialect, sluice::stream::StreamDialect>();
  sluice::codegen::registerCodegenDialects(registry);
  mlir::registerAllPasses();
  sluice::registerSluicePasses();
  sluice::codegen::registerCodegenPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "Sluice's pass driver\n", registry));
}
