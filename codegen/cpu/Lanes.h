//===- Lanes.h - the vocabulary of the lane program on a CPU ------------------------===//
//
// A thin builder over arith, vector, scf and llvm operations: what an ISA must supply (dot4, half, fma) and what the
// lowerings of phases are written in. No fast-math flags anywhere: decode and prefill must round alike, so what is
// fused is said by fma() and nothing else is.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_CPU_LANES_H
#define SLUICE_CODEGEN_CPU_LANES_H

#include "codegen/ArgsLayout.h"
#include "codegen/cpu/CpuFacts.h"
#include "dialects/llama/Formats.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace sluice::codegen {

using mlir::Type;
using mlir::Value;
using Values = llvm::SmallVector<Value>;

class Lanes {
public:
  Lanes(mlir::OpBuilder &builder, mlir::Location loc, const CpuFacts &facts) : b(loc, builder), facts(facts) {}

  mlir::ImplicitLocOpBuilder b;
  const CpuFacts &facts;

  //===-- Types and constants --------------------------------------------------------===//
  Type i8() { return b.getI8Type(); }
  Type i16() { return b.getIntegerType(16); }
  Type i32() { return b.getI32Type(); }
  Type i64() { return b.getI64Type(); }
  Type f32() { return b.getF32Type(); }
  Type f64() { return b.getF64Type(); }
  Type vec(int64_t n, Type element) { return mlir::VectorType::get({n}, element); }
  Value c64(int64_t value);
  Value constantLike(Type type, double value); // splat of a float, scalar or vector
  Value constantInt(Type type, int64_t value); // splat of an integer, scalar or vector
  Value iota(int64_t n);                       // vector<n x i32> 0, 1, ...

  //===-- Integers -------------------------------------------------------------------===//
  Value add(Value x, Value y);
  Value add(Value x, int64_t y);
  Value sub(Value x, Value y);
  Value mul(Value x, int64_t y);
  Value mul(Value x, Value y);
  Value div(Value x, int64_t y); // unsigned
  Value rem(Value x, int64_t y); // unsigned
  Value min(Value x, Value y);   // unsigned
  Value max(Value x, Value y);   // unsigned
  Value andi(Value x, int64_t y);
  Value andi(Value x, Value y);
  Value ori(Value x, Value y);
  Value shl(Value x, int64_t y);
  Value shr(Value x, int64_t y); // logical
  Value sar(Value x, int64_t y);
  Value smax(Value x, Value y);
  Value less(Value x, Value y);        // unsigned, i1
  Value equal(Value x, Value y);       // i1
  Value lessOrEqual(Value x, Value y); // unsigned, i1

  Value select(Value condition, Value yes, Value no);

  //===-- Memory ---------------------------------------------------------------------===//
  Value at(Value pointer, Value bytes);
  Value at(Value pointer, int64_t bytes);
  Value load(Type type, Value pointer, unsigned alignment);
  void store(Value value, Value pointer, unsigned alignment);
  Value arg(Value args, ArgsOffset offset, Type type); // a field of sluice_args
  Value argPointer(Value args, ArgsOffset offset);
  Value stack(int64_t bytes); // on the function's stack, for a vector's alignment
  // `pointer`, for loads that must be emitted after `values` (vectors) are computed. It costs no instruction: an empty
  // piece of assembly takes both, so that neither the optimiser nor the scheduler can exchange or merge what is around
  // it. `prefetched`: where in between what lies so many bytes from the pointer is brought into the caches.
  Value after(Value pointer, mlir::ValueRange values, llvm::ArrayRef<int64_t> prefetched = {});
  void prefetch(Value pointer, int64_t level); // into the caches from `level` (1 or 2) outwards
  // A vector with one loaded scalar in all lanes.
  Value loadSplat(Type vectorType, Value pointer, unsigned alignment);

  //===-- Floats ---------------------------------------------------------------------===//
  Value addf(Value x, Value y);
  Value subf(Value x, Value y);
  Value mulf(Value x, Value y);
  Value divf(Value x, Value y);
  Value maxf(Value x, Value y); // neither is NaN
  Value fma(Value x, Value y, Value z);
  Value splat(Value scalar, int64_t n);
  Value extract(Value vector, int64_t lane);
  Value bitcast(Value x, Type type);
  Value reduceAdd(Value vector); // as a balanced tree
  Value reduceMax(Value vector);
  Value toFloat(Value i32OrVector);
  Value round(Value vector); // below 2^22, to the nearest i32, halves to even
  // e^x for f32 lanes; 0 below -87.3, finite up to 88.3. Cephes' expf polynomial, 2 ulp.
  Value exp(Value x);
  // tanh of f32 lanes, to 2e-7; cap * tanh(x / cap).
  Value tanh(Value x);
  Value softcap(Value x, double cap);
  // 1/sqrt of a scalar f32, correctly rounded steps.
  Value rsqrt(Value x);

  //===-- Weights --------------------------------------------------------------------===//
  // n elements of a float format (f32, f16, bf16) at `pointer`, as f32.
  Value loadFloat(llama::Format format, int64_t n, Value pointer, unsigned alignment);
  // f32 lanes as f16, rounded to nearest even; the result is a vector<n x i16>.
  Value toHalf(Value x);
  Value fromHalf(Value halfBits); // vector<n x i16> -> vector<n x f32>
  // f32 lanes rounded to bf16, to nearest even: as f32 lanes, and two neighbours in an i32 lane, the first one low.
  Value roundToBFloat16(Value x);
  Value packBFloat16(Value rounded);
  // The low or high bf16 of i32 lanes, as f32.
  Value lowBFloat16(Value pairs) { return bitcast(shl(pairs, 16), withFloats(pairs)); }
  Value highBFloat16(Value pairs) { return bitcast(andi(pairs, 0xffff0000), withFloats(pairs)); }
  // acc[l] + weights[2l + 1] * activations[2l + 1] + weights[2l] * activations[2l] of bf16 pairs; facts.hasBFloat16.
  Value dot2(Value acc, Value weights, Value activations);
  // acc[l] + sum over j of weights[4l + j] * activations[4l + j]; weights unsigned up to maxCode, activations signed.
  Value dot4(Value acc, Value weights, Value activations, unsigned maxCode);
  // The sum of two products with codes up to this stays below 2^15, so that maddubs does not saturate.
  static constexpr unsigned maddubsMost = 128;
  // Whether dot4 takes codes up to `maxCode` without more instructions than for smaller ones.
  bool takesCodes(unsigned maxCode) const { return facts.dot != DotKind::Maddubs || maxCode <= maddubsMost; }
  // Bytes shifted right (left if negative). There are no such shifts: bits come in from neighbours, which are the
  // caller's to clear.
  Value shiftBytes(Value bytes, int64_t right);
  Value shiftBytesRight(Value bytes, Value bits); // likewise, by an i64
  // table[c] + zeroPoint for bytes c below 16.
  Value lookup(llvm::ArrayRef<int8_t> table, unsigned zeroPoint, Value codes);
  // 2^(e - 128) for i32 lanes from 0 to 255, exact.
  Value powerOfTwo(Value exponents);

  //===-- Control --------------------------------------------------------------------===//
  // for (i = from; i < to; i += step) state = body(i, state)
  Values loop(Value from, Value to, int64_t step, mlir::ValueRange init,
              llvm::function_ref<Values(Value, mlir::ValueRange)> body);
  void loop(Value from, Value to, int64_t step, llvm::function_ref<void(Value)> body);
  void when(Value condition, llvm::function_ref<void()> body);

private:
  Type withFloats(Value vector);
  Value intrinsic(llvm::StringRef name, Type result, mlir::ValueRange arguments);
  Value pairDots(Value weights16, Value activations16);
};

} // namespace sluice::codegen
#endif
