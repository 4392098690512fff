//===- FaultTest.cpp - seeded faults: each is refused, by its line -----------------------------------------------===//
//
// The faulty line carries the comment HERE; the report must name its number and text.

#include "test/ptx-vm/Vm.h"
#include "gtest/gtest.h"

using namespace ptxvm::test;

namespace {

int lineOf(const std::string &text, const std::string &marker = "// HERE") {
  const size_t at = text.find(marker);
  EXPECT_NE(at, text.npos) << "no marked line";
  return std::count(text.begin(), text.begin() + at, '\n') + 1;
}

const char *const kRegisters = ".reg .b32 r<16>, t;\n.reg .s32 si<4>;\n.reg .f32 f<8>;\n.reg .f64 fd;\n.reg .b64 "
                               "d<16>, in;\n.reg .b16 h<8>;\n.reg .pred p<8>;\n"
                               "mov.u32 t, %tid.x;\nld.param.u64 in, [arg0];\nmov.b32 r0, 0; mov.b32 r1, 1; mov.b32 "
                               "r2, 2; mov.b32 r3, 3; mov.b64 d1, 1; mov.b64 d2, 2;\nmov.b32 f1, 0f3F800000;\n";

struct Bad {
  const char *name, *code, *message;
  const char *before = "";
};

class Refused : public testing::TestWithParam<Bad> {};

TEST_P(Refused, WhenLoaded) {
  const Bad &bad = GetParam();
  const std::string text = kernelText(std::string(kRegisters) + "\n" + bad.code + "\nret;", 1, bad.before, "sm_80");
  testing::internal::CaptureStderr();
  Ptx ptx(text);
  const std::string error = testing::internal::GetCapturedStderr();
  EXPECT_EQ(nameOf(ptx.result), "CUDA_ERROR_INVALID_PTX");
  EXPECT_EQ(ptx.module, nullptr);
  EXPECT_NE(ptx.log.find("line " + std::to_string(lineOf(text)) + ": "), std::string::npos)
      << ptx.log << "\nexpected line " << lineOf(text);
  EXPECT_NE(ptx.log.find(bad.message), std::string::npos) << ptx.log;
  EXPECT_NE(error.find(ptx.log), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Faults, Refused,
    testing::Values(
        Bad{"UnknownOpcode", "frobnicate.b32 r0, r1; // HERE", "unknown opcode 'frobnicate'"},
        Bad{"UnknownModifier", "add.foo.s32 r0, r1, r2; // HERE", "unknown modifier '.foo'"},
        Bad{"UnknownTypeOfOpcode", "add.pred p0, p1, p2; // HERE", "unknown type '.pred'"},
        Bad{"UnknownType", "add.s33 r0, r1, r2; // HERE", "unknown modifier '.s33'"},
        Bad{"SurplusModifier", "add.s32.sat r0, r1, r2; // HERE", "unknown modifier '.sat'"},
        Bad{"OtherVectorWidth", "ld.global.v3.b32 {r0, r1, r2}, [in]; // HERE", "unknown modifier '.v3'"},
        Bad{"VectorOfOtherCount", "ld.global.v4.b32 {r0, r1}, [in]; // HERE", "expected 4 elements, got 2"},
        Bad{"UndeclaredRegister", "add.s32 r0, r1, %nothing; // HERE", "undeclared register '%nothing'"},
        Bad{"RegisterBeyondItsRange", "add.s32 r0, r1, r16; // HERE", "wrong operands"},
        Bad{"UndefinedLabel", "bra nowhere; // HERE", "undefined label 'nowhere'"},
        Bad{"RegisterTooWide", "add.s32 r0, r1, d2; // HERE", "has 64 bits, expected 32"},
        Bad{"ResultTooNarrow", "add.s64 r0, d1, d2; // HERE", "has 32 bits, expected 64"},
        Bad{"FloatInIntegerOpcode", "add.s32 r0, f1, r1; // HERE", "floating-point register 'f1'"},
        Bad{"IntegerInFloatOpcode", "mov.s32 si1, 1;\nadd.f32 f0, f1, si1; // HERE", "integer register 'si1'"},
        Bad{"FloatResultOfIntegerOpcode", "add.s32 f0, r1, r1; // HERE", "floating-point register 'f0'"},
        Bad{"MissingOperand", "add.s32 r0, r1; // HERE", "wrong operands of 'add.s32'"},
        Bad{"SurplusOperand", "add.s32 r0, r1, r2, r3; // HERE", "wrong operands of 'add.s32'"},
        Bad{"AddressForValue", "add.s32 r0, [in], r2; // HERE", "wrong operands of 'add.s32'"},
        Bad{"UndefinedVariable", "mov.u64 d0, nothing; // HERE", "wrong operands"},
        Bad{"StoreToConst", "st.const.b32 [table], r0; // HERE", "store to .const", ".const .align 4 .b8 table[16];\n"},
        Bad{"VariableInOtherSpace", "ld.global.b32 r0, [s]; // HERE", "'s' lies in .shared, not in .global",
            ".shared .align 4 .b8 s[16];\n"},
        Bad{"TruthTableTooLarge", "lop3.b32 r0, r1, r2, r3, 256; // HERE", "constant from 0 to 255"},
        Bad{"MissingSemicolon", "add.s32 r0, r1, r2\nadd.s32 r0, r1, r2; // HERE", "expected ','"},
        Bad{"SecondLabel", "one:\nmov.b32 r0, 1;\none: mov.b32 r0, 2; // HERE", "second declaration of 'one'"},
        Bad{"SecondRegister", ".reg .b32 t; // HERE", "second declaration of 't'"},
        Bad{"ConversionWithoutRounding", "cvt.f32.s32 f0, r1; // HERE", "'cvt.f32.s32'"},
        Bad{"FmaWithoutRounding", "fma.f32 f0, f1, f1, f1; // HERE", "'fma.f32'"},
        Bad{"UnorderedComparisonOfIntegers", "setp.ltu.s32 p0, r1, r2; // HERE", "needs a floating-point type"},
        Bad{"OrderOfBits", "setp.lt.b32 p0, r1, r2; // HERE", "needs a signed or unsigned type"},
        Bad{"UnsignedComparisonOfFloats", "setp.hi.f32 p0, f1, f1; // HERE", "not defined for floating point"},
        Bad{"ParameterBeyondItsEnd", "ld.param.u64 d0, [arg0+8]; // HERE", "8 bytes of parameters"},
        Bad{"ParameterMisaligned", "ld.param.u32 r0, [arg0+2]; // HERE", "not aligned"},
        Bad{"NewerChip", "elect.sync r0|p0, -1; // HERE", "needs sm_90"},
        Bad{"MatrixOfOtherSize",
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {f0,f1,f2,f3}, {r0,r1}, {r2,r3}, {f0,f1,f2,f3}; // HERE",
            "takes 4, 2 and 4 registers"},
        Bad{"UnknownMatrix",
            "mma.sync.aligned.m16n8k64.row.col.f32.f16.f16.f32 {f0,f1,f2,f3}, {r0,r1,r2,r3}, {r2,r3}, {f0,f1,f2,f3}; "
            "// HERE",
            "unknown modifier '.m16n8k64'"},
        Bad{"AsyncCopyOfOddSize", "cp.async.ca.shared.global [r0], [in], 5; // HERE", "4, 8 or 16 bytes"},
        Bad{"GuardIsNoPredicate", "@r0 mov.b32 r1, 2; // HERE", "expected a predicate register, got 'r0'"},
        Bad{"IntegerForFloat", "add.f32 f0, f1, 1; // HERE", "floating-point literal"},
        Bad{"AddressTooNarrow", "ld.global.b32 r0, [r1]; // HERE", "has 32 bits, expected 64"},
        Bad{"SpaceOfAtomic", "atom.local.add.u32 r0, [in], 1; // HERE", "unknown modifier '.local'"},
        Bad{"UndefinedFunction", "call nothing; // HERE", "undefined function 'nothing'"},
        Bad{"WideMultiplyOf64", "mul.wide.u64 d0, d1, d2; // HERE", "unknown type '.u64'"}),
    [](const auto &info) { return info.param.name; });

TEST(Refused, OfTheModule) {
  testing::internal::CaptureStderr();
  auto load = [](const std::string &text) { return nameOf(Ptx(text).result); };
  EXPECT_EQ(load(".version 99.0\n.target sm_80\n.address_size 64\n"), "CUDA_ERROR_UNSUPPORTED_PTX_VERSION");
  EXPECT_EQ(load(".version 8.6\n.target sm_100\n.address_size 64\n"), "CUDA_ERROR_NO_BINARY_FOR_GPU");
  EXPECT_EQ(load(".version 8.6\n.target sm_80a\n.address_size 64\n"), "CUDA_ERROR_NO_BINARY_FOR_GPU");
  EXPECT_EQ(load(".version 8.6\n.target sm_80\n.address_size 32\n"), "CUDA_ERROR_INVALID_PTX");
  EXPECT_EQ(load("\x7f"
                 "ELF and more"),
            "CUDA_ERROR_NO_BINARY_FOR_GPU");
  EXPECT_EQ(load("\x50\xed\x55\xba and more"), "CUDA_ERROR_NO_BINARY_FOR_GPU");
  EXPECT_EQ(load("not at all PTX"), "CUDA_ERROR_INVALID_IMAGE");
  EXPECT_EQ(load(kernelText("ret;", 1, ".shared .align 4 .b8 s[50000];\n") +
                 ".visible .entry big()\n{\n.reg .b32 r;\nmov.u32 r, s;\nret;\n}\n"),
            "CUDA_ERROR_INVALID_PTX");
  EXPECT_EQ(load(".version 8.6\n.target sm_80\n.address_size 64\n.extern .global .b32 other;\n"),
            "CUDA_ERROR_INVALID_PTX");
  testing::internal::GetCapturedStderr();
}

// --- found when they happen ---

struct Crash {
  const char *name, *code, *error, *message;
  const char *before = "";
  unsigned block = 32, grid = 1;
};

class Faulting : public testing::TestWithParam<Crash> {
protected:
  void TearDown() override { vm().cuDevicePrimaryCtxReset_v2(0); }
};

TEST_P(Faulting, WhenRun) {
  const Crash &crash = GetParam();
  setenv("PTX_VM_DEADLOCK_SECONDS", "0.2", 1);
  const std::string text =
      kernelText(std::string(kRegisters) + "\nmul.wide.u32 d0, t, 4;\nadd.u64 d0, in, d0;\n" + crash.code + "\nret;", 1,
                 crash.before, "sm_80");
  Buffer buffer(std::vector<uint32_t>(32, 0)); // 128 bytes
  Ptx ptx(text);
  ASSERT_EQ(ptx.result, CUDA_SUCCESS) << ptx.log;
  CUfunction kernel = ptx.kernel();
  testing::internal::CaptureStderr();
  const CUresult result = launch(kernel, {crash.grid, crash.block}, Arguments(buffer.at));
  const std::string error = testing::internal::GetCapturedStderr();
  EXPECT_EQ(nameOf(result), crash.error) << error;
  EXPECT_NE(error.find("line " + std::to_string(lineOf(text)) + ": "), std::string::npos)
      << error << "\nexpected line " << lineOf(text);
  EXPECT_NE(error.find(crash.message), std::string::npos) << error;
  EXPECT_NE(error.find("kernel k, block ("), std::string::npos) << error;
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
  // The error stays until the context is reset; then all is well again.
  EXPECT_EQ(vm().cuCtxSynchronize(), result);
  EXPECT_EQ(vm().cuDevicePrimaryCtxReset_v2(0), CUDA_SUCCESS);
  EXPECT_EQ(vm().cuCtxSynchronize(), CUDA_SUCCESS);
}

#define ILLEGAL "CUDA_ERROR_ILLEGAL_ADDRESS"
const char *const kShared = ".shared .align 16 .b8 s[256];\n";
INSTANTIATE_TEST_SUITE_P(
    Faults, Faulting,
    testing::Values(
        Crash{"LoadBehindTheEnd", "ld.global.b32 r0, [d0+4]; // HERE", ILLEGAL, "thread (31,0,0)"},
        Crash{"StoreBehindTheEnd", "st.global.b32 [in+128], r0; // HERE", ILLEGAL,
              "0 bytes behind an allocation of 128 bytes"},
        Crash{"StoreBeforeTheBegin", "st.global.b32 [in+-4], r0; // HERE", ILLEGAL, "out of bounds"},
        Crash{"AcrossTheEnd", "ld.global.v2.b32 {r0, r1}, [in+128]; // HERE", ILLEGAL, "load of 8 bytes"},
        Crash{"NullPointer", "mov.u64 d3, 0;\nld.global.b32 r0, [d3]; // HERE", ILLEGAL, "at 0x0 is out of bounds"},
        Crash{"WildPointer", "mov.u64 d3, 0x123456789000;\nst.b32 [d3], r0; // HERE", ILLEGAL,
              "there is no allocation"},
        Crash{"LoadOfOneLane", "setp.eq.u32 p0, t, 7;\n@p0 ld.global.b32 r0, [in+4096]; // HERE", ILLEGAL,
              "thread (7,0,0)"},
        Crash{
            "InTheThirdBlock",
            "mov.u32 r4, %ctaid.x;\nsetp.eq.u32 p0, r4, 2;\n@!p0 bra fine;\nst.global.b32 [in+400], r0; // HERE\nfine:",
            ILLEGAL, "block (2,0,0)", "", 32, 5},
        Crash{"Misaligned", "ld.global.b32 r0, [d0+2]; // HERE", "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned"},
        Crash{"MisalignedVector", "ld.global.v4.b32 {r0, r1, r2, r3}, [in+8]; // HERE", "CUDA_ERROR_MISALIGNED_ADDRESS",
              "16 bytes"},
        Crash{"MisalignedShared", "mov.u32 r4, s;\nst.shared.b64 [r4+4], d1; // HERE", "CUDA_ERROR_MISALIGNED_ADDRESS",
              "8 bytes", kShared},
        Crash{"SharedBehindTheEnd", "mov.u32 r4, s;\nst.shared.b32 [r4+256], r0; // HERE", ILLEGAL,
              ".shared of the block", kShared},
        Crash{"SharedByNull", "st.shared.b32 [r0], r0; // HERE", ILLEGAL, ".shared of the block", kShared},
        Crash{"SharedNeverWritten", "mov.u32 r4, s;\nst.shared.b32 [r4+4], r0;\nld.shared.b32 r5, [r4+8]; // HERE",
              ILLEGAL, "never written", kShared},
        Crash{"SharedPartlyWritten", "mov.u32 r4, s;\nst.shared.b16 [r4+4], h0;\nld.shared.b32 r5, [r4+4]; // HERE",
              ILLEGAL, "never written", kShared},
        Crash{"SharedNeverWrittenByLane",
              "mov.u32 r4, s;\nshl.b32 r6, t, 2;\nadd.u32 r4, r4, r6;\nsetp.ne.u32 p0, t, 9;\n@p0 st.shared.b32 [r4], "
              "r0;\nbar.warp.sync -1;\nld.shared.b32 r5, [r4]; // HERE",
              ILLEGAL, "thread (9,0,0)", kShared},
        Crash{"AtomicOfUnwritten", "mov.u32 r4, s;\natom.shared.add.u32 r5, [r4], 1; // HERE", ILLEGAL, "never written",
              kShared},
        Crash{"AtomicOutside", "atom.global.add.u32 r5, [in+128], 1; // HERE", ILLEGAL, "atomic of 4 bytes"},
        Crash{"LocalBehindTheEnd", ".local .align 4 .b8 l[16];\nmov.u64 d3, l;\nst.local.b32 [d3+16], r0; // HERE",
              ILLEGAL, ".local of a thread"},
        Crash{"LocalOfAnotherThread",
              ".local .align 16 .b8 l[16];\nmov.u64 d3, l;\ncvta.local.u64 d3, d3;\nst.b32 [d3+16], r0; // HERE",
              ILLEGAL, "of another thread"},
        Crash{"ConstBehindTheEnd", "mov.u64 d3, table;\nld.const.b32 r0, [d3+16]; // HERE", ILLEGAL, "out of bounds",
              ".const .align 4 .b8 table[16];\n"},
        Crash{"StoreToConst", "mov.u64 d3, table;\nst.b32 [d3], r0; // HERE", ILLEGAL, "store to .const",
              ".const .align 4 .b8 table[16];\n"},
        Crash{"DivergentBarrier", "setp.lt.u32 p0, t, 16;\n@!p0 bra past;\nbar.sync 0; // HERE\npast:\nmov.b32 r0, 1;",
              "CUDA_ERROR_LAUNCH_FAILED", "barrier divergence"},
        Crash{"PredicatedBarrier", "setp.lt.u32 p0, t, 40;\n@p0 bar.sync 0; // HERE", "CUDA_ERROR_LAUNCH_FAILED",
              "lanes 0xff of the warp", "", 64},
        Crash{"BarriersOfOtherNumbers",
              "setp.lt.u32 p0, t, 32;\n@!p0 bra other;\nbar.sync 1; // HERE\nbra past;\nother:\nbar.sync "
              "2;\npast:\nmov.b32 r0, 1;",
              "CUDA_ERROR_LAUNCH_TIMEOUT", "deadlock: barrier 1 has 32 of 64 threads", "", 64},
        Crash{"BarrierOfTooMany", "bar.sync 3, 96; // HERE", "CUDA_ERROR_LAUNCH_TIMEOUT", "64 of 96 threads", "", 64},
        Crash{"BarrierOfOtherCounts",
              "setp.lt.u32 p0, t, 32;\n@p0 bra one;\nbar.sync 1, 32;\nbra past;\none:\nbar.sync 1, 64; // "
              "HERE\npast:\nmov.b32 r0, 1;",
              "CUDA_ERROR_LAUNCH_TIMEOUT", "threads", "", 64},
        Crash{"BarrierOfOddCount", "bar.sync 1, 40; // HERE", "CUDA_ERROR_ILLEGAL_INSTRUCTION", "multiple of 32", "",
              64},
        Crash{"NoSuchBarrier", "bar.sync 16; // HERE", "CUDA_ERROR_ILLEGAL_INSTRUCTION", "there are 16"},
        Crash{"ShuffleOfAbsentLanes",
              "setp.lt.u32 p0, t, 16;\n@!p0 bra past;\nshfl.sync.bfly.b32 r0, r1, 1, 31, -1; // HERE\npast:\nmov.b32 "
              "r0, 1;",
              "CUDA_ERROR_LAUNCH_FAILED", "names lanes 0xffff0000"},
        Crash{"ShuffleByNonMember", "shfl.sync.bfly.b32 r0, r1, 1, 31, 0xffff; // HERE",
              "CUDA_ERROR_ILLEGAL_INSTRUCTION", "lane 16 is not in its own member mask"},
        Crash{"VoteOfAbsentLanes",
              "setp.lt.u32 p0, t, 16;\n@!p0 bra past;\nvote.sync.any.pred p1, p0, -1; // HERE\npast:\nmov.b32 r0, 1;",
              "CUDA_ERROR_LAUNCH_FAILED", "names lanes"},
        Crash{"MatrixOfHalfAWarp",
              "setp.lt.u32 p0, t, 16;\n@!p0 bra past;\nmma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {f0,f1,f2,f3}, "
              "{r0,r1}, {r2}, {f0,f1,f2,f3}; // HERE\npast:\nmov.b32 r0, 1;",
              "CUDA_ERROR_LAUNCH_FAILED", "aligned instruction"},
        Crash{"WaitsForNobody",
              "spin:\nld.acquire.gpu.global.b32 r4, [in]; // HERE\nsetp.eq.u32 p0, r4, 0;\n@p0 bra spin;",
              "CUDA_ERROR_LAUNCH_TIMEOUT", "deadlock"},
        Crash{"LockNeverReleased",
              "setp.ne.u32 p1, t, 0;\n@p1 exit;\nspin:\natom.global.cas.b32 r4, [in], 0, 1; // HERE\nsetp.ne.u32 p0, "
              "r4, 0;\n@p0 bra spin;",
              "CUDA_ERROR_LAUNCH_TIMEOUT", "deadlock", "", 32, 3},
        Crash{"Trap", "setp.eq.u32 p0, t, 3;\n@p0 trap; // HERE", "CUDA_ERROR_LAUNCH_FAILED", "trap"},
        Crash{"AsyncCopyFromOutside", "mov.u32 r4, s;\ncp.async.ca.shared.global [r4], [in+128], 16; // HERE", ILLEGAL,
              "cp.async of 16 bytes", kShared},
        Crash{"AsyncCopyToOutside", "mov.u32 r4, s;\ncp.async.ca.shared.global [r4+256], [in], 16; // HERE", ILLEGAL,
              "cp.async to", kShared},
        Crash{"AsyncCopyMisaligned", "mov.u32 r4, s;\ncp.async.ca.shared.global [r4+8], [in], 16; // HERE",
              "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned", kShared},
        Crash{"AsyncCopyNotWaitedFor",
              "mov.u32 r4, s;\ncp.async.ca.shared.global [r4], [in], 16;\ncp.async.commit_group;\nld.shared.b32 r5, "
              "[r4]; // HERE",
              ILLEGAL, "never written", kShared},
        Crash{"MatrixRowMisaligned",
              "mov.u32 r4, s;\nst.shared.b32 [r4], r0;\nldmatrix.sync.aligned.m8n8.x1.shared.b16 {r5}, [r4+8]; // HERE",
              "CUDA_ERROR_MISALIGNED_ADDRESS", "16 bytes", kShared}),
    [](const auto &info) { return info.param.name; });

TEST(Faulting, AfterFree) {
  auto buffer = std::make_unique<Buffer>(std::vector<uint32_t>(32, 1));
  const CUdeviceptr at = buffer->at;
  Ptx ptx(kernelText(
      ".reg .b64 x;\n.reg .b32 r;\nld.param.u64 x, [arg0];\nld.global.b32 r, [x]; // HERE\nst.global.b32 [x], r;\nret;",
      1));
  ASSERT_EQ(launch(ptx.kernel(), {}, Arguments(at)), CUDA_SUCCESS);
  buffer.reset();
  testing::internal::CaptureStderr();
  EXPECT_EQ(nameOf(launch(ptx.kernel(), {}, Arguments(at))), "CUDA_ERROR_ILLEGAL_ADDRESS");
  EXPECT_NE(testing::internal::GetCapturedStderr().find("HERE"), std::string::npos);
  vm().cuDevicePrimaryCtxReset_v2(0);
}

TEST(Faulting, LaunchesThatDoNotFit) {
  Ptx ptx(kernelText(".shared .align 16 .b8 s[1024];\n.reg .b32 r;\nmov.u32 r, s;\nret;", 1) +
          ".visible .entry limited() .maxntid 64, 1, 1\n{\nret;\n}\n.visible .entry exact() .reqntid 32, 2, "
          "1\n{\nret;\n}\n");
  CUfunction k = ptx.kernel(), limited = ptx.kernel("limited"), exact = ptx.kernel("exact");
  testing::internal::CaptureStderr();
  EXPECT_EQ(nameOf(launch(k, {1, 1025}, Arguments(uint64_t(0)))), "CUDA_ERROR_INVALID_VALUE");
  EXPECT_EQ(nameOf(launch(k, {0, 32}, Arguments(uint64_t(0)))), "CUDA_ERROR_INVALID_VALUE");
  EXPECT_EQ(nameOf(launch(k, {1, 32, 48 * 1024 + 1}, Arguments(uint64_t(0)))), "CUDA_ERROR_INVALID_VALUE");
  EXPECT_EQ(nameOf(launch(limited, {1, 65}, Arguments())), "CUDA_ERROR_INVALID_VALUE");
  EXPECT_EQ(nameOf(launch(exact, {1, 64}, Arguments())), "CUDA_ERROR_INVALID_VALUE");
  EXPECT_EQ(vm().cuFuncSetAttribute(k, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 100 * 1024), CUDA_SUCCESS);
  EXPECT_EQ(launch(k, {1, 32, 100 * 1024}, Arguments(uint64_t(0))), CUDA_SUCCESS);
  EXPECT_EQ(nameOf(vm().cuFuncSetAttribute(k, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 300 * 1024)),
            "CUDA_ERROR_INVALID_VALUE");
  // Parameters of the wrong size, in one buffer.
  uint64_t value = 0;
  size_t bytes = 4;
  void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &value, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END};
  EXPECT_EQ(nameOf(vm().cuLaunchKernel(k, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr, extra)), "CUDA_ERROR_INVALID_VALUE");
  bytes = 8;
  EXPECT_EQ(vm().cuLaunchKernel(k, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr, extra), CUDA_SUCCESS);
  EXPECT_EQ(vm().cuCtxSynchronize(), CUDA_SUCCESS);
  testing::internal::GetCapturedStderr();
}

} // namespace
