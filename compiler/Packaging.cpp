//===- Packaging.cpp - from configured programs to the file ------------------------===//
//
// The phases that are not made of passes: import, pack (places only), emit, and link, which also copies the weights.
//
//===------------------------------------------------------------------------------===//

#include "compiler/Compilation.h"
#include "compiler/Progress.h"
#include "compiler/UsageError.h"
#include "compiler/Version.h"
#include "compiler/import/LlamaImport.h"
#include "compiler/import/Sampling.h"
#include "compiler/link/Linker.h"
#include "compiler/pack/Quantize.h"
#include "compiler/text/GgufTokenizer.h"
#include "compiler/text/HuggingFaceTokenizer.h"
#include "compiler/text/TemplateCompiler.h"
#include "mlir/IR/Threading.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace sluice;
using codegen::EmitKind;

llvm::Error Compilation::importCheckpoint() {
  ImportOptions import{{}, options.context};
  for (const auto &[pattern, name] : options.quantize) {
    std::optional<llama::Format> format = llama::symbolizeFormat(name);
    if (!format || !canEncode(llama::formatInfo(*format)))
      return usageError("--quantize: cannot quantise to '" + name + "'; expected one of " + encodableFormats());
    import.quantize.push_back({pattern, *format});
  }
  llvm::Expected<std::unique_ptr<Checkpoint>> opened = Checkpoint::open(options.model);
  if (!opened)
    return opened.takeError();
  checkpoint = std::move(*opened);
  for (const MappedFile &file : checkpoint->mappedFiles())
    if (llvm::sys::fs::equivalent(output, file.path))
      return llvm::createStringError(output + ": would overwrite the checkpoint; choose another name with -o");
  llvm::Expected<OwningOpRef<ModuleOp>> imported = importModel(*context, *checkpoint, import);
  if (!imported)
    return imported.takeError();
  module = std::move(*imported);
  return llvm::Error::success();
}

// All targets read one copy of the weights and run one list of steps. What a processor's workers share out as units, a
// device divides among its blocks in its own way.
static llvm::Error expectSameSteps(const stream::Schedule &first, const stream::Schedule &other,
                                   const codegen::Target &target) {
  bool same = first.weightBytes() == other.weightBytes() && first.kernels().size() == other.kernels().size();
  for (auto [a, b] : llvm::zip(first.kernels(), other.kernels())) {
    if (!target.asHost())
      break;
    stream::PhaseUnits left = stream::PhaseUnits::get(a), right = stream::PhaseUnits::get(b);
    same &=
        left.units == right.units && left.unitTokens == right.unitTokens && left.unitPositions == right.unitPositions;
  }
  return same ? llvm::Error::success()
              : llvm::createStringError("target '" + target.name() +
                                        "' divides the phases differently from the first target; "
                                        "compile it to a file of its own");
}

llvm::Error Compilation::placeWeights() {
  schedule = stream::Schedule::get(modelOf(*module));
  // Steps are as the first processor's configuration divides them.
  auto host = llvm::find_if(targets, [](const TargetModule &each) { return each.target->asHost(); });
  llama::ModelOp configured = modelOf(*(host == targets.end() ? targets.begin() : host)->module);
  stream::Schedule configuredSchedule = stream::Schedule::get(configured);
  llvm::StringMap<codegen::WorkerMemory> memory;
  for (TargetModule &each : targets) {
    stream::Schedule other = stream::Schedule::get(modelOf(*each.module));
    if (llvm::Error error = expectSameSteps(configuredSchedule, other, *each.target))
      return error;
    for (stream::ProgramOp program : other.programs())
      if (const codegen::HostTarget *host = each.target->asHost()) {
        codegen::WorkerMemory &needed = memory[program.getSymName()];
        needed = needed.max(host->workerMemory(program));
      }
  }

  std::vector<PackedTensor> tensors = packedTensors(*schedule);
  std::string standIn(SourceHash::length, '0');
  Provenance provenance{SLUICE_VERSION, llvm::sys::path::filename(llvm::StringRef(options.model).rtrim('/')), standIn,
                        checkpoint->fileBytes()};
  llvm::Expected<Tables> tables = buildTables(configured, configuredSchedule, tensors, provenance,
                                              [&](stream::ProgramOp program) { return memory[program.getSymName()]; });
  if (!tables)
    return tables.takeError();
  llvm::Expected<SamplingDefaults> sampling = readSampling(*checkpoint);
  if (!sampling)
    return sampling.takeError();
  sluice_model &description = tables->model;
  auto orNone = [](std::optional<double> value) { return float(value.value_or(-1)); };
  description.temperature = orNone(sampling->temperature), description.top_p = orNone(sampling->topP);
  description.min_p = orNone(sampling->minP), description.repeat_penalty = orNone(sampling->repeatPenalty);
  description.peaks = uint32_t(options.peaks);
  description.top_k = int32_t(sampling->topK.value_or(-1));
  image.reset(new Image{*schedule, std::move(tensors), std::move(*tables), {}, {}, {}});
  llvm::Expected<TokenizerModel> described =
      checkpoint->isFolder() ? readHuggingFaceTokenizer(checkpoint->path()) : readGgufTokenizer(*checkpoint);
  if (!described)
    return described.takeError();
  if (llvm::Error error = described->fit(description.vocabulary))
    return checkpoint->error(toString(std::move(error)));
  llvm::Expected<std::vector<uint8_t>> tokenizer = buildTokenizer(*described);
  if (!tokenizer)
    return checkpoint->error(toString(tokenizer.takeError()));
  image->tokenizer = std::move(*tokenizer);
  std::optional<std::string> source;
  if (checkpoint->isFolder()) {
    llvm::Expected<std::optional<std::string>> found = readHuggingFaceTemplate(checkpoint->path());
    if (!found)
      return found.takeError();
    source = std::move(*found);
  } else if (std::optional<llvm::StringRef> found = checkpoint->chatTemplate()) {
    source = found->str();
  }
  if (source) {
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
  std::vector<std::string> sources;
  for (const MappedFile &file : checkpoint->mappedFiles())
    sources.push_back(file.path);
  SourceHash sourceHash(sources);
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
  if (llvm::Error error = file.checkKind())
    return error;
  const bool devices = llvm::any_of(targets, [](const TargetModule &each) { return !each.target->asHost(); });
  RuntimeObjects runtime = embeddedRuntime(devices);
  uint64_t elfBytes = runtime.prelinked.size();
  for (llvm::StringRef object : objects)
    elfBytes += object.size();
  if (llvm::Error error = linkExecutable(objects, file.temporaryPath(), runtime)) {
    if (llvm::Error interruption = checkInterrupted()) // which removes the linker's file, and that is its error then
      return consumeError(std::move(error)), std::move(interruption);
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
  auto bytesOf = [&](llvm::StringRef name) -> llvm::Expected<SourceTensor> {
    llvm::Expected<llvm::ArrayRef<uint8_t>> bytes = checkpoint->tensorBytes(name);
    if (!bytes)
      return bytes.takeError();
    const TensorInfo &tensor = *checkpoint->findTensor(name);
    return SourceTensor(*bytes, tensor.format, tensor.isFloat8, tensor.cols());
  };
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
