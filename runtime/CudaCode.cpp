//===- CudaCode.cpp - the file's device code, chosen for a chip and loaded -----------===//

#include "runtime/CudaCode.h"
#include <algorithm>

using namespace sluice::runtime;

void CudaKernel::launch(sluice_device_args args, CUstream stream) const {
  void *parameters[] = {&args};
  SLUICE_CUDA(cuLaunchKernel, function, blocks, 1u, 1u, threads, 1u, 1u, sharedBytes, stream, +parameters,
              static_cast<void **>(nullptr));
}

// A cubin is for chips of its major architecture from its minor on; PTX for its architecture and later.
static bool runsOn(const sluice_device_image &image, const CudaDeviceInfo &device) {
  const int architecture = int(image.architecture);
  return architecture <= device.architecture &&
         (image.kind == SLUICE_IMAGE_PTX || architecture / 10 == device.architecture / 10);
}

static std::vector<const sluice_device_kernel *> kernelsOf(const sluice_device_variant &variant) {
  std::vector<const sluice_device_kernel *> kernels{&variant.token, &variant.choose};
  for (uint64_t i = 0; i < variant.kernel_count; ++i) {
    kernels.push_back(&variant.kernels[i].prologue);
    kernels.push_back(&variant.kernels[i].run);
  }
  return kernels;
}

uint32_t sluice::runtime::sharedBytesOf(const sluice_device_variant &variant) {
  uint32_t most = 0;
  for (const sluice_device_kernel *kernel : kernelsOf(variant))
    most = std::max(most, kernel->name ? kernel->shared_bytes : 0);
  return most;
}

bool sluice::runtime::runsOn(const sluice_device_variant &variant, const CudaDeviceInfo &device) {
  return sharedBytesOf(variant) <= device.sharedBytes &&
         std::any_of(variant.images, variant.images + variant.image_count,
                     [&](const sluice_device_image &image) { return ::runsOn(image, device); });
}

// That of an image says how new the chip may be at the least; the newest fits best.
static uint32_t architectureOf(const sluice_device_variant &variant) {
  uint32_t architecture = 0;
  for (uint64_t i = 0; i < variant.image_count; ++i)
    architecture = std::max(architecture, variant.images[i].architecture);
  return architecture;
}

const sluice_device_variant *sluice::runtime::chooseVariant(std::span<const sluice_device_variant *const> variants,
                                                            const CudaDeviceInfo &device) {
  const sluice_device_variant *best = nullptr;
  for (const sluice_device_variant *variant : variants)
    if (runsOn(*variant, device) && (!best || architectureOf(*variant) > architectureOf(*best)))
      best = variant;
  return best;
}

// The driver's words about an image that it does not take.
static CudaModule loadImage(const sluice_device_image &image, std::string &refusal) {
  char log[4096] = {};
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, reinterpret_cast<void *>(sizeof log - 1)};
  CUmodule module = nullptr;
  CUresult result = cudaDriver().cuModuleLoadDataEx(&module, image.bytes, 2, options, values);
  if (result == CUDA_SUCCESS)
    return CudaModule(module);
  try {
    checkCuda(result, "cuModuleLoadDataEx");
  } catch (const Error &error) {
    refusal = error.what();
  }
  for (std::string text = log; !text.empty();) { // its first line
    refusal += ": " + text.substr(0, text.find('\n'));
    break;
  }
  return {};
}

CudaCode::CudaCode(const sluice_device_variant &variant, const CudaDeviceInfo &device) {
  std::string refusal = "it is for other chips";
  for (uint64_t i = 0; i < variant.image_count && !module; ++i)
    if (::runsOn(variant.images[i], device))
      module = loadImage(variant.images[i], refusal);
  if (!module)
    throw Error("the driver does not take the code for " + std::string(variant.target) + ": " + refusal +
                "; a newer driver may, or compile the model for the device: --target=sm_" +
                std::to_string(device.architecture));
  for (uint64_t i = 0; i < variant.kernel_count; ++i)
    steps.push_back({load(variant.kernels[i].prologue, device), load(variant.kernels[i].run, device)});
  token = load(variant.token, device);
  choose = load(variant.choose, device);
}

CudaKernel CudaCode::load(const sluice_device_kernel &kernel, const CudaDeviceInfo &device) {
  if (!kernel.name)
    return {};
  CudaKernel loaded{.blocks = kernel.blocks_per_sm ? kernel.blocks_per_sm * device.multiprocessors : 1,
                    .threads = kernel.threads,
                    .sharedBytes = kernel.shared_bytes};
  SLUICE_CUDA(cuModuleGetFunction, &loaded.function, CUmodule(module), kernel.name);
  if (kernel.shared_bytes > 48 << 10)
    SLUICE_CUDA(cuFuncSetAttribute, loaded.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                int(kernel.shared_bytes));
  int resident = 0;
  SLUICE_CUDA(cuOccupancyMaxActiveBlocksPerMultiprocessor, &resident, loaded.function, int(kernel.threads),
              size_t(kernel.shared_bytes));
  if (unsigned(resident) < std::max(kernel.blocks_per_sm, 1u))
    throw Error("device " + std::to_string(device.ordinal) + " (" + device.name + ") holds " +
                std::to_string(resident) + " blocks of kernel '" + kernel.name + "' a multiprocessor at once, " +
                std::to_string(std::max(kernel.blocks_per_sm, 1u)) +
                " are needed; compile the model for it: --target=sm_" + std::to_string(device.architecture));
  mostBlocks = std::max(mostBlocks, loaded.blocks);
  return loaded;
}
