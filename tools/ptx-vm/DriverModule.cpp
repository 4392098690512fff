//===- DriverModule.cpp - modules, functions, occupancy, launches ------------------------------------------------===//

#include "tools/ptx-vm/Driver.h"
#include <cstdio>
#include <cstring>

using namespace ptxvm;

#define RETURN_IF_ERROR(call)                                                                                          \
  if (CUresult result = (call); result != CUDA_SUCCESS)                                                                \
  return result
#define NEED(pointer)                                                                                                  \
  if (!(pointer))                                                                                                      \
  return CUDA_ERROR_INVALID_VALUE

namespace {

/// Where the caller wants the compiler's messages.
struct Log {
  char *buffer = nullptr;
  size_t size = 0;
  void **sizeOut = nullptr;
  void write(const std::string &text) {
    size_t n = 0;
    if (buffer && size) {
      n = std::min(size - 1, text.size());
      std::memcpy(buffer, text.data(), n);
      buffer[n] = 0;
    }
    if (sizeOut)
      *reinterpret_cast<uint64_t *>(sizeOut) = n;
  }
};

CUresult load(CUmodule *module, const void *image, Log &info, Log &errors) {
  Driver &d = Driver::get();
  auto refuse = [&](CUresult code, const std::string &message) {
    errors.write(message);
    if (code != CUDA_ERROR_NO_BINARY_FOR_GPU) // a program may have PTX beside it
      std::fprintf(stderr, "ptx-vm: %s\n", message.c_str());
    return code;
  };
  info.write("");
  errors.write("");
  const unsigned char *bytes = static_cast<const unsigned char *>(image);
  if (!std::memcmp(bytes,
                   "\x7f"
                   "ELF",
                   4))
    return refuse(CUDA_ERROR_NO_BINARY_FOR_GPU, "the image is a cubin; ptx-vm executes PTX only");
  if (bytes[0] == 0x50 && bytes[1] == 0xed && bytes[2] == 0x55 && bytes[3] == 0xba)
    return refuse(CUDA_ERROR_NO_BINARY_FOR_GPU, "the image is a fatbin; ptx-vm executes PTX only");
  const std::string_view text(static_cast<const char *>(image));
  if (text.find(".version") == text.npos)
    return refuse(CUDA_ERROR_INVALID_IMAGE, "the image is no PTX: there is no .version");
  try {
    // Version and target first: a newer PTX may have words that are not known.
    const std::string version(text.substr(text.find(".version") + 8, 16));
    int major = 0, minor = 0;
    std::sscanf(version.c_str(), " %d.%d", &major, &minor);
    if (major * 10 + minor > kNewestPtx)
      return refuse(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "PTX " + std::to_string(major) + "." + std::to_string(minor) +
                                                            " is newer than " + std::to_string(kNewestPtx / 10) + "." +
                                                            std::to_string(kNewestPtx % 10));
    const size_t target = text.find(".target");
    int sm = 0;
    char suffix = 0;
    if (target != text.npos)
      std::sscanf(std::string(text.substr(target, 32)).c_str(), ".target sm_%d%c", &sm, &suffix);
    const int has = d.chip->major * 10 + d.chip->minor;
    if (sm > has || (suffix == 'a' && sm != has))
      return refuse(CUDA_ERROR_NO_BINARY_FOR_GPU, "PTX for sm_" + std::to_string(sm) + (suffix == 'a' ? "a" : "") +
                                                      " does not run on " + d.chip->name);
    auto made = std::make_unique<CUmod_st>();
    made->loaded = std::make_unique<LoadedModule>(text, *d.chip, *d.memory);
    std::lock_guard lock(d.mutex);
    d.modules.insert(made.get());
    *module = made.release();
    return CUDA_SUCCESS;
  } catch (const PtxError &error) {
    size_t from = 0;
    for (int line = 1; line < error.line && from < text.size(); ++line)
      from = std::min(text.find('\n', from), text.size() - 1) + 1;
    std::string source(text.substr(from, text.find('\n', from) - from));
    source.erase(0, source.find_first_not_of(" \t"));
    return refuse(CUDA_ERROR_INVALID_PTX, "line " + std::to_string(error.line) + ": " + error.what() + ": " + source);
  } catch (const std::exception &error) {
    return refuse(CUDA_ERROR_INVALID_PTX, error.what());
  }
}

} // namespace

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int options, CUjit_option *names,
                            void **values) {
  RETURN_IF_ERROR(ready());
  NEED(module && image && (!options || (names && values)));
  Log info, errors;
  for (unsigned i = 0; i < options; ++i) {
    switch (names[i]) {
    case CU_JIT_INFO_LOG_BUFFER:
      info.buffer = static_cast<char *>(values[i]);
      break;
    case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
      info.size = reinterpret_cast<size_t>(values[i]) & 0xffffffff;
      info.sizeOut = &values[i];
      break;
    case CU_JIT_ERROR_LOG_BUFFER:
      errors.buffer = static_cast<char *>(values[i]);
      break;
    case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
      errors.size = reinterpret_cast<size_t>(values[i]) & 0xffffffff;
      errors.sizeOut = &values[i];
      break;
    case CU_JIT_MAX_REGISTERS:
    case CU_JIT_THREADS_PER_BLOCK:
    case CU_JIT_WALL_TIME:
    case CU_JIT_OPTIMIZATION_LEVEL:
    case CU_JIT_TARGET_FROM_CUCONTEXT:
    case CU_JIT_TARGET:
    case CU_JIT_FALLBACK_STRATEGY:
    case CU_JIT_GENERATE_DEBUG_INFO:
    case CU_JIT_LOG_VERBOSE:
    case CU_JIT_GENERATE_LINE_INFO:
    case CU_JIT_CACHE_MODE:
      break;
    default:
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  return load(module, image, info, errors);
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

static bool isModule(CUmodule module) {
  Driver &d = Driver::get();
  std::lock_guard lock(d.mutex);
  return d.modules.count(module);
}

CUresult cuModuleUnload(CUmodule module) {
  RETURN_IF_ERROR(ready());
  if (!isModule(module))
    return CUDA_ERROR_INVALID_HANDLE;
  RETURN_IF_ERROR(synchronizeAll());
  Driver &d = Driver::get();
  std::lock_guard lock(d.mutex);
  d.modules.erase(module);
  delete module;
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  RETURN_IF_ERROR(ready());
  NEED(function && name);
  if (!isModule(module))
    return CUDA_ERROR_INVALID_HANDLE;
  Kernel *kernel = module->loaded->kernel(name);
  if (!kernel)
    return CUDA_ERROR_NOT_FOUND;
  std::lock_guard lock(Driver::get().mutex);
  auto &entry = module->functions[name];
  if (!entry)
    entry.reset(new CUfunc_st{kernel, module});
  *function = entry.get();
  return CUDA_SUCCESS;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *pointer, size_t *bytes, CUmodule module, const char *name) {
  RETURN_IF_ERROR(ready());
  NEED(name && (pointer || bytes));
  if (!isModule(module))
    return CUDA_ERROR_INVALID_HANDLE;
  auto it = module->loaded->globals.find(name);
  if (it == module->loaded->globals.end())
    return CUDA_ERROR_NOT_FOUND;
  if (pointer)
    *pointer = it->second.address;
  if (bytes)
    *bytes = it->second.bytes;
  return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
  RETURN_IF_ERROR(ready());
  NEED(value);
  if (!function)
    return CUDA_ERROR_INVALID_HANDLE;
  const Kernel &k = *function->kernel;
  switch (attribute) {
  case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    *value = k.maxThreads();
    break;
  case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
    *value = k.staticSharedBytes();
    break;
  case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
    *value = 0;
    break;
  case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
    *value = k.addresses().localBytes;
    break;
  case CU_FUNC_ATTRIBUTE_NUM_REGS: // not modelled: what a thread of the largest block may have
    *value = std::min(255u, 65536 / k.maxThreads());
    break;
  case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    *value = k.module.ptx.chip;
    break;
  case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
    *value = k.module.chip.major * 10 + k.module.chip.minor;
    break;
  case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
    *value = 0;
    break;
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
    *value = k.maxDynamicShared;
    break;
  case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
    *value = -1;
    break;
  default:
    return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  RETURN_IF_ERROR(ready());
  if (!function)
    return CUDA_ERROR_INVALID_HANDLE;
  Kernel &k = *function->kernel;
  switch (attribute) {
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
    if (value < 0 || value + int64_t(k.staticSharedBytes()) > k.module.chip.sharedPerBlockOptIn)
      return CUDA_ERROR_INVALID_VALUE;
    k.maxDynamicShared = value;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
    return value >= -1 && value <= 100 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  default:
    return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads, size_t shared) {
  RETURN_IF_ERROR(ready());
  NEED(blocks && threads > 0);
  if (!function)
    return CUDA_ERROR_INVALID_HANDLE;
  *blocks = threads > int(function->kernel->maxThreads()) ? 0 : blocksPerProcessor(*function->kernel, threads, shared);
  return CUDA_SUCCESS;
}

namespace ptxvm {

CUresult makeLaunch(CUfunction function, Dim grid, Dim block, unsigned shared, void **parameters, void **extra,
                    LaunchConfig &config) {
  if (!function)
    return CUDA_ERROR_INVALID_HANDLE;
  if (parameters && extra)
    return CUDA_ERROR_INVALID_VALUE;
  const Function &f = function->kernel->function;
  config.kernel = function->kernel;
  config.grid = grid, config.block = block;
  config.dynamicShared = shared;
  config.parameters.assign(f.parameterBytes, 0);
  if (extra) {
    const void *buffer = nullptr;
    size_t bytes = 0;
    for (void **at = extra; *at != CU_LAUNCH_PARAM_END; at += 2) {
      if (*at == CU_LAUNCH_PARAM_BUFFER_POINTER)
        buffer = at[1];
      else if (*at == CU_LAUNCH_PARAM_BUFFER_SIZE)
        bytes = *static_cast<size_t *>(at[1]);
      else
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (bytes != f.parameterBytes || (bytes && !buffer)) {
      std::fprintf(stderr, "ptx-vm: launch of '%s' refused: %zu bytes of parameters, expected %zu\n", f.name.c_str(),
                   bytes, size_t(f.parameterBytes));
      return CUDA_ERROR_INVALID_VALUE;
    }
    std::memcpy(config.parameters.data(), buffer, bytes);
  } else if (!f.parameters.empty()) {
    if (!parameters)
      return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < f.parameters.size(); ++i) {
      if (!parameters[i])
        return CUDA_ERROR_INVALID_VALUE;
      std::memcpy(config.parameters.data() + f.parameters[i].offset, parameters[i], f.parameters[i].bytes);
    }
  }
  return validateLaunch(config);
}

} // namespace ptxvm

static CUresult launch(CUfunction function, Dim grid, Dim block, unsigned shared, CUstream stream, void **parameters,
                       void **extra, bool cooperative) {
  RETURN_IF_ERROR(ready());
  auto config = std::make_shared<LaunchConfig>();
  config->isCooperative = cooperative;
  RETURN_IF_ERROR(makeLaunch(function, grid, block, shared, parameters, extra, *config));
  return enqueue(
      stream, [config] { return runLaunch(*config, *Driver::get().memory); }, nullptr,
      [&](CUgraphNode_st &node) {
        node.kind = CUgraphNode_st::Kernel;
        node.launch = *config;
        node.function = function;
      });
}

CUresult cuLaunchKernel(CUfunction function, unsigned int gridX, unsigned int gridY, unsigned int gridZ,
                        unsigned int blockX, unsigned int blockY, unsigned int blockZ, unsigned int shared,
                        CUstream stream, void **parameters, void **extra) {
  return launch(function, {gridX, gridY, gridZ}, {blockX, blockY, blockZ}, shared, stream, parameters, extra, false);
}

CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned int gridX, unsigned int gridY, unsigned int gridZ,
                                   unsigned int blockX, unsigned int blockY, unsigned int blockZ, unsigned int shared,
                                   CUstream stream, void **parameters) {
  return launch(function, {gridX, gridY, gridZ}, {blockX, blockY, blockZ}, shared, stream, parameters, nullptr, true);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra) {
  NEED(config && (!config->numAttrs || config->attrs));
  bool cooperative = false;
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const CUlaunchAttribute &a = config->attrs[i];
    switch (a.id) {
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
      cooperative = a.value.cooperative;
      break;
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
      if (a.value.clusterDim.x * a.value.clusterDim.y * a.value.clusterDim.z != 1) {
        std::fprintf(stderr, "ptx-vm: clusters are not supported\n");
        return CUDA_ERROR_NOT_SUPPORTED;
      }
      break;
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: // the next launch begins when this one has ended
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
      break;
    default:
      std::fprintf(stderr, "ptx-vm: launch attribute %d is not supported\n", int(a.id));
      return CUDA_ERROR_NOT_SUPPORTED;
    }
  }
  return launch(function, {config->gridDimX, config->gridDimY, config->gridDimZ},
                {config->blockDimX, config->blockDimY, config->blockDimZ}, config->sharedMemBytes, config->hStream,
                parameters, extra, cooperative);
}
