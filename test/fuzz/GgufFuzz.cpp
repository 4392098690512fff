//===- GgufFuzz.cpp - a GGUF file: listed, imported, scheduled and packed -------------===//

#include "compiler/Compilation.h"
#include "compiler/import/LlamaImport.h"
#include "compiler/text/GgufTokenizer.h"
#include "compiler/text/TemplateCompiler.h"
#include "runtime/Tokenizer.h"
#include "test/fuzz/FuzzTarget.h"

using namespace mlir;
using namespace sluice;

// What a file's tokenizer section gives must be what the runtime accepts, and every token's text must lead back to it.
static void useTokenizer(const std::vector<uint8_t> &section) {
  Tokenizer tokenizer(section);
  std::string text = "Hello w\xC3\xB6rld\n\n 12345 <|im_end|>\xFF";
  for (int32_t id = 0; id < int32_t(std::min<uint32_t>(tokenizer.vocabulary(), 300)); ++id)
    text += tokenizer.decode(id, true);
  text.resize(std::min<size_t>(text.size(), 4096));
  for (int32_t id : tokenizer.encode(text, true, true))
    if (id < 0 || uint32_t(id) >= tokenizer.vocabulary())
      std::abort();
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

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  test::InputFile file(data, size);
  auto checkpoint = Checkpoint::open(file.path());
  if (!checkpoint) {
    consumeError(checkpoint.takeError());
    return 0;
  }
  printCheckpoint(**checkpoint, llvm::nulls());
  if (llvm::Expected<TokenizerModel> model = readGgufTokenizer(**checkpoint); !model)
    consumeError(model.takeError());
  else if (auto section = buildTokenizer(*model))
    useTokenizer(*section);
  else
    consumeError(section.takeError());
  if (std::optional<llvm::StringRef> source = (*checkpoint)->chatTemplate())
    if (auto section = compileTemplate(*source); !section)
      consumeError(section.takeError());
  static MLIRContext context;
  if (auto module = importModel(context, **checkpoint))
    compile(file.path());
  else
    consumeError(module.takeError());
  return 0;
}
