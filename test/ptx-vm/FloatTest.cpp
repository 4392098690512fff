//===- FloatTest.cpp - floating point: rounding, NaN, saturation, subnormals, conversions ---------------------===//

#include "test/ptx-vm/Vm.h"
#include "gtest/gtest.h"
#include <cfenv>
#include <cmath>
#include <cstring>
#include <quadmath.h>

using namespace ptxvm::test;

namespace {

constexpr size_t kCount = 256;
using U = uint64_t;

float f32(U v) {
  uint32_t bits = v;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
U bits(float f) {
  uint32_t b;
  std::memcpy(&b, &f, 4);
  return b;
}
double f64(U v) {
  double d;
  std::memcpy(&d, &v, 8);
  return d;
}
U bits(double d) {
  U b;
  std::memcpy(&b, &d, 8);
  return b;
}
float flush(float f) { return std::fabs(f) < 0x1p-126f ? std::copysign(0.f, f) : f; }
float saturate(float f) { return !(f > 0) ? 0 : f < 1 ? f : 1; }

/// Values of 16-bit formats, decoded and encoded through exact arithmetic in binary128.
struct Half {
  int mantissa, bias;
  double decode(U v) const {
    const int exponentBits = 15 - mantissa, e = v >> mantissa & ((1 << exponentBits) - 1),
              m = v & ((1 << mantissa) - 1);
    double r = e == (1 << exponentBits) - 1 ? (m ? NAN : INFINITY)
               : e                          ? std::ldexp(double(m | 1 << mantissa), e - bias - mantissa)
                                            : std::ldexp(double(m), 1 - bias - mantissa);
    return v & 0x8000 ? -r : r;
  }
  U encode(__float128 v, bool towardZero = false) const {
    if (isnanq(v))
      return 0x7fff;
    const U sign = signbitq(v) ? 0x8000 : 0;
    __float128 a = fabsq(v);
    const U infinity = ((1u << (15 - mantissa)) - 1) << mantissa;
    if (isinfq(a))
      return sign | infinity;
    int e = a > 0 ? std::max(ilogbq(a), 1 - bias) : 1 - bias;
    __float128 scaled = ldexpq(a, mantissa - e); // in units of the last place
    __float128 r = towardZero ? floorq(scaled) : rintq(scaled);
    U m = U(r);
    U result = e == 1 - bias ? m : (U(e + bias) << mantissa) + (m - (1u << mantissa));
    if (result >= infinity)
      result = towardZero ? infinity - 1 : infinity;
    return sign | result;
  }
};
/// a b + c, near enough for any rounding to 16 bits: what binary128 loses (its sum may need more) leaves it off a tie.
__float128 exactFma(double a, double b, double c) {
  const __float128 p = __float128(a) * b, s = p + c;
  if (!finiteq(s))
    return s;
  const __float128 part = s - p, error = (p - (s - part)) + (c - part);
  return error == 0 ? s : nextafterq(s, error > 0 ? HUGE_VALQ : -HUGE_VALQ);
}
const Half half{10, 15}, brain{7, 127};

const std::pair<const char *, int> roundings[] = {
    {"rn", FE_TONEAREST}, {"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}};
template <typename F> auto rounded(int mode, F f) {
  return [=](U a, U b, U c) {
    std::fesetround(mode);
    volatile auto r = f(a, b, c);
    std::fesetround(FE_TONEAREST);
    return bits(decltype(f(a, b, c))(r));
  };
}

#define V(x) (*const_cast<volatile decltype(x) *>(&x))

TEST(Float, ArithmeticInEveryRounding) {
  for (auto [name, mode] : roundings) {
    const std::string r = std::string(".") + name;
    auto a = floats(32, kCount), b = floats(32, kCount), c = floats(32, kCount);
    OpCase two{"", 32, 32, 32, 0, true}, three{"", 32, 32, 32, 32, true}, one{"", 32, 32, 0, 0, true};
    auto with = [](OpCase o, std::string code) { return o.code = code, o; };
    expectOp(with(two, "add" + r + ".f32 D, A, B;"), a, b, {}, rounded(mode, [](U a, U b, U) {
               float x = f32(a), y = f32(b);
               return float(V(x) + V(y));
             }));
    expectOp(with(two, "sub" + r + ".f32 D, A, B;"), a, b, {}, rounded(mode, [](U a, U b, U) {
               float x = f32(a), y = f32(b);
               return float(V(x) - V(y));
             }));
    expectOp(with(two, "mul" + r + ".f32 D, A, B;"), a, b, {}, rounded(mode, [](U a, U b, U) {
               float x = f32(a), y = f32(b);
               return float(V(x) * V(y));
             }));
    expectOp(with(two, "div" + r + ".f32 D, A, B;"), a, b, {}, rounded(mode, [](U a, U b, U) {
               float x = f32(a), y = f32(b);
               return float(V(x) / V(y));
             }));
    expectOp(with(three, "fma" + r + ".f32 D, A, B, C;"), a, b, c,
             rounded(mode, [](U a, U b, U c) { return std::fma(f32(a), f32(b), f32(c)); }));
    expectOp(with(one, "sqrt" + r + ".f32 D, A;"), a, {}, {},
             rounded(mode, [](U a, U, U) { return std::sqrt(f32(a)); }));
    expectOp(with(one, "rcp" + r + ".f32 D, A;"), a, {}, {}, rounded(mode, [](U a, U, U) {
               float x = f32(a);
               return float(1.f / V(x));
             }));
    auto da = floats(64, kCount), db = floats(64, kCount), dc = floats(64, kCount);
    OpCase dtwo{"", 64, 64, 64, 0, true}, dthree{"", 64, 64, 64, 64, true};
    expectOp(with(dtwo, "add" + r + ".f64 D, A, B;"), da, db, {}, rounded(mode, [](U a, U b, U) {
               double x = f64(a), y = f64(b);
               return double(V(x) + V(y));
             }));
    expectOp(with(dthree, "fma" + r + ".f64 D, A, B, C;"), da, db, dc,
             rounded(mode, [](U a, U b, U c) { return std::fma(f64(a), f64(b), f64(c)); }));
  }
}

TEST(Float, FlushAndSaturate) {
  auto a = floats(32, kCount), b = floats(32, kCount), c = floats(32, kCount);
  for (size_t i = 0; i < kCount; i += 3)
    a[i] = rng()() & 0x80ffffff; // subnormal, or nearly
  expectOp({"add.ftz.f32 D, A, B;", 32, 32, 32, 0, true}, a, b, {},
           [](U a, U b, U) { return bits(flush(flush(f32(a)) + flush(f32(b)))); });
  expectOp({"mul.ftz.f32 D, A, B;", 32, 32, 32, 0, true}, a, b, {},
           [](U a, U b, U) { return bits(flush(flush(f32(a)) * flush(f32(b)))); });
  expectOp({"fma.rn.ftz.sat.f32 D, A, B, C;", 32, 32, 32, 32, true}, a, b, c,
           [](U a, U b, U c) { return bits(saturate(flush(std::fma(flush(f32(a)), flush(f32(b)), flush(f32(c)))))); });
  expectOp({"add.sat.f32 D, A, B;", 32, 32, 32}, a, b, {}, [](U a, U b, U) { return bits(saturate(f32(a) + f32(b))); });
  expectOp({"setp.lt.ftz.f32 P, A, B;\nselp.u32 D, 1, 0, P;", 32, 32, 32}, a, b, {},
           [](U a, U b, U) { return U(flush(f32(a)) < flush(f32(b))); });
}

TEST(Float, MinMaxNanAndSignedZero) {
  auto a = floats(32, kCount), b = floats(32, kCount);
  a[0] = 0, b[0] = 0x80000000, a[1] = 0x80000000, b[1] = 0, a[2] = b[2] = 0x7fc00001;
  auto pick = [](U a, U b, bool isMax, bool nan) -> U {
    const float x = f32(a), y = f32(b);
    if (std::isnan(x) || std::isnan(y)) {
      if (nan || (std::isnan(x) && std::isnan(y)))
        return 0x7fffffff;
      return std::isnan(x) ? b : a;
    }
    if (x == y)
      return isMax == std::signbit(x) ? b : a;
    return (x < y) != isMax ? a : b;
  };
  for (bool isMax : {false, true})
    for (bool nan : {false, true})
      expectOp({std::string(isMax ? "max" : "min") + (nan ? ".NaN" : "") + ".f32 D, A, B;", 32, 32, 32}, a, b, {},
               [=](U a, U b, U) { return pick(a, b, isMax, nan); });
  expectOp({"min.xorsign.abs.f32 D, A, B;", 32, 32, 32, 0, true}, a, b, {}, [=](U a, U b, U) {
    return (pick(a & 0x7fffffff, b & 0x7fffffff, false, false) & 0x7fffffff) | ((a ^ b) & 0x80000000);
  });
  expectOp({"neg.f32 D, A;", 32, 32}, a, {}, {}, [](U a, U, U) { return a ^ 0x80000000; });
  expectOp({"abs.f32 D, A;", 32, 32}, a, {}, {}, [](U a, U, U) { return a & 0x7fffffff; });
  expectOp({"copysign.f32 D, A, B;", 32, 32, 32}, a, b, {},
           [](U a, U b, U) { return (b & 0x7fffffff) | (a & 0x80000000); });
}

TEST(Float, CompareOrderedAndNot) {
  auto a = floats(32, kCount), b = floats(32, kCount);
  a[5] = b[5] = 0x3f800000;
  const std::pair<const char *, std::function<bool(float, float)>> how[] = {
      {"eq", [](float a, float b) { return a == b; }},
      {"ne", [](float a, float b) { return a < b || a > b; }},
      {"lt", [](float a, float b) { return a < b; }},
      {"ge", [](float a, float b) { return a >= b; }},
      {"equ", [](float a, float b) { return !(a < b || a > b); }},
      {"neu", [](float a, float b) { return !(a == b); }},
      {"ltu", [](float a, float b) { return !(a >= b); }},
      {"leu", [](float a, float b) { return !(a > b); }},
      {"gtu", [](float a, float b) { return !(a <= b); }},
      {"geu", [](float a, float b) { return !(a < b); }},
      {"num", [](float a, float b) { return !std::isnan(a) && !std::isnan(b); }},
      {"nan", [](float a, float b) { return std::isnan(a) || std::isnan(b); }}};
  for (const auto &[name, f] : how)
    expectOp({"setp." + std::string(name) + ".f32 P, A, B;\nselp.u32 D, 1, 0, P;", 32, 32, 32}, a, b, {},
             [f = f](U a, U b, U) { return U(f(f32(a), f32(b))); });
  expectOp({"testp.subnormal.f32 P, A;\ntestp.infinite.f32 Q, A;\nselp.u32 D, 1, 0, P;\nselp.u32 T0, 2, 0, Q;\nor.b32 "
            "D, D, T0;",
            32, 32},
           a, {}, {},
           [](U a, U, U) { return U(std::fpclassify(f32(a)) == FP_SUBNORMAL) | U(std::isinf(f32(a))) << 1; });
}

TEST(Float, Approximations) {
  std::vector<U> a(kCount), wide(kCount);
  std::uniform_real_distribution<float> range(-30, 30), phase(-3.14f, 3.14f);
  for (size_t i = 0; i < kCount; ++i)
    a[i] = bits(range(rng())), wide[i] = bits(phase(rng()));
  for (float v : {0.f, 1.f, -1.f, 127.f, -126.f, -140.f, 128.f, -150.f, INFINITY, -INFINITY, NAN, 0.5f})
    a[rng()() % kCount] = bits(v);
  auto positive = a;
  for (U &v : positive)
    v &= 0x7fffffff;
  // The document's bounds: ex2, lg2 2^-22; rsqrt 2^-22.9; rcp 1 ulp; sin, cos 2^-20.9 absolute in [-pi, pi].
  expectOp({"ex2.approx.f32 D, A;", 32, 32, 0, 0, true, 0x1p-22, 0x1p-149}, a, {}, {},
           [](U a, U, U) { return bits(float(std::exp2(double(f32(a))))); });
  expectOp({"ex2.approx.ftz.f32 D, A;", 32, 32, 0, 0, true, 0x1p-22, 0}, a, {}, {},
           [](U a, U, U) { return bits(flush(float(std::exp2(double(flush(f32(a))))))); });
  expectOp({"lg2.approx.f32 D, A;", 32, 32, 0, 0, true, 0x1p-22, 0x1p-22}, positive, {}, {},
           [](U a, U, U) { return bits(float(std::log2(double(f32(a))))); });
  expectOp({"rsqrt.approx.f32 D, A;", 32, 32, 0, 0, true, 0x1.1p-23, 0}, positive, {}, {},
           [](U a, U, U) { return bits(float(1 / std::sqrt(double(f32(a))))); });
  expectOp({"rcp.approx.f32 D, A;", 32, 32, 0, 0, true, 0x1p-23, 0}, a, {}, {},
           [](U a, U, U) { return bits(float(1 / double(f32(a)))); });
  expectOp({"sqrt.approx.f32 D, A;", 32, 32, 0, 0, true, 0x1p-23, 0}, positive, {}, {},
           [](U a, U, U) { return bits(float(std::sqrt(double(f32(a))))); });
  expectOp({"div.full.f32 D, A, B;", 32, 32, 32, 0, true, 0x1p-22, 0}, a, wide, {},
           [](U a, U b, U) { return bits(float(double(f32(a)) / f32(b))); });
  expectOp({"sin.approx.f32 D, A;", 32, 32, 0, 0, true, 0, 0x1p-20}, wide, {}, {},
           [](U a, U, U) { return bits(float(std::sin(double(f32(a))))); });
  expectOp({"cos.approx.f32 D, A;", 32, 32, 0, 0, true, 0, 0x1p-20}, wide, {}, {},
           [](U a, U, U) { return bits(float(std::cos(double(f32(a))))); });
  expectOp({"tanh.approx.f32 D, A;", 32, 32, 0, 0, true, 0x1p-11, 0}, a, {}, {},
           [](U a, U, U) { return bits(float(std::tanh(double(f32(a))))); });
}

TEST(Half, Arithmetic) {
  for (bool isBrain : {false, true}) {
    const Half &h = isBrain ? brain : half;
    const std::string t = isBrain ? "bf16" : "f16";
    auto a = floats(16, kCount, isBrain), b = floats(16, kCount, isBrain), c = floats(16, kCount, isBrain);
    // Sums that are ties but for a bit far away: these find an fma that rounds twice.
    for (size_t i = 0; i < kCount; i += 4)
      a[i] = (a[i] & 0x8000) | h.encode(1 + std::ldexp(1., -h.mantissa)),
      b[i] = h.encode(std::ldexp(1 + std::ldexp(1., -h.mantissa), int(rng()() % 9))),
      c[i] = (rng()() & 0x8000) | h.encode(std::ldexp(1., -14 + int(rng()() % 5)));
    auto sub = [&](U v) { return (v & 0x7fff) > U(isBrain ? 0x7f80 : 0x7c00); };
    auto clean = [&](std::vector<U> &v) { // one NaN is as good as another: keep the payload that isNan knows
      for (U &x : v)
        if (sub(x))
          x = 0x7fff;
    };
    clean(a), clean(b), clean(c);
    expectOp({"add." + t + " D, A, B;", 16, 16, 16}, a, b, {},
             [&](U a, U b, U) { return h.encode(__float128(h.decode(a)) + h.decode(b)); });
    expectOp({"sub." + t + " D, A, B;", 16, 16, 16}, a, b, {},
             [&](U a, U b, U) { return h.encode(__float128(h.decode(a)) - h.decode(b)); });
    expectOp({"mul." + t + " D, A, B;", 16, 16, 16}, a, b, {},
             [&](U a, U b, U) { return h.encode(__float128(h.decode(a)) * h.decode(b)); });
    expectOp({"fma.rn." + t + " D, A, B, C;", 16, 16, 16, 16}, a, b, c,
             [&](U a, U b, U c) { return h.encode(exactFma(h.decode(a), h.decode(b), h.decode(c))); });
    auto pairs = [&](const std::vector<U> &v) {
      std::vector<U> r(v.size());
      for (size_t i = 0; i < v.size(); ++i)
        r[i] = v[i] | v[(i * 7 + 3) % v.size()] << 16;
      return r;
    };
    expectOp({"fma.rn." + t + "x2 D, A, B, C;", 32, 32, 32, 32}, pairs(a), pairs(b), pairs(c), [&](U a, U b, U c) {
      auto one = [&](int s) {
        return h.encode(exactFma(h.decode(a >> s & 0xffff), h.decode(b >> s & 0xffff), h.decode(c >> s & 0xffff)));
      };
      return one(0) | one(16) << 16;
    });
    expectOp({"max.NaN." + t + " D, A, B;", 16, 16, 16}, a, b, {}, [&](U a, U b, U) {
      double x = h.decode(a), y = h.decode(b);
      return std::isnan(x) || std::isnan(y) ? 0x7fff : x == y ? a & b : x > y ? a : b;
    });
    expectOp({"setp.lt." + t + " P, A, B;\nselp.u32 D, 1, 0, P;", 32, 16, 16}, a, b, {},
             [&](U a, U b, U) { return U(h.decode(a) < h.decode(b)); });
  }
}

TEST(Convert, FloatsToFloats) {
  auto a = floats(32, kCount), d = floats(64, kCount), h = floats(16, kCount), w = floats(16, kCount, true);
  for (size_t i = 0; i < kCount; i += 2) { // ties, and one bit beside them
    U v = (rng()() & 0x80000000) | (rng()() % 40 + 105) << 23 | (rng()() & 0x7fe000) | 0x1000;
    a[i] = i % 4 ? v : v + rng()() % 3 - 1;
    if (i % 8 == 0)
      a[i] = (v & 0xffff0000) | 0x8000;
  }
  for (bool zero : {false, true}) {
    const std::string r = zero ? ".rz" : ".rn";
    expectOp({"cvt" + r + ".f16.f32 D, A;", 16, 32}, a, {}, {}, [=](U a, U, U) { return half.encode(f32(a), zero); });
    expectOp({"cvt" + r + ".bf16.f32 D, A;", 16, 32}, a, {}, {}, [=](U a, U, U) { return brain.encode(f32(a), zero); });
    expectOp({"cvt" + r + ".f16.f64 D, A;", 16, 64}, d, {}, {}, [=](U a, U, U) { return half.encode(f64(a), zero); });
    expectOp({"cvt" + r + ".bf16x2.f32 D, A, B;", 32, 32, 32}, a, floats(32, kCount), {},
             [=](U a, U b, U) { return brain.encode(f32(a), zero) << 16 | brain.encode(f32(b), zero); });
    expectOp({"cvt" + r + ".f16x2.f32 D, A, B;", 32, 32, 32}, a, floats(32, kCount), {},
             [=](U a, U b, U) { return half.encode(f32(a), zero) << 16 | half.encode(f32(b), zero); });
  }
  expectOp({"cvt.rn.relu.f16.f32 D, A;", 16, 32}, a, {}, {},
           [](U a, U, U) { return std::isnan(f32(a)) ? 0x7fff : half.encode(f32(a) > 0 ? f32(a) : 0); });
  expectOp({"cvt.rn.satfinite.bf16.f32 D, A;", 16, 32}, a, {}, {}, [](U a, U, U) {
    U r = brain.encode(f32(a));
    return (r & 0x7fff) == 0x7f80 ? (r & 0x8000) | 0x7f7f : r;
  });
  expectOp({"cvt.f32.f16 D, A;", 32, 16, 0, 0, true}, h, {}, {}, [](U a, U, U) { return bits(float(half.decode(a))); });
  expectOp({"cvt.f32.bf16 D, A;", 32, 16, 0, 0, true}, w, {}, {}, [](U a, U, U) { return a << 16; });
  expectOp({"cvt.f64.f32 D, A;", 64, 32, 0, 0, true}, a, {}, {}, [](U a, U, U) { return bits(double(f32(a))); });
  for (auto [name, mode] : roundings)
    expectOp({std::string("cvt.") + name + ".f32.f64 D, A;", 32, 64, 0, 0, true}, d, {}, {},
             rounded(mode, [](U a, U, U) {
               double x = f64(a);
               return float(V(x));
             }));
  expectOp({"cvt.sat.f32.f32 D, A;", 32, 32}, a, {}, {}, [](U a, U, U) { return bits(saturate(f32(a))); });
  expectOp({"cvt.rna.tf32.f32 D, A;", 32, 32, 0, 0, true}, a, {}, {},
           [](U a, U, U) { return std::isfinite(f32(a)) ? (a + 0x1000) & ~0x1fffull : a; });
  const std::pair<const char *, float (*)(float)> integral[] = {
      {"rni", std::rint}, {"rzi", std::trunc}, {"rmi", std::floor}, {"rpi", std::ceil}};
  for (auto [name, f] : integral)
    expectOp({std::string("cvt.") + name + ".f32.f32 D, A;", 32, 32, 0, 0, true}, a, {}, {},
             [f = f](U a, U, U) { return bits(f(f32(a))); });
}

TEST(Convert, FloatsToIntegersClampAndNan) {
  auto a = floats(32, kCount), d = floats(64, kCount), h = floats(16, kCount);
  for (size_t i = 0; i < kCount; i += 2) {
    a[i] = bits(float(int64_t(rng()()) >> (rng()() % 60)) * 0.5f);
    d[i] = bits(double(int64_t(rng()()) >> (rng()() % 60)) * 0.5);
  }
  const std::pair<const char *, double (*)(double)> integral[] = {
      {"rni", std::rint}, {"rzi", std::trunc}, {"rmi", std::floor}, {"rpi", std::ceil}};
  auto toInteger = [](double v, unsigned n, bool s, bool fromDouble) -> U {
    if (std::isnan(v))
      return fromDouble || n == 64 ? U(1) << (n - 1) : 0;
    const __float128 low = s ? -ldexpq(1, n - 1) : __float128(0), high = s ? ldexpq(1, n - 1) - 1 : ldexpq(1, n) - 1;
    __float128 q = v;
    q = q < low ? low : q > high ? high : q;
    return q < 0 ? U(int64_t(q)) : U(q);
  };
  for (auto [name, f] : integral)
    for (unsigned n : {8u, 16u, 32u, 64u})
      for (bool s : {false, true}) {
        const std::string t = std::string(name) + (s ? ".s" : ".u") + std::to_string(n);
        const unsigned reg = std::max(n, 16u);
        auto extend = [=](U v) { return n == 8 ? (s ? U(int8_t(v)) : U(uint8_t(v))) : v; };
        expectOp({"cvt." + t + ".f32 D, A;", reg, 32}, a, {}, {},
                 [=, f = f](U a, U, U) { return extend(toInteger(f(f32(a)), n, s, false)); });
        if (n >= 32)
          expectOp({"cvt." + t + ".f64 D, A;", reg, 64}, d, {}, {},
                   [=, f = f](U a, U, U) { return extend(toInteger(f(f64(a)), n, s, true)); });
        if (n == 32)
          expectOp({"cvt." + t + ".f16 D, A;", reg, 16}, h, {}, {},
                   [=, f = f](U a, U, U) { return toInteger(f(half.decode(a)), n, s, false); });
      }
}

TEST(Convert, IntegersToFloats) {
  for (unsigned n : {8u, 16u, 32u, 64u})
    for (bool s : {false, true}) {
      const std::string t = std::string(s ? ".s" : ".u") + std::to_string(n);
      auto a = integers(std::max(n, 16u), kCount); // an 8-bit source is the low byte of a wider register
      auto value = [=](U a) -> __float128 {
        return s ? __float128(int64_t(a << (64 - n)) >> (64 - n)) : __float128(n == 64 ? a : a & ((1ull << n) - 1));
      };
      for (auto [name, mode] : roundings) {
        auto to32 = [=, mode = mode](U a, U, U) {
          std::fesetround(mode);
          volatile float r = s ? float(int64_t(value(a))) : float(U(value(a)));
          std::fesetround(FE_TONEAREST);
          return bits(float(r));
        };
        expectOp({std::string("cvt.") + name + ".f32" + t + " D, A;", 32, std::max(n, 16u)}, a, {}, {}, to32);
      }
      expectOp({"cvt.rn.f64" + t + " D, A;", 64, std::max(n, 16u)}, a, {}, {},
               [=](U a, U, U) { return bits(s ? double(int64_t(value(a))) : double(U(value(a)))); });
      if (n < 64) {
        expectOp({"cvt.rn.f16" + t + " D, A;", 16, std::max(n, 16u)}, a, {}, {},
                 [=](U a, U, U) { return half.encode(value(a)); });
        expectOp({"cvt.rn.bf16" + t + " D, A;", 16, std::max(n, 16u)}, a, {}, {},
                 [=](U a, U, U) { return brain.encode(value(a)); });
      }
    }
}

TEST(Convert, IntegersToIntegers) {
  for (unsigned from : {16u, 32u, 64u})
    for (unsigned to : {8u, 16u, 32u, 64u})
      for (int kind = 0; kind < 4; ++kind)
        for (bool sat : {false, true}) {
          const bool fs = kind & 1, ts = kind & 2;
          const std::string code = std::string("cvt") + (sat ? ".sat" : "") + (ts ? ".s" : ".u") + std::to_string(to) +
                                   (fs ? ".s" : ".u") + std::to_string(from) + " D, A;";
          if (sat && rng()() % 2)
            continue; // half of them each time
          expectOp({code, std::max(to, 16u), from}, integers(from, 64), {}, {}, [=](U a, U, U) {
            __int128 v = fs ? __int128(int64_t(a << (64 - from)) >> (64 - from)) : __int128(a);
            if (sat) {
              const __int128 low = ts ? -(__int128(1) << (to - 1)) : 0,
                             high = ts ? (__int128(1) << (to - 1)) - 1 : (__int128(1) << to) - 1;
              v = v < low ? low : v > high ? high : v;
            }
            U r = U(v);
            return to == 64 ? r : ts ? U(int64_t(r << (64 - to)) >> (64 - to)) : r & ((1ull << to) - 1);
          });
        }
  auto clampTo = [](int64_t v, int64_t low, int64_t high) { return U(std::min(std::max(v, low), high)); };
  expectOp({"cvt.pack.sat.s16.s32 D, A, B;", 32, 32, 32}, integers(32, kCount), integers(32, kCount), {},
           [=](U a, U b, U) {
             return clampTo(int32_t(a), -32768, 32767) << 16 | (clampTo(int32_t(b), -32768, 32767) & 0xffff);
           });
  expectOp({"cvt.pack.sat.s8.s32.b32 D, A, B, C;", 32, 32, 32, 32}, integers(32, kCount), integers(32, kCount),
           integers(32, kCount), [=](U a, U b, U c) {
             return c << 16 | (clampTo(int32_t(a), -128, 127) & 255) << 8 | (clampTo(int32_t(b), -128, 127) & 255);
           });
}

} // namespace
