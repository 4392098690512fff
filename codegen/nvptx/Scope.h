//===- Scope.h - what the lowering of one phase knows of its kernel -------------------===//
//
// Kernels are one function each; the kernel of a whole token is made of the same pieces as those of single phases. Each
// function here emits a piece at the builder's insertion point, for all threads of all blocks.
//
//===----------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_NVPTX_SCOPE_H
#define SLUICE_CODEGEN_NVPTX_SCOPE_H

#include "codegen/nvptx/Plan.h"
#include "codegen/nvptx/Threads.h"

namespace sluice::codegen {

// The arguments of a kernel: sluice_device_args, and what follows from them.
struct KernelArgs {
  Value weights; // of the phase at hand
  Value arena, prepared, kv, ids, state, sync, logits, banned, chosen;
  Value kvLayerStride, kvHeadStride; // i64
  Value cacheType, layer;            // i32
  Value shared;                      // dynamic shared memory: the rings, then what a phase needs
};

struct Scope {
  const PhasePlan &plan;
  Threads &t;
  const KernelArgs &args;
  int64_t ringBytes; // of a warp

  stream::PhaseOp phase() const { return plan.phase; }
  bool manyTokens() const { return plan.maxTokens > 1; }
  Value sharedAt(int64_t offset) const { return t.at(args.shared, ringBytes * GpuFacts::warps + offset); }
  // Address of token `token` of a buffer.
  Value bufferRow(mlir::FlatSymbolRefAttr buffer, Value token) const;
  // A prepared operand of a token.
  Value operandAt(Value prepared, Value token) const;
  Value position() const;   // i32, of token 0
  Value tokenBegin() const; // i32; not 0 only in phases of the head
  Value tokenEnd() const;   // i32
  // The sum or the largest of a float of every thread, for all of them. Blocks of two calls must not overlap: they
  // alternate between two places.
  Value reduceBlock(Value x, llvm::function_ref<Value(Value, Value)> join, unsigned place) const;
};

// One token: copies of the first chunks of a group are begun, those parts of TileGroup::copyParts (`paced`: each waits
// for the one before, so that what is read meanwhile does not wait long); norms and prepared activations; the group's
// tiles.
void beginCopies(const Scope &scope, const TileGroup &group, unsigned firstPart, unsigned lastPart, bool paced);
void lowerPrologue(const Scope &scope, Value token, llvm::function_ref<void()> afterLoads = {});
void lowerTiles(const Scope &scope, unsigned group, int64_t slotsAt);
// Into the L2 cache: what comes of memory beside the tiles, before the blocks that need it have met.
void prefetchVectors(const Scope &scope);
void prefetchCache(const Scope &scope, stream::AttentionOp op);
// Many tokens.
void lowerManyTiles(const Scope &scope);

// What is done with the dot products of `rows` consecutive rows from `firstRow` of a tile's op, one a value; lanes hold
// them in order if it is one row a thread.
void lowerEpilogue(const Scope &scope, stream::TilesOp op, llvm::ArrayRef<Values> sums, Value firstRow, Value token);

void lowerAttention(const Scope &scope, stream::AttentionOp op, int64_t countersAt);
void lowerAppends(const Scope &scope, stream::AppendOp op); // of a chunk
void lowerEmbed(const Scope &scope, stream::EmbedOp op);
void lowerRopeTable(const Scope &scope, stream::RopeTableOp op);
void lowerSoftmax(const Scope &scope, stream::SoftmaxOp op); // by one block
// Picks the next token, in one block, and advances the state.
void lowerChoose(Threads &t, const KernelArgs &args, Value scratch, int64_t vocabulary);
int64_t chooseBytes(); // of shared memory

// Blocks meet: what one wrote before it arrived, all may read who have waited. A fence waits for whatever copies its
// thread has under way, and so does, behind them, the load that waits: none may be begun before the arrival.
void arrive(Threads &t, const KernelArgs &args);
void await(Threads &t, const KernelArgs &args, Value target);

// In sluice_device_args.sync, in bytes: the count of blocks that came to meetings and of those that left, counters of
// attention's KV heads, then for every block of the grid the places where it leaves sums for the next one.
struct SyncPlan {
  static constexpr int64_t meetingAt = 0, leavingAt = 64, countersAt = 128;
  int64_t kvHeads, groups, weights; // the most groups of a phase, and weights of a group
  int64_t slotsAt() const { return llvm::alignTo(countersAt + kvHeads * 4, 256); }
  int64_t slotBytes() const { return weights * 32 * 8; }
  int64_t blockBytes() const { return groups * slotBytes(); }
  static SyncPlan get(llama::ModelOp model);
};

} // namespace sluice::codegen
#endif
