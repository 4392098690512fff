//===- EmitPtx.cpp - LLVM dialect to PTX, and to machine code where ptxas is found --------===//
//
// The lowering unrolls and orders what matters, so the middle end only cleans up. The object that carries the images is
// the host's, and holds data only.
//
//===--------------------------------------------------------------------------------------===//

#include "codegen/nvptx/EmitPtx.h"
#include "codegen/CleanUp.h"
#include "codegen/cpu/CpuTarget.h"
#include "codegen/nvptx/Device.h"
#include "codegen/nvptx/Ptxas.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Triple.h"

using namespace mlir;
using namespace sluice::codegen;

LogicalResult sluice::codegen::emitPtx(ModuleOp module, const GpuFacts &facts, EmitKind kind,
                                       llvm::raw_pwrite_stream &out) {
  static const bool initialized = [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    return true;
  }();
  (void)initialized;

  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> translated = translateModuleToLLVMIR(module, context);
  if (!translated)
    return module.emitError("could not be translated to LLVM IR");
  llvm::Triple triple("nvptx64-nvidia-cuda");
  std::string error;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return module.emitError("no code generator for PTX: ") << error;
  std::unique_ptr<llvm::TargetMachine> machine(
      target->createTargetMachine(triple, facts.name, "+ptx" + std::to_string(facts.ptxVersion), llvm::TargetOptions(),
                                  std::nullopt, std::nullopt, llvm::CodeGenOptLevel::Default));
  translated->setTargetTriple(triple);
  translated->setDataLayout(machine->createDataLayout());
  cleanUp(*translated, *machine);
  if (kind == EmitKind::LlvmIr) {
    translated->print(out, nullptr);
    return success();
  }
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, out, nullptr, llvm::CodeGenFileType::AssemblyFile))
    return module.emitError("the code generator cannot emit PTX");
  passes.run(*translated);
  return success();
}

namespace {
// Builds constants of the structs of runtime/abi.h.
class VariantBuilder {
public:
  explicit VariantBuilder(Location loc)
      : loc(loc), module(ModuleOp::create(loc)), b(OpBuilder::atBlockEnd(module->getBody())),
        pointer(LLVM::LLVMPointerType::get(b.getContext())), i32(b.getI32Type()), i64(b.getI64Type()) {}

  OwningOpRef<ModuleOp> build(StringRef target, const DeviceKernels &kernels,
                              ArrayRef<std::pair<sluice_device_image, StringRef>> images);

private:
  using Fields = SmallVector<std::pair<Type, llvm::function_ref<Value()>>>;

  Type kernelType() { return LLVM::LLVMStructType::getLiteral(b.getContext(), {pointer, i32, i32, i32, i32}); }
  Type stepType() { return LLVM::LLVMStructType::getLiteral(b.getContext(), {kernelType(), kernelType()}); }
  Type imageType() { return LLVM::LLVMStructType::getLiteral(b.getContext(), {i32, i32, i64, pointer}); }
  Type variantType() {
    return LLVM::LLVMStructType::getLiteral(
        b.getContext(), {pointer, pointer, i64, pointer, i64, kernelType(), kernelType(), i64, i64, i64});
  }
  // A global of bytes, whose address is taken later by name.
  std::string addBytes(const Twine &name, StringRef bytes, unsigned alignment) {
    LLVM::GlobalOp::create(b, loc, LLVM::LLVMArrayType::get(b.getI8Type(), bytes.size()), true, LLVM::Linkage::Internal,
                           name.str(), b.getStringAttr(bytes), alignment);
    return name.str();
  }
  Value address(StringRef name) {
    return name.empty() ? Value(LLVM::ZeroOp::create(b, loc, pointer))
                        : Value(LLVM::AddressOfOp::create(b, loc, pointer, name));
  }
  Value number(Type type, int64_t value) {
    return LLVM::ConstantOp::create(b, loc, type, b.getIntegerAttr(type, value));
  }
  Value aggregate(Type type, ArrayRef<Value> fields) {
    Value value = LLVM::UndefOp::create(b, loc, type);
    for (auto [i, field] : llvm::enumerate(fields))
      value = LLVM::InsertValueOp::create(b, loc, value, field, ArrayRef<int64_t>{int64_t(i)});
    return value;
  }
  void addGlobal(StringRef name, LLVM::Linkage linkage, Type type, llvm::function_ref<Value()> make) {
    auto global = LLVM::GlobalOp::create(b, loc, type, true, linkage, name, Attribute());
    OpBuilder::InsertionGuard guard(b);
    b.createBlock(&global.getInitializerRegion());
    LLVM::ReturnOp::create(b, loc, make());
  }
  void nameKernel(const DeviceKernel &kernel) {
    if (!kernel.name.empty())
      addBytes("kernel." + kernel.name, kernel.name + '\0', 1);
  }
  Value kernelValue(const DeviceKernel &kernel) {
    return aggregate(kernelType(), {address(kernel.name.empty() ? "" : "kernel." + kernel.name),
                                    number(i32, kernel.threads), number(i32, kernel.sharedBytes),
                                    number(i32, kernel.blocksPerSm), number(i32, 0)});
  }

  Location loc;
  OwningOpRef<ModuleOp> module;
  OpBuilder b;
  Type pointer, i32, i64;
};

OwningOpRef<ModuleOp> VariantBuilder::build(StringRef target, const DeviceKernels &kernels,
                                            ArrayRef<std::pair<sluice_device_image, StringRef>> images) {
  addBytes("target", target.str() + '\0', 1);
  for (auto [i, image] : llvm::enumerate(images))
    addBytes("image." + Twine(i), image.second, 64);
  for (const DeviceStep &step : kernels.steps) {
    nameKernel(step.prologue);
    nameKernel(step.run);
  }
  nameKernel(kernels.token);
  nameKernel(kernels.choose);
  auto imagesType = LLVM::LLVMArrayType::get(imageType(), images.size());
  addGlobal("images", LLVM::Linkage::Internal, imagesType, [&] {
    SmallVector<Value> all;
    for (auto [i, image] : llvm::enumerate(images))
      all.push_back(aggregate(imageType(), {number(i32, image.first.kind), number(i32, image.first.architecture),
                                            number(i64, image.second.size()), address("image." + std::to_string(i))}));
    return aggregate(imagesType, all);
  });
  auto stepsType = LLVM::LLVMArrayType::get(stepType(), kernels.steps.size());
  addGlobal("kernels", LLVM::Linkage::Internal, stepsType, [&] {
    SmallVector<Value> all;
    for (const DeviceStep &step : kernels.steps)
      all.push_back(aggregate(stepType(), {kernelValue(step.prologue), kernelValue(step.run)}));
    return aggregate(stepsType, all);
  });
  addGlobal(("sluice_device." + target).str(), LLVM::Linkage::External, variantType(), [&] {
    return aggregate(variantType(),
                     {address("target"), address("images"), number(i64, images.size()), address("kernels"),
                      number(i64, kernels.steps.size()), kernelValue(kernels.token), kernelValue(kernels.choose),
                      number(i64, kernels.preparedBytes), number(i64, kernels.syncBytes),
                      number(i64, kernels.syncBlockBytes)});
  });
  return std::move(module);
}
} // namespace

LogicalResult sluice::codegen::emitDeviceObject(ModuleOp module, const GpuFacts &facts, llvm::raw_pwrite_stream &out) {
  FailureOr<DeviceKernels> kernels = DeviceKernels::read(module);
  llvm::SmallString<0> ptx;
  llvm::raw_svector_ostream ptxStream(ptx);
  if (failed(kernels) || failed(emitPtx(module, facts, EmitKind::Assembly, ptxStream)))
    return failure();
  SmallVector<std::pair<sluice_device_image, StringRef>> images;
  Assembled assembled;
  if (std::string ptxas = findCudaTool("ptxas"); !ptxas.empty()) {
    llvm::Expected<Assembled> made = assemble(ptxas, ptx, facts.name);
    if (!made)
      return module.emitError(toString(made.takeError()));
    assembled = std::move(*made);
    images.push_back({{SLUICE_IMAGE_CUBIN, facts.architecture, 0, nullptr}, assembled.cubin});
  }
  ptx.push_back('\0');
  images.push_back({{SLUICE_IMAGE_PTX, facts.architecture, 0, nullptr}, ptx});
  MLIRContext *context = module.getContext();
  OwningOpRef<ModuleOp> table = VariantBuilder(UnknownLoc::get(context)).build(facts.name, *kernels, images);
  return emitCpuObject(*table, "x86-64", "", EmitKind::Object, out);
}
