//===- SandboxTest.cpp - what the sandbox forbids is tried, what commands need works ----===//
//
// Each attempt is made in a process of its own. Without seccomp or Landlock in the kernel there is nothing to test.
//
//===------------------------------------------------------------------------------===//

#include "runtime/Sandbox.h"
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <functional>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <thread>
#include <unistd.h>

using namespace sluice::runtime;

namespace {
constexpr SandboxNeeds everything{.threads = true, .terminal = true, .child = true};

// Runs `attempt` in a child that has called `enter`: its exit status, or what it wrote to standard error if it ended by
// the filter.
struct Result {
  int status;
  std::string words;
};
Result tryIn(const std::function<int()> &enter, const std::function<int()> &attempt) {
  int ends[2];
  if (pipe(ends) != 0)
    return {-1, "no pipe"};
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    if (enter() != 0)
      _exit(99);
    _exit(attempt());
  }
  close(ends[1]);
  Result result{-1, ""};
  char buffer[512];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
    result.words.append(buffer, size_t(got));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}
int filter(const SandboxNeeds &needs) { return filterSystemCalls(needs); }
int lock() {
  int version;
  return restrictFiles({}, version);
}
int errorOf(long result) { return result < 0 ? errno : 0; }

class Sandbox : public testing::Test {
protected:
  void SetUp() override {
    if (tryIn([] { return filter({}); }, [] { return 0; }).status != 0)
      GTEST_SKIP() << "the kernel has no seccomp filters";
  }
};
} // namespace

TEST_F(Sandbox, StopsWhatNoCommandNeeds) {
  const std::pair<const char *, std::function<int()>> attempts[] = {
      {"socket", [] { return errorOf(socket(AF_INET, SOCK_STREAM, 0)); }},
      {"unix socket", [] { return errorOf(socket(AF_UNIX, SOCK_STREAM, 0)); }},
      {"execve",
       [] {
         char name[] = "/bin/true", *arguments[] = {name, nullptr};
         return errorOf(execv(name, arguments));
       }},
      {"ptrace", [] { return errorOf(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)); }},
      {"kill", [] { return errorOf(kill(getppid(), 0)); }},
      {"unlink", [] { return errorOf(unlink("/nowhere")); }},
      {"rename", [] { return errorOf(rename("/nowhere", "/nowhere2")); }},
      {"chmod", [] { return errorOf(chmod("/nowhere", 0777)); }},
      {"mkdir", [] { return errorOf(mkdir("/nowhere/x", 0777)); }},
      {"io_uring", [] { return errorOf(syscall(SYS_io_uring_setup, 1, nullptr)); }},
      {"bpf", [] { return errorOf(syscall(SYS_bpf, 0, nullptr, 0)); }},
      {"process_vm_readv", [] { return errorOf(syscall(SYS_process_vm_readv, getppid(), nullptr, 0, nullptr, 0, 0)); }},
      {"memfd_create", [] { return errorOf(memfd_create("code", 0)); }},
      {"vfork", [] { return errorOf(syscall(SYS_vfork)); }},
  };
  for (const auto &[name, attempt] : attempts) {
    Result result = tryIn([] { return filter(everything); }, attempt);
    EXPECT_EQ(result.status, 1) << name;
    EXPECT_NE(result.words.find("error: the sandbox stopped system call "), std::string::npos) << name;
  }
}

// What libraries try and can do without fails instead.
TEST_F(Sandbox, RefusesFilesCodeAndProcesses) {
  const std::pair<int, std::function<int()>> attempts[] = {
      {EACCES, [] { return errorOf(open("/etc/passwd", O_RDONLY)); }},
      {EACCES, [] { return errorOf(open("/tmp/sluice-sandbox-test", O_WRONLY | O_CREAT, 0600)); }},
      {EACCES, [] { return errorOf(readlink("/proc/self/exe", nullptr, 0)); }},
      {EPERM, [] { return errorOf(fork()); }},
      {EPERM,
       [] {
         void *code = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         return code == MAP_FAILED ? errno : 0;
       }},
      {EPERM,
       [] {
         void *memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         return memory == MAP_FAILED ? 98 : errorOf(mprotect(memory, 4096, PROT_READ | PROT_EXEC));
       }},
      {EPERM, [] { return errorOf(ioctl(0, TIOCSTI, "x")); }}, // would type into the terminal
      {ENOSYS, [] { return errorOf(syscall(1000)); }},
  };
  for (size_t i = 0; i < std::size(attempts); ++i)
    EXPECT_EQ(tryIn([] { return filter(everything); }, attempts[i].second).status, attempts[i].first) << i;
}

TEST_F(Sandbox, GivesThreadsOnlyToThoseWhoNeedThem) {
  auto startThread = [] {
    int value = 1;
    std::thread([&] { value = 0; }).join();
    return value;
  };
  EXPECT_EQ(tryIn([] { return filter({.threads = true}); }, startThread).status, 0);
  EXPECT_NE(tryIn([] { return filter({}); }, startThread).status, 0);
}

TEST_F(Sandbox, LetsMemoryGrowAndShrink) {
  auto work = [] {
    for (int round = 0; round < 3; ++round) {
      std::vector<std::string> blocks;
      for (size_t size = 1; size < (size_t(64) << 20); size *= 3)
        blocks.push_back(std::string(size, 'x')), blocks.back().resize(size / 2), blocks.back().shrink_to_fit();
    }
    return 0;
  };
  EXPECT_EQ(tryIn([] { return filter({}); }, work).status, 0);
}

TEST_F(Sandbox, HoldsInThreadsToo) {
  auto open = [] {
    int error = 0;
    std::thread([&] { error = errorOf(::open("/etc/passwd", O_RDONLY)); }).join();
    return error;
  };
  EXPECT_EQ(tryIn([] { return filter({.threads = true}); }, open).status, EACCES);
}

TEST_F(Sandbox, BesideADriverLeavesFilesAndForbidsTheRest) {
  auto enter = [] { return filter({.driver = true}); };
  EXPECT_EQ(tryIn(enter, [] { return errorOf(open("/proc/self/status", O_RDONLY)); }).status, 0);
  EXPECT_EQ(tryIn(enter, [] { return errorOf(socket(AF_UNIX, SOCK_STREAM, 0)); }).status, 0);
  EXPECT_EQ(tryIn(enter, [] { return errorOf(socket(AF_INET, SOCK_STREAM, 0)); }).status, EACCES);
  EXPECT_EQ(tryIn(enter, [] { return errorOf(socket(AF_INET6, SOCK_DGRAM, 0)); }).status, EACCES);
  EXPECT_EQ(tryIn(enter, [] { return errorOf(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)); }).status, EPERM);
  EXPECT_EQ(tryIn(enter, [] { return errorOf(syscall(SYS_io_uring_setup, 1, nullptr)); }).status, EPERM);
  EXPECT_EQ(tryIn(enter,
                  [] {
                    char name[] = "/bin/true", *arguments[] = {name, nullptr};
                    return errorOf(execv(name, arguments));
                  })
                .status,
            EPERM);
}

TEST(Landlock, LeavesNoFileAndNoNetwork) {
  if (tryIn(lock, [] { return 0; }).status != 0)
    GTEST_SKIP() << "the kernel has no Landlock";
  const int before = open("/proc/self/status", O_RDONLY);
  EXPECT_EQ(tryIn(lock, [&] {
              char byte;
              return errorOf(read(before, &byte, 1)); // what is open stays open
            }).status,
            0);
  close(before);
  EXPECT_EQ(tryIn(lock, [] { return errorOf(open("/etc/passwd", O_RDONLY)); }).status, EACCES);
  EXPECT_EQ(tryIn(lock, [] { return errorOf(open("/tmp/sluice-sandbox-test", O_WRONLY | O_CREAT, 0600)); }).status,
            EACCES);
  EXPECT_EQ(tryIn(lock, [] { return errorOf(open("/tmp", O_RDONLY | O_DIRECTORY)); }).status, EACCES);
  EXPECT_EQ(tryIn(lock,
                  [] {
                    char name[] = "/bin/true", *arguments[] = {name, nullptr};
                    return errorOf(execv(name, arguments));
                  })
                .status,
            EACCES);
  int version = 0;
  auto network = [] {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(9);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    return errorOf(connect(descriptor, reinterpret_cast<sockaddr *>(&address), sizeof address));
  };
  version = tryIn(
                [] {
                  int found = 0;
                  restrictFiles({}, found);
                  _exit(found);
                  return 0;
                },
                [] { return 0; })
                .status;
  if (version >= 4) {
    EXPECT_EQ(tryIn(lock, network).status, EACCES);
  }
}

TEST(SandboxState, SaysWhatIsInForce) {
  SandboxState state;
  state.reason = "--no-sandbox";
  EXPECT_EQ(state.summary(), "none (--no-sandbox)");
  state = {true, 7, false, ""};
  EXPECT_EQ(state.summary(), "no file, no network, no other program (seccomp, Landlock 7)");
  state = {true, 0, false, "no Landlock: Function not implemented"};
  EXPECT_EQ(state.summary(),
            "no file, no network, no other program (seccomp; no Landlock: Function not implemented)");
  state = {false, 4, false, "no seccomp: Invalid argument"};
  EXPECT_EQ(state.summary(), "no file, no network by TCP (Landlock 4; no seccomp: Invalid argument)");
  state = {true, 5, true, ""};
  EXPECT_EQ(state.summary(),
            "no network, no other program (seccomp, Landlock 5; files are left to the device's driver)");
}
