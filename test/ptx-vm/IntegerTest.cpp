//===- IntegerTest.cpp - integer and bit opcodes against plain C++ -------------------------------------------===//

#include "test/ptx-vm/Vm.h"
#include "gtest/gtest.h"

using namespace ptxvm::test;

namespace {

constexpr size_t kCount = 192;
using U = uint64_t;
using Wide = __int128;

/// A value of that many bits with its sign.
int64_t sign(U v, unsigned bits) { return int64_t(v << (64 - bits)) >> (64 - bits); }
Wide extend(U v, unsigned bits, bool isSigned) { return isSigned ? Wide(sign(v, bits)) : Wide(v); }

void two(const std::string &op, unsigned bits, const Reference &reference, unsigned d = 0) {
  expectOp({op + " D, A, B;", d ? d : bits, bits, bits}, integers(bits, kCount), integers(bits, kCount), {}, reference);
}
void three(const std::string &op, unsigned bits, const Reference &reference, unsigned d = 0) {
  expectOp({op + " D, A, B, C;", d ? d : bits, bits, bits, d ? d : bits}, integers(bits, kCount),
           integers(bits, kCount), integers(d ? d : bits, kCount), reference);
}

struct IntType {
  std::string name;
  unsigned bits;
  bool isSigned;
};
const IntType types[] = {{"u16", 16, false}, {"s16", 16, true},  {"u32", 32, false},
                         {"s32", 32, true},  {"u64", 64, false}, {"s64", 64, true}};

TEST(Integer, AddSubtractMultiply) {
  for (const IntType &t : types) {
    two("add." + t.name, t.bits, [](U a, U b, U) { return a + b; });
    two("sub." + t.name, t.bits, [](U a, U b, U) { return a - b; });
    two("mul.lo." + t.name, t.bits, [](U a, U b, U) { return a * b; });
    two("mul.hi." + t.name, t.bits, [t](U a, U b, U) {
      if (!t.isSigned && t.bits == 64)
        return U((unsigned __int128)(a)*b >> 64);
      return U(extend(a, t.bits, t.isSigned) * extend(b, t.bits, t.isSigned) >> t.bits);
    });
    three("mad.lo." + t.name, t.bits, [](U a, U b, U c) { return a * b + c; });
    if (t.bits < 64) {
      two(
          "mul.wide." + t.name, t.bits,
          [t](U a, U b, U) { return U(extend(a, t.bits, t.isSigned) * extend(b, t.bits, t.isSigned)); }, 2 * t.bits);
      three(
          "mad.wide." + t.name, t.bits,
          [t](U a, U b, U c) { return U(extend(a, t.bits, t.isSigned) * extend(b, t.bits, t.isSigned)) + c; },
          2 * t.bits);
    }
  }
  auto clamp = [](Wide v) { return U(v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : int64_t(v)); };
  two("add.sat.s32", 32, [=](U a, U b, U) { return clamp(Wide(sign(a, 32)) + sign(b, 32)); });
  two("sub.sat.s32", 32, [=](U a, U b, U) { return clamp(Wide(sign(a, 32)) - sign(b, 32)); });
}

TEST(Integer, CarryChains) {
  // 64-bit sums and products out of 32-bit halves.
  const std::string halves = "mov.b64 {T0, T1}, A;\nmov.b64 {T2, T3}, B;\n";
  expectOp({halves + "add.cc.u32 T0, T0, T2;\naddc.u32 T1, T1, T3;\nmov.b64 D, {T0, T1};", 64, 64, 64},
           integers(64, kCount), integers(64, kCount), {}, [](U a, U b, U) { return a + b; });
  expectOp({halves + "sub.cc.u32 T0, T0, T2;\nsubc.u32 T1, T1, T3;\nmov.b64 D, {T0, T1};", 64, 64, 64},
           integers(64, kCount), integers(64, kCount), {}, [](U a, U b, U) { return a - b; });
  expectOp({"mul.lo.u32 T0, A, B;\nmov.u32 T1, 1;\nmad.lo.cc.u32 T2, A, B, T0;\nmadc.hi.u32 T3, A, B, T1;\nmov.b64 D, "
            "{T2, T3};",
            64, 32, 32},
           integers(32, kCount), integers(32, kCount), {},
           [](U a, U b, U) { return a * b + (uint32_t(a * b) | 1ull << 32); });
}

TEST(Integer, DivideAndRemainder) {
  for (const IntType &t : types) {
    std::vector<U> b = integers(t.bits, kCount);
    for (U &x : b)
      x = x ? x : 3;
    auto isOverflow = [t](U a, U b) { return t.isSigned && sign(b, t.bits) == -1; };
    expectOp({"div." + t.name + " D, A, B;", t.bits, t.bits, t.bits}, integers(t.bits, kCount), b, {},
             [=](U a, U b, U) {
               return isOverflow(a, b) ? -a : t.isSigned ? U(sign(a, t.bits) / sign(b, t.bits)) : a / b;
             });
    expectOp({"rem." + t.name + " D, A, B;", t.bits, t.bits, t.bits}, integers(t.bits, kCount), b, {},
             [=](U a, U b, U) {
               return isOverflow(a, b) ? 0 : t.isSigned ? U(sign(a, t.bits) % sign(b, t.bits)) : a % b;
             });
  }
  two("div.u32", 32, [](U a, U b, U) { return b ? a / b : 0xffffffff; }); // by zero: all ones, nothing stops
}

TEST(Integer, MinMaxAbsNegSad) {
  for (const IntType &t : types) {
    two("min." + t.name, t.bits,
        [t](U a, U b, U) { return extend(a, t.bits, t.isSigned) < extend(b, t.bits, t.isSigned) ? a : b; });
    two("max." + t.name, t.bits,
        [t](U a, U b, U) { return extend(a, t.bits, t.isSigned) > extend(b, t.bits, t.isSigned) ? a : b; });
    three("sad." + t.name, t.bits, [t](U a, U b, U c) {
      Wide d = extend(a, t.bits, t.isSigned) - extend(b, t.bits, t.isSigned);
      return c + U(d < 0 ? -d : d);
    });
    if (t.isSigned) {
      expectOp({"abs." + t.name + " D, A;", t.bits, t.bits}, integers(t.bits, kCount), {}, {},
               [t](U a, U, U) { return sign(a, t.bits) < 0 ? -a : a; });
      expectOp({"neg." + t.name + " D, A;", t.bits, t.bits}, integers(t.bits, kCount), {}, {},
               [](U a, U, U) { return -a; });
    }
  }
  two("max.relu.s32", 32, [](U a, U b, U) { return U(std::max<int64_t>(0, std::max(sign(a, 32), sign(b, 32)))); });
  three("mad24.lo.s32", 32, [](U a, U b, U c) { return U(sign(a, 24) * sign(b, 24)) + c; });
  two("mul24.hi.u32", 32, [](U a, U b, U) { return (a & 0xffffff) * (b & 0xffffff) >> 16; });
}

TEST(Integer, PackedHalves) {
  auto each = [](auto f) {
    return [f](U a, U b, U) { return (f(a & 0xffff, b & 0xffff) & 0xffff) | (f(a >> 16, b >> 16) & 0xffff) << 16; };
  };
  two("add.u16x2", 32, each([](U a, U b) { return a + b; }));
  two("min.u16x2", 32, each([](U a, U b) { return std::min(a, b); }));
  two("max.s16x2", 32, each([](U a, U b) { return sign(a, 16) > sign(b, 16) ? a : b; }));
}

TEST(Integer, DotProducts) {
  for (bool sa : {false, true})
    for (bool sb : {false, true}) {
      const std::string suffix = std::string(sa ? ".s32" : ".u32") + (sb ? ".s32" : ".u32");
      three("dp4a" + suffix, 32, [=](U a, U b, U c) {
        for (int i = 0; i < 4; ++i)
          c += U(extend(a >> 8 * i & 255, 8, sa) * extend(b >> 8 * i & 255, 8, sb));
        return c;
      });
      for (bool high : {false, true})
        three(std::string("dp2a") + (high ? ".hi" : ".lo") + suffix, 32, [=](U a, U b, U c) {
          for (int i = 0; i < 2; ++i)
            c += U(extend(a >> 16 * i & 0xffff, 16, sa) * extend(b >> (8 * i + 16 * high) & 255, 8, sb));
          return c;
        });
    }
}

TEST(Bits, Logic) {
  for (unsigned bits : {16u, 32u, 64u}) {
    const std::string t = ".b" + std::to_string(bits);
    two("and" + t, bits, [](U a, U b, U) { return a & b; });
    two("or" + t, bits, [](U a, U b, U) { return a | b; });
    two("xor" + t, bits, [](U a, U b, U) { return a ^ b; });
    expectOp({"not" + t + " D, A;", bits, bits}, integers(bits, kCount), {}, {}, [](U a, U, U) { return ~a; });
    expectOp({"cnot" + t + " D, A;", bits, bits}, integers(bits, kCount), {}, {}, [](U a, U, U) { return U(a == 0); });
  }
  for (int i = 0; i < 12; ++i) {
    const unsigned table = i == 0 ? 0 : i == 1 ? 255 : i == 2 ? 0xea : i == 3 ? 0x6a : rng()() & 255;
    expectOp({"lop3.b32 D, A, B, C, " + std::to_string(table) + ";", 32, 32, 32, 32}, integers(32, 64),
             integers(32, 64), integers(32, 64), [=](U a, U b, U c) {
               U r = 0;
               for (int bit = 0; bit < 32; ++bit)
                 r |= U(table >> ((a >> bit & 1) * 4 + (b >> bit & 1) * 2 + (c >> bit & 1)) & 1) << bit;
               return r;
             });
  }
}

TEST(Bits, ShiftsPastTheWidth) {
  for (unsigned bits : {16u, 32u, 64u}) {
    auto run = [&](const std::string &op, const Reference &f) {
      std::vector<U> amounts = integers(32, kCount);
      for (size_t i = 0; i < amounts.size(); i += 2)
        amounts[i] %= 70;
      expectOp({op + " D, A, B;", bits, bits, 32}, integers(bits, kCount), amounts, {}, f);
    };
    const std::string n = std::to_string(bits);
    run("shl.b" + n, [=](U a, U b, U) { return b >= bits ? 0 : a << b; });
    run("shr.u" + n, [=](U a, U b, U) { return b >= bits ? 0 : a >> b; });
    run("shr.b" + n, [=](U a, U b, U) { return b >= bits ? 0 : a >> b; });
    run("shr.s" + n, [=](U a, U b, U) { return U(sign(a, bits) >> std::min<U>(b, bits - 1)); });
  }
  for (bool wrap : {false, true}) {
    auto amount = [=](U c) { return wrap ? c & 31 : std::min<U>(c, 32); };
    three(wrap ? "shf.l.wrap.b32" : "shf.l.clamp.b32", 32,
          [=](U a, U b, U c) { return ((b << 32 | a) << amount(c)) >> 32; });
    three(wrap ? "shf.r.wrap.b32" : "shf.r.clamp.b32", 32, [=](U a, U b, U c) { return (b << 32 | a) >> amount(c); });
  }
}

TEST(Bits, CountAndFind) {
  for (unsigned bits : {32u, 64u}) {
    const std::string n = std::to_string(bits);
    auto one = [&](const std::string &op, const Reference &f, unsigned d) {
      expectOp({op + " D, A;", d, bits}, integers(bits, kCount), {}, {}, f);
    };
    one(
        "popc.b" + n, [](U a, U, U) { return U(__builtin_popcountll(a)); }, 32);
    one(
        "clz.b" + n, [=](U a, U, U) { return U(a ? __builtin_clzll(a) - (64 - bits) : bits); }, 32);
    one(
        "brev.b" + n,
        [=](U a, U, U) {
          U r = 0;
          for (unsigned i = 0; i < bits; ++i)
            r |= (a >> i & 1) << (bits - 1 - i);
          return r;
        },
        bits);
    auto msb = [=](U a, bool s) -> int { // the document's loop
      if (s && sign(a, bits) < 0)
        a = ~a & (bits == 64 ? ~0ull : 0xffffffff);
      for (int i = bits - 1; i >= 0; --i)
        if (a >> i & 1)
          return i;
      return -1;
    };
    one(
        "bfind.u" + n, [=](U a, U, U) { return U(msb(a, false)); }, 32);
    one(
        "bfind.s" + n, [=](U a, U, U) { return U(msb(a, true)); }, 32);
    one(
        "bfind.shiftamt.u" + n, [=](U a, U, U) { return msb(a, false) < 0 ? 0xffffffff : U(bits - 1 - msb(a, false)); },
        32);
  }
  std::vector<U> base = integers(32, kCount), offset = integers(32, kCount);
  for (size_t i = 0; i < kCount; ++i)
    base[i] %= 32, offset[i] = U(int64_t(offset[i] % 13) - 6) & 0xffffffff;
  expectOp({"fns.b32 D, A, B, C;", 32, 32, 32, 32}, integers(32, kCount), base, offset, [](U mask, U base, U c) {
    const int n = int32_t(c);
    if (n == 0)
      return mask >> base & 1 ? base : 0xffffffff;
    int count = 0;
    for (int pos = base; pos >= 0 && pos<32; pos += n> 0 ? 1 : -1)
      if ((mask >> pos & 1) && ++count == std::abs(n))
        return U(pos);
    return U(0xffffffff);
  });
}

TEST(Bits, Fields) {
  for (unsigned bits : {32u, 64u})
    for (bool s : {false, true}) {
      auto fields = [] {
        std::vector<U> v = integers(32, kCount);
        for (size_t i = 0; i < v.size(); i += 2)
          v[i] %= 70;
        return v;
      };
      const std::string t = std::string(s ? "s" : "u") + std::to_string(bits);
      expectOp({"bfe." + t + " D, A, B, C;", bits, bits, 32, 32}, integers(bits, kCount), fields(), fields(),
               [=](U a, U b, U c) {
                 const unsigned pos = b & 255, len = c & 255, msb = bits - 1;
                 const U fill = !s || len == 0 ? 0 : a >> std::min(pos + len - 1, msb) & 1;
                 U d = 0;
                 for (unsigned i = 0; i <= msb; ++i)
                   d |= (i < len && pos + i <= msb ? a >> (pos + i) & 1 : fill) << i;
                 return d;
               });
      if (s)
        continue;
      for (auto [pos, len] :
           {std::pair(0, 8), std::pair(5, 40), std::pair(31, 1), std::pair(33, 4), std::pair(300, 600)})
        expectOp(
            {"bfi.b" + std::to_string(bits) + " D, A, B, " + std::to_string(pos) + ", " + std::to_string(len) + ";",
             bits, bits, bits},
            integers(bits, 64), integers(bits, 64), {}, [=](U a, U b, U) {
              const unsigned p = pos & 255, l = len & 255;
              U f = b;
              for (unsigned i = 0; i < l && p + i < bits; ++i)
                f = (f & ~(1ull << (p + i))) | (a >> i & 1) << (p + i);
              return f;
            });
    }
}

uint8_t byteOf(U a, U b, unsigned i) { return (i < 4 ? a >> 8 * i : b >> 8 * (i - 4)); }
TEST(Bits, Permute) {
  auto apply = [](U a, U b, U c) {
    U r = 0;
    for (int i = 0; i < 4; ++i) {
      const unsigned n = c >> 4 * i & 15;
      const uint8_t v = byteOf(a, b, n & 7);
      r |= U(n & 8 ? (v & 128 ? 255 : 0) : v) << 8 * i;
    }
    return r;
  };
  three("prmt.b32", 32, apply);
  for (unsigned c : {0x5410u, 0x7632u, 0x4321u, 0x9180u, 0xfa0bu, 0x7777u})
    expectOp({"prmt.b32 D, A, B, " + std::to_string(c) + ";", 32, 32, 32}, integers(32, 64), integers(32, 64), {},
             [=](U a, U b, U) { return apply(a, b, c); });
  // Rows of the document's table, d.b3 to d.b0 for c = 0..3.
  const std::pair<const char *, std::array<std::array<int, 4>, 4>> modes[] = {
      {"f4e", {{{3, 2, 1, 0}, {4, 3, 2, 1}, {5, 4, 3, 2}, {6, 5, 4, 3}}}},
      {"b4e", {{{5, 6, 7, 0}, {6, 7, 0, 1}, {7, 0, 1, 2}, {0, 1, 2, 3}}}},
      {"rc8", {{{0, 0, 0, 0}, {1, 1, 1, 1}, {2, 2, 2, 2}, {3, 3, 3, 3}}}},
      {"ecl", {{{3, 2, 1, 0}, {3, 2, 1, 1}, {3, 2, 2, 2}, {3, 3, 3, 3}}}},
      {"ecr", {{{0, 0, 0, 0}, {1, 1, 1, 0}, {2, 2, 1, 0}, {3, 2, 1, 0}}}},
      {"rc16", {{{1, 0, 1, 0}, {3, 2, 3, 2}, {1, 0, 1, 0}, {3, 2, 3, 2}}}}};
  for (const auto &[name, rows] : modes)
    three(std::string("prmt.b32.") + name, 32, [rows = rows](U a, U b, U c) {
      U r = 0;
      for (int i = 0; i < 4; ++i)
        r |= U(byteOf(a, b, rows[c & 3][3 - i])) << 8 * i;
      return r;
    });
}

TEST(Bits, MasksAndExtension) {
  for (bool wrap : {false, true}) {
    const std::string mode = wrap ? ".wrap" : ".clamp";
    expectOp({"bmsk" + mode + ".b32 D, A, B;", 32, 32, 32}, integers(32, kCount), integers(32, kCount), {},
             [=](U a, U b, U) {
               const U from = wrap ? a & 31 : std::min<U>(a, 32), width = wrap ? b & 31 : std::min<U>(b, 32);
               return ((1ull << width) - 1) << from;
             });
    for (bool s : {false, true})
      expectOp({"szext" + mode + (s ? ".s32" : ".u32") + " D, A, B;", 32, 32, 32}, integers(32, kCount),
               integers(32, kCount), {}, [=](U a, U b, U) {
                 const U n = wrap ? b & 31 : std::min<U>(b, 32);
                 return n == 0 ? 0 : s ? U(sign(a, n)) : a & ((1ull << n) - 1);
               });
  }
}

TEST(Compare, IntegersAndSelection) {
  const std::pair<const char *, std::function<bool(Wide, Wide)>> how[] = {
      {"eq", [](Wide a, Wide b) { return a == b; }}, {"ne", [](Wide a, Wide b) { return a != b; }},
      {"lt", [](Wide a, Wide b) { return a < b; }},  {"ge", [](Wide a, Wide b) { return a >= b; }},
      {"le", [](Wide a, Wide b) { return a <= b; }}, {"gt", [](Wide a, Wide b) { return a > b; }}};
  for (const IntType &t : types)
    for (const auto &[name, f] : how) {
      std::vector<U> a = integers(t.bits, 64), b = integers(t.bits, 64);
      a[3] = b[3], a[40] = b[40];
      expectOp({"setp." + std::string(name) + "." + t.name +
                    " P|Q, A, B;\nselp.b32 D, 1, 0, P;\nselp.b32 T0, 2, 0, Q;\nor.b32 D, D, T0;",
                32, t.bits, t.bits},
               a, b, {}, [t, f = f](U a, U b, U) {
                 return U(f(extend(a, t.bits, t.isSigned), extend(b, t.bits, t.isSigned)) ? 1 : 2);
               });
    }
  two("setp.lo.u32 P, A, B;\nsetp.hi.xor.u32 Q, A, 77, P;\nselp.b32 D, A, B, Q; mov.b32 T0, D; //", 32,
      [](U a, U b, U) { return (a < b) != (a > 77) ? a : b; });
  two("setp.ne.s32 P, A, 0;\nsetp.lt.and.s32 Q, A, B, !P;\nselp.b32 D, A, B, Q; //", 32,
      [](U a, U b, U) { return a == 0 && sign(a, 32) < sign(b, 32) ? a : b; });
  two("set.lt.u32.s32", 32, [](U a, U b, U) { return sign(a, 32) < sign(b, 32) ? ~0ull : 0; });
  two("set.ge.f32.u32", 32, [](U a, U b, U) { return a >= b ? 0x3f800000 : 0; });
  three("slct.s32.s32", 32, [](U a, U b, U c) { return sign(c, 32) >= 0 ? a : b; });
}

} // namespace
