//===- LinkerTest.cpp - what linkExecutable writes runs ----------------------------===//

#include "compiler/link/Linker.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "gtest/gtest.h"

SLUICE_DECLARE_RUNTIME(LinkerTestRuntime)
SLUICE_DECLARE_RUNTIME(LinkerTestDynamicRuntime)

using namespace sluice;

namespace {
// Of a static runtime and of a dynamic one.
struct LinkerTest : testing::TestWithParam<RuntimeObjects> {
  const RuntimeObjects &runtime = GetParam();
  llvm::SmallString<128> folder;
  std::unique_ptr<llvm::MemoryBuffer> kernel = std::move(*llvm::MemoryBuffer::getFile(KERNEL_OBJECT));

  void SetUp() override { ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("sluice-link", folder)); }
  void TearDown() override { llvm::sys::fs::remove_directories(folder); }
  std::string in(llvm::StringRef name) { return (folder + "/" + name).str(); }

  // Runs it with an empty environment; its standard output.
  std::string run(const std::string &program) {
    std::string out = in("stdout");
    EXPECT_EQ(llvm::sys::ExecuteAndWait(program, {program}, llvm::ArrayRef<llvm::StringRef>{}, {"", out, std::nullopt}),
              0);
    return (*llvm::MemoryBuffer::getFile(out))->getBuffer().str();
  }
};

TEST_P(LinkerTest, ProgramRunsAfterBeingCopied) {
  ASSERT_FALSE(linkExecutable({kernel->getBuffer()}, in("a"), runtime));
  ASSERT_FALSE(llvm::sys::fs::copy_file(in("a"), in("b")));
  ASSERT_FALSE(llvm::sys::fs::setPermissions(in("b"), llvm::sys::fs::all_perms));
  ASSERT_FALSE(llvm::sys::fs::remove(in("a")));
  EXPECT_EQ(run(in("b")), "10 22 34 46 1 initialised 3\n");
}

TEST_P(LinkerTest, LinksAgainInTheSameProcess) {
  for (llvm::StringRef name : {"a", "b"})
    ASSERT_FALSE(linkExecutable({kernel->getBuffer()}, in(name), runtime));
  EXPECT_EQ((*llvm::MemoryBuffer::getFile(in("a")))->getBuffer(), (*llvm::MemoryBuffer::getFile(in("b")))->getBuffer());
}

TEST_P(LinkerTest, MissingSymbolIsNamedAndLeavesNoFile) {
  std::string message = toString(linkExecutable({}, in("a"), runtime));
  EXPECT_NE(message.find("undefined symbol: kernel"), std::string::npos) << message;
  EXPECT_FALSE(llvm::sys::fs::exists(in("a")));
}

TEST_P(LinkerTest, NoSuchFolderIsAnError) {
  EXPECT_NE(toString(linkExecutable({kernel->getBuffer()}, in("none/a"), runtime)).find("none/a"), std::string::npos);
}
INSTANTIATE_TEST_SUITE_P(Runtimes, LinkerTest,
                         testing::Values(SLUICE_RUNTIME_OBJECTS(LinkerTestRuntime),
                                         SLUICE_RUNTIME_OBJECTS(LinkerTestDynamicRuntime)),
                         [](const auto &info) { return info.param.isStatic() ? "Static" : "Dynamic"; });
} // namespace
