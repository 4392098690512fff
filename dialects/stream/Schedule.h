//===- Schedule.h - the order and places of everything a program reads -------------===//
//
// One walk over a model's programs decides where every weight lies in the packed file and which steps the runtime runs.
// Phases of a program that differ in nothing but the names of their weights are one kernel.
// The packer, `explain`, the step table of the file and the tests all use this walk and nothing else.
//
// A phase's stream is contiguous: first the vectors of its prologue (norm weights), in order, then those of epilogues
// (biases), then its tiles operations in order; within one, tile t of each of its weights, then tile t + 1. Streams lie
// in the order in which `decode` runs them, 64-byte aligned; a stream that another program or layer has placed already
// (same weights, same layer) is shared. A weight that is only looked up (`embed`) and not streamed anywhere gets a
// stream of its own.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_DIALECTS_STREAM_SCHEDULE_H
#define SLUICE_DIALECTS_STREAM_SCHEDULE_H

#include "dialects/stream/PackedLayout.h"
#include "dialects/stream/Stream.h"
#include "llvm/ADT/StringMap.h"
#include <map>

namespace sluice::stream {

// A piece of a stream: one vector, or the tiles of one or more weights that alternate.
struct Segment {
  mlir::Operation *reader = nullptr; // of a vector: rms_norm, append, attention or bias
  llvm::SmallVector<llama::WeightDeclOp> weights;
  llvm::SmallVector<PackedLayout> layouts; // one a weight; empty for a vector
  int64_t offset = 0;                      // in the phase's stream
  int64_t bytes = 0;
  bool isVector() const { return layouts.empty(); }
};

// What one phase streams (or, for `embed`, looks up), with offsets relative to its start.
struct PhaseStream {
  llvm::SmallVector<Segment> segments;
  int64_t sharedBytes = 0; // of norms, which every worker reads
  int64_t bytes = 0;       // multiple of 64
  bool lookedUp = false;   // rows are looked up, the stream is not read through
  static PhaseStream get(PhaseOp phase);
  // The segment of a tiles operation of this phase, by its position among them.
  const Segment &tiles(unsigned index) const;
  // Where the vector lies that `reader` names.
  int64_t vectorAt(mlir::Operation *reader) const;
};

// One run of one phase: an entry of the file's step table.
struct Step {
  PhaseOp phase;
  unsigned kernel;       // number of the phase among those of the model that differ, in order of appearance
  int64_t layer;         // -1 outside the layers
  int64_t weightsOffset; // in the packed weights
};

struct Placement {
  int64_t offset;
  PhaseStream stream;
  int64_t layer; // of the phase that placed it
};

class Schedule {
public:
  static Schedule get(llama::ModelOp model);
  llvm::ArrayRef<ProgramOp> programs() const { return programOps; }
  llvm::ArrayRef<PhaseOp> kernels() const { return kernelPhases; }
  llvm::ArrayRef<Step> steps(unsigned program) const { return programSteps[program]; }
  llvm::ArrayRef<Placement> placements() const { return places; } // in file order
  int64_t weightBytes() const { return totalBytes; }

private:
  llvm::SmallVector<ProgramOp> programOps;
  llvm::SmallVector<PhaseOp> kernelPhases;
  llvm::SmallVector<std::vector<Step>> programSteps;
  std::vector<Placement> places;
  int64_t totalBytes = 0;
};

// Units of a phase for the step table; see sluice_step.
struct PhaseUnits {
  int64_t units;
  int64_t unitTokens;        // 0: a unit covers all tokens
  int64_t unitPositions = 0; // 0: and all positions
  static PhaseUnits get(PhaseOp phase);
};

// Floats from one token's row of a buffer to the next one's.
inline int64_t paddedWidth(int64_t width) { return (width + 31) / 32 * 32; }

// Byte offset of each buffer in a program's arena, in order; `arenaBytes` receives the size.
std::map<std::string, int64_t> bufferOffsets(ProgramOp program, int64_t *arenaBytes = nullptr);

} // namespace sluice::stream
#endif
