//===- WarpTest.cpp - lanes, masks, divergence, shared memory, atomics, matrices -------------------------------===//

#include "test/ptx-vm/Vm.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>
#include <numeric>

using namespace ptxvm::test;

namespace {

using U32 = uint32_t;

/// Runs a kernel body on one block; %in and %out are 32-bit values by thread. The body reads IN, writes OUT.
std::vector<U32> runThreads(const std::string &body, const std::vector<U32> &in, const std::string &before = "",
                            unsigned block = 32) {
  SCOPED_TRACE(body);
  Ptx ptx(kernelText(".reg .b32 IN, OUT, T<16>, tid;\n.reg .b64 from, to, offset, W<8>;\n.reg .pred P<8>;\nmov.u32 "
                     "tid, %tid.x;\nmul.wide.u32 offset, tid, 4;\n"
                     "ld.param.u64 from, [arg0];\nld.param.u64 to, [arg1];\nadd.u64 from, from, offset;\nadd.u64 to, "
                     "to, offset;\nld.global.b32 IN, [from];\n" +
                         body + "\nst.global.b32 [to], OUT;\nret;",
                     2, before));
  EXPECT_EQ(ptx.result, CUDA_SUCCESS) << ptx.log;
  Buffer a(in), b(std::vector<U32>(in.size(), 0xdeadbeef));
  EXPECT_EQ(launch(ptx.kernel(), {1, block}, Arguments(a.at, b.at)), CUDA_SUCCESS);
  return b.read<U32>();
}

std::vector<U32> random32(size_t n) {
  std::vector<U32> v(n);
  for (U32 &x : v)
    x = rng()();
  return v;
}

struct Shuffled {
  int lane;
  bool inRange;
};
/// The document's pseudo-code.
Shuffled source(const std::string &mode, int lane, U32 b, U32 c) {
  const int bval = b & 31, cval = c & 31, mask = c >> 8 & 31, maxLane = (lane & mask) | (cval & ~mask),
            minLane = lane & mask;
  int j;
  bool p;
  if (mode == "up")
    j = lane - bval, p = j >= maxLane;
  else if (mode == "down")
    j = lane + bval, p = j <= maxLane;
  else if (mode == "bfly")
    j = lane ^ bval, p = j <= maxLane;
  else
    j = minLane | (bval & ~mask), p = j <= maxLane;
  return {p ? j : lane, p};
}

TEST(Warp, ShufflesWithConstants) {
  for (const char *mode : {"up", "down", "bfly", "idx"})
    for (U32 b : {0u, 1u, 5u, 16u, 31u})
      for (U32 c : {0x1fu, 0u, 0x181fu, 0x1c03u}) {
        auto in = random32(32);
        auto out = runThreads("shfl.sync." + std::string(mode) + ".b32 T0|P0, IN, " + std::to_string(b) + ", " +
                                  std::to_string(c) + ", 0xffffffff;\nselp.b32 T1, 0x55, 0, P0;\nxor.b32 OUT, T0, T1;",
                              in);
        for (int lane = 0; lane < 32; ++lane) {
          const Shuffled s = source(mode, lane, b, c);
          EXPECT_EQ(out[lane], in[s.lane] ^ (s.inRange ? 0x55 : 0))
              << mode << " b=" << b << " c=" << c << " lane " << lane;
        }
      }
}

TEST(Warp, ShufflesByLane) {
  for (const char *mode : {"up", "down", "bfly", "idx"}) {
    auto in = random32(32);
    auto out = runThreads("shr.u32 T2, IN, 7;\nshfl.sync." + std::string(mode) +
                              ".b32 T0|P0, IN, T2, 0x1f, -1;\nselp.b32 T1, 1, 0, P0;\nxor.b32 OUT, T0, T1;",
                          in);
    const U32 c = std::string(mode) == "up" ? 0x1f : 0x1f;
    for (int lane = 0; lane < 32; ++lane) {
      const Shuffled s = source(mode, lane, in[lane] >> 7, c);
      EXPECT_EQ(out[lane], in[s.lane] ^ U32(s.inRange)) << mode << " lane " << lane;
    }
  }
}

TEST(Warp, VotesUnderDivergence) {
  auto in = random32(32);
  U32 low = 0, ballot = 0;
  for (int i = 0; i < 32; ++i)
    low |= (in[i] & 1) << i, ballot |= (in[i] >> 1 & in[i] & 1) << i;
  auto out = runThreads(
      "and.b32 T0, IN, 1;\nsetp.ne.u32 P0, T0, 0;\nand.b32 T1, IN, 2;\nsetp.ne.u32 P1, T1, 0;\nmov.u32 OUT, 7;\n"
      "vote.sync.ballot.b32 T2, P0, -1;\n@!P0 bra skip;\nactivemask.b32 T3;\nvote.sync.ballot.b32 T4, P1, "
      "T2;\nvote.sync.any.pred P2, P1, T2;\n"
      "vote.sync.all.pred P3, P1, T2;\nvote.sync.uni.pred P4, P1, T2;\nselp.b32 T5, 1, 0, P2;\nselp.b32 T6, 2, 0, "
      "P3;\nselp.b32 T7, 4, 0, P4;\n"
      "xor.b32 OUT, T3, T4;\nadd.u32 T5, T5, T6;\nadd.u32 T5, T5, T7;\nxor.b32 OUT, OUT, T5;\nskip:",
      in);
  for (int i = 0; i < 32; ++i) {
    const U32 flags = (ballot != 0) | (ballot == low) << 1 | (ballot == low || ballot == 0) << 2;
    EXPECT_EQ(out[i], in[i] & 1 ? (low ^ ballot ^ flags) : 7u) << i;
  }
}

TEST(Warp, MatchAndReduce) {
  auto in = random32(32);
  for (U32 &x : in)
    x &= 0x80000003;
  auto out = runThreads("match.any.sync.b32 OUT, IN, -1;", in);
  for (int i = 0; i < 32; ++i) {
    U32 want = 0;
    for (int j = 0; j < 32; ++j)
      want |= U32(in[j] == in[i]) << j;
    EXPECT_EQ(out[i], want);
  }
  in = random32(32);
  auto reduce = [&](const char *op, auto f) {
    auto out = runThreads(std::string("redux.sync.") + op + " OUT, IN, -1;", in);
    U32 want = in[0];
    for (int i = 1; i < 32; ++i)
      want = f(want, in[i]);
    EXPECT_EQ(out, std::vector<U32>(32, want)) << op;
  };
  reduce("add.u32", [](U32 a, U32 b) { return a + b; });
  reduce("min.s32", [](U32 a, U32 b) { return U32(std::min(int(a), int(b))); });
  reduce("max.u32", [](U32 a, U32 b) { return std::max(a, b); });
  reduce("xor.b32", [](U32 a, U32 b) { return a ^ b; });
  out = runThreads("elect.sync T0|P0, -1;\nselp.b32 OUT, 100, 0, P0;\nadd.u32 OUT, OUT, T0;", in);
  EXPECT_EQ(out[0], 100u);
  EXPECT_EQ(out[1], 0u);
}

TEST(Warp, DivergentLoopsMeetAgain) {
  auto in = random32(32);
  for (U32 &x : in)
    x %= 50;
  // Nested loops of different lengths with a way out of both; then a shuffle of all.
  auto out = runThreads("mov.u32 T0, 0;\nmov.u32 T1, 0;\nouter:\nsetp.ge.u32 P0, T0, IN;\n@P0 bra done;\nmov.u32 T2, "
                        "0;\ninner:\nadd.u32 T1, T1, T2;\nadd.u32 T2, T2, 1;\n"
                        "setp.gt.u32 P2, T1, 900;\n@P2 bra done;\nsetp.lt.u32 P1, T2, T0;\n@P1 bra inner;\nadd.u32 T0, "
                        "T0, 1;\nbra outer;\ndone:\n"
                        "shfl.sync.bfly.b32 T3, T1, 1, 0x1f, -1;\nadd.u32 OUT, T1, T3;",
                        in);
  auto one = [](U32 n) {
    U32 sum = 0;
    for (U32 i = 0; i < n; ++i) {
      U32 j = 0;
      do {
        sum += j++;
        if (sum > 900)
          return sum;
      } while (j < i);
    }
    return sum;
  };
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(out[i], one(in[i]) + one(in[i ^ 1])) << i;
}

TEST(Warp, ExitsAndPredicates) {
  auto in = random32(96);
  auto out = runThreads("setp.lt.u32 P0, tid, 70;\n@!P0 exit;\nand.b32 T0, IN, 1;\nsetp.eq.u32 P1, T0, 0;\nmov.u32 "
                        "OUT, IN;\n@P1 add.u32 OUT, OUT, 5;\n@!P1 st.global.b32 [from], tid;\n"
                        "@P1 ld.global.b32 T1, [from];\n@P1 xor.b32 OUT, OUT, T1;",
                        in, "", 96);
  for (U32 i = 0; i < 96; ++i)
    EXPECT_EQ(out[i], i >= 70 ? 0xdeadbeef : in[i] & 1 ? in[i] : (in[i] + 5) ^ in[i]) << i;
}

TEST(Warp, SharedMemoryAndBarriers) {
  auto in = random32(256);
  auto out =
      runThreads("mov.u32 T0, s;\nshl.b32 T1, tid, 2;\nadd.u32 T2, T0, T1;\nst.shared.b32 [T2], IN;\nbar.sync "
                 "0;\nxor.b32 T3, T1, 1020;\nadd.u32 T3, T0, T3;\nld.shared.b32 OUT, [T3];\n"
                 "and.b32 T5, OUT, 1;\nsetp.ne.u32 P0, T5, 0;\nbar.red.popc.u32 T4, 1, P0;\nadd.u32 OUT, OUT, T4;",
                 in, ".shared .align 16 .b8 s[1024];\n", 256);
  U32 odd = 0;
  for (U32 x : in)
    odd += x & 1;
  for (U32 i = 0; i < 256; ++i)
    EXPECT_EQ(out[i], in[i ^ 255] + odd) << i;
}

TEST(Warp, GenericAddressesAndLocal) {
  auto in = random32(64);
  auto out = runThreads(".local .align 8 .b8 l[64];\nmov.u64 W0, s;\ncvta.shared.u64 W1, W0;\nmul.wide.u32 W2, tid, "
                        "4;\nadd.u64 W1, W1, W2;\nst.b32 [W1], IN;\nbar.sync 0;\n"
                        "mov.u64 W3, l;\ncvta.local.u64 W4, W3;\nand.b32 T0, IN, 15;\nmul.wide.u32 W5, T0, 4;\nadd.u64 "
                        "W5, W4, W5;\nst.b32 [W4+0], 1;\nst.b32 [W4+60], 1;\nst.b32 [W5], tid;\n"
                        "cvta.to.local.u64 W6, W5;\nld.local.b32 T1, [W6];\nld.b32 T2, [W1];\nxor.b32 OUT, T1, "
                        "T2;\nisspacep.shared P0, W1;\nisspacep.global P1, W1;\nisspacep.local P2, W5;\n"
                        "selp.b32 T3, 1, 0, P0;\nselp.b32 T4, 2, 0, P1;\nselp.b32 T5, 4, 0, P2;\nadd.u32 T3, T3, "
                        "T4;\nadd.u32 T3, T3, T5;\nxor.b32 OUT, OUT, T3;",
                        in, ".shared .align 16 .b8 s[256];\n", 64);
  for (U32 i = 0; i < 64; ++i)
    EXPECT_EQ(out[i], i ^ in[i] ^ 5u) << i;
}

TEST(Warp, VectorAccessesOfEveryWidth) {
  std::vector<U32> in = random32(32 * 4);
  Buffer a(in), b(std::vector<U32>(32 * 4, 0)), c(std::vector<U32>(32 * 4, 0));
  Ptx ptx(
      kernelText(".reg .b32 r<9>, t;\n.reg .b16 h<4>;\n.reg .b64 x, y, z, o, w<2>;\nmov.u32 t, %tid.x;\nmul.wide.u32 "
                 "o, t, 16;\nld.param.u64 x, [arg0];\nld.param.u64 y, [arg1];\nld.param.u64 z, [arg2];\n"
                 "add.u64 x, x, o;\nadd.u64 y, y, o;\nadd.u64 z, z, o;\nld.global.nc.L1::no_allocate.v4.b32 {r0, r1, "
                 "r2, r3}, [x];\nst.global.v4.b32 [y], {r3, r2, r1, r0};\n"
                 "ld.global.v2.b64 {w0, w1}, [x];\nst.global.b64 [z], w1;\nld.global.v4.u16 {h0, h1, h2, h3}, "
                 "[x];\nst.global.v4.b16 [z+8], {h3, h2, h1, h0};\nret;",
                 3));
  ASSERT_EQ(launch(ptx.kernel(), {1, 32}, Arguments(a.at, b.at, c.at)), CUDA_SUCCESS) << ptx.log;
  auto y = b.read<U32>(), z = c.read<U32>();
  for (int i = 0; i < 32; ++i) {
    for (int k = 0; k < 4; ++k)
      EXPECT_EQ(y[4 * i + k], in[4 * i + 3 - k]);
    EXPECT_EQ(z[4 * i], in[4 * i + 2]);
    EXPECT_EQ(z[4 * i + 1], in[4 * i + 3]);
    EXPECT_EQ(z[4 * i + 2], in[4 * i + 1] >> 16 | in[4 * i + 1] << 16);
    EXPECT_EQ(z[4 * i + 3], in[4 * i] >> 16 | in[4 * i] << 16);
  }
}

TEST(Warp, SmallLoadsExtend) {
  std::vector<U32> in = random32(32);
  auto out = runThreads("ld.global.s8 T0, [from+1];\nld.global.u8 T1, [from+3];\nld.global.s16 T2, [from];\nadd.u32 "
                        "OUT, T0, T1;\nxor.b32 OUT, OUT, T2;",
                        in);
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(out[i], (U32(int8_t(in[i] >> 8)) + (in[i] >> 24)) ^ U32(int16_t(in[i]))) << i;
}

TEST(Warp, Atomics) {
  struct Case {
    std::string op;
    std::function<U32(U32, U32)> f;
    bool returns;
  };
  const Case cases[] = {{"atom.global.add.u32", [](U32 a, U32 b) { return a + b; }, true},
                        {"atom.global.min.s32", [](U32 a, U32 b) { return U32(std::min(int(a), int(b))); }, true},
                        {"atom.global.max.u32", [](U32 a, U32 b) { return std::max(a, b); }, true},
                        {"atom.global.xor.b32", [](U32 a, U32 b) { return a ^ b; }, true},
                        {"atom.acq_rel.gpu.global.exch.b32", [](U32, U32 b) { return b; }, true},
                        {"atom.global.inc.u32", [](U32 a, U32 b) { return a >= b ? 0 : a + 1; }, true},
                        {"atom.global.dec.u32", [](U32 a, U32 b) { return a == 0 || a > b ? b : a - 1; }, true},
                        {"red.global.and.b32", [](U32 a, U32 b) { return a & b; }, false}};
  for (const Case &c : cases) {
    auto in = random32(32);
    if (c.op.find("inc") != c.op.npos || c.op.find("dec") != c.op.npos)
      for (U32 &x : in)
        x %= 9;
    Buffer cell(std::vector<U32>{in[5]});
    Buffer values(in), old(std::vector<U32>(32, 0));
    Ptx ptx(kernelText(".reg .b32 v, o, t;\n.reg .b64 x, y, z, d;\nmov.u32 o, 0;\nmov.u32 t, %tid.x;\nmul.wide.u32 d, "
                       "t, 4;\nld.param.u64 x, [arg0];\nld.param.u64 y, [arg1];\nld.param.u64 z, [arg2];\n"
                       "add.u64 y, y, d;\nadd.u64 z, z, d;\nld.global.b32 v, [y];\n" +
                           c.op + (c.returns ? " o, [x], v;\n" : " [x], v;\n") + "st.global.b32 [z], o;\nret;",
                       3));
    ASSERT_EQ(launch(ptx.kernel(), {1, 32}, Arguments(cell.at, values.at, old.at)), CUDA_SUCCESS) << ptx.log;
    U32 want = in[5];
    auto olds = old.read<U32>();
    for (int i = 0; i < 32; ++i) { // lanes take their turn in order
      if (c.returns) {
        EXPECT_EQ(olds[i], want) << c.op;
      }
      want = c.f(want, in[i]);
    }
    EXPECT_EQ(cell.read<U32>()[0], want) << c.op;
  }
  Buffer sum(std::vector<float>{0.5f});
  Ptx ptx(kernelText(".reg .f32 f;\n.reg .b64 x;\n.reg .b32 t;\nld.param.u64 x, [arg0];\nmov.u32 t, "
                     "%tid.x;\ncvt.rn.f32.u32 f, t;\nred.global.add.f32 [x], f;\nret;",
                     1));
  ASSERT_EQ(launch(ptx.kernel(), {50, 128}, Arguments(sum.at)), CUDA_SUCCESS);
  EXPECT_EQ(sum.read<float>()[0], 50 * 127 * 64 + 0.5f);
}

TEST(Warp, CompareAndSwapAsALock) {
  Buffer cells(std::vector<U32>{0, 0});
  // One thread a block takes the lock, adds, gives it back.
  Ptx ptx(
      kernelText(".reg .b32 v, o;\n.reg .b64 x;\n.reg .pred P;\nld.param.u64 x, "
                 "[arg0];\nspin:\natom.acquire.gpu.global.cas.b32 o, [x], 0, 1;\nsetp.ne.u32 P, o, 0;\n@P bra spin;\n"
                 "ld.global.u32 v, [x+4];\nadd.u32 v, v, 1;\nst.global.u32 [x+4], v;\natom.release.gpu.global.exch.b32 "
                 "o, [x], 0;\nret;",
                 1));
  ASSERT_EQ(launch(ptx.kernel(), {500, 1}, Arguments(cells.at)), CUDA_SUCCESS);
  EXPECT_EQ(cells.read<U32>(), (std::vector<U32>{0, 500}));
}

TEST(Warp, AsyncCopiesArriveWhenWaitedFor) {
  auto in = random32(128);
  Buffer a(in), b(std::vector<U32>(128, 0));
  Ptx ptx(kernelText(
      ".shared .align 16 .b8 s[1024];\n.reg .b32 t, u, v<4>, n;\n.reg .b64 x, y, o;\n.reg .pred P;\nmov.u32 t, "
      "%tid.x;\nmul.wide.u32 o, t, 16;\nld.param.u64 x, [arg0];\nld.param.u64 y, [arg1];\nadd.u64 x, x, o;\nadd.u64 y, "
      "y, o;\n"
      "mov.u32 u, s;\nshl.b32 n, t, 4;\nadd.u32 u, u, n;\nmov.u32 n, 0;\nst.shared.v4.b32 [u], {n, n, n, "
      "n};\nsetp.lt.u32 P, t, 16;\nselp.b32 n, 16, 8, P;\n"
      "cp.async.ca.shared.global [u], [x], 16, n;\ncp.async.commit_group;\nld.shared.b32 v0, [u];\ncp.async.wait_group "
      "0;\nld.shared.v4.b32 {v0, v1, v2, v3}, [u];\nst.global.v4.b32 [y], {v0, v1, v2, v3};\nret;",
      2));
  ASSERT_EQ(launch(ptx.kernel(), {1, 32}, Arguments(a.at, b.at)), CUDA_SUCCESS) << ptx.log;
  auto out = b.read<U32>();
  for (int i = 0; i < 128; ++i)
    EXPECT_EQ(out[i], i % 4 < 2 || i < 64 ? in[i] : 0u) << i;
}

// --- matrices: fragments are filled from whole matrices by the document's figures ---

struct Fragment {
  int row, col;
};
float halfToFloat(uint16_t h) {
  const int e = h >> 10 & 31, m = h & 1023;
  const float f = e ? std::ldexp(float(m | 1024), e - 25) : std::ldexp(float(m), -24);
  return h & 0x8000 ? -f : f;
}

TEST(Matrix, HalfAndBrain16) {
  for (bool brain : {false, true})
    for (int k : {8, 16}) {
      std::vector<uint16_t> A(16 * k), B(k * 8);
      auto fill = [&](std::vector<uint16_t> &m) {
        for (uint16_t &x : m)
          x = brain ? (rng()() & 0x807f) | (120 + rng()() % 10) << 7 : (rng()() & 0x83ff) | (11 + rng()() % 6) << 10;
      };
      fill(A), fill(B);
      auto value = [&](uint16_t x) {
        U32 bits = U32(x) << 16;
        float f;
        std::memcpy(&f, &bits, 4);
        return brain ? f : halfToFloat(x);
      };
      const int aRegs = k / 4, bRegs = k / 8;
      std::vector<U32> a(32 * aRegs), b(32 * bRegs);
      for (int lane = 0; lane < 32; ++lane) {
        const int group = lane >> 2, inGroup = lane % 4;
        for (int i = 0; i < 2 * aRegs;
             ++i) { // ai: row = group for i in 0,1,4,5 else group + 8; col = inGroup * 2 + (i & 1) (+8 for i >= 4)
          const int row = (i % 4) < 2 ? group : group + 8, col = inGroup * 2 + (i & 1) + (i >= 4 ? 8 : 0);
          a[lane * aRegs + i / 2] |= U32(A[row * k + col]) << 16 * (i & 1);
        }
        for (int i = 0; i < 2 * bRegs; ++i) {
          const int row = inGroup * 2 + (i & 1) + (i >= 2 ? 8 : 0);
          b[lane * bRegs + i / 2] |= U32(B[row * 8 + group]) << 16 * (i & 1);
        }
      }
      std::vector<float> c(128);
      for (float &x : c)
        x = float(int(rng()() % 2001) - 1000) / 256;
      Buffer da(a), db(b), dc(c);
      std::string loads, ra, rb;
      for (int i = 0; i < aRegs; ++i)
        loads += "ld.global.b32 a" + std::to_string(i) + ", [x+" + std::to_string(4 * i) + "];\n",
            ra += (i ? ", a" : "a") + std::to_string(i);
      for (int i = 0; i < bRegs; ++i)
        loads += "ld.global.b32 b" + std::to_string(i) + ", [y+" + std::to_string(4 * i) + "];\n",
            rb += (i ? ", b" : "b") + std::to_string(i);
      const std::string t = brain ? "bf16" : "f16";
      Ptx ptx(kernelText(
          ".reg .b32 a<4>, b<2>, t;\n.reg .f32 c<4>;\n.reg .b64 x, y, z, o;\nmov.u32 t, %tid.x;\nld.param.u64 x, "
          "[arg0];\nld.param.u64 y, [arg1];\nld.param.u64 z, [arg2];\nmul.wide.u32 o, t, " +
              std::to_string(4 * aRegs) + ";\nadd.u64 x, x, o;\nmul.wide.u32 o, t, " + std::to_string(4 * bRegs) +
              ";\nadd.u64 y, y, o;\nmul.wide.u32 o, t, 16;\nadd.u64 z, z, o;\n" + loads +
              "ld.global.v4.f32 {c0, c1, c2, c3}, [z];\nmma.sync.aligned.m16n8k" + std::to_string(k) + ".row.col.f32." +
              t + "." + t + ".f32 {c0, c1, c2, c3}, {" + ra + "}, {" + rb +
              "}, {c0, c1, c2, c3};\nst.global.v4.f32 [z], {c0, c1, c2, c3};\nret;",
          3));
      ASSERT_EQ(ptx.result, CUDA_SUCCESS) << ptx.log;
      ASSERT_EQ(launch(ptx.kernel(), {1, 32}, Arguments(da.at, db.at, dc.at)), CUDA_SUCCESS);
      auto d = dc.read<float>();
      for (int lane = 0; lane < 32; ++lane)
        for (int i = 0; i < 4; ++i) {
          const int row = (lane >> 2) + (i < 2 ? 0 : 8), col = lane % 4 * 2 + (i & 1);
          double want = c[lane * 4 + i], scale = std::fabs(want);
          for (int x = 0; x < k; ++x) {
            const double p = double(value(A[row * k + x])) * value(B[x * 8 + col]);
            want += p, scale += std::fabs(p);
          }
          EXPECT_NEAR(d[lane * 4 + i], want, scale * 1e-6)
              << t << " k" << k << " row " << row << " col " << col << " SEED=" << seed();
        }
    }
}

TEST(Matrix, Bytes) {
  for (int kind = 0; kind < 4; ++kind) {
    const bool as = kind & 1, bs = kind & 2;
    std::vector<uint8_t> A(16 * 32), B(32 * 8);
    for (auto &x : A)
      x = rng()();
    for (auto &x : B)
      x = rng()();
    std::vector<U32> a(32 * 4), b(32 * 2);
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane >> 2, inGroup = lane % 4;
      for (int i = 0; i < 16;
           ++i) { // row = group for i in 0..3 and 8..11, else group + 8; col = inGroup * 4 + (i & 3) (+ 16 for i >= 8)
        const int row = i % 8 < 4 ? group : group + 8, col = inGroup * 4 + (i & 3) + (i >= 8 ? 16 : 0);
        a[lane * 4 + i / 4] |= U32(A[row * 32 + col]) << 8 * (i & 3);
      }
      for (int i = 0; i < 8; ++i) {
        const int row = inGroup * 4 + (i & 3) + (i >= 4 ? 16 : 0);
        b[lane * 2 + i / 4] |= U32(B[row * 8 + group]) << 8 * (i & 3);
      }
    }
    auto c = random32(128);
    Buffer da(a), db(b), dc(c);
    Ptx ptx(kernelText(
        ".reg .b32 a<4>, b<2>, t, c<4>;\n.reg .b64 x, y, z, o;\nmov.u32 t, %tid.x;\nld.param.u64 x, "
        "[arg0];\nld.param.u64 y, [arg1];\nld.param.u64 z, [arg2];\nmul.wide.u32 o, t, 16;\nadd.u64 x, x, o;\n"
        "add.u64 z, z, o;\nmul.wide.u32 o, t, 8;\nadd.u64 y, y, o;\nld.global.v4.b32 {a0, a1, a2, a3}, "
        "[x];\nld.global.v2.b32 {b0, b1}, [y];\nld.global.v4.b32 {c0, c1, c2, c3}, [z];\n"
        "mma.sync.aligned.m16n8k32.row.col.s32." +
            std::string(as ? "s8." : "u8.") + (bs ? "s8" : "u8") +
            ".s32 {c0, c1, c2, c3}, {a0, a1, a2, a3}, {b0, b1}, {c0, c1, c2, c3};\nst.global.v4.b32 [z], {c0, c1, c2, "
            "c3};\nret;",
        3));
    ASSERT_EQ(launch(ptx.kernel(), {1, 32}, Arguments(da.at, db.at, dc.at)), CUDA_SUCCESS) << ptx.log;
    auto d = dc.read<U32>();
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i) {
        const int row = (lane >> 2) + (i < 2 ? 0 : 8), col = lane % 4 * 2 + (i & 1);
        U32 want = c[lane * 4 + i];
        for (int x = 0; x < 32; ++x)
          want += (as ? int8_t(A[row * 32 + x]) : int(A[row * 32 + x])) *
                  (bs ? int8_t(B[x * 8 + col]) : int(B[x * 8 + col]));
        EXPECT_EQ(d[lane * 4 + i], want);
      }
  }
}

TEST(Matrix, LoadedAndTransposed) {
  std::vector<uint16_t> m(4 * 64);
  for (auto &x : m)
    x = rng()();
  for (bool transpose : {false, true}) {
    Buffer in(m), out(std::vector<U32>(128, 0));
    Ptx ptx(kernelText(
        ".shared .align 16 .b8 s[512];\n.reg .b32 t, u, n, r<4>;\n.reg .b64 x, y, o;\nmov.u32 t, %tid.x;\nmul.wide.u32 "
        "o, t, 16;\nld.param.u64 x, [arg0];\nld.param.u64 y, [arg1];\nadd.u64 x, x, o;\nadd.u64 y, y, o;\n"
        "ld.global.v4.b32 {r0, r1, r2, r3}, [x];\nmov.u32 u, s;\nshl.b32 n, t, 4;\nadd.u32 u, u, n;\nst.shared.v4.b32 "
        "[u], {r0, r1, r2, r3};\nbar.sync 0;\nldmatrix.sync.aligned.m8n8.x4" +
            std::string(transpose ? ".trans" : "") +
            ".shared.b16 {r0, r1, r2, r3}, [u];\nst.global.v4.b32 [y], {r0, r1, r2, r3};\nret;",
        2));
    ASSERT_EQ(launch(ptx.kernel(), {1, 32}, Arguments(in.at, out.at)), CUDA_SUCCESS) << ptx.log;
    auto r = out.read<U32>();
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i)
        for (int h = 0; h < 2; ++h) {
          const int row = lane / 4, col = lane % 4 * 2 + h;
          EXPECT_EQ(r[lane * 4 + i] >> 16 * h & 0xffff,
                    transpose ? m[i * 64 + col * 8 + row] : m[i * 64 + row * 8 + col]);
        }
  }
  auto in = random32(32);
  auto out = runThreads("movmatrix.sync.aligned.m8n8.trans.b16 OUT, IN;", in);
  for (int lane = 0; lane < 32; ++lane)
    for (int h = 0; h < 2; ++h) {
      const int row = lane / 4, col = lane % 4 * 2 + h;
      EXPECT_EQ(out[lane] >> 16 * h & 0xffff, in[col * 4 + row / 2] >> 16 * (row % 2) & 0xffff);
    }
}

TEST(Warp, SpecialRegisters) {
  std::vector<U32> zero(96, 0);
  auto out = runThreads("mov.u32 T0, %laneid;\nmov.u32 T1, %warpid;\nmov.u32 T2, %lanemask_lt;\nmov.u32 T3, "
                        "%ntid.x;\nmov.u32 T4, %nctaid.x;\nmul.lo.u32 OUT, T1, 1000;\nadd.u32 OUT, OUT, T0;\n"
                        "popc.b32 T2, T2;\nshl.b32 T2, T2, 16;\nadd.u32 OUT, OUT, T2;\nshl.b32 T3, T3, 24;\nxor.b32 "
                        "OUT, OUT, T3;\nadd.u32 OUT, OUT, T4;",
                        zero, "", 96);
  for (U32 i = 0; i < 96; ++i)
    EXPECT_EQ(out[i], ((i / 32 * 1000 + i % 32 + ((i % 32) << 16)) ^ 96u << 24) + 1);
}

TEST(Warp, BlocksOfTwoAndThreeDimensions) {
  for (auto [x, y, z] : {std::array<unsigned, 3>{32, 3, 2}, {7, 5, 3}, {16, 4, 1}}) {
    const unsigned n = x * y * z;
    Buffer out(std::vector<U32>(n, 0));
    Ptx ptx(kernelText(".reg .b32 t<8>;\n.reg .b64 p, o;\nmov.u32 t0, %tid.x;\nmov.u32 t1, %tid.y;\nmov.u32 t2, "
                       "%tid.z;\nmov.u32 t3, %ntid.x;\nmov.u32 t4, %ntid.y;\nmad.lo.u32 t5, t2, t4, t1;\n"
                       "mad.lo.u32 t5, t5, t3, t0;\nmul.wide.u32 o, t5, 4;\nld.param.u64 p, [arg0];\nadd.u64 p, p, "
                       "o;\nshl.b32 t1, t1, 8;\nshl.b32 t2, t2, 16;\nor.b32 t0, t0, t1;\nor.b32 t0, t0, t2;\n"
                       "st.global.u32 [p], t0;\nret;",
                       1));
    Arguments arguments(out.at);
    ASSERT_EQ(vm().cuLaunchKernel(ptx.kernel(), 1, 1, 1, x, y, z, 0, nullptr, arguments.pointers(), nullptr),
              CUDA_SUCCESS);
    auto r = out.read<U32>();
    for (unsigned i = 0; i < n; ++i)
      EXPECT_EQ(r[i], i % x | i / x % y << 8 | i / x / y << 16) << i;
  }
}

} // namespace
