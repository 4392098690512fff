//===- Schedule.cpp - the order and places of everything a program reads -----------===//

#include "dialects/stream/Schedule.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "runtime/abi.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::stream;

static constexpr int64_t alignment = 64;

static void addTiles(PhaseStream &stream, Operation *op, ArrayRef<FlatSymbolRefAttr> weights, int64_t tileRows) {
  Segment segment;
  segment.offset = stream.bytes;
  for (FlatSymbolRefAttr symbol : weights) {
    segment.weights.push_back(llama::lookupWeight(op, symbol));
    segment.layouts.push_back(PackedLayout::get(segment.weights.back().getWeightType(), tileRows));
    segment.bytes += segment.layouts.back().totalBytes();
  }
  stream.bytes += segment.bytes;
  stream.segments.push_back(segment);
}

static void addVector(PhaseStream &stream, Operation *reader, FlatSymbolRefAttr weight) {
  if (!weight)
    return;
  Segment segment;
  segment.reader = reader;
  segment.weights.push_back(llama::lookupWeight(reader, weight));
  segment.offset = stream.bytes;
  segment.bytes = packedVectorBytes(segment.weights[0].getWeightType().getCols());
  stream.bytes += segment.bytes;
  stream.segments.push_back(segment);
}

PhaseStream PhaseStream::get(PhaseOp phase) {
  PhaseStream stream;
  for (Operation &op : phase.getBody().front())
    llvm::TypeSwitch<Operation *>(&op)
        .Case<RmsNormOp>([&](RmsNormOp norm) { addVector(stream, norm, norm.getWeightAttr()); })
        .Case<AppendOp, AttentionOp>([&](auto heads) { addVector(stream, heads, heads.getNormAttr()); });
  stream.sharedBytes = stream.bytes;
  phase.walk([&](BiasOp bias) { addVector(stream, bias, bias.getWeightAttr()); });
  for (Operation &op : phase.getBody().front()) {
    if (auto tiles = dyn_cast<TilesOp>(op)) {
      addTiles(stream, tiles, llvm::to_vector(tiles.getWeights().getAsRange<FlatSymbolRefAttr>()), tiles.getTileRows());
    } else if (auto embed = dyn_cast<EmbedOp>(op)) {
      addTiles(stream, embed, embed.getWeightAttr(), embed.getTileRows());
      stream.lookedUp = true;
    }
  }
  return stream;
}

const Segment &PhaseStream::tiles(unsigned index) const {
  for (const Segment &segment : segments)
    if (!segment.isVector() && index-- == 0)
      return segment;
  llvm_unreachable("a phase has a segment for each of its tiles operations");
}

int64_t PhaseStream::vectorAt(Operation *reader) const {
  for (const Segment &segment : segments)
    if (segment.reader == reader)
      return segment.offset;
  llvm_unreachable("the reader is in the phase");
}

// Names what a list of segments contains in a layer: equal keys hold equal bytes.
static std::string keyOf(ArrayRef<Segment> segments, int64_t layer) {
  std::string key;
  for (const Segment &segment : segments) {
    for (auto [i, weight] : llvm::enumerate(segment.weights)) {
      llama::WeightDeclOp decl = weight;
      key += decl.tensorName(layer) + "+" + std::to_string(decl.getFirstRow()) +
             (segment.isVector() ? "" : "/" + std::to_string(segment.layouts[i].tileRows)) + "|";
    }
    key += ";";
  }
  return key;
}

// A text that is the same for phases of the same code: types take the place of weights' names.
static std::string codeOf(PhaseOp phase) {
  AttrTypeReplacer types;
  types.addReplacement([&](FlatSymbolRefAttr symbol) -> std::pair<Attribute, WalkResult> {
    llama::WeightDeclOp weight = llama::lookupWeight(phase, symbol);
    return {weight ? Attribute(TypeAttr::get(weight.getType())) : symbol, WalkResult::skip()};
  });
  std::string text;
  llvm::raw_string_ostream out(text);
  llvm::DenseMap<Value, size_t> numbers;
  phase.walk<WalkOrder::PreOrder>([&](Operation *op) {
    out << op->getName() << types.replace(op->getAttrDictionary());
    for (Value operand : op->getOperands())
      out << " %" << numbers.lookup(operand);
    auto define = [&](Value value) {
      numbers.try_emplace(value, numbers.size());
      out << " : " << value.getType();
    };
    llvm::for_each(op->getResults(), define);
    for (Region &region : op->getRegions())
      for (Block &block : region)
        llvm::for_each(block.getArguments(), define);
    out << '\n';
  });
  return text;
}

Schedule Schedule::get(llama::ModelOp model) {
  Schedule schedule;
  // Where every stream, and every single segment of one, lies.
  llvm::StringMap<int64_t> streamAt, segmentAt;
  auto place = [&](const PhaseStream &stream, int64_t layer) {
    auto [entry, isNew] = streamAt.try_emplace(keyOf(stream.segments, layer), schedule.totalBytes);
    if (isNew) {
      schedule.places.push_back({schedule.totalBytes, stream, layer});
      for (const Segment &segment : stream.segments)
        segmentAt.try_emplace(keyOf(segment, layer), schedule.totalBytes + segment.offset);
      schedule.totalBytes += llvm::alignTo(stream.bytes, alignment);
    }
    return entry->second;
  };

  // Looked-up weights wait until all streams are placed, since one of those may hold them.
  model.walk([&](ProgramOp program) { schedule.programOps.push_back(program); });
  for (ProgramOp program : schedule.programOps) {
    int64_t layer = 0;
    std::vector<Step> &steps = schedule.programSteps.emplace_back();
    llvm::StringMap<unsigned> kernelOf; // by code
    auto number = [&](PhaseOp phase) {
      auto [entry, isNew] = kernelOf.try_emplace(codeOf(phase), schedule.kernelPhases.size());
      if (isNew)
        schedule.kernelPhases.push_back(phase);
      return entry->second;
    };
    auto add = [&](PhaseOp phase, unsigned kernel, int64_t layerOrNone) {
      PhaseStream stream = PhaseStream::get(phase);
      int64_t offset = stream.segments.empty() || stream.lookedUp ? 0 : place(stream, layerOrNone);
      steps.push_back({phase, kernel, layerOrNone, offset});
    };
    for (Operation &op : program.getBody().front()) {
      if (auto phase = dyn_cast<PhaseOp>(op)) {
        add(phase, number(phase), -1);
      } else if (auto repeat = dyn_cast<RepeatOp>(op)) {
        SmallVector<std::pair<PhaseOp, unsigned>> phases;
        for (auto phase : repeat.getBody().getOps<PhaseOp>())
          phases.push_back({phase, number(phase)});
        for (int64_t i = 0, count = repeat.getCount(); i < count; ++i, ++layer)
          for (auto [phase, kernel] : phases)
            add(phase, kernel, layer);
      }
    }
  }
  for (std::vector<Step> &steps : schedule.programSteps)
    for (Step &step : steps) {
      PhaseStream stream = PhaseStream::get(step.phase);
      if (!stream.lookedUp)
        continue;
      auto found = segmentAt.find(keyOf(stream.segments, step.layer));
      step.weightsOffset = found != segmentAt.end() ? found->second : place(stream, step.layer);
    }
  return schedule;
}

PhaseUnits PhaseUnits::get(PhaseOp phase) {
  PhaseUnits result{0, 0};
  if (phase.getBody().getOps<TilesOp>().empty() && !phase.getBody().getOps<WriteOp>().empty())
    return {1, 1};
  unsigned index = 0;
  for (Operation &op : phase.getBody().front()) {
    if (auto attention = dyn_cast<AttentionOp>(op))
      return {cast<llama::CacheType>(attention.getCache()).getKvHeads(),
              static_cast<int64_t>(attention.getTokenBlock().value_or(1)),
              attention.getSplit() ? SLUICE_KV_SEGMENT : 0};
    if (isa<EmbedOp>(op))
      return {1, 1};
    if (isa<SoftmaxOp, PeakOp>(op))
      return {1, 0};
    if (isa<TilesOp>(op))
      result.units += PhaseStream::get(phase).tiles(index++).layouts[0].tiles;
  }
  return result;
}

std::map<std::string, int64_t> sluice::stream::bufferOffsets(ProgramOp program, int64_t *arenaBytes) {
  std::map<std::string, int64_t> offsets;
  int64_t bytes = 0;
  for (auto buffer : program.getBody().getOps<BufferOp>()) {
    offsets[buffer.getSymName().str()] = bytes;
    bytes += llvm::alignTo(program.getMaxTokens() * paddedWidth(buffer.getWidth()) * 4, alignment);
  }
  if (arenaBytes)
    *arenaBytes = bytes;
  return offsets;
}
