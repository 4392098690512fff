//===- MathHelpers.cpp - directed rounding and library functions, lane by lane -----------------------===//

#include "tools/ptx-vm/EmitFloat.h"
#include "tools/ptx-vm/Helpers.h"
#include <cfenv>
#include <cmath>

namespace ptxvm {
namespace {

template <typename F> F compute(uint32_t operation, F a, F b, F c) {
  volatile F x = a, y = b, z = c, r = 0; // the compiler must not compute before the mode is set
  switch (operation) {
  case kRoundedAdd:
    r = x + y;
    break;
  case kRoundedSubtract:
    r = x - y;
    break;
  case kRoundedMultiply:
    r = x * y;
    break;
  case kRoundedDivide:
    r = x / y;
    break;
  case kRoundedFma:
    r = std::fma(x, y, z);
    break;
  case kRoundedSqrt:
    r = std::sqrt(x);
    break;
  }
  return r;
}

template <typename F> void lanes(Warp *w, uint32_t operation) {
  F *a = reinterpret_cast<F *>(w->slots[0]), *b = reinterpret_cast<F *>(w->slots[1]),
    *c = reinterpret_cast<F *>(w->slots[2]);
  for (unsigned i = 0; i < kLanes; ++i)
    a[i] = compute(operation, a[i], b[i], c[i]);
}

template <typename I, typename F> void convertLanes(Warp *w) {
  I from[kLanes];
  __builtin_memcpy(from, w->slots[0], sizeof from);
  F *to = reinterpret_cast<F *>(w->slots[0]);
  for (unsigned i = 0; i < kLanes; ++i) {
    volatile I x = from[i];
    volatile F r = static_cast<F>(x);
    to[i] = r;
  }
}

} // namespace

void roundedOperation(Warp *w, uint32_t operation, uint32_t rounding, uint32_t bits) {
  const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  std::fesetround(modes[rounding]);
  if (operation == kRoundedNarrow)
    convertLanes<double, float>(w);
  else if (operation == kRoundedFromSigned)
    bits == 64 ? convertLanes<int64_t, double>(w) : convertLanes<int64_t, float>(w);
  else if (operation == kRoundedFromUnsigned)
    bits == 64 ? convertLanes<uint64_t, double>(w) : convertLanes<uint64_t, float>(w);
  else
    bits == 64 ? lanes<double>(w, operation) : lanes<float>(w, operation);
  std::fesetround(FE_TONEAREST);
}

void mathFunction(Warp *w, uint32_t function, uint32_t count) {
  float *v = reinterpret_cast<float *>(w->slots[0]);
  for (uint32_t i = 0; i < count; ++i)
    v[i] = function == kLog2  ? std::log2(v[i])
           : function == kSin ? std::sin(v[i])
           : function == kCos ? std::cos(v[i])
                              : std::tanh(v[i]);
}

} // namespace ptxvm
