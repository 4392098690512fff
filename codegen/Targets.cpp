//===- Targets.cpp - all targets, and the table that joins those of a file --------------===//

#include "codegen/Target.h"
#include "codegen/cpu/CpuTarget.h"
#include "codegen/cpu/Passes.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace sluice::codegen;

llvm::ArrayRef<std::unique_ptr<Target>> sluice::codegen::allTargets() {
  static const std::vector<std::unique_ptr<Target>> targets = makeCpuTargets();
  return targets;
}

const Target *sluice::codegen::lookupTarget(StringRef name) {
  for (const std::unique_ptr<Target> &target : allTargets())
    if (target->name() == name)
      return target.get();
  std::optional<uint64_t> features = name == "host" ? hostFeatures() : processorFeatures(name);
  for (const std::unique_ptr<Target> &target : allTargets())
    if (features && (target->features() & ~*features) == 0)
      return target.get();
  return nullptr;
}

bool sluice::codegen::runsHere(const Target &target) { return (target.features() & ~hostFeatures()) == 0; }

LogicalResult sluice::codegen::emitVariantTable(ArrayRef<const Target *> targets, unsigned kernelCount,
                                                llvm::raw_pwrite_stream &out) {
  DialectRegistry registry;
  registerCodegenDialects(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadDialect<LLVM::LLVMDialect>();
  Location loc = UnknownLoc::get(&context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  OpBuilder builder = OpBuilder::atBlockEnd(module->getBody());
  Type pointer = LLVM::LLVMPointerType::get(&context), i64 = builder.getI64Type(), i8 = builder.getI8Type();

  // sluice_variant[]: {name, features, kernels, kernel_count}
  auto kernel = LLVM::LLVMArrayType::get(i8, sizeof(sluice_kernel));
  auto variant = LLVM::LLVMStructType::getLiteral(&context, {pointer, i64, pointer, i64});
  auto type = LLVM::LLVMArrayType::get(variant, targets.size());
  SmallVector<LLVM::GlobalOp> names, kernels;
  for (const Target *target : targets) {
    std::string text = target->name().str() + '\0';
    names.push_back(LLVM::GlobalOp::create(builder, loc, LLVM::LLVMArrayType::get(i8, text.size()), true,
                                           LLVM::Linkage::Internal, ("name." + target->name()).str(),
                                           builder.getStringAttr(text)));
    kernels.push_back(LLVM::GlobalOp::create(builder, loc, LLVM::LLVMArrayType::get(kernel, kernelCount), true,
                                             LLVM::Linkage::External, ("sluice_kernels." + target->name()).str(),
                                             Attribute()));
  }
  auto table =
      LLVM::GlobalOp::create(builder, loc, type, true, LLVM::Linkage::External, "sluice_variants", Attribute());
  LLVM::GlobalOp::create(builder, loc, i64, true, LLVM::Linkage::External, "sluice_variant_count",
                         builder.getI64IntegerAttr(targets.size()));
  builder.createBlock(&table.getInitializerRegion());
  Value value = LLVM::UndefOp::create(builder, loc, type);
  for (auto [index, target] : llvm::enumerate(targets)) {
    auto insert = [&](Value field, int64_t position) {
      value = LLVM::InsertValueOp::create(builder, loc, value, field, ArrayRef<int64_t>{int64_t(index), position});
    };
    insert(LLVM::AddressOfOp::create(builder, loc, pointer, names[index].getSymName()), 0);
    insert(LLVM::ConstantOp::create(builder, loc, i64, builder.getI64IntegerAttr(target->features())), 1);
    insert(LLVM::AddressOfOp::create(builder, loc, pointer, kernels[index].getSymName()), 2);
    insert(LLVM::ConstantOp::create(builder, loc, i64, builder.getI64IntegerAttr(kernelCount)), 3);
  }
  LLVM::ReturnOp::create(builder, loc, value);
  return emitCpuObject(*module, "x86-64", "", EmitKind::Object, out);
}

void sluice::codegen::registerCodegenDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, cf::ControlFlowDialect, LLVM::LLVMDialect, math::MathDialect, scf::SCFDialect,
                  vector::VectorDialect>();
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  registerConvertMathToLLVMInterface(registry);
  vector::registerConvertVectorToLLVMInterface(registry);
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

void sluice::codegen::registerCodegenPasses() { registerCpuPasses(); }
