//===- CheckpointUse.cpp - what is done with a checkpoint that a fuzzer has written --===//

#include "test/fuzz/CheckpointUse.h"
#include "compiler/Compilation.h"
#include "compiler/import/LlamaImport.h"
#include "compiler/text/GgufTokenizer.h"
#include "compiler/text/HuggingFaceTokenizer.h"
#include "compiler/text/TemplateCompiler.h"
#include "runtime/Tokenizer.h"

using namespace mlir;
using namespace sluice;

void test::useTokenizer(llvm::Expected<TokenizerModel> described) {
  if (!described)
    return consumeError(described.takeError());
  llvm::Expected<std::vector<uint8_t>> section = buildTokenizer(*described);
  if (!section)
    return consumeError(section.takeError());
  Tokenizer tokenizer(*section);
  std::string text = "Hello w\xC3\xB6rld\n\n 12345 <|im_end|>\xFF";
  for (int32_t id = 0; id < int32_t(std::min<uint32_t>(tokenizer.vocabulary(), 300)); ++id)
    text += tokenizer.decode(id, true);
  text.resize(std::min<size_t>(text.size(), 4096));
  for (int32_t id : tokenizer.encode(text, true, true))
    if (id < 0 || uint32_t(id) >= tokenizer.vocabulary())
      std::abort();
}

void test::compileSource(llvm::Expected<std::optional<std::string>> source) {
  if (!source)
    return consumeError(source.takeError());
  if (!*source)
    return;
  if (llvm::Expected<std::vector<uint8_t>> section = compileTemplate(**source); !section)
    consumeError(section.takeError());
}

static void compile(const std::string &path) {
  Options options;
  options.model = path;
  options.output = "/dev/null/unused";
  options.emit = "pack"; // prints nothing by itself; no file is written
  options.targets = {"x86-64"};
  options.quiet = true;
  std::unique_ptr<Compilation> compilation = llvm::cantFail(Compilation::create(options));
  for (const Phase &phase : phases()) {
    if (llvm::Error error = compilation->run(phase))
      return consumeError(std::move(error));
    if (phase.name == "pack")
      break;
  }
  stream::Schedule schedule = stream::Schedule::get(compilation->scheduledModel());
  if (schedule.weightBytes() > 1 << 20)
    return;
  auto checkpoint = llvm::cantFail(Checkpoint::open(path));
  std::vector<PackedTensor> tensors = packedTensors(schedule);
  int64_t written = 0;
  auto bytesOf = [&](llvm::StringRef name) { return checkpoint->tensorBytes(name); };
  auto done = [&](llvm::ArrayRef<uint8_t>) {};
  auto sink = [&](llvm::ArrayRef<uint8_t> bytes) { return written += bytes.size(), llvm::Error::success(); };
  llvm::cantFail(packWeights(schedule, bytesOf, done, sink, tensors));
  if (written != schedule.weightBytes())
    std::abort();
}

void test::useCheckpoint(const std::string &path) {
  auto checkpoint = Checkpoint::open(path);
  if (!checkpoint)
    return consumeError(checkpoint.takeError());
  printCheckpoint(**checkpoint, llvm::nulls());
  if ((*checkpoint)->isFolder()) {
    useTokenizer(readHuggingFaceTokenizer(path));
    compileSource(readHuggingFaceTemplate(path));
  } else {
    useTokenizer(readGgufTokenizer(**checkpoint));
    if (std::optional<llvm::StringRef> source = (*checkpoint)->chatTemplate())
      compileSource(std::optional(source->str()));
  }
  MLIRContext context;
  if (auto module = importModel(context, **checkpoint))
    compile(path);
  else
    consumeError(module.takeError());
}
