//===- Plan.cpp - who works on what, and where it lies: decided before code is made ---===//

#include "codegen/nvptx/Plan.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

SlicePlan SlicePlan::get(const PackedLayout &layout) {
  constexpr int64_t columns = 128, bytes = 4096, most = 64;
  SlicePlan plan{std::max<int64_t>(1, columns / layout.recordK), 0};
  while (plan.sliceRecords * layout.recordBytes < bytes ||
         llvm::divideCeil(layout.recordsPerTile, plan.sliceRecords) > most)
    plan.sliceRecords *= 2;
  plan.slices = llvm::divideCeil(layout.recordsPerTile, plan.sliceRecords);
  return plan;
}

bool WeightPlan::operator==(const WeightPlan &other) const {
  return layout.format == other.layout.format && layout.cols == other.layout.cols &&
         layout.tileRows == other.layout.tileRows && operand == other.operand && chunkRecords == other.chunkRecords &&
         recordChunks == other.recordChunks;
}

// The largest chunk of a slice that is at most `limit` bytes. Integer formats: whole pairs of blocks.
static int64_t chunkRecordsFor(const PackedLayout &layout, const SlicePlan &k, int64_t limit) {
  int64_t least = layout.format->isFloat ? 512 / layout.recordBytes : llvm::divideCeil(64, layout.recordK);
  int64_t records = std::min(least, k.sliceRecords);
  while (records * 2 <= k.sliceRecords && k.sliceRecords % (records * 2) == 0 &&
         records * 2 * layout.recordBytes <= limit)
    records *= 2;
  return records;
}

// As few as give chunks of at most `limit` bytes, or as many as there are.
static int64_t recordChunksFor(const PackedLayout &layout, int64_t limit) {
  int64_t chunks = 1;
  if (!layout.format->isFloat && layout.format->hasSubScales() && layout.recordBytes > limit)
    while (chunks < layout.runs && (chunks == 1 || layout.codesAt + layout.runs / chunks * layout.runBytes() > limit))
      chunks *= 2;
  return chunks;
}

int64_t TileGroup::tileSlices() const {
  int64_t slices = 0;
  for (const WeightPlan &weight : weights)
    slices += weight.k.slices;
  return slices;
}

int64_t TileGroup::batchTiles() const {
  constexpr int64_t slices = 64;
  return std::clamp<int64_t>(slices / tileSlices(), 1, tiles);
}

std::vector<TileGroup> sluice::codegen::groupsOf(PhaseOp phase) {
  std::vector<TileGroup> groups;
  PhaseStream stream = PhaseStream::get(phase);
  for (auto [index, op] : llvm::enumerate(phase.getBody().getOps<TilesOp>())) {
    const Segment &segment = stream.tiles(index);
    TileGroup group;
    group.ops.push_back(op);
    group.firstTile.push_back(0);
    group.tiles = segment.layouts[0].tiles;
    group.offset = segment.offset;
    constexpr int64_t mostChunk = 2560; // bytes; larger ones make rings longer, not loops shorter
    const int64_t ahead = op.getPrefetch().value_or(4096);
    for (auto [layout, operand] : llvm::zip_equal(segment.layouts, op.getOperands())) {
      SlicePlan k = SlicePlan::get(layout);
      const int64_t limit = std::min<int64_t>(ahead, mostChunk);
      group.weights.push_back({layout, operand, k, chunkRecordsFor(layout, k, limit), recordChunksFor(layout, limit)});
      group.tileBytes += layout.tileBytes;
      group.chunkStride = std::max<int64_t>(group.chunkStride, llvm::alignTo(group.weights.back().chunkBytes(), 16));
    }
    const WeightPlan &weight = group.weights[0];
    group.stages = llvm::divideCeil(ahead, weight.chunkRecords * weight.layout.recordBytes / weight.recordChunks) + 1;
    TileGroup *last = groups.empty() ? nullptr : &groups.back();
    if (last && last->weights.size() == 1 && group.weights.size() == 1 && last->weights[0] == group.weights[0] &&
        last->stages == group.stages && last->offset + last->tiles * last->tileBytes == group.offset) {
      last->ops.push_back(op);
      last->firstTile.push_back(last->tiles);
      last->tiles += group.tiles;
    } else {
      groups.push_back(std::move(group));
    }
  }
  return groups;
}

PhasePlan::PhasePlan(PhaseOp phase, const GpuFacts &facts)
    : phase(phase), weights(PhaseStream::get(phase)), groups(groupsOf(phase)) {
  auto program = phase->getParentOfType<ProgramOp>();
  maxTokens = program.getMaxTokens();
  buffers = bufferOffsets(program);
  auto reserve = [](int64_t &total, int64_t bytes) { return std::exchange(total, total + llvm::alignTo(bytes, 128)); };
  reserve(sharedBytes, 2 * facts.warps * 4);
  for (Operation &op : phase.getBody().front()) {
    if (auto prepare = dyn_cast<PrepareOp>(op)) {
      OperandType type = prepare.getResult().getType();
      OperandPlan plan{.kind = type.getKind(),
                       .width = type.getWidth(),
                       .columns = int64_t(llvm::alignTo(type.getWidth(), 64)),
                       .peaks = int64_t(prepare.getPeaks()),
                       .sparse = maxTokens == 1};
      for (const TileGroup &group : groups)
        for (const WeightPlan &weight : group.weights)
          if (weight.operand == prepare.getResult()) {
            const llama::FormatInfo &format = *weight.layout.format;
            const int64_t unit = std::max(weight.chunkColumns(), weight.layout.recordK);
            plan.columns = std::max<int64_t>(plan.columns, llvm::alignTo(type.getWidth(), unit));
            auto add = [&](int64_t zeroPoint) {
              OperandPlan::Sum sum{zeroPoint, format.scaleElements};
              if (plan.kind == OperandKind::Int8 && !llvm::is_contained(plan.sums, sum))
                plan.sums.push_back(sum);
            };
            if (format.zeroPoint)
              add(format.zeroPoint);
            if (format.hasMin())
              add(0);
          }
      int64_t at =
          maxTokens == 1 ? reserve(sharedBytes, plan.bytes()) : reserve(preparedBytes, plan.bytes() * maxTokens);
      operands.insert({prepare.getResult(), {plan, at}});
    } else if (auto attention = dyn_cast<AttentionOp>(op)) {
      attentionAt = reserve(sharedBytes, AttentionPlan::get(attention).bytes());
    }
  }
  int64_t sums = 0;
  for (const TileGroup &group : groups)
    sums = std::max(sums, group.sumsBytes());
  if (maxTokens == 1)
    sumsAt = reserve(sharedBytes, sums);
}

AttentionPlan AttentionPlan::get(AttentionOp op) {
  auto cache = cast<llama::CacheType>(op.getCache());
  const int64_t group = int64_t(op.getHeads()) / cache.getKvHeads();
  int64_t heads = std::min<int64_t>(group, mostRows);
  while (group % heads)
    --heads;
  const bool many = op->getParentOfType<ProgramOp>().getMaxTokens() > 1;
  return {group, cache.getHeadDim(), heads, many && heads == group ? mostRows / heads : 1};
}

int64_t sluice::codegen::ringBytes(ProgramOp program) {
  int64_t bytes = 0;
  program.walk([&](PhaseOp phase) {
    for (const TileGroup &group : groupsOf(phase))
      bytes = std::max<int64_t>(bytes, llvm::alignTo(group.ringBytes(), 128));
  });
  return bytes;
}
