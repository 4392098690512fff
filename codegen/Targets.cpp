//===- Targets.cpp - all targets, and the table that joins those of a file --------------===//

#include "codegen/Target.h"
#include "codegen/cpu/CpuTarget.h"
#include "codegen/cpu/Passes.h"
#include "codegen/nvptx/GpuTarget.h"
#include "codegen/nvptx/Passes.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace sluice::codegen;

llvm::ArrayRef<std::unique_ptr<Target>> sluice::codegen::allTargets() {
  static const std::vector<std::unique_ptr<Target>> targets = [] {
    std::vector<std::unique_ptr<Target>> all = makeCpuTargets();
    for (std::unique_ptr<Target> &target : makeGpuTargets())
      all.push_back(std::move(target));
    return all;
  }();
  return targets;
}

const Target *sluice::codegen::lookupTarget(StringRef name) {
  for (const std::unique_ptr<Target> &target : allTargets())
    if (target->name() == name)
      return target.get();
  std::optional<uint64_t> features = name == "host" ? hostFeatures() : processorFeatures(name);
  for (const std::unique_ptr<Target> &target : allTargets())
    if (const HostTarget *host = target->asHost(); host && features && (host->features() & ~*features) == 0)
      return target.get();
  return nullptr;
}

bool sluice::codegen::runsHere(const Target &target) {
  return target.asHost() && (target.asHost()->features() & ~hostFeatures()) == 0;
}

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

  auto addGlobal = [&](Type type, LLVM::Linkage linkage, StringRef name, Attribute value) {
    return LLVM::GlobalOp::create(builder, loc, type, true, linkage, name, value);
  };
  auto external = [&](Type type, const Twine &name) { return addGlobal(type, LLVM::Linkage::External, name.str(), {}); };
  auto addressOf = [&](LLVM::GlobalOp global) {
    return LLVM::AddressOfOp::create(builder, loc, pointer, global.getSymName());
  };
  // A table of `element`s, its rows made of values, and the count of them.
  auto addTable = [&](StringRef name, StringRef countName, Type element, size_t count,
                      llvm::function_ref<Value(size_t)> row) {
    auto type = LLVM::LLVMArrayType::get(element, count);
    LLVM::GlobalOp table = external(type, name);
    addGlobal(i64, LLVM::Linkage::External, countName, builder.getI64IntegerAttr(count));
    OpBuilder::InsertionGuard guard(builder);
    builder.createBlock(&table.getInitializerRegion());
    Value value = LLVM::UndefOp::create(builder, loc, type);
    for (size_t i = 0; i < count; ++i)
      value = LLVM::InsertValueOp::create(builder, loc, value, row(i), ArrayRef<int64_t>{int64_t(i)});
    LLVM::ReturnOp::create(builder, loc, value);
  };

  // sluice_variant[]: {name, features, kernels, kernel_count}
  SmallVector<const HostTarget *> hosts;
  SmallVector<LLVM::GlobalOp> names, kernels, devices;
  for (const Target *target : targets) {
    if (!target->asHost()) {
      devices.push_back(external(i8, "sluice_device." + target->name()));
      continue;
    }
    hosts.push_back(target->asHost());
    std::string text = target->name().str() + '\0';
    names.push_back(addGlobal(LLVM::LLVMArrayType::get(i8, text.size()), LLVM::Linkage::Internal,
                              ("name." + target->name()).str(), builder.getStringAttr(text)));
    auto kernel = LLVM::LLVMArrayType::get(i8, sizeof(sluice_kernel));
    kernels.push_back(external(LLVM::LLVMArrayType::get(kernel, kernelCount), "sluice_kernels." + target->name()));
  }
  auto variant = LLVM::LLVMStructType::getLiteral(&context, {pointer, i64, pointer, i64});
  addTable("sluice_variants", "sluice_variant_count", variant, hosts.size(), [&](size_t i) {
    auto number = [&](uint64_t value) {
      return LLVM::ConstantOp::create(builder, loc, i64, builder.getI64IntegerAttr(value));
    };
    Value row = LLVM::UndefOp::create(builder, loc, variant);
    const Value fields[] = {addressOf(names[i]), number(hosts[i]->features()), addressOf(kernels[i]),
                            number(kernelCount)};
    for (auto [position, field] : llvm::enumerate(fields))
      row = LLVM::InsertValueOp::create(builder, loc, row, field, ArrayRef<int64_t>{int64_t(position)});
    return row;
  });
  addTable("sluice_device_variants", "sluice_device_variant_count", pointer, devices.size(),
           [&](size_t i) { return Value(addressOf(devices[i])); });
  return emitCpuObject(*module, "x86-64", "", EmitKind::Object, out);
}

void sluice::codegen::registerCodegenDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, cf::ControlFlowDialect, LLVM::LLVMDialect, math::MathDialect,
                  NVVM::NVVMDialect, scf::SCFDialect, vector::VectorDialect>();
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  registerConvertMathToLLVMInterface(registry);
  vector::registerConvertVectorToLLVMInterface(registry);
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
}

void sluice::codegen::registerCodegenPasses() {
  registerCpuPasses();
  registerGpuPasses();
}
