//===- DeviceRunner.cpp - kernels for a device, run as the runtime would ----------------===//

#include "test/codegen/DeviceRunner.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/SmallString.h"
#include "gtest/gtest.h"
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>

using namespace sluice;
using namespace sluice::test;

namespace {
struct Driver {
#define X(NAME, PARAMETERS) CUresult(*NAME) PARAMETERS = nullptr;
  SLUICE_CUDA_FUNCTIONS(X)
#undef X
  unsigned chip = 0; // of the one device: 90 for sm_90
  unsigned multiprocessors = 0;
  bool isGpu = false;

  void check(CUresult result, const char *what) const {
    const char *name = "?";
    if (result)
      cuGetErrorName(result, &name);
    ASSERT_EQ(result, CUDA_SUCCESS) << what << ": " << name;
  }

  // The executor is made for the first target that asks, in a process. A GPU runs the code of older chips, too.
  static const Driver *forTarget(llvm::StringRef target) {
    static const Driver driver(target);
    unsigned asked = 0;
    target.drop_front(strlen("sm_")).getAsInteger(10, asked);
    const bool runs = driver.isGpu ? asked <= driver.chip : asked == driver.chip;
    return driver.cuInit && runs ? &driver : nullptr;
  }

private:
  explicit Driver(llvm::StringRef target) {
    const char *path = std::getenv("SLUICE_CUDA_LIBRARY");
    isGpu = path;
    if (!path) {
      path = SLUICE_PTX_VM;
      setenv("PTX_VM_DEVICE", target.str().c_str(), 1);
      setenv("PTX_VM_SMS", "3", 0);
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
      return;
#define X(NAME, PARAMETERS) NAME = reinterpret_cast<CUresult(*) PARAMETERS>(dlsym(library, #NAME));
    SLUICE_CUDA_FUNCTIONS(X)
#undef X
    CUdevice device = 0;
    CUcontext context = nullptr;
    int major = 0, minor = 0, count = 0;
    if (cuInit(0) || cuDeviceGet(&device, 0) || cuDevicePrimaryCtxRetain(&context, device) || cuCtxSetCurrent(context) ||
        cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device) ||
        cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device) ||
        cuDeviceGetAttribute(&count, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device))
      return;
    chip = unsigned(10 * major + minor);
    multiprocessors = unsigned(count);
  }
};

const Driver *driver = nullptr;
} // namespace

DeviceMemory::DeviceMemory(const void *host, size_t bytes) {
  driver->check(driver->cuMemAlloc_v2(&pointer, std::max<size_t>(bytes, 1)), "cuMemAlloc");
  if (host)
    driver->check(driver->cuMemcpyHtoD_v2(pointer, host, bytes), "cuMemcpyHtoD");
  else
    driver->check(driver->cuMemsetD8_v2(pointer, 0, std::max<size_t>(bytes, 1)), "cuMemsetD8");
}
DeviceMemory::~DeviceMemory() { driver->cuMemFree_v2(pointer); }
void DeviceMemory::copyTo(void *host, size_t bytes) const {
  driver->check(driver->cuMemcpyDtoH_v2(host, pointer, bytes), "cuMemcpyDtoH");
}

void DeviceMemory::copyFrom(const void *host, size_t bytes) {
  driver->check(driver->cuMemcpyHtoD_v2(pointer, host, bytes), "cuMemcpyHtoD");
}

std::unique_ptr<DeviceRunner> DeviceRunner::load(mlir::ModuleOp configured, const codegen::Target &target) {
  driver = Driver::forTarget(target.name());
  if (!driver)
    return nullptr;
  std::unique_ptr<DeviceRunner> runner(new DeviceRunner());
  runner->multiprocessors = driver->multiprocessors;
  mlir::OwningOpRef<mlir::ModuleOp> lowered = configured.clone();
  mlir::PassManager manager(configured.getContext());
  target.addLowerPasses(manager);
  llvm::SmallString<0> ptx;
  llvm::raw_svector_ostream out(ptx);
  if (failed(manager.run(*lowered)) || failed(target.emit(*lowered, codegen::EmitKind::Assembly, out))) {
    ADD_FAILURE() << "no code could be made for " << target.name().str();
    return nullptr;
  }
  runner->table = *codegen::DeviceKernels::read(*lowered);
  runner->ptx = ptx.str().str();
  driver->check(driver->cuModuleLoadData(&runner->module, runner->ptx.c_str()), "cuModuleLoadData");
  return runner;
}

DeviceRunner::~DeviceRunner() {
  if (module)
    driver->cuModuleUnload(module);
}

void DeviceRunner::launch(const codegen::DeviceKernel &kernel, const sluice_device_args &args) {
  if (kernel.name.empty())
    return;
  CUfunction function = nullptr;
  driver->check(driver->cuModuleGetFunction(&function, module, kernel.name.c_str()), kernel.name.c_str());
  if (kernel.sharedBytes > 48 * 1024)
    driver->check(driver->cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                             int(kernel.sharedBytes)),
                  "cuFuncSetAttribute");
  sluice_device_args copy = args;
  void *parameters[] = {&copy};
  const unsigned grid = kernel.blocksPerSm ? kernel.blocksPerSm * multiprocessors : 1;
  driver->check(driver->cuLaunchKernel(function, grid, 1, 1, kernel.threads, 1, 1, kernel.sharedBytes, nullptr,
                                       parameters, nullptr),
                kernel.name.c_str());
  driver->check(driver->cuCtxSynchronize(), kernel.name.c_str());
}
