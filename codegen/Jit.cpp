//===- Jit.cpp - kernels of a model, loaded into this process -----------------------===//

#include "codegen/Jit.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"

using namespace mlir;
using namespace sluice::codegen;

llvm::Expected<Jit> Jit::load(ModuleOp configured, const Target &target) {
  OwningOpRef<ModuleOp> lowered = configured.clone();
  PassManager manager(configured.getContext());
  target.addLowerPasses(manager);
  llvm::SmallString<0> object;
  llvm::raw_svector_ostream out(object);
  if (failed(manager.run(*lowered)) || failed(target.emit(*lowered, EmitKind::Object, out)))
    return llvm::createStringError("no code could be made for " + target.name());
  Jit result;
  if (!runsHere(target))
    return result;
  auto jit = llvm::orc::LLJITBuilder().create();
  if (!jit)
    return jit.takeError();
  result.jit = std::move(*jit);
  if (llvm::Error error =
          result.jit->addObjectFile(std::make_unique<llvm::SmallVectorMemoryBuffer>(std::move(object))))
    return error;
  auto table = result.jit->lookup(("sluice_kernels." + target.name()).str());
  if (!table)
    return table.takeError();
  result.table = table->toPtr<const sluice_kernel *>();
  return result;
}
