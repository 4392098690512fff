//===- CudaEngine.cpp - programs run by an NVIDIA device -------------------------------===//

#include "runtime/CudaEngine.h"
#include <algorithm>
#include <cstring>
#include <limits>

using namespace sluice::runtime;

CudaContext::CudaContext(int ordinal) {
  SLUICE_CUDA(cuDeviceGet, &device, ordinal);
  SLUICE_CUDA(cuDevicePrimaryCtxRetain, &context, device);
  SLUICE_CUDA(cuCtxSetCurrent, context);
}

CudaContext::~CudaContext() {
  if (cudaDriver().cuDevicePrimaryCtxRelease_v2)
    cudaDriver().cuDevicePrimaryCtxRelease_v2(device);
}

static uint64_t blocksOf(uint64_t positions) { return (positions + SLUICE_KV_BLOCK - 1) / SLUICE_KV_BLOCK; }

static uint64_t cacheBytes(const sluice_model &model, uint32_t type, uint64_t context) {
  return blocksOf(context) * sluice_kv_block_bytes(type, model.head_dim) * model.kv_heads * model.layers;
}

static std::string mebibytes(uint64_t bytes) { return std::to_string((bytes + 1048575) >> 20) + " MiB"; }

// As much of what was asked for as there is memory for, 0 asking for all that the model was trained for. The rest of
// the memory is taken before: weights, activations, and some for the driver.
static uint64_t contextThatFits(const Model &model, const CudaDeviceInfo &device, const sluice_device_variant &variant,
                                uint64_t asked, uint32_t cacheType, bool orProcessor) {
  const sluice_model &shape = model.description();
  size_t free = 0, total = 0;
  SLUICE_CUDA(cuMemGetInfo_v2, &free, &total);
  uint64_t taken = model.section(SLUICE_SECTION_WEIGHTS).size() + variant.prepared_bytes + (uint64_t(64) << 20);
  for (uint32_t kind : {SLUICE_PROGRAM_DECODE, SLUICE_PROGRAM_PREFILL, SLUICE_PROGRAM_SOFTMAX})
    taken += model.program(kind).arena_bytes;
  const uint64_t least = asked ? asked : std::min<uint64_t>(shape.context_length, SLUICE_KV_BLOCK);
  if (taken + cacheBytes(shape, cacheType, least) > free)
    throw Error("too little memory on device " + std::to_string(device.ordinal) + " (" + device.name + "): " +
                mebibytes(taken + cacheBytes(shape, cacheType, least)) + " needed for the weights and a context of " +
                std::to_string(least) + " tokens, " + mebibytes(free) + " available" +
                (asked         ? "; lower -c, or take --cache-type q8_0"
                 : orProcessor ? "; --device cpu runs it on the processor"
                               : "; compile the model for the processor too: --target=" + std::string(variant.target) +
                                     ",x86-64-v3"));
  if (asked)
    return asked;
  const uint64_t blocks = (free - taken) / cacheBytes(shape, cacheType, SLUICE_KV_BLOCK);
  return std::min<uint64_t>(shape.context_length, blocks * SLUICE_KV_BLOCK);
}

static bool launchesWholeToken(const CudaCode &code, Launch launch) {
  if (launch == Launch::Token && !code.token)
    throw UsageError("the file's code cannot launch a token as one kernel; take --launch phases");
  return launch != Launch::Phases && code.token;
}

// The bytes that a chunk's embedding may look up: the tensor's, wherever it lies.
static std::pair<uint64_t, uint64_t> embeddings(const Model &model) {
  const sluice_step &first = model.steps(model.program(SLUICE_PROGRAM_PREFILL)).front();
  for (const sluice_tensor &tensor : model.tensors())
    if (tensor.offset == first.weights_offset)
      return {tensor.offset, tensor.offset + tensor.size};
  return {0, model.section(SLUICE_SECTION_WEIGHTS).size()};
}

CudaEngine::CudaEngine(const Model &model, const sluice_device_variant &variant, const CudaDeviceInfo &device,
                       Launch launch, uint64_t context, uint32_t cacheType)
    : Engine(model, context), variant(variant), device(device), cacheType(cacheType), context(device.ordinal),
      code(variant, device), wholeToken(launchesWholeToken(code, launch)), stream(makeCudaStream()) {
  const sluice_model &shape = model.description();
  headStride = blocksOf(capacity) * sluice_kv_block_bytes(cacheType, shape.head_dim);
  layerStride = headStride * shape.kv_heads;
  const auto [firstBegin, firstEnd] = embeddings(model);
  weights = std::make_unique<CudaWeights>(model.section(SLUICE_SECTION_WEIGHTS), firstBegin, firstEnd, this->context);
  for (uint32_t kind : {SLUICE_PROGRAM_DECODE, SLUICE_PROGRAM_PREFILL, SLUICE_PROGRAM_SOFTMAX})
    programs[kind] = {&model.program(kind), allocateCuda(model.program(kind).arena_bytes, "activations", true)};
  cache = allocateCuda(layerStride * shape.layers, "the context", true);
  prepared = allocateCuda(variant.prepared_bytes, "activations", true);
  ids = allocateCuda(chunkTokens() * sizeof(int32_t), "token ids", true);
  banned = allocateCuda((shape.vocabulary + 31) / 32 * sizeof(uint32_t), "banned tokens", true);
  state = allocateCuda(sizeof(sluice_device_state), "the state", true);
  softmaxState = allocateCuda(sizeof(sluice_device_state), "the state", true);
  sync = allocateCuda(variant.sync_bytes + code.mostBlocks * variant.sync_block_bytes, "barriers", true);
  chosen = allocatePinned(SLUICE_DEVICE_CHOSEN * sizeof(int32_t));
  SLUICE_CUDA(cuMemHostGetDevicePointer_v2, &chosenOnDevice, static_cast<void *>(chosen), 0u);
  for (CudaEvent &event : done)
    event = makeCudaEvent(false);
  row.resize(shape.vocabulary);
  probabilities.resize(shape.vocabulary + 1);
  if (!wholeToken)
    buildGraph();
}

CudaEngine::~CudaEngine() { cudaDriver().cuStreamSynchronize(stream); }

sluice_device_args CudaEngine::argsOf(uint32_t kind) const {
  const DeviceProgram &program = programs[kind];
  return {.weights = weights->address(),
          .arena = program.arena,
          .prepared = prepared,
          .kv = cache,
          .kv_layer_stride = layerStride,
          .kv_head_stride = headStride,
          .ids = ids,
          .state = state,
          .sync = sync,
          .logits = program.arena + program.program->output_offset,
          .banned = banned,
          .chosen = chosenOnDevice,
          .cache_type = cacheType,
          .layer = 0};
}

static sluice_device_args forStep(sluice_device_args args, const sluice_step &step) {
  args.weights += step.weights_offset;
  args.layer = step.layer == UINT32_MAX ? 0 : step.layer;
  return args;
}

// A node for each kernel, each after the one before.
void CudaEngine::buildGraph() {
  CUgraph made = nullptr;
  SLUICE_CUDA(cuGraphCreate, &made, 0u);
  const CudaGraph plan(made);
  CUgraphNode last = nullptr;
  auto add = [&](const CudaKernel &kernel, sluice_device_args args) {
    void *parameters[] = {&args};
    CUDA_KERNEL_NODE_PARAMS_v2 node = {};
    node.func = kernel.function;
    node.gridDimX = kernel.blocks, node.gridDimY = node.gridDimZ = 1;
    node.blockDimX = kernel.threads, node.blockDimY = node.blockDimZ = 1;
    node.sharedMemBytes = kernel.sharedBytes;
    node.kernelParams = parameters; // copied
    const CUgraphNode before = last;
    SLUICE_CUDA(cuGraphAddKernelNode_v2, &last, made, before ? &before : static_cast<const CUgraphNode *>(nullptr),
                size_t(before ? 1 : 0), static_cast<const CUDA_KERNEL_NODE_PARAMS_v2 *>(&node));
  };
  const sluice_device_args args = argsOf(SLUICE_PROGRAM_DECODE);
  for (const sluice_step &step : model.steps(*programs[SLUICE_PROGRAM_DECODE].program))
    add(code.steps[step.kernel].run, forStep(args, step));
  add(code.choose, args);
  CUgraphExec exec = nullptr;
  SLUICE_CUDA(cuGraphInstantiateWithFlags, &exec, made, 0ull);
  graph = CudaGraphExec(exec);
}

// The steps of a program one by one. What comes later in the file may still be on its way.
void CudaEngine::launchSteps(uint32_t kind, bool withHead) {
  const sluice_device_args args = argsOf(kind);
  Profile &profile = profiles[kind];
  const std::span<const sluice_step> steps = model.steps(*programs[kind].program);
  for (size_t i = 0; i < steps.size(); ++i) {
    const sluice_step &step = steps[i];
    if (step.flags & SLUICE_STEP_HEAD && !withHead)
      continue;
    if (step.weights_bytes)
      weights->require(step.weights_offset, step.weights_offset + step.weights_bytes, stream);
    else if (i == 0) {
      const auto [begin, end] = embeddings(model);
      weights->require(begin, end, stream);
    }
    if (!profile.times.empty())
      SLUICE_CUDA(cuEventRecord, CUevent(profile.events[0]), CUstream(stream));
    const CudaCode::Step &kernels = code.steps[step.kernel];
    if (kernels.prologue)
      kernels.prologue.launch(forStep(args, step), stream);
    kernels.run.launch(forStep(args, step), stream);
    if (!profile.times.empty()) {
      float milliseconds = 0;
      SLUICE_CUDA(cuEventRecord, CUevent(profile.events[1]), CUstream(stream));
      SLUICE_CUDA(cuEventSynchronize, CUevent(profile.events[1]));
      SLUICE_CUDA(cuEventElapsedTime, &milliseconds, CUevent(profile.events[0]), CUevent(profile.events[1]));
      profile.times[i].nanoseconds += double(milliseconds) * 1e6;
    }
  }
}

// One token and its choice, from the state that the device has.
void CudaEngine::launchToken() {
  if (!profiles[SLUICE_PROGRAM_DECODE].times.empty()) {
    launchSteps(SLUICE_PROGRAM_DECODE, true);
    code.choose.launch(argsOf(SLUICE_PROGRAM_DECODE), stream);
    return;
  }
  weights->require(0, model.section(SLUICE_SECTION_WEIGHTS).size(), stream);
  if (wholeToken)
    code.token.launch(argsOf(SLUICE_PROGRAM_DECODE), stream);
  else
    SLUICE_CUDA(cuGraphLaunch, CUgraphExec(graph), CUstream(stream));
}

// `sampler` null: nothing is chosen. Small copies from the host's ordinary memory are read before the call returns.
void CudaEngine::writeState(uint64_t position, std::span<const int32_t> newIds, uint64_t headBegin,
                            const Sampler *sampler, std::span<const int32_t> recent) {
  sluice_device_state value{};
  value.position = position;
  value.tokens = uint32_t(newIds.size());
  value.token_begin = uint32_t(headBegin);
  value.chosen = launched;
  if (sampler) {
    const SamplingOptions &options = sampler->settings();
    value.flags = SLUICE_DEVICE_CHOOSE;
    value.random = sampler->randomness().current();
    value.temperature = sampler->isGreedy() ? 0 : options.temperature;
    value.top_k = uint32_t(options.topK);
    value.top_p = options.topP;
    value.min_p = options.minP;
    value.repeat_penalty = options.repeatPenalty;
    value.recent_count = recent.size();
    for (size_t i = recent.size() - std::min(recent.size(), std::size(value.recent)); i < recent.size(); ++i)
      value.recent[i % std::size(value.recent)] = recent[i];
    writeBanned(*sampler);
  }
  SLUICE_CUDA(cuMemcpyHtoDAsync_v2, CUdeviceptr(state), static_cast<const void *>(&value), sizeof value,
              CUstream(stream));
  SLUICE_CUDA(cuMemcpyHtoDAsync_v2, CUdeviceptr(ids), static_cast<const void *>(newIds.data()), newIds.size_bytes(),
              CUstream(stream));
}

void CudaEngine::writeBanned(const Sampler &sampler) {
  if (bannedBy == &sampler)
    return;
  std::vector<uint32_t> bits((model.description().vocabulary + 31) / 32);
  const std::vector<bool> &list = sampler.bannedTokens();
  for (size_t id = 0; id < list.size(); ++id)
    bits[id / 32] |= uint32_t(list[id]) << id % 32;
  SLUICE_CUDA(cuMemcpyHtoDAsync_v2, CUdeviceptr(banned), static_cast<const void *>(bits.data()),
              bits.size() * sizeof(uint32_t), CUstream(stream));
  bannedBy = &sampler;
}

void CudaEngine::decodePending() {
  if (!pending)
    return;
  pending = false;
  next.known = false;
  writeState(pendingPosition, {&pendingId, 1}, 0, nullptr, {});
  launchToken();
}

void CudaEngine::run(uint32_t kind, std::span<const int32_t> newIds, uint64_t position, uint64_t headBegin) {
  decodePending();
  lastKind = kind;
  lastToken = newIds.size() - 1;
  if (kind == SLUICE_PROGRAM_DECODE) {
    pending = true;
    pendingId = newIds[0];
    pendingPosition = position;
    return;
  }
  next.known = false;
  writeState(position, newIds, headBegin, nullptr, {});
  launchSteps(kind, headBegin < newIds.size());
}

const float *CudaEngine::logits(uint64_t token) {
  decodePending();
  const DeviceProgram &program = programs[lastKind];
  const uint64_t at = program.program->output_offset + token * model.description().logits_padded * sizeof(float);
  SLUICE_CUDA(cuMemcpyDtoHAsync_v2, static_cast<void *>(row.data()), CUdeviceptr(program.arena + at),
              row.size() * sizeof(float), CUstream(stream));
  SLUICE_CUDA(cuStreamSynchronize, CUstream(stream));
  return row.data();
}

void CudaEngine::finish() {
  decodePending();
  SLUICE_CUDA(cuStreamSynchronize, CUstream(stream));
}

std::span<const float> CudaEngine::softmax(std::span<const float> values, float scale) {
  const sluice_program &program = *programs[SLUICE_PROGRAM_SOFTMAX].program;
  sluice_device_args args = argsOf(SLUICE_PROGRAM_SOFTMAX);
  sluice_device_state value{};
  value.temperature = 1 / scale;
  value.top_k = uint32_t(values.size());
  args.state = softmaxState; // the other one is of a token that may be under way
  SLUICE_CUDA(cuMemcpyHtoDAsync_v2, CUdeviceptr(softmaxState), static_cast<const void *>(&value), sizeof value,
              CUstream(stream));
  SLUICE_CUDA(cuMemcpyHtoDAsync_v2, CUdeviceptr(args.arena + program.input_offset),
              static_cast<const void *>(values.data()), values.size_bytes(), CUstream(stream));
  for (const sluice_step &step : model.steps(program))
    code.steps[step.kernel].run.launch(forStep(args, step), stream);
  SLUICE_CUDA(cuMemcpyDtoHAsync_v2, static_cast<void *>(probabilities.data()),
              CUdeviceptr(args.arena + program.output_offset), probabilities.size() * sizeof(float), CUstream(stream));
  SLUICE_CUDA(cuStreamSynchronize, CUstream(stream));
  return {probabilities.data(), values.size()};
}

bool CudaEngine::canChoose(const Sampler &sampler) const {
  const SamplingOptions &options = sampler.settings();
  return code.choose && (sampler.isGreedy() || (options.topK > 0 && uint32_t(options.topK) <= SLUICE_DEVICE_TOP_K));
}

int32_t CudaEngine::choose(Sampler &sampler, std::span<const int32_t> recent) {
  if (!canChoose(sampler))
    return sampler.sample({logits(lastToken), model.description().vocabulary}, recent);

  const bool ahead = pending && next.known && next.id == pendingId && next.position == pendingPosition &&
                     next.sampler == &sampler && next.random == sampler.randomness().current();
  uint64_t mine = launched - 1; // the number of this choice, which may have been launched before
  if (!ahead) {
    if (pending) {
      writeState(pendingPosition, {&pendingId, 1}, 0, &sampler, recent);
      launchToken();
    } else { // after a chunk, or once more
      sluice_device_args args = argsOf(lastKind);
      args.logits += lastToken * model.description().logits_padded * sizeof(float);
      const int32_t last = recent.empty() ? 0 : recent.back();
      writeState(recent.size() - 1, {&last, 1}, 0, &sampler, recent);
      code.choose.launch(args, stream);
    }
    mine = launched++;
    SLUICE_CUDA(cuEventRecord, CUevent(done[mine % 2]), CUstream(stream));
  }
  const uint64_t position = pending ? pendingPosition : recent.size() - 1;
  pending = false;
  // The state now says: the chosen id at the next position. The device goes on with it.
  if (!sampler.isGreedy())
    sampler.randomness().next();
  const bool room = position + 1 < capacity && profiles[SLUICE_PROGRAM_DECODE].times.empty();
  if (room) {
    launchToken();
    SLUICE_CUDA(cuEventRecord, CUevent(done[launched % 2]), CUstream(stream));
    ++launched;
  }
  const int32_t id = readChosen(mine);
  next = {room, id, position + 1, &sampler, sampler.randomness().current()};
  return id;
}

int32_t CudaEngine::readChosen(uint64_t number) {
  SLUICE_CUDA(cuEventSynchronize, CUevent(done[number % 2]));
  const int32_t id = static_cast<const volatile int32_t *>(static_cast<void *>(chosen))[number % SLUICE_DEVICE_CHOSEN];
  if (id < 0 || uint32_t(id) >= model.description().vocabulary)
    throw Error("the device chose token " + std::to_string(id) + ", which the model does not have");
  return id;
}

// What its memory can do by its clock and width; arithmetic is no limit that is known.
Capability CudaEngine::measure() {
  return {.bandwidth = device.bandwidth > 0 ? device.bandwidth : std::numeric_limits<double>::infinity(),
          .peak = std::numeric_limits<double>::infinity(),
          .nominal = true};
}

void CudaEngine::startProfile(uint32_t kind) {
  Profile &profile = profiles[kind];
  finish();
  profile.times.assign(model.steps(*programs[kind].program).size(), {});
  profile.events.clear();
  for (int i = 0; i < 2; ++i)
    profile.events.push_back(makeCudaEvent(true));
}

static CudaDeviceInfo chooseDevice(std::span<const sluice_device_variant *const> variants, int ordinal) {
  const std::vector<CudaDeviceInfo> devices = listCudaDevices();
  if (ordinal >= int(devices.size()))
    throw UsageError("there is no device " + std::to_string(ordinal) + "; --list-devices shows those of this machine");
  std::string here;
  for (const CudaDeviceInfo &device : devices) {
    if (ordinal >= 0 && device.ordinal != ordinal)
      continue;
    if (chooseVariant(variants, device))
      return device;
    here += (here.empty() ? "" : ", ") + device.name + " (sm_" + std::to_string(device.architecture) + ", " +
            std::to_string(device.sharedBytes) + " bytes)";
  }
  std::string targets;
  for (const sluice_device_variant *variant : variants)
    targets += (targets.empty() ? "" : "; for ") + std::string(variant->target) + " and newer with " +
               std::to_string(sharedBytesOf(*variant)) + " bytes of shared memory a block";
  throw NoDevice("the file has code for " + targets + "; the machine has " + here + "; compile the model for it");
}

std::span<const sluice_device_variant *const> sluice::runtime::deviceVariants() {
  return {sluice_device_variants, sluice_device_variant_count};
}

std::unique_ptr<Engine> sluice::runtime::makeDeviceEngine(const Model &model, int ordinal, Launch launch,
                                                          uint64_t context, uint32_t cacheType, bool orProcessor) {
  const CudaDeviceInfo device = chooseDevice(deviceVariants(), ordinal);
  const sluice_device_variant &variant = *chooseVariant(deviceVariants(), device);
  model.checkKernels(variant.kernel_count);
  const CudaContext current(device.ordinal); // the engine retains it again
  const uint64_t fitting = contextThatFits(model, device, variant, context, cacheType, orProcessor);
  return std::make_unique<CudaEngine>(model, variant, device, launch, fitting, cacheType);
}

std::string sluice::runtime::listDevices() {
  std::string text;
  for (const CudaDeviceInfo &device : listCudaDevices()) {
    const sluice_device_variant *variant = chooseVariant(deviceVariants(), device);
    text += std::to_string(device.ordinal) + ": " + device.name + ", sm_" + std::to_string(device.architecture) + ", " +
            mebibytes(device.memory) + ", " +
            (variant ? "runs the code for " + std::string(variant->target) : "the file has no code for it") + "\n";
  }
  return text;
}
