//===- Threads.h - the vocabulary of the lane program on an NVIDIA GPU ---------------===//
//
// A thin builder over arith, math, scf, nvvm and llvm operations, and the only file that chooses instructions. A value
// is one thread's; indices are i32; pointers say which memory they point to. No fast-math flags anywhere: what is fused
// is said by fma() and nothing else is, so that one token and many round alike.
//
//===---------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_NVPTX_THREADS_H
#define SLUICE_CODEGEN_NVPTX_THREADS_H

#include "codegen/nvptx/GpuFacts.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace sluice::codegen {

using mlir::Type;
using mlir::Value;
using Values = llvm::SmallVector<Value>;

enum MemorySpace : unsigned { Global = 1, Shared = 3 };

class Threads {
public:
  Threads(mlir::OpBuilder &builder, mlir::Location loc, const GpuFacts &facts) : b(loc, builder), facts(facts) {}

  mlir::ImplicitLocOpBuilder b;
  const GpuFacts &facts;

  //===-- Who this thread is -----------------------------------------------------------===//
  Value thread(); // in its block
  Value lane();   // in its warp
  Value warp();   // in its block
  Value block();
  Value blocks(); // of the grid
  // Emits f such that nothing that follows from the thread's or block's number is computed before it, or kept after it:
  // in a long kernel such values would fill the registers.
  void apart(llvm::function_ref<void()> f);

  //===-- Types and constants ----------------------------------------------------------===//
  Type i1() { return b.getI1Type(); }
  Type i8() { return b.getI8Type(); }
  Type i16() { return b.getIntegerType(16); }
  Type i32() { return b.getI32Type(); }
  Type i64() { return b.getI64Type(); }
  Type f16() { return b.getF16Type(); }
  Type f32() { return b.getF32Type(); }
  Type f64() { return b.getF64Type(); }
  Type vec(int64_t n, Type element) { return mlir::VectorType::get({n}, element); }
  Type pointer(MemorySpace space);
  Value c(int64_t value) { return constant(i32(), value); }
  Value constant(Type type, int64_t value); // integer, or vector of them
  Value f(double value) { return real(f32(), value); }
  Value real(Type type, double value);

  //===-- Integers ---------------------------------------------------------------------===//
  Value add(Value x, Value y);
  Value add(Value x, int64_t y);
  Value sub(Value x, Value y);
  Value sub(Value x, int64_t y) { return add(x, -y); }
  Value mul(Value x, Value y);
  Value mul(Value x, int64_t y);
  Value div(Value x, Value y);   // unsigned
  Value div(Value x, int64_t y); // unsigned
  Value rem(Value x, int64_t y); // unsigned
  Value min(Value x, Value y);   // signed
  Value max(Value x, Value y);   // signed
  Value andi(Value x, Value y);
  Value andi(Value x, int64_t y);
  Value ori(Value x, Value y);
  Value xori(Value x, Value y);
  Value xori(Value x, int64_t y);
  Value shl(Value x, int64_t y);
  Value shr(Value x, int64_t y); // logical
  Value shrBy(Value x, Value y); // logical
  Value sar(Value x, int64_t y);
  Value less(Value x, Value y); // signed
  Value less(Value x, int64_t y) { return less(x, constant(x.getType(), y)); }
  Value below(Value x, Value y); // unsigned
  Value equal(Value x, Value y);
  Value equal(Value x, int64_t y) { return equal(x, constant(x.getType(), y)); }
  Value isNot(Value x); // of an i1
  Value select(Value condition, Value yes, Value no);
  Value extend(Value x, Type type);   // unsigned
  Value truncate(Value x, Type type); // keeps low bits
  // acc + the sum of four products of bytes, unsigned and signed.
  Value dot4(Value acc, Value unsignedBytes, Value signedBytes);
  // Bytes of x (0 to 3) and y (4 to 7), each chosen by four of the low 16 bits, of which the upper one is 0.
  Value permute(Value x, Value y, Value choice);

  //===-- Floats -----------------------------------------------------------------------===//
  Value addf(Value x, Value y);
  Value subf(Value x, Value y);
  Value mulf(Value x, Value y);
  Value divf(Value x, Value y);
  Value fma(Value x, Value y, Value z);
  Value maxf(Value x, Value y); // neither is NaN
  Value minf(Value x, Value y);
  Value lessf(Value x, Value y);
  Value equalf(Value x, Value y);
  Value toFloat(Value i32);
  Value signedToFloat(Value integer); // of any width
  Value toDouble(Value i32);
  Value toDoubleFromSingle(Value x);
  Value toSingle(Value f64);
  Value round(Value x); // to the nearest i32, halves to even
  Value bitcast(Value x, Type type);
  Value toInteger(Value pointer);     // i64
  Value exp(Value x);                 // 0 below -87.3, finite up to 88.3; Cephes' expf polynomial, 2 ulp
  Value rsqrt(Value x);               // correctly rounded steps
  Value reciprocal(Value x);          // of 2^-126 to 2^126, to 1 ulp, without a branch
  Value softcap(Value x, double cap); // cap * tanh(x / cap), tanh to 2e-7
  Value halfToFloat(Value bits16);
  Value floatToHalf(Value x); // bits, rounded to nearest even
  Value lowHalf(Value pair);  // of two f16 in an i32, as f32
  Value highHalf(Value pair);
  Value lowBFloat16(Value pair) { return bitcast(shl(pair, 16), f32()); }
  Value highBFloat16(Value pair) { return bitcast(andi(pair, 0xffff0000), f32()); }
  Value roundToBFloat16(Value x); // as f32, to nearest even

  //===-- Memory -----------------------------------------------------------------------===//
  Value at(Value pointer, Value bytes); // bytes: signed i32 or i64
  Value at(Value pointer, int64_t bytes);
  Value load(Type type, Value pointer, unsigned alignment);
  Value loadConstant(Type type, Value pointer, unsigned alignment); // that no kernel writes
  // Four words of shared memory for each lane, of four times 32 that lie together: lane l's at 4 l of each. `pointer`:
  // of lane l, 16 l after the first. All lanes of the warp take part.
  Values loadFourWords(Value pointer);
  void store(Value value, Value pointer, unsigned alignment);
  Values unpack(Value vector);
  Value pack(llvm::ArrayRef<Value> elements);
  void prefetch(Value pointer); // the line of 128 bytes, to the L2 cache
  // 16 bytes from global to shared memory, of which the first `bytes` (0 or 16) are read and the others are zero.
  void copyAsync(Value shared, Value global, Value bytes);
  void commitCopies();
  void waitCopies(int64_t stillUnderWay); // of this thread's commits, all but the last so many

  //===-- Together ---------------------------------------------------------------------===//
  void syncBlock();
  void syncWarp();
  Value shuffleXor(Value x, int64_t distance);
  Value shuffle(Value x, Value lane);
  Value reduceWarp(Value x, llvm::function_ref<Value(Value, Value)> join, int64_t lanes = 32);
  // Between blocks.
  void fenceDevice();                            // acquire and release
  Value atomicAdd(Value pointer, Value x);       // relaxed; the value before
  Value atomicAddShared(Value pointer, Value x); // within the block
  Value loadRelaxed(Type type, Value pointer);   // of 4 or 8 bytes, what another block stores likewise
  Value loadAcquire(Type type, Value pointer);   // likewise
  void storeRelaxed(Value value, Value pointer);

  //===-- Control ----------------------------------------------------------------------===//
  // for (i = from; i < to; i += step) state = body(i, state), signed i32
  Values loop(Value from, Value to, Value step, mlir::ValueRange init,
              llvm::function_ref<Values(Value, mlir::ValueRange)> body);
  void loop(Value from, Value to, Value step, llvm::function_ref<void(Value)> body);
  // while (condition(state)) state = body(state)
  Values whileTrue(mlir::ValueRange init, llvm::function_ref<Value(mlir::ValueRange)> condition,
                   llvm::function_ref<Values(mlir::ValueRange)> body);
  void when(Value condition, llvm::function_ref<void()> body);
  Values choose(Value condition, mlir::TypeRange types, llvm::function_ref<Values()> yes,
                llvm::function_ref<Values()> no);

  Value intrinsic(llvm::StringRef name, Type result, mlir::ValueRange arguments);

private:
  Value ownThread, ownBlock, ownBlocks; // within apart()
};

} // namespace sluice::codegen
#endif
