// The library under test, loaded as a program would load a driver, and short ways to run a piece of PTX on it.
#pragma once
#include "runtime/CudaDriver.h"
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace ptxvm::test {

/// The driver's functions by name: vm().cuInit(0).
struct Functions {
#define POINTER(name, parameters) CUresult(*name) parameters = nullptr;
  SLUICE_CUDA_FUNCTIONS(POINTER)
#undef POINTER
};
/// Loaded, initialised, with the primary context current.
const Functions &vm();
std::string nameOf(CUresult result);

/// Device memory with this content, freed at the end of its life.
class Buffer {
public:
  explicit Buffer(size_t bytes);
  template <typename T> explicit Buffer(const std::vector<T> &content) : Buffer(content.size() * sizeof(T)) {
    write(content.data());
  }
  Buffer(const Buffer &) = delete;
  ~Buffer();
  void write(const void *from);
  template <typename T> std::vector<T> read() const {
    std::vector<T> v(bytes / sizeof(T));
    readTo(v.data());
    return v;
  }
  CUdeviceptr at = 0;
  size_t bytes;

private:
  void readTo(void *to) const;
};

/// A module; `result` and `log` say how loading went.
class Ptx {
public:
  explicit Ptx(const std::string &text);
  Ptx(const Ptx &) = delete;
  ~Ptx();
  CUfunction kernel(const char *name = "k") const;
  CUmodule module = nullptr;
  CUresult result;
  std::string log;
};

/// Launches and waits. Parameters of 4 or 8 bytes.
class Arguments {
public:
  template <typename... T> explicit Arguments(T... values) { (add(values), ...); }
  void **pointers();

private:
  template <typename T> void add(T value) {
    storage.emplace_back(sizeof(uint64_t));
    __builtin_memcpy(storage.back().data(), &value, sizeof value);
  }
  void add(const Buffer &) = delete; // pass .at
  std::vector<std::vector<uint8_t>> storage;
  std::vector<void *> list;
};
struct Shape {
  unsigned grid = 1, block = 32, shared = 0;
};
CUresult launch(CUfunction kernel, Shape shape, Arguments arguments);

/// A header and a kernel "k" of this body; parameters arg0, arg1, ... are 64 bits wide.
std::string kernelText(const std::string &body, unsigned parameters, const std::string &before = "",
                       const std::string &target = "sm_90");

/// Fresh inputs; the seed is printed when a test fails.
std::mt19937_64 &rng();
uint64_t seed();
std::vector<uint64_t> integers(unsigned bits, size_t count); // edges, then random
std::vector<uint64_t> floats(unsigned bits, size_t count,
                             bool brain = false); // of 16, 32 or 64 bits: edges, then random of all exponents

using Reference = std::function<uint64_t(uint64_t a, uint64_t b, uint64_t c)>;
struct OpCase {
  std::string code;                  // uses registers D, A, B, C, predicates P, Q and scratch T0..T3 (32 bits)
  unsigned d, a, b = 0, c = 0;       // widths
  bool isFloat = false;              // any NaN equals any other
  double relative = 0, absolute = 0; // f32: how far off it may be
};
/// Runs the code on all inputs, once with a lane for each and once with a block for each, and compares with the
/// reference.
void expectOp(const OpCase &op, const std::vector<uint64_t> &a, const std::vector<uint64_t> &b,
              const std::vector<uint64_t> &c, const Reference &reference);

} // namespace ptxvm::test
