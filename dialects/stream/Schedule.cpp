//===- Schedule.cpp - the order and places of everything a program reads -----------===//

#include "dialects/stream/Schedule.h"
#include "runtime/abi.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
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

PhaseStream PhaseStream::get(PhaseOp phase) {
  PhaseStream stream;
  for (auto norm : phase.getBody().getOps<RmsNormOp>()) {
    Segment segment;
    segment.weights.push_back(llama::lookupWeight(norm, norm.getWeightAttr()));
    segment.offset = stream.bytes;
    segment.bytes = packedVectorBytes(segment.weights[0].getWeightType().getCols());
    stream.bytes += segment.bytes;
    stream.segments.push_back(segment);
  }
  stream.sharedBytes = stream.bytes;
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

// Names what a list of segments contains in a layer: equal keys hold equal bytes.
static std::string keyOf(ArrayRef<Segment> segments, int64_t layer) {
  std::string key;
  for (const Segment &segment : segments) {
    for (auto [i, weight] : llvm::enumerate(segment.weights)) {
      llama::WeightDeclOp decl = weight;
      key +=
          decl.tensorName(layer) + (segment.isVector() ? "" : "/" + std::to_string(segment.layouts[i].tileRows)) + "|";
    }
    key += ";";
  }
  return key;
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
    auto add = [&](PhaseOp phase, unsigned kernel, int64_t layerOrNone) {
      PhaseStream stream = PhaseStream::get(phase);
      int64_t offset = stream.segments.empty() || stream.lookedUp ? 0 : place(stream, layerOrNone);
      steps.push_back({phase, kernel, layerOrNone, offset});
    };
    for (Operation &op : program.getBody().front()) {
      if (auto phase = dyn_cast<PhaseOp>(op)) {
        add(phase, schedule.kernelPhases.size(), -1);
        schedule.kernelPhases.push_back(phase);
      } else if (auto repeat = dyn_cast<RepeatOp>(op)) {
        unsigned first = schedule.kernelPhases.size();
        llvm::append_range(schedule.kernelPhases, repeat.getBody().getOps<PhaseOp>());
        for (int64_t i = 0, count = repeat.getCount(); i < count; ++i, ++layer)
          for (unsigned k = first; k < schedule.kernelPhases.size(); ++k)
            add(schedule.kernelPhases[k], k, layer);
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
