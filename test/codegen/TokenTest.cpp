//===- TokenTest.cpp - whole models on a device: a token by graph, in one launch, in chunks -------===//
//
// The same logits, bit for bit where weights are integers, whichever way they are made; near those of a processor's
// code, which shares nothing of the lowering. Shapes are odd: rows that fill no tile, blocks without work, tiles that
// go on in the next block, positions over several segments.
//
//===----------------------------------------------------------------------------------------------===//

#include "dialects/stream/Schedule.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "runtime/Sampler.h"
#include "test/codegen/KernelHarness.h"
#include "test/codegen/ModelSource.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>
#include <iostream>
#include <map>

using namespace sluice;
using namespace sluice::test;

namespace {

// A model with random weights, on a target.
class Model {
public:
  Model(const Shape &shape, llvm::StringRef targetName, unsigned seed, uint32_t cacheType, int64_t peaks)
      : shape(shape), cacheType(cacheType) {
    mlir::DialectRegistry registry;
    registry.insert<llama::LlamaDialect, stream::StreamDialect>();
    codegen::registerCodegenDialects(registry);
    context = std::make_unique<mlir::MLIRContext>(registry, mlir::MLIRContext::Threading::DISABLED);
    module = mlir::parseSourceString<mlir::ModuleOp>(modelSource(shape), context.get());
    target = codegen::lookupTarget(targetName);
    mlir::PassManager manager(context.get());
    addSchedulePasses(manager, peaks);
    target->addConfigurePasses(manager);
    if (!module || failed(manager.run(*module))) {
      ADD_FAILURE() << "no such model";
      return;
    }
    model = *module->getOps<llama::ModelOp>().begin();
    schedule = std::make_unique<stream::Schedule>(stream::Schedule::get(model));
    fillWeights(seed);
    headStride = (positions + SLUICE_KV_BLOCK - 1) / SLUICE_KV_BLOCK * sluice_kv_block_bytes(cacheType, shape.headDim);
    kvBytes = headStride * shape.kvHeads * shape.layers;
  }
  virtual ~Model() = default;

  static constexpr int64_t positions = 320;
  int64_t logitsAt(unsigned program) const {
    stream::ProgramOp op = schedule->programs()[program];
    return stream::bufferOffsets(op).at("logits");
  }
  int64_t logitsStride() const { return stream::paddedWidth(shape.vocabulary); }
  int64_t arenaBytes(unsigned program) const {
    int64_t bytes = 0;
    stream::bufferOffsets(schedule->programs()[program], &bytes);
    return bytes;
  }

  const Shape shape;
  const uint32_t cacheType;
  const codegen::Target *target = nullptr;
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  llama::ModelOp model;
  std::unique_ptr<stream::Schedule> schedule;
  std::vector<uint8_t> packed;
  int64_t headStride = 0, kvBytes = 0;

private:
  void fillWeights(unsigned seed) {
    std::mt19937 rng(seed);
    packed.assign(schedule->weightBytes() + 4096, 0);
    for (const stream::Placement &place : schedule->placements())
      for (const stream::Segment &segment : place.stream.segments) {
        uint8_t *at = packed.data() + place.offset + segment.offset;
        if (segment.isVector()) {
          llama::WeightDeclOp weight = segment.weights[0];
          for (int64_t i = 0; i < weight.getWeightType().getCols(); ++i)
            reinterpret_cast<float *>(at)[i] = 0.5f + float(rng() % 1000) / 1000;
          continue;
        }
        std::vector<Weight> weights;
        std::vector<const Weight *> pointers;
        for (llama::WeightDeclOp weight : segment.weights) {
          llama::WeightType type = weight.getWeightType();
          weights.push_back(Weight::random(type.getFormat(), type.getRows(), type.getCols(), rng));
        }
        for (const Weight &weight : weights)
          pointers.push_back(&weight);
        packTiles(pointers, 32, at);
      }
  }
};

class HostModel : public Model {
public:
  using Model::Model;
  // Logits of every token, one at a time.
  std::vector<float> decode(const std::vector<int32_t> &ids) {
    codegen::Jit jit = llvm::cantFail(codegen::Jit::load(*module, *target));
    codegen::WorkerMemory memory = target->asHost()->workerMemory(schedule->programs()[0]);
    Bytes weights(packed.size()), arena(arenaBytes(0), 0), scratch(memory.scratch), prepared(memory.prepared),
        kv(kvBytes, 0);
    std::memcpy(weights.data(), packed.data(), packed.size());
    std::vector<float> logits;
    for (size_t i = 0; i < ids.size(); ++i) {
      for (const stream::Step &step : schedule->steps(0)) {
        sluice_args args{};
        args.weights = weights.data() + step.weightsOffset;
        args.arena = arena.data();
        args.scratch = scratch.data();
        args.prepared = prepared.data();
        args.kv = kv.data() + std::max<int64_t>(step.layer, 0) * headStride * shape.kvHeads;
        args.kv_head_stride = headStride;
        args.ids = &ids[i];
        args.position = i;
        args.token_end = 1;
        args.cache_type = cacheType;
        const sluice_kernel &kernel = jit.kernels()[step.kernel];
        if (kernel.prologue)
          kernel.prologue(&args);
        stream::PhaseUnits units = stream::PhaseUnits::get(step.phase);
        kernel.run(&args, 0, units.units * (units.unitPositions ? i / units.unitPositions + 1 : 1));
      }
      const float *row = reinterpret_cast<const float *>(arena.data() + logitsAt(0));
      logits.insert(logits.end(), row, row + shape.vocabulary);
    }
    return logits;
  }
};

class DeviceModel : public Model {
public:
  DeviceModel(const Shape &shape, llvm::StringRef targetName, unsigned seed, uint32_t cacheType, int64_t peaks = 1)
      : Model(shape, targetName, seed, cacheType, peaks), runner(DeviceRunner::load(*module, *target)) {
    if (runner)
      restart();
  }
  bool runs() const { return runner != nullptr; }

  void restart() {
    auto fresh = [](std::unique_ptr<DeviceMemory> &memory, const void *from, size_t bytes) {
      memory = std::make_unique<DeviceMemory>(from, bytes);
    };
    const codegen::DeviceKernels &kernels = runner->kernels();
    if (!weights)
      fresh(weights, packed.data(), packed.size());
    fresh(arenas[0], nullptr, arenaBytes(0));
    fresh(arenas[1], nullptr, arenaBytes(1));
    fresh(kv, nullptr, kvBytes);
    fresh(prepared, nullptr, kernels.preparedBytes);
    fresh(ids, nullptr, 128 * 4);
    fresh(chosen, nullptr, SLUICE_DEVICE_CHOSEN * 4);
    fresh(state, nullptr, sizeof(sluice_device_state));
    if (!sync)
      fresh(sync, nullptr, kernels.syncBytes + runner->blocks() * kernels.syncBlockBytes);
  }

  sluice_device_args args(unsigned program) const {
    sluice_device_args all{};
    all.weights = weights->address();
    all.arena = arenas[program]->address();
    all.prepared = prepared->address();
    all.kv = kv->address();
    all.kv_layer_stride = headStride * shape.kvHeads;
    all.kv_head_stride = headStride;
    all.ids = ids->address();
    all.state = state->address();
    all.sync = sync->address();
    all.logits = all.arena + logitsAt(program);
    all.chosen = chosen->address();
    all.cache_type = cacheType;
    return all;
  }
  void launchSteps(unsigned program) {
    for (const stream::Step &step : schedule->steps(program)) {
      sluice_device_args own = args(program);
      own.weights += step.weightsOffset;
      own.layer = uint32_t(std::max<int64_t>(step.layer, 0));
      runner->launch(runner->kernels().steps[step.kernel].prologue, own);
      runner->launch(runner->kernels().steps[step.kernel].run, own);
    }
  }
  void launchToken(bool inOneLaunch) {
    if (inOneLaunch)
      return runner->launch(runner->kernels().token, args(0));
    launchSteps(0);
    runner->launch(runner->kernels().choose, args(0));
  }
  std::vector<float> logitsOf(unsigned program, int64_t tokens) const {
    std::vector<uint8_t> bytes(arenaBytes(program));
    arenas[program]->copyTo(bytes.data(), bytes.size());
    std::vector<float> logits;
    for (int64_t i = 0; i < tokens; ++i) {
      const float *row = reinterpret_cast<const float *>(bytes.data() + logitsAt(program)) + i * logitsStride();
      logits.insert(logits.end(), row, row + shape.vocabulary);
    }
    return logits;
  }

  std::vector<float> decode(const std::vector<int32_t> &prompt, bool inOneLaunch) {
    restart();
    sluice_device_state begin{};
    begin.tokens = 1;
    state->copyFrom(&begin, sizeof begin);
    std::vector<float> logits;
    for (int32_t id : prompt) {
      ids->copyFrom(&id, 4);
      launchToken(inOneLaunch);
      std::vector<float> row = logitsOf(0, 1);
      logits.insert(logits.end(), row.begin(), row.end());
    }
    return logits;
  }
  std::vector<float> prefill(const std::vector<int32_t> &prompt, std::vector<size_t> chunks) {
    restart();
    std::vector<float> logits;
    size_t at = 0;
    for (size_t count : chunks) {
      count = std::min(count, prompt.size() - at);
      sluice_device_state chunk{};
      chunk.position = at;
      chunk.tokens = uint32_t(count);
      state->copyFrom(&chunk, sizeof chunk);
      ids->copyFrom(prompt.data() + at, count * 4);
      launchSteps(1);
      std::vector<float> rows = logitsOf(1, int64_t(count));
      logits.insert(logits.end(), rows.begin(), rows.end());
      at += count;
    }
    return logits;
  }

  std::unique_ptr<DeviceRunner> runner;
  std::unique_ptr<DeviceMemory> weights, arenas[2], kv, prepared, ids, chosen, state, sync;
};

double worstOf(const std::vector<float> &got, const std::vector<float> &expected) {
  EXPECT_EQ(got.size(), expected.size());
  double largest = 0, worst = 0;
  for (size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
    largest = std::max(largest, std::fabs(double(expected[i])));
    worst = std::max(worst, std::isfinite(got[i]) ? std::fabs(double(got[i]) - expected[i]) : INFINITY);
  }
  return worst / largest;
}

// Root mean square of the differences, beside the largest.
double rmsOf(const std::vector<float> &got, const std::vector<float> &expected) {
  double largest = 0, sum = 0;
  for (size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
    largest = std::max(largest, std::fabs(double(expected[i])));
    sum += std::pow(double(got[i]) - expected[i], 2);
  }
  return std::sqrt(sum / double(expected.size())) / largest;
}

class OnDevice : public ::testing::TestWithParam<const char *> {};
// The chips take turns: each has one of these,
const Shape shapes[] = {
    {64, 4, 2, 16, 96, 100, 2, "q4_1", "q4_1", "q4_0", "q8_0", "q8_0"},
    {96, 3, 1, 32, 160, 77, 2, "q4_0", "q8_0", "q4_1", "q4_0", "q4_0"},
    {128, 9, 3, 20, 192, 130, 1, "f16", "bf16", "bf16", "f16", "f32"},
};
// one with records that are cut into chunks, and others beside them,
const Shape cutRecords[] = {
    {256, 4, 2, 64, 512, 70, 1, "q4_k", "q6_k", "q5_0", "q3_k", "q6_k"},
    {256, 4, 1, 64, 256, 77, 2, "q5_k", "iq4_nl", "q2_k", "mxfp4", "q5_1"},
    {512, 4, 2, 128, 256, 90, 1, "q6_k", "q3_k", "q4_k", "iq4_xs", "q2_k"},
};
// and one of what layers of other families have. The last one's context is too long for attention to be split.
constexpr More everything{.biases = true,
                          .headNorms = true,
                          .postNorms = true,
                          .geglu = true,
                          .window = 7,
                          .attentionScale = 0.3,
                          .attentionCap = 9,
                          .embedding = 4,
                          .multiplier = 0.7,
                          .cap = 5,
                          .magnitude = 1.2};
const Shape families[] = {
    {96, 4, 2, 24, 160, 90, 2, "q8_0", "q4_0", "q4_1", "q4_0", "q8_0", everything},
    {64, 8, 1, 8, 96, 64, 2, "q4_1", "q4_1", "q8_0", "q4_0", "q4_0", {.headNorms = true, .window = 3}},
    {64, 6, 1, 32, 64, 70, 1, "q4_0", "q8_0", "q8_0", "q4_0", "q4_1", {.biases = true, .context = 1 << 21}},
};
const char *const chips[] = {"sm_80", "sm_90", "sm_100"};
INSTANTIATE_TEST_SUITE_P(Chips, OnDevice, ::testing::ValuesIn(chips),
                         [](const auto &info) { return std::string(info.param); });
size_t numberOf(llvm::StringRef chip) { return size_t(llvm::find(chips, chip) - chips); }
} // namespace

TEST_P(OnDevice, EveryWayToRunATokenAgrees) {
  const unsigned seed = randomSeed();
  std::mt19937 rng(seed);
  const size_t turn = numberOf(GetParam());
  for (const Shape &shape : {shapes[turn], cutRecords[turn], families[turn]}) {
    const uint32_t cacheType = rng() % SLUICE_CACHE_COUNT;
    DeviceModel device(shape, GetParam(), seed, cacheType);
    if (!device.runs())
      GTEST_SKIP() << "no such device in this process";
    std::vector<int32_t> prompt(19);
    for (int32_t &id : prompt)
      id = int32_t(rng() % shape.vocabulary);
    std::vector<float> graph = device.decode(prompt, false), once = device.decode(prompt, true),
                       chunks = device.prefill(prompt, {5, 1, 13});
    EXPECT_EQ(0, std::memcmp(graph.data(), once.data(), graph.size() * 4)) << "in one launch";
    if (shape.attention != "f16")
      EXPECT_EQ(0, std::memcmp(graph.data(), chunks.data(), graph.size() * 4)) << "in chunks";
    else
      EXPECT_LT(worstOf(chunks, graph), 1e-3);
    // What is rounded coarsely, the last bit decides: which activations get a second byte where two are as large, keys
    // and values in f16. Here all have one, and the cache is f32.
    constexpr int64_t peaks = 8;
    HostModel host(shape, "x86-64-v3", seed, SLUICE_CACHE_F32, peaks);
    DeviceModel precise(shape, GetParam(), seed, SLUICE_CACHE_F32, peaks);
    // Sharp attention makes more of a last bit in some random models: the bound for all logits is that of their error's
    // root mean square, to which one wrong logit adds 3 % of the largest.
    const std::vector<float> got = precise.decode(prompt, true), expected = host.decode(prompt);
    EXPECT_LT(rmsOf(got, expected), 3e-3) << shape.attention;
    EXPECT_LT(worstOf(got, expected), 3e-2) << shape.attention;
  }
}

// The token at position 260 reads two segments of the cache, by several blocks; or what a window leaves of them, which
// begins in the first or in the second.
TEST_P(OnDevice, SegmentsAreMerged) {
  const unsigned seed = randomSeed();
  std::mt19937 rng(seed);
  const More windows[] = {{}, {.headNorms = true, .window = 100}, {.window = 4}};
  const Shape shape{64, 4, 2, 16, 64, 50, 1, "q4_0", "q4_0", "q4_0", "q8_0", "q4_0", windows[numberOf(GetParam())]};
  DeviceModel device(shape, GetParam(), seed, rng() % SLUICE_CACHE_COUNT);
  if (!device.runs())
    GTEST_SKIP() << "no such device in this process";
  std::vector<int32_t> prompt(263);
  for (int32_t &id : prompt)
    id = int32_t(rng() % shape.vocabulary);
  std::vector<float> all = device.prefill(prompt, {128, 128, 7});
  device.prefill(prompt, {128, 100, 32}); // leaves the last three
  sluice_device_state state{};
  state.position = 260;
  state.tokens = 1;
  device.state->copyFrom(&state, sizeof state);
  for (size_t i = 260; i < prompt.size(); ++i) {
    device.ids->copyFrom(&prompt[i], 4);
    device.launchToken(i % 2);
    std::vector<float> logits = device.logitsOf(0, 1);
    ASSERT_EQ(0, std::memcmp(logits.data(), &all[i * shape.vocabulary], logits.size() * 4)) << i;
  }
}

// Many logits, some equal, some not numbers, some banned; against runtime/Sampler.cpp.
TEST_P(OnDevice, ChoosesAsTheSamplerDoes) {
  const unsigned seed = randomSeed();
  std::mt19937 rng(seed);
  const Shape shape{64, 2, 1, 32, 64, 3001, 1, "q4_0", "q4_0", "q4_0", "q4_0", "q4_0"};
  DeviceModel device(shape, GetParam(), seed, SLUICE_CACHE_F16);
  if (!device.runs())
    GTEST_SKIP() << "no such device in this process";
  runtime::Sampler::SoftmaxFunction softmax = [values = std::vector<float>()](std::span<const float> x,
                                                                              float scale) mutable {
    double sum = 0, largest = -INFINITY;
    for (float each : x)
      largest = std::max(largest, double(each) * scale);
    values.clear();
    for (float each : x)
      sum += std::exp(double(each) * scale - largest);
    for (float each : x)
      values.push_back(float(std::exp(double(each) * scale - largest) / sum));
    return std::span<const float>(values);
  };
  const float spreads[] = {1, 0.1f, 8};
  for (int round = 0; round < 24; ++round) {
    runtime::SamplingOptions options;
    options.temperature = round % 6 == 0 ? 0 : 0.3f + float(rng() % 20) / 10;
    options.topK = std::array{40, 1, 1000, 7, 1024, 200}[round % 6];
    options.topP = round % 4 == 1 ? 1 : 0.9f;
    options.minP = round % 4 == 2 ? 0 : 0.05f;
    options.repeatPenalty = round % 2 ? 1.3f : 1;
    options.seed = rng();
    std::normal_distribution<float> normal(0, spreads[round % 3]);
    std::vector<float> logits(shape.vocabulary);
    for (float &logit : logits)
      logit = round % 5 == 3 ? std::round(normal(rng)) : normal(rng); // with many equal ones
    for (int i = 0; i < 3; ++i)
      logits[rng() % logits.size()] = NAN;
    std::vector<bool> banned(shape.vocabulary);
    std::vector<uint32_t> bannedBits((shape.vocabulary + 31) / 32);
    if (round % 3)
      for (int i = 0; i < 500; ++i) {
        const size_t id = rng() % banned.size();
        banned[id] = true;
        bannedBits[id / 32] |= 1u << id % 32;
      }
    std::vector<int32_t> recent(round % 7 == 0 ? 20 : 100);
    for (int32_t &id : recent)
      id = int32_t(rng() % (round % 2 ? 30 : shape.vocabulary));
    runtime::Sampler sampler(options, softmax, round % 3 ? banned : std::vector<bool>());

    sluice_device_state state{};
    state.position = 5;
    state.tokens = 3;
    state.chosen = 255 + uint64_t(round);
    state.random = options.seed;
    state.temperature = options.temperature;
    state.top_k = uint32_t(options.topK);
    state.top_p = options.topP;
    state.min_p = options.minP;
    state.repeat_penalty = options.repeatPenalty;
    state.flags = SLUICE_DEVICE_CHOOSE;
    state.recent_count = recent.size();
    for (size_t i = recent.size() < 64 ? 0 : recent.size() - 64; i < recent.size(); ++i)
      state.recent[i % 64] = recent[i];
    for (int draw = 0; draw < 3; ++draw) {
      DeviceMemory row(logits.data(), logits.size() * 4), bits(bannedBits.data(), bannedBits.size() * 4);
      if (draw == 0)
        device.state->copyFrom(&state, sizeof state);
      sluice_device_args args = device.args(0);
      args.logits = row.address();
      args.banned = round % 3 ? bits.address() : 0;
      device.runner->launch(device.runner->kernels().choose, args);
      const int32_t expected = sampler.sample(logits, recent);
      recent.push_back(expected);
      int32_t id = -1, ring[SLUICE_DEVICE_CHOSEN];
      device.ids->copyTo(&id, 4);
      device.chosen->copyTo(ring, sizeof ring);
      device.state->copyTo(&state, sizeof state);
      ASSERT_EQ(id, expected) << "round " << round << " draw " << draw;
      EXPECT_EQ(ring[(255 + round + draw) % SLUICE_DEVICE_CHOSEN], expected);
      EXPECT_EQ(state.position, uint64_t(8 + draw));
      EXPECT_EQ(state.tokens, 1u);
      EXPECT_EQ(state.recent_count, recent.size());
    }
  }
}
