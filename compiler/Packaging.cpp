//===- Packaging.cpp - from configured programs to the file ------------------------===//
//
// The phases that are not made of passes: import, pack (places only), emit, and link, which also copies the weights.
//
//===------------------------------------------------------------------------------===//

#include "compiler/Compilation.h"
#include "compiler/Progress.h"
#include "compiler/Version.h"
#include "compiler/import/LlamaImport.h"
#include "compiler/link/Linker.h"
#include "compiler/text/TemplateCompiler.h"
#include "compiler/text/TokenizerTables.h"
#include "mlir/IR/Threading.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace sluice;
using codegen::EmitKind;

llvm::Error Compilation::importCheckpoint() {
  llvm::Expected<std::unique_ptr<Checkpoint>> opened = Checkpoint::open(options.model);
  if (!opened)
    return opened.takeError();
  checkpoint = std::move(*opened);
  llvm::Expected<OwningOpRef<ModuleOp>> imported = importModel(*context, *checkpoint);
  if (!imported)
    return imported.takeError();
  module = std::move(*imported);
  return llvm::Error::success();
}

// All targets read one copy of the weights and run one list of steps.
static llvm::Error expectSameSteps(const stream::Schedule &first, const stream::Schedule &other, llvm::StringRef name) {
  bool same = first.weightBytes() == other.weightBytes() && first.kernels().size() == other.kernels().size();
  for (auto [a, b] : llvm::zip(first.kernels(), other.kernels())) {
    stream::PhaseUnits left = stream::PhaseUnits::get(a), right = stream::PhaseUnits::get(b);
    same &=
        left.units == right.units && left.unitTokens == right.unitTokens && left.unitPositions == right.unitPositions;
  }
  return same ? llvm::Error::success()
              : llvm::createStringError("target '" + name +
                                        "' divides the phases differently from the first target; "
                                        "compile it to a file of its own");
}

llvm::Error Compilation::placeWeights() {
  schedule = stream::Schedule::get(modelOf(*module));
  llama::ModelOp configured = modelOf(*targets.front().module);
  stream::Schedule configuredSchedule = stream::Schedule::get(configured);
  llvm::StringMap<codegen::WorkerMemory> memory;
  for (TargetModule &each : targets) {
    stream::Schedule other = stream::Schedule::get(modelOf(*each.module));
    if (llvm::Error error = expectSameSteps(configuredSchedule, other, each.target->name()))
      return error;
    for (stream::ProgramOp program : other.programs())
      if (const codegen::HostTarget *host = each.target->asHost()) {
        codegen::WorkerMemory &needed = memory[program.getSymName()];
        needed = needed.max(host->workerMemory(program));
      }
  }

  std::vector<PackedTensor> tensors = packedTensors(*schedule);
  std::string standIn(SourceHash::length, '0');
  Provenance provenance{SLUICE_VERSION, llvm::sys::path::filename(options.model), standIn, checkpoint->fileBytes()};
  llvm::Expected<Tables> tables = buildTables(configured, configuredSchedule, tensors, provenance,
                                              [&](stream::ProgramOp program) { return memory[program.getSymName()]; });
  if (!tables)
    return tables.takeError();
  image.reset(new Image{*schedule, std::move(tensors), std::move(*tables), {}, {}, {}});
  llvm::Expected<std::vector<uint8_t>> tokenizer = buildTokenizer(*checkpoint);
  if (!tokenizer)
    return tokenizer.takeError();
  image->tokenizer = std::move(*tokenizer);
  if (std::optional<llvm::StringRef> source = checkpoint->chatTemplate()) {
    llvm::Expected<std::vector<uint8_t>> compiled = compileTemplate(*source);
    if (!compiled)
      return checkpoint->error(toString(compiled.takeError()));
    image->chatTemplate = std::move(*compiled);
  }
  return llvm::Error::success();
}

llvm::Expected<std::vector<Artifact>> Compilation::placementArtifacts() {
  std::string text;
  llvm::raw_string_ostream out(text);
  out << "      offset        bytes  format  tensor\n";
  for (const PackedTensor &tensor : image->tensors)
    out << llvm::format("%12lld %12lld  %-6s  ", (long long)tensor.offset, (long long)tensor.size,
                        tensor.format->name.str().c_str())
        << tensor.name << '\n';
  out << llvm::format("%12lld ", (long long)schedule->weightBytes()) << "bytes in all\n";
  return std::vector<Artifact>{{".txt", std::move(text)}};
}

llvm::Error Compilation::emitObjects() {
  auto emitOne = [](TargetModule &each) {
    llvm::raw_svector_ostream stream(each.object);
    return each.target->emit(*each.module, EmitKind::Object, stream);
  };
  if (failed(failableParallelForEach(context.get(), targets, emitOne)))
    return takeDiagnostics("cannot generate code");
  return llvm::Error::success();
}

llvm::Expected<std::vector<Artifact>> Compilation::objectArtifacts() {
  std::vector<Artifact> result;
  for (TargetModule &each : targets) {
    llvm::SmallString<0> assembly;
    llvm::raw_svector_ostream stream(assembly);
    if (failed(each.target->emit(*each.module, EmitKind::Assembly, stream)))
      return takeDiagnostics("cannot generate assembly for target '" + each.target->name() + "'");
    result.push_back({("." + each.target->name() + ".s").str(), assembly.str().str()});
    result.push_back({("." + each.target->name() + ".o").str(), each.object.str().str(), /*isText=*/false});
  }
  return result;
}

llvm::Error Compilation::linkFile() {
  SourceHash sourceHash(options.model);
  image->sourceHash = [&] { return sourceHash.get(); };

  llvm::SmallString<0> variants;
  llvm::raw_svector_ostream variantStream(variants);
  llvm::SmallVector<const codegen::Target *> targetList;
  llvm::SmallVector<llvm::StringRef> objects;
  for (TargetModule &each : targets) {
    targetList.push_back(each.target);
    objects.push_back(each.object);
  }
  if (failed(codegen::emitVariantTable(targetList, schedule->kernels().size(), variantStream)))
    return takeDiagnostics("cannot generate the table of targets");
  objects.push_back(variants);

  OutputFile file(output);
  RuntimeObjects runtime = embeddedRuntime(/*devices=*/false);
  uint64_t elfBytes = runtime.prelinked.size();
  for (llvm::StringRef object : objects)
    elfBytes += object.size();
  if (llvm::Error error = linkExecutable(objects, file.temporaryPath(), runtime)) {
    // The linker does not know how much more is to come.
    llvm::Error noSpace = file.checkSpace(fileBytes(*image, elfBytes));
    return noSpace ? (consumeError(std::move(error)), std::move(noSpace))
                   : llvm::createStringError(output + ": " + toString(std::move(error)));
  }
  if (llvm::Error error = file.openToAppend())
    return error;
  if (llvm::Error error = file.reserve(fileBytes(*image, file.size())))
    return error;

  Progress progress("packing", schedule->weightBytes(), options.quiet);
  auto bytesOf = [&](llvm::StringRef name) { return checkpoint->tensorBytes(name); };
  auto done = [&](llvm::ArrayRef<uint8_t> bytes) { checkpoint->release(bytes); };
  auto report = [&](uint64_t packed) {
    progress.update(packed);
    return checkInterrupted();
  };
  if (llvm::Error error = appendImage(file, *image, bytesOf, done, report))
    return error;
  written = file.size();
  return file.commit();
}
