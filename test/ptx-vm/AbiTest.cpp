//===- AbiTest.cpp - runtime/CudaDriver.h against NVIDIA's cuda.h, where that is installed
//-------------------------------===//

#include "gtest/gtest.h"

#if __has_include(<cuda.h>)
#include <cuda.h>
#include <stddef.h>
#include <stdint.h>
#include <type_traits>

// Their macros of the same names as ours; what ours are worth is compared below.
constexpr int theirPortable = CU_MEMHOSTALLOC_PORTABLE, theirMapped = CU_MEMHOSTALLOC_DEVICEMAP,
              theirCombined = CU_MEMHOSTALLOC_WRITECOMBINED;
static void *const theirEnd = CU_LAUNCH_PARAM_END, *const theirPointer = CU_LAUNCH_PARAM_BUFFER_POINTER,
                   *const theirSize = CU_LAUNCH_PARAM_BUFFER_SIZE;
#undef CU_MEMHOSTALLOC_PORTABLE
#undef CU_MEMHOSTALLOC_DEVICEMAP
#undef CU_MEMHOSTALLOC_WRITECOMBINED
#undef CU_MEMHOSTREGISTER_PORTABLE
#undef CU_MEMHOSTREGISTER_DEVICEMAP
#undef CU_MEMHOSTREGISTER_READ_ONLY
#undef CU_LAUNCH_PARAM_END
#undef CU_LAUNCH_PARAM_BUFFER_POINTER
#undef CU_LAUNCH_PARAM_BUFFER_SIZE
namespace ours {
#include "runtime/CudaDriver.h"
} // namespace ours
// These two are macros in cuda.h; we use the functions behind them.
#undef cuEventElapsedTime
extern "C" CUresult CUDAAPI cuEventElapsedTime(float *, CUevent, CUevent);

namespace {

/// Pointers, floats, and integers by their size: what the calling convention sees.
template <typename T> constexpr int kind() {
  return std::is_pointer_v<T> ? 100 : std::is_floating_point_v<T> ? 200 : int(sizeof(T));
}
template <typename F> struct Signature;
template <typename... A> struct Signature<CUresult (*)(A...)> {
  static constexpr bool is(std::initializer_list<int> other) {
    const int own[] = {kind<A>()..., 0};
    size_t i = 0;
    for (int k : other)
      if (i >= sizeof...(A) || own[i++] != k)
        return false;
    return i == sizeof...(A);
  }
};
template <typename F> struct Ours;
template <typename... A> struct Ours<ours::CUresult (*)(A...)> {
  template <typename Theirs> static constexpr bool matches() { return Signature<Theirs>::is({kind<A>()...}); }
};
} // namespace

#define OUR_TYPE(name, parameters) using Our_##name = ours::CUresult(*) parameters;
namespace ours {
SLUICE_CUDA_FUNCTIONS(OUR_TYPE)
}
#define COMPARE(name, parameters) static_assert(Ours<ours::Our_##name>::matches<decltype(&::name)>(), #name);
SLUICE_CUDA_FUNCTIONS(COMPARE)

#define SAME_SIZE(type)                                                                                                \
  static_assert(sizeof(ours::type) == sizeof(::type) && alignof(ours::type) == alignof(::type), #type);
SAME_SIZE(CUuuid)
SAME_SIZE(CUlaunchAttributeValue)
SAME_SIZE(CUlaunchAttribute)
SAME_SIZE(CUlaunchConfig)
SAME_SIZE(CUDA_KERNEL_NODE_PARAMS_v2)
SAME_SIZE(CUDA_MEMSET_NODE_PARAMS_v1)
SAME_SIZE(CUgraphExecUpdateResultInfo_v1)
#define SAME_PLACE(type, field) static_assert(offsetof(ours::type, field) == offsetof(::type, field), #type "." #field);
SAME_PLACE(CUlaunchAttribute, value)
SAME_PLACE(CUlaunchConfig, gridDimX)
SAME_PLACE(CUlaunchConfig, blockDimZ)
SAME_PLACE(CUlaunchConfig, sharedMemBytes)
SAME_PLACE(CUlaunchConfig, hStream)
SAME_PLACE(CUlaunchConfig, attrs)
SAME_PLACE(CUlaunchConfig, numAttrs)
SAME_PLACE(CUDA_KERNEL_NODE_PARAMS_v2, func)
SAME_PLACE(CUDA_KERNEL_NODE_PARAMS_v2, sharedMemBytes)
SAME_PLACE(CUDA_KERNEL_NODE_PARAMS_v2, kernelParams)
SAME_PLACE(CUDA_KERNEL_NODE_PARAMS_v2, extra)
SAME_PLACE(CUDA_KERNEL_NODE_PARAMS_v2, ctx)
SAME_PLACE(CUDA_MEMSET_NODE_PARAMS_v1, pitch)
SAME_PLACE(CUDA_MEMSET_NODE_PARAMS_v1, value)
SAME_PLACE(CUDA_MEMSET_NODE_PARAMS_v1, height)
SAME_PLACE(CUgraphExecUpdateResultInfo_v1, errorNode)

#define SAME_VALUE(name) static_assert(int(ours::name) == int(::name), #name);
#include "test/ptx-vm/AbiValues.inc"

TEST(Abi, MacrosAreTheSame) {
  EXPECT_EQ(CU_MEMHOSTALLOC_PORTABLE, theirPortable);
  EXPECT_EQ(CU_MEMHOSTALLOC_DEVICEMAP, theirMapped);
  EXPECT_EQ(CU_MEMHOSTALLOC_WRITECOMBINED, theirCombined);
  EXPECT_EQ(CU_LAUNCH_PARAM_END, theirEnd);
  EXPECT_EQ(CU_LAUNCH_PARAM_BUFFER_POINTER, theirPointer);
  EXPECT_EQ(CU_LAUNCH_PARAM_BUFFER_SIZE, theirSize);
}
#else
TEST(Abi, MacrosAreTheSame) { GTEST_SKIP() << "cuda.h is not installed"; }
#endif
