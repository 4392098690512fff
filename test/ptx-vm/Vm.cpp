//===- Vm.cpp ------------------------------------------------------------------------------------------------===//

#include "test/ptx-vm/Vm.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>
#include <dlfcn.h>

namespace ptxvm::test {

const Functions &vm() {
  static const Functions functions = [] {
    void *library = dlopen(PTX_VM_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library)
      throw std::runtime_error(dlerror());
    Functions f;
#define FIND(name, parameters)                                                                                         \
  f.name = reinterpret_cast<decltype(f.name)>(dlsym(library, #name));                                                  \
  if (!f.name)                                                                                                         \
    throw std::runtime_error(#name " is missing");
    SLUICE_CUDA_FUNCTIONS(FIND)
    return f;
  }();
  static thread_local bool ready = [] {
    CUcontext context;
    EXPECT_EQ(functions.cuInit(0), CUDA_SUCCESS);
    EXPECT_EQ(functions.cuDevicePrimaryCtxRetain(&context, 0), CUDA_SUCCESS);
    EXPECT_EQ(functions.cuCtxSetCurrent(context), CUDA_SUCCESS);
    return true;
  }();
  (void)ready;
  return functions;
}

std::string nameOf(CUresult result) {
  const char *name = nullptr;
  vm().cuGetErrorName(result, &name);
  return name ? name : std::to_string(int(result));
}

Buffer::Buffer(size_t bytes) : bytes(bytes) { EXPECT_EQ(vm().cuMemAlloc_v2(&at, bytes), CUDA_SUCCESS); }
Buffer::~Buffer() { vm().cuMemFree_v2(at); }
void Buffer::write(const void *from) { EXPECT_EQ(vm().cuMemcpyHtoD_v2(at, from, bytes), CUDA_SUCCESS); }
void Buffer::readTo(void *to) const { EXPECT_EQ(vm().cuMemcpyDtoH_v2(to, at, bytes), CUDA_SUCCESS); }

Ptx::Ptx(const std::string &text) {
  char buffer[2048] = "";
  CUjit_option names[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {buffer, reinterpret_cast<void *>(sizeof buffer)};
  result = vm().cuModuleLoadDataEx(&module, text.c_str(), 2, names, values);
  log = buffer;
}
Ptx::~Ptx() {
  if (module)
    vm().cuModuleUnload(module);
}
CUfunction Ptx::kernel(const char *name) const {
  CUfunction f = nullptr;
  EXPECT_EQ(result, CUDA_SUCCESS) << log;
  if (module) {
    EXPECT_EQ(vm().cuModuleGetFunction(&f, module, name), CUDA_SUCCESS) << name;
  }
  return f;
}

void **Arguments::pointers() {
  for (auto &v : storage)
    list.push_back(v.data());
  return list.data();
}

CUresult launch(CUfunction kernel, Shape shape, Arguments arguments) {
  CUresult result = vm().cuLaunchKernel(kernel, shape.grid, 1, 1, shape.block, 1, 1, shape.shared, nullptr,
                                        arguments.pointers(), nullptr);
  return result == CUDA_SUCCESS ? vm().cuCtxSynchronize() : result;
}

std::string kernelText(const std::string &body, unsigned parameters, const std::string &before,
                       const std::string &target) {
  std::string text = ".version 8.6\n.target " + target + "\n.address_size 64\n" + before + ".visible .entry k(";
  for (unsigned i = 0; i < parameters; ++i)
    text += (i ? ", " : "") + std::string(".param .u64 arg") + std::to_string(i);
  return text + ")\n{\n" + body + "\n}\n";
}

uint64_t seed() {
  static const uint64_t value = [] {
    const char *given = std::getenv("SEED");
    return given ? std::strtoull(given, nullptr, 0) : std::random_device{}() * 0x100000001ull ^ time(nullptr);
  }();
  return value;
}
std::mt19937_64 &rng() {
  static std::mt19937_64 generator(seed());
  return generator;
}

static uint64_t cut(uint64_t v, unsigned bits) { return bits >= 64 ? v : v & ((uint64_t(1) << bits) - 1); }

std::vector<uint64_t> integers(unsigned bits, size_t count) {
  std::vector<uint64_t> v = {
      0,        1,   ~0ull, 2, 1ull << (bits - 1), (1ull << (bits - 1)) - 1, 31, 32, 33, bits - 1, bits,
      bits + 1, 255, 256,   7, ~0ull - 1};
  while (v.size() < count) {
    uint64_t r = rng()();
    v.push_back(r % 4 == 0 ? r >> (r % 61) : r % 4 == 1 ? ~(r >> (r % 59)) : r);
  }
  v.resize(count);
  std::shuffle(v.begin(), v.end(), rng());
  for (uint64_t &x : v)
    x = cut(x, bits);
  return v;
}

std::vector<uint64_t> floats(unsigned bits, size_t count, bool brain) {
  const unsigned mantissa = bits == 64 ? 52 : bits == 32 ? 23 : brain ? 7 : 10;
  const uint64_t sign = 1ull << (bits - 1), infinity = sign - (1ull << mantissa),
                 one = ((sign >> 1) - (1ull << mantissa));
  std::vector<uint64_t> v = {0,
                             sign,
                             infinity,
                             infinity | sign,
                             infinity | 1 << (mantissa - 1),
                             infinity - 1,
                             (infinity - 1) | sign,
                             1,
                             sign | 1,
                             1ull << mantissa,
                             (1ull << mantissa) - 1,
                             one,
                             one | sign,
                             one + 1,
                             one - 1,
                             one | 1ull << (mantissa - 1),
                             infinity | 1};
  while (v.size() < count) {
    uint64_t r = cut(rng()(), bits);
    if (rng()() % 2) // near one
      r = (r & (sign | ((1ull << mantissa) - 1))) | (((one >> mantissa) + rng()() % 17 - 8) << mantissa);
    v.push_back(r);
  }
  v.resize(count);
  std::shuffle(v.begin(), v.end(), rng());
  return v;
}

static bool isNan(uint64_t v, unsigned bits) {
  if (bits == 64) {
    double d;
    std::memcpy(&d, &v, 8);
    return std::isnan(d);
  }
  if (bits == 32) {
    float f;
    uint32_t w = v;
    std::memcpy(&f, &w, 4);
    return std::isnan(f);
  }
  return (v & 0x7c00) == 0x7c00 && (v & 0x3ff);
}

static bool isClose(const OpCase &op, uint64_t got, uint64_t want) {
  if (got == want)
    return true;
  if (op.isFloat && isNan(got, op.d) && isNan(want, op.d))
    return true;
  if (op.relative == 0 && op.absolute == 0)
    return false;
  float g, w;
  uint32_t gBits = got, wBits = want;
  std::memcpy(&g, &gBits, 4);
  std::memcpy(&w, &wBits, 4);
  return std::fabs(double(g) - w) <= std::max(op.absolute, op.relative * std::fabs(double(w)));
}

void expectOp(const OpCase &op, const std::vector<uint64_t> &a, const std::vector<uint64_t> &b,
              const std::vector<uint64_t> &c, const Reference &reference) {
  SCOPED_TRACE(op.code + " (SEED=" + std::to_string(seed()) + ")");
  const std::vector<uint64_t> *inputs[] = {&a, &b, &c};
  const unsigned widths[] = {op.a, op.b, op.c};
  const size_t count = a.size();
  auto text = [&](bool perBlock) {
    std::string s = ".reg .pred P, Q, R;\n.reg .b32 T<4>, i, n, e;\n.reg .b64 at, offset, W<4>;\n.reg .b16 H<4>;\n";
    auto reg = [&](const char *name, unsigned width) {
      if (width)
        s += ".reg .b" + std::to_string(std::max(16u, width)) + " " + name + ";\n";
    };
    reg("D", op.d), reg("A", op.a), reg("B", op.b), reg("C", op.c);
    if (perBlock)
      s += "mov.u32 i, %ctaid.x;\n";
    else
      s += "mov.u32 i, %tid.x;\nmov.u32 e, %ctaid.x;\nmov.u32 n, %ntid.x;\nmad.lo.u32 i, e, n, i;\nsetp.ge.u32 R, i, " +
           std::to_string(count) + ";\n@R exit;\n";
    auto address = [&](unsigned parameter, unsigned width) {
      s += "ld.param.u64 at, [arg" + std::to_string(parameter) + "];\nmul.wide.u32 offset, i, " +
           std::to_string(width / 8) + ";\nadd.u64 at, at, offset;\n";
    };
    for (unsigned i = 0; i < 3; ++i)
      if (widths[i]) {
        address(i + 1, widths[i]);
        s += "ld.global.b" + std::to_string(widths[i]) + " " + "ABC"[i] + ", [at];\n";
      }
    s += op.code + "\n";
    address(0, op.d);
    return kernelText(s + "st.global.b" + std::to_string(op.d) + " [at], D;\nret;", 4, "", "sm_90");
  };
  std::vector<std::unique_ptr<Buffer>> buffers;
  for (unsigned i = 0; i < 3; ++i) {
    std::vector<uint8_t> bytes(std::max<size_t>(8, count * widths[i] / 8));
    if (widths[i])
      for (size_t n = 0; n < count; ++n)
        std::memcpy(bytes.data() + n * widths[i] / 8, &(*inputs[i])[n], widths[i] / 8);
    buffers.push_back(std::make_unique<Buffer>(bytes));
  }
  for (bool perBlock : {false, true}) {
    Buffer out(count * op.d / 8);
    Ptx ptx(text(perBlock));
    ASSERT_EQ(ptx.result, CUDA_SUCCESS) << ptx.log;
    Shape shape = perBlock ? Shape{unsigned(count), 32} : Shape{unsigned(count + 63) / 64, 64};
    ASSERT_EQ(launch(ptx.kernel(), shape, Arguments(out.at, buffers[0]->at, buffers[1]->at, buffers[2]->at)),
              CUDA_SUCCESS);
    const std::vector<uint8_t> bytes = out.read<uint8_t>();
    unsigned wrong = 0;
    for (size_t n = 0; n < count && wrong < 3; ++n) {
      uint64_t got = 0;
      std::memcpy(&got, bytes.data() + n * op.d / 8, op.d / 8);
      const uint64_t x = a[n], y = op.b ? b[n] : 0, z = op.c ? c[n] : 0;
      const uint64_t want = cut(reference(x, y, z), op.d);
      if (isClose(op, got, want))
        continue;
      ++wrong;
      ADD_FAILURE() << (perBlock ? "uniform" : "per lane") << std::hex << ": a=0x" << x << " b=0x" << y << " c=0x" << z
                    << ": got 0x" << got << ", want 0x" << want;
    }
  }
}

} // namespace ptxvm::test
