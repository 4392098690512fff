//===- NvccTest.cpp - CUDA C++ through nvcc's PTX, against plain C++
//-------------------------------------------------------===//

#include "test/ptx-vm/Vm.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <numeric>
#include <sstream>

using namespace ptxvm::test;

namespace {

using U32 = uint32_t;

/// Each test twice: as it is, and with the checker of memory order on; these kernels have no races.
class Nvcc : public testing::TestWithParam<bool> {
protected:
  void SetUp() override {
#ifndef PTX_VM_KERNELS
    GTEST_SKIP() << "nvcc is not installed";
#else
    vm();
    if (GetParam())
      setenv("PTX_VM_CHECK_ORDER", "1", 1);
    std::ifstream file(PTX_VM_KERNELS);
    std::stringstream text;
    text << file.rdbuf();
    ptx = std::make_unique<Ptx>(text.str());
#endif
  }
  void TearDown() override { unsetenv("PTX_VM_CHECK_ORDER"); }
  CUresult run(const char *kernel, Shape shape, Arguments arguments, unsigned gridY = 1, unsigned blockY = 1) {
    CUresult r = vm().cuLaunchKernel(ptx->kernel(kernel), shape.grid, gridY, 1, shape.block, blockY, 1, shape.shared,
                                     nullptr, arguments.pointers(), nullptr);
    return r == CUDA_SUCCESS ? vm().cuCtxSynchronize() : r;
  }
  static std::vector<float> normal(size_t n) {
    std::normal_distribution<float> d;
    std::vector<float> v(n);
    for (float &x : v)
      x = d(rng());
    return v;
  }
  std::unique_ptr<Ptx> ptx;
};
INSTANTIATE_TEST_SUITE_P(Kernels, Nvcc, testing::Bool(),
                         [](const auto &info) { return info.param ? "Ordered" : "Plain"; });

TEST_P(Nvcc, Reduce) {
  auto x = normal(10007);
  Buffer in(x), sum(std::vector<float>{0});
  ASSERT_EQ(run("reduce", {7, 96}, Arguments(in.at, sum.at, int(x.size()))), CUDA_SUCCESS);
  EXPECT_NEAR(sum.read<float>()[0], std::accumulate(x.begin(), x.end(), 0.0), 1e-2);
}

TEST_P(Nvcc, Matmul) {
  const int m = 37, n = 50, k = 61;
  auto a = normal(m * k), b = normal(k * n);
  Buffer da(a), db(b), dc(std::vector<float>(m * n, NAN));
  ASSERT_EQ(run("matmul", {4, 16}, Arguments(da.at, db.at, dc.at, m, n, k), 3, 16), CUDA_SUCCESS);
  auto c = dc.read<float>();
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      float want = 0; // in the kernel's order, so the same bits
      for (int x = 0; x < (k + 15) / 16 * 16; ++x)
        want = std::fma(x < k ? a[i * k + x] : 0, x < k ? b[x * n + j] : 0, want);
      ASSERT_EQ(c[i * n + j], want);
    }
}

TEST_P(Nvcc, Softmax) {
  const int rows = 5, n = 777;
  auto x = normal(rows * n);
  Buffer in(x), out(std::vector<float>(rows * n, NAN));
  ASSERT_EQ(run("softmax", {rows, 128}, Arguments(in.at, out.at, n)), CUDA_SUCCESS);
  auto y = out.read<float>();
  for (int r = 0; r < rows; ++r) {
    double sum = 0;
    for (int i = 0; i < n; ++i)
      sum += std::exp(double(x[r * n + i]));
    for (int i = 0; i < n; ++i)
      ASSERT_NEAR(y[r * n + i], std::exp(double(x[r * n + i])) / sum, 1e-6);
  }
}

TEST_P(Nvcc, Histogram) {
  std::vector<uint8_t> x(20000);
  std::vector<U32> want(256);
  for (auto &v : x)
    ++want[v = rng()() % 256 & rng()()];
  Buffer in(x), bins(std::vector<U32>(256, 0));
  ASSERT_EQ(run("histogram", {6, 100}, Arguments(in.at, int(x.size()), bins.at)), CUDA_SUCCESS);
  EXPECT_EQ(bins.read<U32>(), want);
}

TEST_P(Nvcc, Scan) {
  std::vector<int> x(200), want(200);
  for (int &v : x)
    v = rng()() % 1000;
  std::partial_sum(x.begin(), x.end(), want.begin());
  Buffer data(x);
  ASSERT_EQ(run("scan", {1, 256, 1024}, Arguments(data.at, 200)), CUDA_SUCCESS);
  EXPECT_EQ(data.read<int>(), want);
}

TEST_P(Nvcc, Collatz) {
  std::vector<U32> x(1000);
  for (U32 &v : x)
    v = rng()() % 100000 + 1;
  Buffer in(x), out(std::vector<int>(1000, -1));
  ASSERT_EQ(run("collatz", {8, 128}, Arguments(in.at, out.at, 1000)), CUDA_SUCCESS);
  auto steps = out.read<int>();
  for (size_t i = 0; i < x.size(); ++i) {
    int c = 0;
    for (uint64_t v = x[i]; v != 1;) {
      v = v & 1 ? 3 * v + 1 : v / 2;
      if (++c > 150)
        break;
    }
    ASSERT_EQ(steps[i], c);
  }
}

TEST_P(Nvcc, SortRows) {
  std::vector<int> x(90 * 16);
  for (int &v : x)
    v = rng()();
  Buffer data(x);
  ASSERT_EQ(run("sortRows", {3, 32}, Arguments(data.at, 90)), CUDA_SUCCESS);
  for (int r = 0; r < 90; ++r)
    std::sort(x.begin() + 16 * r, x.begin() + 16 * r + 16);
  EXPECT_EQ(data.read<int>(), x);
}

TEST_P(Nvcc, Stencil) {
  const int blocks = 40, threads = 64, n = blocks * threads, rounds = 20;
  auto x = normal(n);
  std::vector<float> both(2 * n, NAN), now = x, next(n);
  std::copy(x.begin(), x.end(), both.begin());
  Buffer data(both), counter(std::vector<U32>{0});
  ASSERT_EQ(run("stencil", {blocks, threads}, Arguments(data.at, counter.at, rounds)), CUDA_SUCCESS);
  for (int r = 0; r < rounds; ++r) {
    for (int i = 0; i < n; ++i) // nvcc contracts the products into the sums
      next[i] = std::fma(0.25f, now[(i + 1) % n], std::fma(0.5f, now[i], 0.25f * now[(i + n - 1) % n]));
    now.swap(next);
  }
  auto y = data.read<float>();
  for (int i = 0; i < n; ++i)
    ASSERT_NEAR(y[(rounds & 1) * n + i], now[i], 1e-6);
}

TEST_P(Nvcc, TensorCores) {
  std::vector<uint16_t> a(256), b(128);
  auto fill = [](std::vector<uint16_t> &v) {
    for (auto &x : v)
      x = (rng()() & 0x83ff) | 0x3c00;
  };
  fill(a), fill(b);
  auto value = [](uint16_t h) { return (h & 0x8000 ? -1.0 : 1.0) * (1024 + (h & 1023)) / 1024; };
  Buffer da(a), db(b), dd(std::vector<float>(128, NAN));
  ASSERT_EQ(run("tensorCores", {1, 32}, Arguments(da.at, db.at, dd.at)), CUDA_SUCCESS);
  auto d = dd.read<float>();
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      double want = 0;
      for (int k = 0; k < 16; ++k)
        want += value(a[i * 16 + k]) * value(b[k * 8 + j]);
      ASSERT_NEAR(d[i * 8 + j], want, 1e-4);
    }
}

TEST_P(Nvcc, Calls) {
  Buffer out(std::vector<float>(100, NAN));
  ASSERT_EQ(run("calls", {4, 32}, Arguments(out.at, 100)), CUDA_SUCCESS);
  auto y = out.read<float>();
  for (int i = 0; i < 100; ++i) {
    float x = i * 0.25f;
    const int n = i % 7;
    for (int k = 0; k < n; ++k)
      x = std::fma(x, 1.5f, float(k < n / 2 ? k * 3 : n / 2 - k));
    ASSERT_EQ(y[i], x);
  }
}

TEST_P(Nvcc, Mathematics) {
  const int n = 500;
  auto x = normal(n);
  for (float &v : x)
    v *= 4;
  Buffer in(x), out(std::vector<float>(6 * n, NAN));
  ASSERT_EQ(run("mathematics", {8, 64}, Arguments(in.at, out.at, n)), CUDA_SUCCESS);
  auto y = out.read<float>();
  for (int i = 0; i < n; ++i) {
    const double v = x[i];
    ASSERT_NEAR(y[i], std::sin(v), 1e-6) << v;
    ASSERT_NEAR(y[n + i], std::pow(std::fabs(v), 1.7), 1e-4) << v;
    ASSERT_NEAR(y[2 * n + i], std::erf(v), 1e-6) << v;
    ASSERT_NEAR(y[3 * n + i], std::log(std::fabs(x[i]) + 1e-3f), 1e-5) << v;
    ASSERT_NEAR(y[4 * n + i], std::tanh(v), 1e-6) << v;
    ASSERT_NEAR(y[5 * n + i], std::exp(v * 0.1), 1e-2) << v;
  }
}

} // namespace
