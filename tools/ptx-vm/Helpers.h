// What compiled code calls. Operands and results are in the warp's slots (Warp.h); `site` says which instruction calls,
// `mask` which lanes, `live` which have not exited. A helper that finds a fault does not return.
#pragma once
#include "tools/ptx-vm/Warp.h"

namespace ptxvm {

enum RoundedOperation : uint32_t {
  kRoundedAdd,
  kRoundedSubtract,
  kRoundedMultiply,
  kRoundedDivide,
  kRoundedFma,
  kRoundedSqrt,
  kRoundedNarrow, // f64 to f32
  kRoundedFromSigned,
  kRoundedFromUnsigned // of 64 bits
};
enum MathFunction : uint32_t { kLog2, kSin, kCos, kTanh };
enum AtomicOperation : uint32_t { kAnd, kOr, kXor, kCas, kExchange, kAdd, kInc, kDec, kMin, kMax };

// MathHelpers.cpp
void roundedOperation(Warp *, uint32_t operation, uint32_t rounding, uint32_t bits); // slots 0, 1, 2 -> 0
void mathFunction(Warp *, uint32_t function, uint32_t count); // count floats from slot 0, in place
// MatrixHelpers.cpp: A in slots 0.., B in 4.., C in 6.. -> D in 10..
void multiplyMatrices(Warp *, uint32_t k, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t saturate);
void loadMatrix(Warp *, uint32_t site, uint32_t count, uint32_t transpose);  // addresses in 0 -> 2..
void storeMatrix(Warp *, uint32_t site, uint32_t count, uint32_t transpose); // addresses in 0, data in 2..
void transposeMatrix(Warp *);                                                // 0 -> 1
// Access.cpp: addresses in slot 0, elements in 2..
void loadMemory(Warp *, uint32_t site, uint32_t mask, uint32_t live);
void storeMemory(Warp *, uint32_t site, uint32_t mask, uint32_t live);
// Atomics.cpp: addresses in 0, operands in 1 and 2 -> old value in 3
void atomicMemory(Warp *, uint32_t site, uint32_t mask, uint32_t live, uint32_t operation, uint32_t type);
void fenceMemory(Warp *, uint32_t site, uint32_t mask);
// Async.cpp: to in 0, from in 1, source bytes in 2
void asyncCopy(Warp *, uint32_t site, uint32_t mask);
void asyncCommit(Warp *);
void asyncWait(Warp *, uint32_t groups, uint32_t all, uint32_t mask);
// WarpHelpers.cpp
void checkMembers(Warp *, uint32_t site, uint32_t mask, uint32_t live); // members in slot 3
void checkAligned(Warp *, uint32_t site, uint32_t mask, uint32_t live);
void shuffleLanes(Warp *, uint32_t site, uint32_t mask, uint32_t mode);     // 0, 1, 2 -> 4, predicate in 5
void matchLanes(Warp *, uint32_t mask, uint32_t all);                       // 0, members 3 -> 4, predicate in 5
void reduceLanes(Warp *, uint32_t mask, uint32_t operation, uint32_t type); // 0, members 3 -> 4
// Scheduler.cpp
void barrierSync(Warp *, uint32_t site, uint32_t mask, uint32_t live, uint32_t id, uint32_t threads);
void barrierArrive(Warp *, uint32_t site, uint32_t mask, uint32_t live, uint32_t id, uint32_t threads);
uint32_t barrierReduction(Warp *, uint32_t site, uint32_t mask, uint32_t live, uint32_t id, uint32_t threads,
                          uint32_t predicates, uint32_t how);
void yieldTurn(Warp *);
void trapped(Warp *, uint32_t site, uint32_t mask);
uint64_t clockCycles(Warp *);
uint64_t globalTimer(Warp *);
uint32_t processors(Warp *);
uint32_t maxWarps(Warp *);

} // namespace ptxvm
