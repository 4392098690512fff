//===- Tables.cpp - the sections of a file that describe the model -----------------===//

#include "compiler/pack/Tables.h"
#include "passes/Traffic.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include <optional>

using namespace sluice;
using namespace sluice::stream;

uint32_t Strings::add(llvm::StringRef string) {
  auto [entry, isNew] = offsets.try_emplace(string, text.size());
  if (isNew)
    text.append(string.data(), string.size()).push_back('\0');
  return entry->second;
}

static std::optional<uint32_t> programKind(llvm::StringRef name) {
  return llvm::StringSwitch<std::optional<uint32_t>>(name)
      .Case("decode", SLUICE_PROGRAM_DECODE)
      .Case("prefill", SLUICE_PROGRAM_PREFILL)
      .Case("softmax", SLUICE_PROGRAM_SOFTMAX)
      .Case("peak", SLUICE_PROGRAM_PEAK)
      .Default(std::nullopt);
}

// The first operation of a kind in a program; null if there is none.
template <typename Op> static Op firstOf(ProgramOp program, llvm::function_ref<bool(Op)> matches = nullptr) {
  Op found;
  program.walk([&](Op op) {
    if (matches && !matches(op))
      return mlir::WalkResult::advance();
    found = op;
    return mlir::WalkResult::interrupt();
  });
  return found;
}

// The buffer that the head phase writes the logits to.
static BufferOp logitsBuffer(ProgramOp program) {
  auto write = firstOf<WriteRowsOp>(program, [](WriteRowsOp op) { return op->getParentOfType<PhaseOp>().getHead(); });
  return write ? lookupBuffer(write, write.getBufferAttr()) : BufferOp();
}

static llvm::Error fillModel(Tables &tables, ProgramOp decode) {
  sluice_model &model = tables.model;
  auto embed = firstOf<EmbedOp>(decode);
  auto attention = firstOf<AttentionOp>(decode);
  BufferOp logits = logitsBuffer(decode);
  if (!embed || !attention || !logits)
    return llvm::createStringError("program 'decode': expected an embed phase, an attention phase and a head phase");
  auto cache = mlir::cast<llama::CacheType>(attention.getCache());
  model.width = lookupBuffer(embed, embed.getBufferAttr()).getWidth();
  model.heads = attention.getHeads();
  model.kv_heads = cache.getKvHeads();
  model.head_dim = cache.getHeadDim();
  model.vocabulary = logits.getWidth();
  model.logits_padded = paddedWidth(logits.getWidth());
  auto isActivation = [](mlir::Operation *op) { return mlir::isa<SwigluOp, GegluOp>(op); };
  if (auto activation = firstOf<mlir::Operation *>(decode, isActivation)) {
    auto tiles = activation->getParentOfType<TilesOp>();
    auto weight = mlir::cast<mlir::FlatSymbolRefAttr>(tiles.getWeights()[0]);
    model.feed_forward = llama::lookupWeight(tiles, weight).getWeightType().getRows();
  }
  for (auto repeat : decode.getBody().getOps<RepeatOp>())
    model.layers += repeat.getCount();
  return llvm::Error::success();
}

static sluice_step stepOf(const Step &step, Strings &strings) {
  PhaseOp phase = step.phase;
  PhaseStream stream = PhaseStream::get(phase);
  PhaseUnits units = PhaseUnits::get(phase);
  sluice_step entry{};
  entry.kernel = step.kernel;
  entry.phase = strings.add(phase.getName());
  entry.layer = step.layer < 0 ? UINT32_MAX : step.layer;
  entry.flags = phase.getHead() ? SLUICE_STEP_HEAD : 0;
  entry.units = units.units;
  entry.unit_tokens = units.unitTokens;
  entry.unit_positions = units.unitPositions;
  entry.prologue_tokens = phase.getPrologueTokens().value_or(0);
  entry.weights_offset = step.weightsOffset;
  entry.weights_bytes = stream.lookedUp ? 0 : stream.bytes;
  entry.shared_bytes = stream.sharedBytes;
  PhaseTraffic traffic = PhaseTraffic::get(phase);
  entry.operations = traffic.operations;
  entry.cache_operations = traffic.cacheOperations;
  entry.cache_tokens = traffic.cacheTokens;
  entry.window = traffic.window;
  return entry;
}

static llvm::Error fillOffsets(sluice_program &entry, ProgramOp program) {
  int64_t arenaBytes = 0;
  std::map<std::string, int64_t> offsets = bufferOffsets(program, &arenaBytes);
  entry.arena_bytes = arenaBytes;
  if (entry.kind == SLUICE_PROGRAM_SOFTMAX) {
    auto softmax = firstOf<SoftmaxOp>(program);
    if (!softmax)
      return llvm::createStringError("program 'softmax': expected a softmax phase");
    entry.input_offset = offsets[softmax.getInput().str()];
    entry.output_offset = offsets[softmax.getResult().str()];
  } else if (entry.kind != SLUICE_PROGRAM_PEAK) {
    BufferOp logits = logitsBuffer(program);
    if (!logits)
      return llvm::createStringError("program '" + program.getSymName() +
                                     "': expected a head phase that writes logits");
    entry.output_offset = offsets[logits.getSymName().str()];
  }
  return llvm::Error::success();
}

// The formats of the weights, those of most bytes first: "q4_1, q8_0".
static std::string formatsOf(llvm::ArrayRef<PackedTensor> tensors) {
  llvm::MapVector<llvm::StringRef, int64_t> bytes;
  for (const PackedTensor &tensor : tensors)
    bytes[tensor.format->name] += tensor.size;
  auto sorted = bytes.takeVector();
  llvm::stable_sort(sorted, [](auto &a, auto &b) { return a.second > b.second; });
  return llvm::join(llvm::make_first_range(sorted), ", ");
}

llvm::Expected<Tables> sluice::buildTables(llama::ModelOp model, const Schedule &schedule,
                                           llvm::ArrayRef<PackedTensor> tensors, const Provenance &provenance,
                                           llvm::function_ref<codegen::WorkerMemory(ProgramOp)> memory) {
  Tables tables;
  bool present[SLUICE_PROGRAM_COUNT] = {};
  for (unsigned number = 0; number < schedule.programs().size(); ++number) {
    ProgramOp program = schedule.programs()[number];
    std::optional<uint32_t> kind = programKind(program.getSymName());
    if (!kind)
      return llvm::createStringError("program '" + program.getSymName() +
                                     "': expected decode, prefill, softmax or peak");
    present[*kind] = true;
    sluice_program entry{};
    entry.kind = *kind;
    entry.name = tables.strings.add(program.getSymName());
    entry.first_step = tables.steps.size();
    entry.step_count = schedule.steps(number).size();
    entry.max_tokens = program.getMaxTokens();
    codegen::WorkerMemory needed = memory(program);
    entry.scratch_bytes = needed.scratch;
    entry.prepared_bytes = needed.prepared;
    if (llvm::Error error = fillOffsets(entry, program))
      return error;
    tables.programs.push_back(entry);
    for (const Step &step : schedule.steps(number)) {
      tables.steps.push_back(stepOf(step, tables.strings));
      if (*kind == SLUICE_PROGRAM_DECODE)
        tables.model.weight_bytes += tables.steps.back().weights_bytes;
    }
    if (*kind == SLUICE_PROGRAM_DECODE)
      if (llvm::Error error = fillModel(tables, program))
        return error;
  }
  for (llvm::StringRef name : {"decode", "prefill", "softmax", "peak"})
    if (!present[*programKind(name)])
      return llvm::createStringError("model '" + model.getSymName() + "' has no program '" + name + "'");

  tables.model.name = tables.strings.add(model.getSymName());
  tables.model.architecture = tables.strings.add(model.getArchitecture());
  tables.model.context_length = model.getContextLength();
  tables.model.compiler_version = tables.strings.add(provenance.compilerVersion);
  tables.model.source_file = tables.strings.add(provenance.sourceFile);
  tables.model.source_hash = tables.strings.add(provenance.sourceHash);
  tables.model.source_bytes = provenance.sourceBytes;
  tables.model.formats = tables.strings.add(formatsOf(tensors));
  for (const PackedTensor &tensor : tensors)
    tables.tensors.push_back({tables.strings.add(tensor.name), tables.strings.add(tensor.format->name),
                              uint64_t(tensor.offset), uint64_t(tensor.size), 0});
  return tables;
}
