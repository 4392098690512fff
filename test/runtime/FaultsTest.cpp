//===- FaultsTest.cpp - lost files, full disks, little memory ---------------------------===//

#include "runtime/Faults.h"
#include "runtime/AvailableMemory.h"
#include "runtime/Error.h"
#include "runtime/Model.h"
#include "runtime/OutputFile.h"
#include "test/runtime/ModelImage.h"
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace sluice::runtime;
using namespace sluice::test;
namespace fs = std::filesystem;

static std::span<const uint8_t> bytesOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
}

TEST(FaultsDeathTest, AFileThatIsCutShortWhileItIsReadIsAnError) {
  const std::string path = writeTemporary(toyFile(), "truncated");
  EXPECT_EXIT(
      {
        Model model(path.c_str());
        reportLostFile(model.file(), model.fileName());
        if (truncate(path.c_str(), 0) != 0)
          _exit(3);
        volatile uint8_t read = model.weights()[0];
        _exit(read ? 4 : 5);
      },
      testing::ExitedWithCode(1), "error: .*truncated: the file was cut short");
  std::remove(path.c_str());
}

TEST(Model, NoticesThatItsFileWasChanged) {
  const std::string path = writeTemporary(toyFile(), "changed");
  Model model(path.c_str());
  EXPECT_NO_THROW(model.checkUnchanged());
  const struct timespec times[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
  struct stat before, after; // the clock of a file system may be coarse
  ASSERT_EQ(stat(path.c_str(), &before), 0);
  do {
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
    ASSERT_EQ(stat(path.c_str(), &after), 0);
  } while (before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
  EXPECT_THROW(model.checkUnchanged(), Error);
  ASSERT_EQ(truncate(path.c_str(), 100), 0);
  EXPECT_THROW(model.checkUnchanged(), Error);
  std::remove(path.c_str());
}

TEST(FaultsDeathTest, FilesDoNotTakeThePlaceOfClosedStreams) {
  EXPECT_EXIT(
      {
        for (int stream : {0, 1, 2})
          close(stream);
        prepareStreams();
        char byte = 0;
        bool refused = read(0, &byte, 1) < 0 && write(1, &byte, 1) < 0 && write(2, &byte, 1) < 0;
        _exit(refused && open("/dev/null", O_RDONLY) == 3 ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

class OutputFileTest : public testing::Test {
protected:
  fs::path folder = fs::path(testing::TempDir()) / ("sluice-output-" + std::to_string(getpid()));
  std::string path = folder / "out";
  void SetUp() override { fs::create_directory(folder); }
  void TearDown() override { fs::remove_all(folder); }
  std::string contents() {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // Waits for the process that tidies up.
  bool becomesEmpty() {
    for (int i = 0; i < 500 && !fs::is_empty(folder); ++i)
      usleep(10'000);
    return fs::is_empty(folder);
  }
};

TEST_F(OutputFileTest, ExistsOnceItIsWhole) {
  OutputFile file(path);
  file.write(bytesOf("whole"));
  EXPECT_FALSE(fs::exists(path));
  file.commit();
  EXPECT_EQ(contents(), "whole");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
}

TEST_F(OutputFileTest, LeavesTheOldOneWhereItFails) {
  std::ofstream(path) << "old";
  { OutputFile(path).write(bytesOf("half")); }
  EXPECT_EQ(contents(), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
  OutputFile file(path);
  file.write(bytesOf("new"));
  file.commit();
  EXPECT_EQ(contents(), "new");
}

TEST_F(OutputFileTest, IsRemovedEvenIfItsProcessIsKilled) {
  for (int signal : {SIGKILL, SIGINT}) {
    const pid_t child = fork();
    if (child == 0) {
      OutputFile file(path);
      file.write(bytesOf("half"));
      kill(getpid(), signal);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_TRUE(becomesEmpty()) << signal;
  }
}

TEST_F(OutputFileTest, WritesWhatIsNoFileAsItIs) {
  OutputFile null("/dev/null");
  null.write(bytesOf("text"));
  null.commit();
  EXPECT_FALSE(fs::is_regular_file("/dev/null"));
  OutputFile full("/dev/full");
  EXPECT_THROW(full.write(bytesOf("text")), Error);
  EXPECT_THROW(OutputFile(folder.string()), Error);
  EXPECT_THROW(OutputFile((folder / "no" / "such").string()), Error);
}

TEST_F(OutputFileTest, KeepsLinks) {
  std::ofstream(folder / "target") << "old";
  fs::create_symlink("target", path);
  OutputFile file(path);
  file.write(bytesOf("new"));
  file.commit();
  EXPECT_TRUE(fs::is_symlink(path));
  EXPECT_EQ(contents(), "new");
}

TEST_F(OutputFileTest, SaysThatTheDiskIsFull) {
  const pid_t child = fork();
  if (child == 0) {
    prepareStreams(); // or the limit's signal kills
    const rlimit limit = {1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      OutputFile file(path);
      file.write(bytesOf(std::string(5000, 'x')));
    } catch (const Error &error) {
      _exit(std::string(error.what()).find(path + ": cannot write it: ") == 0 ? 0 : 2);
    }
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_TRUE(becomesEmpty());
}

class AvailableMemoryTest : public OutputFileTest {
protected:
  std::string root = folder;
  void write(const std::string &name, const std::string &text) {
    fs::create_directories(fs::path(root + name).parent_path());
    std::ofstream(root + name) << text;
  }
};

TEST_F(AvailableMemoryTest, IsTheLeastOfMachineAndGroups) {
  EXPECT_EQ(AvailableMemory(root).bytes(), UINT64_MAX);
  write("/proc/meminfo", "MemTotal: 100 kB\nMemAvailable:    80 kB\nSwapFree:  20 kB\n");
  EXPECT_EQ(AvailableMemory(root).bytes(), 100u << 10);
  write("/proc/self/cgroup", "4:memory:/a/b\n0::/c\n");
  write("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "60000\n"); // around ours, which has no limit of its own
  write("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "50000\n");
  write("/sys/fs/cgroup/memory/a/memory.stat",
        "inactive_file 1\ntotal_inactive_file 3000\ntotal_active_file 2000\n");
  EXPECT_EQ(AvailableMemory(root).bytes(), 15000u); // files can go
  write("/sys/fs/cgroup/c/memory.max", "max\n");
  write("/sys/fs/cgroup/c/memory.current", "1\n");
  EXPECT_EQ(AvailableMemory(root).bytes(), 15000u);
  write("/sys/fs/cgroup/c/memory.max", "9000\n");
  write("/sys/fs/cgroup/c/memory.current", "8000\n");
  write("/sys/fs/cgroup/c/memory.stat", "anon 7000\ninactive_file 500\nactive_file 100\n");
  const AvailableMemory memory(root);
  EXPECT_EQ(memory.bytes(), 1600u);
  write("/sys/fs/cgroup/c/memory.current", "20000\n"); // asked again each time
  EXPECT_EQ(memory.bytes(), 0u);
}

TEST_F(AvailableMemoryTest, IsKnownHere) {
  EXPECT_GT(availableMemory().bytes(), 1u << 20);
  EXPECT_LT(availableMemory().bytes(), UINT64_MAX);
}
