//===- DriverTest.cpp - the driver API: what programs rely on, and its errors
//----------------------------------------===//

#include "test/ptx-vm/Vm.h"
#include "gtest/gtest.h"
#include <atomic>
#include <cstring>
#include <thread>

using namespace ptxvm::test;

namespace {

using U32 = uint32_t;
#define OK(call) ASSERT_EQ(nameOf(call), "CUDA_SUCCESS")
#define FAILS(error, call) EXPECT_EQ(nameOf(call), #error)

/// data[i] = data[i] * factor + addend for i < 256.
const std::string kAffine =
    ".version 8.6\n.target sm_80\n.address_size 64\n.global .align 4 .u32 bias = 7;\n.visible .entry k(.param .u64 "
    "data, .param .u32 factor, .param .u32 addend)\n{\n.reg .b32 r<4>;\n.reg .b64 d<4>;\n"
    "ld.param.u64 d0, [data];\nld.param.u32 r0, [factor];\nld.param.u32 r1, [addend];\nmov.u32 r2, "
    "%tid.x;\nmul.wide.u32 d1, r2, 4;\nadd.u64 d0, d0, d1;\nld.global.u32 r3, [d0];\n"
    "mad.lo.u32 r3, r3, r0, r1;\nst.global.u32 [d0], r3;\nret;\n}\n";

class Driver : public testing::Test {
protected:
  static void SetUpTestSuite() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  Driver() : ptx(kAffine), kernel(ptx.kernel()), data(std::vector<U32>(256, 1)) {}
  CUresult enqueue(CUstream stream, U32 factor, U32 addend) {
    Arguments arguments(data.at, factor, addend);
    return vm().cuLaunchKernel(kernel, 1, 1, 1, 256, 1, 1, 0, stream, arguments.pointers(), nullptr);
  }
  U32 value() { return data.read<U32>()[200]; }
  Ptx ptx;
  CUfunction kernel;
  Buffer data;
};

TEST_F(Driver, AThreadWithoutAContext) {
  const Functions &f = vm();
  std::thread([&] {
    CUdeviceptr p;
    CUcontext context;
    EXPECT_EQ(f.cuMemAlloc_v2(&p, 16), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT_EQ(f.cuCtxSynchronize(), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT_EQ(f.cuCtxGetCurrent(&context), CUDA_SUCCESS);
    EXPECT_EQ(context, nullptr);
  }).join();
}

TEST(Chips, Simulated) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (auto [name, major, minor, sms] : {std::tuple("sm_80", 8, 0, 108),
                                         {"sm_86", 8, 6, 82},
                                         {"sm_89", 8, 9, 128},
                                         {"sm_90", 9, 0, 132},
                                         {"sm_100", 10, 0, 148},
                                         {"sm_120", 12, 0, 170}})
    EXPECT_EXIT(
        {
          setenv("PTX_VM_DEVICE", name, 1);
          int a;
          int b;
          int c;
          vm().cuDeviceGetAttribute(&a, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0);
          vm().cuDeviceGetAttribute(&b, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0);
          vm().cuDeviceGetAttribute(&c, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0);
          exit(a == major && b == minor && c == sms ? 0 : 1);
        },
        testing::ExitedWithCode(0), "");
  EXPECT_EXIT(
      {
        setenv("PTX_VM_SMS", "3", 1);
        setenv("PTX_VM_MEMORY", "1048576", 1);
        int sms;
        size_t bytes;
        CUdeviceptr p;
        vm().cuDeviceGetAttribute(&sms, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0);
        vm().cuDeviceTotalMem_v2(&bytes, 0);
        exit(sms == 3 && bytes == 1048576 && vm().cuMemAlloc_v2(&p, 2000000) == CUDA_ERROR_OUT_OF_MEMORY &&
                     vm().cuMemAlloc_v2(&p, 1000000) == CUDA_SUCCESS &&
                     vm().cuMemAlloc_v2(&p, 100000) == CUDA_ERROR_OUT_OF_MEMORY
                 ? 0
                 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(Driver, ModulesAndFunctions) {
  CUdeviceptr at;
  size_t bytes;
  OK(vm().cuModuleGetGlobal_v2(&at, &bytes, ptx.module, "bias"));
  EXPECT_EQ(bytes, 4u);
  U32 bias = 0;
  OK(vm().cuMemcpyDtoH_v2(&bias, at, 4));
  EXPECT_EQ(bias, 7u);
  CUfunction f;
  FAILS(CUDA_ERROR_NOT_FOUND, vm().cuModuleGetFunction(&f, ptx.module, "other"));
  FAILS(CUDA_ERROR_NOT_FOUND, vm().cuModuleGetGlobal_v2(&at, &bytes, ptx.module, "k"));
  FAILS(CUDA_ERROR_INVALID_HANDLE, vm().cuModuleGetFunction(&f, reinterpret_cast<CUmodule>(&f), "k"));
  int value;
  OK(vm().cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel));
  EXPECT_EQ(value, 1024);
  OK(vm().cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, kernel, 256, 0));
  EXPECT_EQ(value, 8);
  OK(vm().cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, kernel, 256, 100 * 1024));
  EXPECT_EQ(value, 2);
}

TEST_F(Driver, Memory) {
  CUdeviceptr at, base;
  size_t bytes, free0, free1, total;
  OK(vm().cuMemGetInfo_v2(&free0, &total));
  OK(vm().cuMemAlloc_v2(&at, 1000));
  OK(vm().cuMemGetInfo_v2(&free1, &total));
  EXPECT_EQ(free0 - free1, 1000u);
  EXPECT_EQ(at % 256, 0u);
  OK(vm().cuMemGetAddressRange_v2(&base, &bytes, at + 999));
  EXPECT_EQ(base, at);
  FAILS(CUDA_ERROR_NOT_FOUND, vm().cuMemGetAddressRange_v2(&base, &bytes, at + 1000));
  uint8_t host[1001];
  FAILS(CUDA_ERROR_INVALID_VALUE, vm().cuMemcpyHtoD_v2(at, host, 1001));
  FAILS(CUDA_ERROR_INVALID_VALUE, vm().cuMemcpyDtoH_v2(host, at + 1, 1000));
  OK(vm().cuMemsetD8_v2(at, 0x5a, 1000));
  OK(vm().cuMemsetD32_v2(at + 8, 0x12345678, 2));
  FAILS(CUDA_ERROR_INVALID_VALUE, vm().cuMemsetD32_v2(at + 2, 0, 1));
  OK(vm().cuMemcpyDtoH_v2(host, at, 1000));
  EXPECT_EQ(host[7], 0x5a);
  EXPECT_EQ(host[15], 0x12);
  EXPECT_EQ(host[999], 0x5a);
  FAILS(CUDA_ERROR_INVALID_VALUE, vm().cuMemFree_v2(at + 256));
  OK(vm().cuMemFree_v2(at));
  FAILS(CUDA_ERROR_INVALID_VALUE, vm().cuMemFree_v2(at));
  OK(vm().cuMemFree_v2(0));
  FAILS(CUDA_ERROR_INVALID_VALUE, vm().cuMemAlloc_v2(&at, 0));
  void *pinned;
  OK(vm().cuMemHostAlloc(&pinned, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
  OK(vm().cuMemHostGetDevicePointer_v2(&at, pinned, 0));
  FAILS(CUDA_ERROR_INVALID_VALUE, vm().cuMemHostGetDevicePointer_v2(&at, host, 0));
  OK(vm().cuMemFreeHost(pinned));
  OK(vm().cuMemHostRegister_v2(host, sizeof host, 0));
  FAILS(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, vm().cuMemHostRegister_v2(host, 8, 0));
  OK(vm().cuMemHostUnregister(host));
  FAILS(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, vm().cuMemHostUnregister(host));
}

TEST_F(Driver, AKernelUsesPinnedMemory) {
  void *pinned;
  OK(vm().cuMemHostAlloc(&pinned, 1024, 0));
  std::fill_n(static_cast<U32 *>(pinned), 256, 5u);
  Arguments arguments(reinterpret_cast<uint64_t>(pinned), U32(3), U32(1));
  OK(vm().cuLaunchKernel(kernel, 1, 1, 1, 256, 1, 1, 0, nullptr, arguments.pointers(), nullptr));
  OK(vm().cuCtxSynchronize());
  EXPECT_EQ(static_cast<U32 *>(pinned)[255], 16u);
  OK(vm().cuMemFreeHost(pinned));
}

TEST_F(Driver, StreamsAndEvents) {
  CUstream a, b;
  CUevent done, timed;
  OK(vm().cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
  OK(vm().cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
  OK(vm().cuEventCreate(&done, CU_EVENT_DISABLE_TIMING));
  OK(vm().cuEventCreate(&timed, CU_EVENT_DEFAULT));
  // b must wait for a, which waits for us.
  static std::atomic<bool> go;
  go = false;
  OK(vm().cuLaunchHostFunc(
      a,
      [](void *) {
        while (!go)
          std::this_thread::yield();
      },
      nullptr));
  OK(enqueue(a, 10, 1));
  OK(vm().cuEventRecord(done, a));
  OK(vm().cuStreamWaitEvent(b, done, 0));
  OK(enqueue(b, 2, 5));
  OK(vm().cuEventRecord(timed, b));
  FAILS(CUDA_ERROR_NOT_READY, vm().cuEventQuery(timed));
  FAILS(CUDA_ERROR_NOT_READY, vm().cuStreamQuery(b));
  go = true;
  OK(vm().cuEventSynchronize(timed));
  OK(vm().cuStreamQuery(b));
  EXPECT_EQ(value(), (1 * 10 + 1) * 2 + 5u);
  float ms;
  FAILS(CUDA_ERROR_INVALID_HANDLE, vm().cuEventElapsedTime(&ms, done, timed));
  CUevent later;
  OK(vm().cuEventCreate(&later, CU_EVENT_DEFAULT));
  OK(vm().cuEventRecord(later, b));
  OK(vm().cuEventSynchronize(later));
  OK(vm().cuEventElapsedTime(&ms, timed, later));
  EXPECT_GE(ms, 0);
  OK(vm().cuEventDestroy_v2(later));
  OK(vm().cuEventDestroy_v2(timed));
  OK(vm().cuEventDestroy_v2(done));
  OK(vm().cuStreamDestroy_v2(a));
  OK(vm().cuStreamDestroy_v2(b));
  FAILS(CUDA_ERROR_INVALID_HANDLE, vm().cuStreamSynchronize(b));
}

TEST_F(Driver, TheDefaultStreamWaitsForBlockingOnes) {
  CUstream s;
  OK(vm().cuStreamCreate(&s, CU_STREAM_DEFAULT));
  static std::atomic<int> order;
  order = 0;
  OK(vm().cuLaunchHostFunc(
      s,
      [](void *) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        order = 1;
      },
      nullptr));
  OK(vm().cuLaunchHostFunc(
      nullptr, [](void *) { order = order == 1 ? 2 : 100; }, nullptr));
  OK(vm().cuLaunchHostFunc(
      s, [](void *) { order = order == 2 ? 3 : 200; }, nullptr));
  OK(vm().cuCtxSynchronize());
  EXPECT_EQ(order, 3);
  OK(vm().cuStreamDestroy_v2(s));
}

TEST_F(Driver, LaunchesTakeCopiesOfParameters) {
  static std::atomic<bool> go;
  go = false;
  CUstream s;
  OK(vm().cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
  OK(vm().cuLaunchHostFunc(
      s,
      [](void *) {
        while (!go)
          std::this_thread::yield();
      },
      nullptr));
  U32 factor = 4, addend = 2;
  void *pointers[] = {&data.at, &factor, &addend};
  OK(vm().cuLaunchKernel(kernel, 1, 1, 1, 256, 1, 1, 0, s, pointers, nullptr));
  std::vector<U32> host(256, 9);
  OK(vm().cuMemcpyHtoDAsync_v2(data.at, host.data(), 4, s)); // pageable: staged now
  factor = 99, host[0] = 1234;
  go = true;
  OK(vm().cuStreamSynchronize(s));
  EXPECT_EQ(value(), 6u);
  EXPECT_EQ(data.read<U32>()[0], 9u);
  OK(vm().cuStreamDestroy_v2(s));
}

TEST_F(Driver, ExplicitGraphs) {
  CUgraph graph;
  CUgraphNode first, second, third;
  CUgraphExec exec;
  OK(vm().cuGraphCreate(&graph, 0));
  auto params = [&](U32 &factor, U32 &addend, void **pointers) {
    pointers[0] = &data.at, pointers[1] = &factor, pointers[2] = &addend;
    return CUDA_KERNEL_NODE_PARAMS_v2{kernel, 1, 1, 1, 256, 1, 1, 0, pointers, nullptr, nullptr, nullptr};
  };
  U32 factor = 3, addend = 1;
  void *pointers[3];
  auto p = params(factor, addend, pointers);
  OK(vm().cuGraphAddKernelNode_v2(&first, graph, nullptr, 0, &p));
  factor = 2, addend = 10;
  OK(vm().cuGraphAddKernelNode_v2(&second, graph, &first, 1, &p));
  OK(vm().cuGraphAddEmptyNode(&third, graph, &second, 1));
  size_t count = 0;
  OK(vm().cuGraphGetNodes(graph, nullptr, &count));
  EXPECT_EQ(count, 3u);
  CUDA_KERNEL_NODE_PARAMS_v2 got;
  OK(vm().cuGraphKernelNodeGetParams_v2(first, &got));
  EXPECT_EQ(*static_cast<U32 *>(got.kernelParams[1]), 3u);
  FAILS(CUDA_ERROR_INVALID_VALUE, vm().cuGraphKernelNodeGetParams_v2(third, &got));
  OK(vm().cuGraphInstantiateWithFlags(&exec, graph, 0));
  OK(vm().cuGraphLaunch(exec, nullptr));
  OK(vm().cuGraphLaunch(exec, nullptr));
  OK(vm().cuCtxSynchronize());
  auto twice = [](U32 v) { return (v * 3 + 1) * 2 + 10; };
  EXPECT_EQ(value(), twice(twice(1)));
  // Other parameters for one node of the executable graph.
  factor = 1, addend = 0;
  OK(vm().cuGraphExecKernelNodeSetParams_v2(exec, first, &p));
  OK(vm().cuGraphLaunch(exec, nullptr));
  OK(vm().cuCtxSynchronize());
  EXPECT_EQ(value(), twice(twice(1)) * 2 + 10);
  CUgraphExecUpdateResultInfo_v1 info;
  OK(vm().cuGraphExecUpdate_v2(exec, graph, &info));
  CUgraph other;
  OK(vm().cuGraphCreate(&other, 0));
  FAILS(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, vm().cuGraphExecUpdate_v2(exec, other, &info));
  EXPECT_EQ(info.result, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
  CUgraphNode node;
  FAILS(CUDA_ERROR_INVALID_VALUE, vm().cuGraphAddEmptyNode(&node, other, &first, 1)); // of another graph
  OK(vm().cuGraphDestroy(other));
  OK(vm().cuGraphExecDestroy(exec));
  OK(vm().cuGraphDestroy(graph));
}

// Neither the host nor a non-blocking stream waits for a fill of the default stream.
TEST_F(Driver, FillsOfTheDefaultStreamAreLate) {
  CUdeviceptr at;
  CUstream stream;
  uint8_t seen[4] = {};
  OK(vm().cuMemAlloc_v2(&at, 4));
  OK(vm().cuMemsetD8_v2(at, 1, 4));
  OK(vm().cuStreamSynchronize(nullptr));
  OK(vm().cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  for (int i = 0; i < 3; ++i)
    OK(vm().cuMemsetD8_v2(at, 2, 4));
  OK(vm().cuMemcpyDtoHAsync_v2(seen, at, 4, stream));
  OK(vm().cuStreamSynchronize(stream));
  EXPECT_EQ(seen[3], 1);
  OK(vm().cuStreamSynchronize(nullptr));
  OK(vm().cuMemcpyDtoHAsync_v2(seen, at, 4, stream));
  OK(vm().cuStreamSynchronize(stream));
  EXPECT_EQ(seen[3], 2);
  OK(vm().cuStreamDestroy_v2(stream));
  OK(vm().cuMemFree_v2(at));
}

TEST_F(Driver, CapturedGraphs) {
  CUstream a, b;
  CUevent fork, join;
  OK(vm().cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
  OK(vm().cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
  OK(vm().cuEventCreate(&fork, CU_EVENT_DISABLE_TIMING));
  OK(vm().cuEventCreate(&join, CU_EVENT_DISABLE_TIMING));
  CUstreamCaptureStatus status;
  OK(vm().cuStreamBeginCapture_v2(a, CU_STREAM_CAPTURE_MODE_GLOBAL));
  OK(vm().cuStreamIsCapturing(a, &status));
  EXPECT_EQ(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
  OK(vm().cuMemsetD32Async(data.at, 2, 256, a));
  OK(vm().cuEventRecord(fork, a));
  FAILS(CUDA_ERROR_CAPTURED_EVENT, vm().cuEventSynchronize(fork));
  OK(vm().cuStreamWaitEvent(b, fork, 0));
  OK(enqueue(b, 5, 0));
  OK(vm().cuEventRecord(join, b));
  OK(vm().cuStreamWaitEvent(a, join, 0));
  OK(enqueue(a, 1, 3));
  CUgraph graph;
  FAILS(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, vm().cuStreamEndCapture(b, &graph));
  OK(vm().cuStreamEndCapture(a, &graph));
  EXPECT_EQ(value(), 1u); // nothing ran yet
  CUgraphExec exec;
  OK(vm().cuGraphInstantiateWithFlags(&exec, graph, 0));
  OK(vm().cuGraphLaunch(exec, b));
  OK(vm().cuStreamSynchronize(b));
  EXPECT_EQ(value(), 13u);
  OK(vm().cuGraphExecDestroy(exec));
  OK(vm().cuGraphDestroy(graph));
  // Work that nothing joins, and a wait in the middle.
  OK(vm().cuStreamBeginCapture_v2(a, CU_STREAM_CAPTURE_MODE_GLOBAL));
  OK(enqueue(a, 1, 1));
  OK(vm().cuEventRecord(fork, a));
  OK(vm().cuStreamWaitEvent(b, fork, 0));
  OK(enqueue(b, 1, 1));
  FAILS(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, vm().cuStreamEndCapture(a, &graph));
  OK(vm().cuStreamBeginCapture_v2(a, CU_STREAM_CAPTURE_MODE_GLOBAL));
  FAILS(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, vm().cuStreamSynchronize(a));
  FAILS(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, enqueue(a, 1, 1));
  FAILS(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, vm().cuStreamEndCapture(a, &graph));
  FAILS(CUDA_ERROR_ILLEGAL_STATE, vm().cuStreamEndCapture(a, &graph));
  FAILS(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, vm().cuStreamBeginCapture_v2(nullptr, CU_STREAM_CAPTURE_MODE_GLOBAL));
  EXPECT_EQ(value(), 13u);
  OK(vm().cuEventDestroy_v2(fork));
  OK(vm().cuEventDestroy_v2(join));
  OK(vm().cuStreamDestroy_v2(a));
  OK(vm().cuStreamDestroy_v2(b));
}

TEST_F(Driver, CooperativeLaunches) {
  CUlaunchAttribute attribute{CU_LAUNCH_ATTRIBUTE_COOPERATIVE, {}, {}};
  attribute.value.cooperative = 1;
  Arguments arguments(data.at, U32(1), U32(1));
  void **pointers = arguments.pointers();
  CUlaunchConfig config{132 * 8, 1, 1, 256, 1, 1, 0, nullptr, &attribute, 1};
  OK(vm().cuLaunchKernelEx(&config, kernel, pointers, nullptr));
  OK(vm().cuCtxSynchronize());
  config.gridDimX = 132 * 8 + 1;
  testing::internal::CaptureStderr();
  FAILS(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, vm().cuLaunchKernelEx(&config, kernel, pointers, nullptr));
  FAILS(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
        vm().cuLaunchCooperativeKernel(kernel, 132 * 8 + 1, 1, 1, 256, 1, 1, 0, nullptr, pointers));
  testing::internal::GetCapturedStderr();
}

TEST_F(Driver, AGridLargerThanTheChipCannotMeet) {
  // A barrier of all blocks: works while they fit, is a deadlock when they do not.
  Ptx barrier(kernelText(".reg .b64 d;\n.reg .b32 r, n;\n.reg .pred p;\nld.param.u64 d, [arg0];\nmov.u32 n, "
                         "%nctaid.x;\nshl.b32 n, n, 10;\natom.global.add.u32 r, [d], "
                         "1;\nspin:\nld.acquire.gpu.global.u32 r, [d];\nsetp.lt.u32 p, r, n;\n@p bra spin;\nret;",
                         1));
  Buffer counter(std::vector<U32>{0});
  OK(launch(barrier.kernel(), {132 * 2, 1024}, Arguments(counter.at)));
  counter.write(std::vector<U32>{0}.data());
  setenv("PTX_VM_DEADLOCK_SECONDS", "0.3", 1);
  testing::internal::CaptureStderr();
  FAILS(CUDA_ERROR_LAUNCH_TIMEOUT, launch(barrier.kernel(), {132 * 2 + 1, 1024, 0}, Arguments(counter.at)));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("deadlock"), std::string::npos);
  vm().cuDevicePrimaryCtxReset_v2(0);
}

TEST_F(Driver, NamesOfErrorsAndFunctions) {
  const char *text;
  OK(vm().cuGetErrorString(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
  EXPECT_STREQ(text, "an illegal memory access was encountered");
  FAILS(CUDA_ERROR_INVALID_VALUE, vm().cuGetErrorName(CUresult(12345), &text));
  EXPECT_EQ(text, nullptr);
  void *f;
  CUdriverProcAddressQueryResult status;
  OK(vm().cuGetProcAddress_v2("cuMemAlloc", &f, 12000, 0, &status));
  EXPECT_EQ(f, reinterpret_cast<void *>(vm().cuMemAlloc_v2));
  FAILS(CUDA_ERROR_NOT_FOUND, vm().cuGetProcAddress_v2("cuNothing", &f, 12000, 0, &status));
  EXPECT_EQ(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
  int version;
  OK(vm().cuDriverGetVersion(&version));
  EXPECT_EQ(version, 13000);
  CUdevice device;
  FAILS(CUDA_ERROR_INVALID_DEVICE, vm().cuDeviceGet(&device, 1));
}

} // namespace
