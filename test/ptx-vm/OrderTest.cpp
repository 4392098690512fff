//===- OrderTest.cpp - the checker of memory order: right kernels pass, each missing piece is told
//-------------------===//

#include "test/ptx-vm/Vm.h"
#include "gtest/gtest.h"

using namespace ptxvm::test;

namespace {

struct Change {
  const char *name;
  int occurrence; // which of the lines that contain `from`
  const char *from, *to;
  const char *faulty; // one of the two accesses: its line contains this
};

class Order : public testing::Test {
protected:
  void SetUp() override {
    vm();
    setenv("PTX_VM_CHECK_ORDER", "1", 1);
    setenv("PTX_VM_DEADLOCK_SECONDS", "0.3", 1);
  }
  void TearDown() override {
    unsetenv("PTX_VM_CHECK_ORDER");
    vm().cuDevicePrimaryCtxReset_v2(0);
  }

  /// What is said of the kernel; empty if it ran.
  static std::string run(const std::string &text, Shape shape, size_t words) {
    Buffer data(std::vector<uint32_t>(words, 0));
    Ptx ptx(text);
    EXPECT_EQ(ptx.result, CUDA_SUCCESS) << ptx.log;
    CUfunction k = ptx.kernel();
    testing::internal::CaptureStderr();
    CUresult result = launch(k, shape, Arguments(data.at));
    std::string error = testing::internal::GetCapturedStderr();
    EXPECT_EQ(result == CUDA_SUCCESS, error.empty()) << error;
    vm().cuDevicePrimaryCtxReset_v2(0);
    return error;
  }

  static void expectAll(const std::string &body, const std::vector<Change> &changes, Shape shape, size_t words,
                        const std::string &before = "") {
    const std::string text = kernelText(body, 1, before, "sm_90");
    EXPECT_EQ(run(text, shape, words), "");
    for (const Change &c : changes) {
      SCOPED_TRACE(c.name);
      size_t at = text.find(c.from);
      for (int i = 1; i < c.occurrence; ++i)
        at = text.find(c.from, at + 1);
      ASSERT_NE(at, text.npos);
      const std::string changed = std::string(text).replace(at, std::string(c.from).size(), c.to);
      const std::string error = run(changed, shape, words);
      EXPECT_NE(error.find("race: "), error.npos) << error;
      // Whichever of the two accesses came second is at fault, the other is named too.
      const size_t faulty = changed.find(c.faulty);
      const std::string line = std::to_string(std::count(changed.begin(), changed.begin() + faulty, '\n') + 1);
      EXPECT_TRUE(error.find("; line " + line + ": ") != error.npos || error.find(" in line " + line) != error.npos)
          << error << "expected line " << line;
    }
  }
};

// Every thread writes, waits for the grid, reads what a thread of the next block wrote, waits again, and writes anew.
std::string barrier(int number) {
  const std::string n = std::to_string(number);
  return "bar.sync 0; // before " + n + "\nsetp.ne.u32 P0, tid, 0;\n@P0 bra wait" + n +
         ";\nfence.acq_rel.gpu; // release " + n + "\natom.relaxed.gpu.global.add.u32 T0, [data], 1;\nspin" + n +
         ":\nld.relaxed.gpu.global.u32 T0, [data]; // poll\nsetp.lt.u32 P1, T0, " + std::to_string(4 * number) +
         ";\n@P1 bra spin" + n + ";\nfence.acq_rel.gpu; // acquire " + n + "\nwait" + n + ":\nbar.sync 0; // after " +
         n + "\n";
}
const char *const kRegisters = ".reg .b32 T<16>, tid, cta, own, next;\n.reg .b64 data, W<8>;\n.reg .pred "
                               "P<8>;\nld.param.u64 data, [arg0];\nmov.u32 tid, %tid.x;\nmov.u32 cta, %ctaid.x;\n";

TEST_F(Order, BarrierOfTheGrid) {
  const std::string body =
      std::string(kRegisters) +
      "mad.lo.u32 own, cta, 64, tid;\nmul.wide.u32 W0, own, 4;\nadd.u64 W0, data, W0;\nadd.u32 T1, cta, 1;\nand.b32 "
      "T1, T1, 3;\nxor.b32 T2, tid, 32;\nmad.lo.u32 next, T1, 64, T2;\n"
      "mul.wide.u32 W1, next, 4;\nadd.u64 W1, data, W1;\nst.global.u32 [W0+128], own; // first write\n" +
      barrier(1) + "ld.global.u32 T5, [W1+128]; // read\n" + barrier(2) +
      "st.global.u32 [W0+128], T5; // second write\nret;";
  expectAll(body,
            {{"before 1", 1, "bar.sync 0; // before 1", "", "// read"},
             {"release 1", 1, "fence.acq_rel.gpu; // release 1", "", "// read"},
             {"acquire 1", 1, "fence.acq_rel.gpu; // acquire 1", "", "// read"},
             {"after 1", 1, "bar.sync 0; // after 1", "", "// read"},
             {"before 2", 1, "bar.sync 0; // before 2", "", "// second write"},
             {"release 2", 1, "fence.acq_rel.gpu; // release 2", "", "// second write"},
             {"acquire 2", 1, "fence.acq_rel.gpu; // acquire 2", "", "// second write"},
             {"after 2", 1, "bar.sync 0; // after 2", "", "// second write"},
             {"release of a block only", 1, "fence.acq_rel.gpu; // release 1", "fence.acq_rel.cta;", "// read"},
             {"acquire of a block only", 1, "fence.acq_rel.gpu; // acquire 1", "membar.cta;", "// read"},
             {"atomic of a block only", 1, "atom.relaxed.gpu", "atom.relaxed.cta", "// read"},
             {"poll of a block only", 1, "ld.relaxed.gpu.global.u32", "ld.relaxed.cta.global.u32", "// read"},
             {"read without coherence", 1, "ld.global.u32 T5", "ld.global.nc.u32 T5", "// read"},
             {"plain poll", 1, "ld.relaxed.gpu.global.u32 T0", "ld.global.u32 T0", "// poll"}},
            {4, 64}, 4 * 64 + 32);
}

TEST_F(Order, ReleaseAndAcquireOfAFlag) {
  const std::string head = std::string(kRegisters) + "setp.ne.u32 P0, cta, 0;\n@P0 bra consumer;\n"
                                                     "st.global.u32 [data+64], tid; // data\n";
  const std::string middle = "ret;\nconsumer:\nspin:\n",
                    tail = "setp.eq.u32 P1, T0, 0;\n@P1 bra spin;\nld.global.u32 T1, [data+64]; // read\nst.global.u32 "
                           "[data+128], T1;\nret;";
  expectAll(head + "st.release.gpu.global.u32 [data], 1;\n" + middle + "ld.acquire.gpu.global.u32 T0, [data];\n" + tail,
            {{"relaxed store", 1, "st.release.gpu", "st.relaxed.gpu", "// read"},
             {"volatile store", 1, "st.release.gpu.global", "st.volatile.global", "// read"},
             {"relaxed load", 1, "ld.acquire.gpu", "ld.relaxed.gpu", "// read"},
             {"release of a block", 1, "st.release.gpu", "st.release.cta", "// read"},
             {"acquire of a block", 1, "ld.acquire.gpu", "ld.acquire.cta", "// read"}},
            {2, 1}, 64);
  expectAll(head + "atom.release.gpu.global.exch.b32 T2, [data], 1;\n" + middle +
                "atom.acquire.gpu.global.or.b32 T0, [data], 0;\n" + tail,
            {{"relaxed exchange", 1, "atom.release.gpu.global.exch", "atom.global.exch", "// read"},
             {"relaxed or", 1, "atom.acquire.gpu.global.or", "atom.global.or", "// read"}},
            {2, 1}, 64);
  expectAll(head + "fence.acq_rel.sys;\nst.volatile.global.u32 [data], 1;\n" + middle +
                "ld.volatile.global.u32 T0, [data];\nsetp.eq.u32 P2, T0, 0;\n@P2 bra spin;\nmembar.gl;\n" + tail,
            {{"release", 1, "fence.acq_rel.sys;", "", "// read"}, {"acquire", 1, "membar.gl;", "", "// read"}}, {2, 1},
            64);
  // Through a third block: ordering is transitive.
  expectAll(head + "st.release.gpu.global.u32 [data], 1;\nret;\nconsumer:\nsetp.eq.u32 P3, cta, 2;\n@P3 bra "
                   "last;\none:\nld.acquire.gpu.global.u32 T0, [data];\nsetp.eq.u32 P1, T0, 0;\n@P1 bra one;\n"
                   "st.release.gpu.global.u32 [data+4], 1; // pass on\nret;\nlast:\nld.acquire.gpu.global.u32 T0, "
                   "[data+4];\nsetp.eq.u32 P1, T0, 0;\n@P1 bra last;\nld.global.u32 T1, [data+64]; // read\nret;",
            {{"pass on", 1, "st.release.gpu.global.u32 [data+4], 1; // pass on",
              "st.relaxed.gpu.global.u32 [data+4], 1;", "// read"},
             {"take", 1, "ld.acquire.gpu.global.u32 T0, [data];", "ld.relaxed.gpu.global.u32 T0, [data];", "// read"}},
            {3, 1}, 64);
}

TEST_F(Order, SharedMemory) {
  const std::string body =
      std::string(kRegisters) +
      "mov.u32 T0, s;\nshl.b32 T1, tid, 2;\nadd.u32 T2, T0, T1;\nxor.b32 T3, T1, 128;\nadd.u32 T3, T0, "
      "T3;\nst.shared.u32 [T2], tid; // write\nbar.sync 0; // first\n"
      "ld.shared.u32 T4, [T3]; // read\nbar.sync 0; // second\nst.shared.u32 [T2], T4; // again\nret;";
  expectAll(body, {{"second", 1, "bar.sync 0; // second", "", "// again"}}, {3, 64}, 8,
            ".shared .align 4 .b8 s[256];\n");
  // Without the first, the other warp's words may not even be written: all are, before, by one warp.
  const std::string filled =
      std::string(kRegisters) +
      "mov.u32 T0, s;\nsetp.ge.u32 P0, tid, 32;\n@P0 bra wait;\nshl.b32 T1, tid, 3;\nadd.u32 T2, T0, T1;\nmov.u32 T5, "
      "0;\nst.shared.v2.u32 [T2], {T5, T5};\nwait:\n"
      "bar.sync 0;\nshl.b32 T1, tid, 2;\nadd.u32 T2, T0, T1;\nxor.b32 T3, T1, 128;\nadd.u32 T3, T0, T3;\nst.shared.u32 "
      "[T2], tid; // write\nbar.sync 0; // first\nld.shared.u32 T4, [T3]; // read\nret;";
  expectAll(filled, {{"first", 1, "bar.sync 0; // first", "", "// read"}}, {1, 64}, 8,
            ".shared .align 4 .b8 s[256];\n");
  const std::string copied =
      std::string(kRegisters) +
      "mov.u32 T0, s;\nshl.b32 T1, tid, 2;\nadd.u32 T2, T0, T1;\nst.shared.u32 [T2], 0;\nbar.sync 0;\nmul.wide.u32 W0, "
      "tid, 4;\nadd.u64 W0, data, W0;\ncp.async.ca.shared.global [T2], [W0], 4;\n"
      "cp.async.wait_all;\nbar.sync 0; // arrived\nxor.b32 T3, T1, 128;\nadd.u32 T3, T0, T3;\nld.shared.u32 T4, [T3]; "
      "// read\nret;";
  expectAll(copied, {{"arrived", 1, "bar.sync 0; // arrived", "", "// read"}}, {1, 64}, 64,
            ".shared .align 4 .b8 s[256];\n");
}

TEST_F(Order, WithinABlock) {
  const std::string body =
      std::string(kRegisters) +
      "mul.wide.u32 W0, tid, 4;\nadd.u64 W1, data, W0;\nst.global.u32 [W1], tid; // write\nbar.sync 0; // "
      "meet\nxor.b32 T1, tid, 32;\nmul.wide.u32 W2, T1, 4;\nadd.u64 W3, data, W2;\n"
      "ld.global.u32 T2, [W3]; // read\nret;";
  expectAll(body, {{"meet", 1, "bar.sync 0; // meet", "", "// read"}}, {1, 64}, 64);
}

TEST_F(Order, WritesOfTwoBlocks) {
  const std::string body = std::string(kRegisters) +
                           "mul.wide.u32 W0, cta, 4;\nadd.u64 W1, data, W0;\nst.global.u32 [W1], tid; // write\nret;";
  expectAll(body, {{"one place", 1, "mul.wide.u32 W0, cta, 4;", "mov.u64 W0, 0;", "// write"}}, {2, 1}, 64);
  // Bytes side by side are no race.
  expectAll(std::string(kRegisters) +
                "cvt.u64.u32 W0, cta;\nadd.u64 W1, data, W0;\nst.global.u8 [W1], tid; // write\nret;",
            {{"one byte", 1, "cvt.u64.u32 W0, cta;", "mov.u64 W0, 3;", "// write"}}, {7, 1}, 64);
  // What was read without coherence is written later.
  expectAll(std::string(kRegisters) + "setp.ne.u32 P0, cta, 0;\n@P0 exit;\nld.global.nc.u32 T0, [data];\nst.global.u32 "
                                      "[data+4], T0; // write\nret;",
            {{"same word", 1, "st.global.u32 [data+4]", "st.global.u32 [data]", "// write"}}, {2, 1}, 64);
}

TEST_F(Order, LastBlockSumsUp) {
  // The pattern of threadFenceReduction: the block that counts last reads what all wrote.
  const std::string body =
      std::string(kRegisters) +
      "mul.wide.u32 W0, cta, 4;\nadd.u64 W1, data, W0;\nst.global.u32 [W1+64], cta; // part\nfence.acq_rel.gpu; // "
      "publish\natom.global.inc.u32 T0, [data], 4;\nsetp.ne.u32 P0, T0, 4;\n@P0 exit;\n"
      "fence.acq_rel.gpu; // see\nld.global.u32 T1, [data+64]; // read\nld.global.u32 T2, [data+76];\nadd.u32 T1, T1, "
      "T2;\nst.global.u32 [data+4], T1;\nret;";
  expectAll(body,
            {{"publish", 1, "fence.acq_rel.gpu; // publish", "", "// read"},
             {"see", 1, "fence.acq_rel.gpu; // see", "", "// read"}},
            {5, 1}, 64);
}

} // namespace
