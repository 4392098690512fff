//===- KernelHarness.cpp - compiles stream IR for a target and calls its kernels --------===//

#include "test/codegen/KernelHarness.h"
#include "codegen/cpu/CpuTarget.h"
#include "compiler/pack/PackTile.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "gtest/gtest.h"
#include <cstring>

using namespace sluice;
using namespace sluice::test;
using namespace mlir;

Bytes::Bytes(size_t size, uint8_t fill) : storage(size + 64, fill) {
  start = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
}

Weight Weight::random(llama::Format format, int64_t rows, int64_t cols, std::mt19937 &rng) {
  Weight weight{&llama::formatInfo(format), rows, cols, {}};
  const llama::FormatInfo &info = *weight.format;
  weight.bytes.resize(rows * cols / info.blockElements * info.blockBytes);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (size_t at = 0; at < weight.bytes.size(); at += info.blockBytes) {
    uint8_t *block = weight.bytes.data() + at;
    for (unsigned i = 0; i < info.blockBytes; ++i)
      block[i] = uint8_t(rng());
    // Of magnitude 2^-8 to 1; what scales of up to 6 bits multiply, 2^-6 of that: whole models stay within f16.
    const int leastExponent = info.hasSubScales() ? 1 : 7;
    auto putHalf = [&](int offset) {
      uint16_t bits = uint16_t((leastExponent + rng() % 8) << 10 | (rng() & 0x83ff));
      std::memcpy(block + offset, &bits, 2);
    };
    if (!info.isFloat) {
      if (info.scaleKind == llama::ScaleKind::Exponent8)
        block[info.scaleAt] = 120 + rng() % 8;
      else
        putHalf(info.scaleAt);
      if (info.hasMin())
        putHalf(info.minAt);
    } else if (format == llama::Format::F16) {
      putHalf(0);
    } else {
      float value = uniform(rng);
      uint32_t bits;
      std::memcpy(&bits, &value, 4);
      bits >>= 32 - info.codeBits;
      std::memcpy(block, &bits, info.blockBytes);
    }
  }
  return weight;
}

float Weight::at(int64_t row, int64_t col) const {
  int64_t element = row * cols + col;
  return llama::decodeElement(*format, bytes.data() + element / format->blockElements * format->blockBytes,
                              element % format->blockElements);
}

void sluice::test::packTiles(llvm::ArrayRef<const Weight *> weights, int64_t tileRows, uint8_t *out) {
  MLIRContext context;
  context.loadDialect<llama::LlamaDialect>();
  for (int64_t tile = 0; tile < (weights[0]->rows + tileRows - 1) / tileRows; ++tile)
    for (const Weight *weight : weights) {
      auto type = llama::WeightType::get(&context, weight->rows, weight->cols, weight->format->format);
      stream::PackedLayout layout = stream::PackedLayout::get(type, tileRows);
      packTile(layout, weight->bytes.data(), tile, out);
      out += layout.tileBytes;
    }
}

Kernels::Kernels(const std::string &source, llvm::StringRef name) {
  DialectRegistry registry;
  registry.insert<llama::LlamaDialect, stream::StreamDialect>();
  codegen::registerCodegenDialects(registry);
  context = std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
  module = parseSourceString<ModuleOp>(source, context.get());
  const codegen::Target *target = codegen::lookupTarget(name);
  if (!module || !target) {
    ADD_FAILURE() << "cannot parse the module, or no target " << name.str();
    return;
  }
  PassManager configure(context.get());
  target->addConfigurePasses(configure);
  EXPECT_TRUE(succeeded(configure.run(*module)));
  plan = std::make_unique<stream::Schedule>(stream::Schedule::get(*module->getOps<llama::ModelOp>().begin()));
  if (const codegen::HostTarget *host = target->asHost()) {
    workerMemory = host->workerMemory(plan->programs()[0]);
    jit = llvm::cantFail(codegen::Jit::load(*module, *target));
  } else {
    device = DeviceRunner::load(*module, *target);
  }
}

int64_t Kernels::arenaBytes() {
  int64_t bytes;
  stream::bufferOffsets(plan->programs()[0], &bytes);
  return bytes;
}

void Kernels::runOnDevice(unsigned index, const sluice_args &args) {
  stream::PhaseOp phase = plan->kernels()[index];
  int64_t kvBytes = 0;
  for (auto attention : phase.getBody().getOps<stream::AttentionOp>())
    kvBytes = cast<llama::CacheType>(attention.getCache()).getKvHeads() * int64_t(args.kv_head_stride);
  sluice_device_state state{};
  state.position = args.position;
  state.tokens = args.token_end;
  state.token_begin = args.token_begin;
  state.temperature = 1 / args.parameter;
  state.top_k = args.count;
  const codegen::DeviceKernels &kernels = device->kernels();
  DeviceMemory weights(args.weights, stream::PhaseStream::get(phase).bytes), arena(args.arena, arenaBytes()),
      prepared(nullptr, kernels.preparedBytes), kv(args.kv, kvBytes), ids(args.ids, args.ids ? args.token_end * 4 : 0),
      states(&state, sizeof state), sync(nullptr, kernels.syncBytes + device->blocks() * kernels.syncBlockBytes);
  sluice_device_args copies{};
  copies.weights = weights.address();
  copies.arena = arena.address();
  copies.prepared = prepared.address();
  copies.kv = kv.address();
  copies.kv_head_stride = args.kv_head_stride;
  copies.ids = ids.address();
  copies.state = states.address();
  copies.sync = sync.address();
  copies.cache_type = args.cache_type;
  device->launch(kernels.steps[index].prologue, copies);
  device->launch(kernels.steps[index].run, copies);
  arena.copyTo(args.arena, arenaBytes());
  kv.copyTo(args.kv, kvBytes);
  std::vector<uint8_t> left(kernels.syncBytes + device->blocks() * kernels.syncBlockBytes);
  sync.copyTo(left.data(), left.size());
  EXPECT_EQ(left, std::vector<uint8_t>(left.size())) << "kernels leave what they meet by as they found it";
}

void Kernels::run(unsigned index, sluice_args args) {
  if (device)
    return runOnDevice(index, args);
  const sluice_kernel &kernel = jit.kernels()[index];
  if (kernel.prologue)
    kernel.prologue(&args);
  stream::PhaseUnits units = stream::PhaseUnits::get(plan->kernels()[index]);
  auto pieces = [](uint64_t count, uint64_t size) { return size ? (count + size - 1) / size : 1; };
  uint64_t count = units.units * pieces(args.token_end - args.token_begin, units.unitTokens) *
                   pieces(args.position + args.token_end, units.unitPositions);
  uint64_t first = count > 1 ? 1 + count / 3 : 0;
  kernel.run(&args, 0, first);
  kernel.run(&args, first, count);
}
