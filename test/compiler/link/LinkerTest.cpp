//===- LinkerTest.cpp - what linkExecutable writes runs ----------------------------===//

#include "compiler/link/Linker.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "gtest/gtest.h"

#define EMBEDDED(NAME) extern "C" const char LinkerTestRuntime_##NAME[], LinkerTestRuntime_##NAME##_end[];
EMBEDDED(prelinked)
EMBEDDED(crtend)
EMBEDDED(crtn)

using namespace sluice;

namespace {
#define BETWEEN(NAME)                                                                                                  \
  llvm::StringRef(LinkerTestRuntime_##NAME, size_t(LinkerTestRuntime_##NAME##_end - LinkerTestRuntime_##NAME))
const RuntimeObjects runtime{BETWEEN(prelinked), BETWEEN(crtend), BETWEEN(crtn)};

struct LinkerTest : testing::Test {
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

TEST_F(LinkerTest, ProgramRunsAfterBeingCopied) {
  ASSERT_FALSE(linkExecutable({kernel->getBuffer()}, in("a"), runtime));
  ASSERT_FALSE(llvm::sys::fs::copy_file(in("a"), in("b")));
  ASSERT_FALSE(llvm::sys::fs::setPermissions(in("b"), llvm::sys::fs::all_perms));
  ASSERT_FALSE(llvm::sys::fs::remove(in("a")));
  EXPECT_EQ(run(in("b")), "10 22 34 46 1 initialised 3\n");
}

TEST_F(LinkerTest, LinksAgainInTheSameProcess) {
  for (llvm::StringRef name : {"a", "b"})
    ASSERT_FALSE(linkExecutable({kernel->getBuffer()}, in(name), runtime));
  EXPECT_EQ((*llvm::MemoryBuffer::getFile(in("a")))->getBuffer(), (*llvm::MemoryBuffer::getFile(in("b")))->getBuffer());
}

TEST_F(LinkerTest, MissingSymbolIsNamedAndLeavesNoFile) {
  std::string message = toString(linkExecutable({}, in("a"), runtime));
  EXPECT_NE(message.find("undefined symbol: kernel"), std::string::npos) << message;
  EXPECT_FALSE(llvm::sys::fs::exists(in("a")));
}

TEST_F(LinkerTest, NoSuchFolderIsAnError) {
  EXPECT_NE(toString(linkExecutable({kernel->getBuffer()}, in("none/a"), runtime)).find("none/a"), std::string::npos);
}
} // namespace
