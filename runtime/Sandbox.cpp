//===- Sandbox.cpp - what a command gives up, enforced by the kernel ------------------===//
//
// seccomp(2) with a filter in classic BPF, landlock(7). Both are written against numbers of the kernel's interface, which
// never change, because the C library's headers may be older than the kernel that runs this.
//
//===------------------------------------------------------------------------------===//

#include "runtime/Sandbox.h"
#include <array>
#include <asm/ioctls.h>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <span>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

using namespace sluice::runtime;

//===-- System calls ----------------------------------------------------------------===//

namespace {
constexpr uint32_t refused(int number) { return SECCOMP_RET_ERRNO | uint32_t(number); }

// A program for the kernel's BPF machine: rules are tried in turn, the first one for a system call decides.
class Filter {
public:
  Filter() {
    load(offsetof(seccomp_data, arch));
    jump(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0);
    finish(SECCOMP_RET_KILL_PROCESS);
    load(offsetof(seccomp_data, nr));
    jump(BPF_JGE, 0x40000000, 0, 1); // the x32 interface
    finish(SECCOMP_RET_KILL_PROCESS);
  }

  void decide(std::span<const int> calls, uint32_t action) {
    for (int call : calls) {
      jump(BPF_JEQ, uint32_t(call), 0, 1);
      finish(action);
    }
  }

  // Allowed if (argument & mask) is one of `values`, in the low 32 bits, which are all that these arguments have.
  struct Condition {
    unsigned argument;
    uint32_t mask;
    std::vector<uint32_t> values;
  };
  void allowIf(int call, const std::vector<Condition> &conditions, uint32_t otherwise) {
    std::vector<sock_filter> outer;
    outer.swap(code);
    for (const Condition &condition : conditions) {
      load(offsetof(seccomp_data, args) + 8 * condition.argument);
      code.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, condition.mask));
      for (size_t i = 0; i < condition.values.size(); ++i) // past the refusal behind them, if equal
        jump(BPF_JEQ, condition.values[i], uint8_t(condition.values.size() - i), 0);
      finish(otherwise);
    }
    finish(SECCOMP_RET_ALLOW);
    outer.swap(code);
    jump(BPF_JEQ, uint32_t(call), 0, uint8_t(outer.size()));
    code.insert(code.end(), outer.begin(), outer.end());
  }

  void decideFrom(uint32_t first, uint32_t action) {
    jump(BPF_JGE, first, 0, 1);
    finish(action);
  }

  void finish(uint32_t action) { code.push_back(BPF_STMT(BPF_RET | BPF_K, action)); }

  int install() {
    sock_fprog program = {uint16_t(code.size()), code.data()};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0 ? 0 : errno;
  }

private:
  void load(uint32_t offset) { code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)); }
  void jump(uint16_t test, uint32_t value, uint8_t yes, uint8_t no) {
    code.push_back(BPF_JUMP(uint16_t(BPF_JMP | test | BPF_K), value, yes, no));
  }
  std::vector<sock_filter> code;
};
} // namespace

// On open files, this process' memory and threads, and the clock.
static constexpr int harmless[] = {
    SYS_read,           SYS_write,          SYS_readv,        SYS_writev,         SYS_pread64,       SYS_lseek,
    SYS_close,          SYS_fstat,          SYS_munmap,       SYS_mremap,         SYS_madvise,       SYS_brk,
    SYS_futex,          SYS_rt_sigaction,   SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_sigaltstack,   SYS_exit,
    SYS_exit_group,     SYS_restart_syscall, SYS_sched_yield, SYS_getpid,         SYS_gettid,        SYS_getrandom,
    SYS_clock_gettime,  SYS_gettimeofday,   SYS_nanosleep,    SYS_clock_nanosleep, SYS_sysinfo,
    SYS_sched_getaffinity};

// Newer than this list.
static constexpr uint32_t firstUnknown = 452;

// What the C library tries and can do without.
static constexpr int ofTheLibrary[] = {SYS_open,   SYS_openat,   SYS_newfstatat, SYS_statx, SYS_access, SYS_faccessat,
                                       SYS_readlink, SYS_readlinkat, SYS_prctl};

// Beside a driver: nothing of the network, no other program, no other process, nothing of the system.
static constexpr int hostile[] = {
    SYS_execve,      SYS_execveat,       SYS_ptrace,          SYS_process_vm_readv, SYS_process_vm_writev, SYS_io_uring_setup,
    SYS_bpf,         SYS_userfaultfd,    SYS_perf_event_open, SYS_add_key,          SYS_request_key,       SYS_keyctl,
    SYS_mount,       SYS_umount2,        SYS_pivot_root,      SYS_chroot,           SYS_unshare,           SYS_setns,
    SYS_init_module, SYS_finit_module,   SYS_delete_module,   SYS_kexec_load,       SYS_kexec_file_load,   SYS_reboot,
    SYS_swapon,      SYS_swapoff,        SYS_acct,            SYS_personality,      SYS_iopl,              SYS_ioperm,
    SYS_settimeofday, SYS_clock_settime, SYS_sethostname,     SYS_setdomainname,    SYS_quotactl};

// System calls beyond the list come here instead of being made.
static void reportSystemCall(int, siginfo_t *info, void *) {
  char line[96] = "error: the sandbox stopped system call ";
  size_t end = std::strlen(line);
  char digits[12];
  int count = 0;
  for (unsigned number = unsigned(info->si_syscall); count == 0 || number; number /= 10)
    digits[count++] = char('0' + number % 10);
  while (count)
    line[end++] = digits[--count];
  const char rest[] = ", which no compiled model needs\n";
  std::memcpy(line + end, rest, sizeof rest - 1);
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, line, end + sizeof rest - 1);
  _exit(1);
}

static int filterBesideDriver() {
  Filter filter;
  filter.decide(hostile, refused(EPERM));
  filter.allowIf(SYS_socket, {{0, ~0u, {AF_UNIX, AF_NETLINK}}}, refused(EACCES)); // how drivers reach their daemons
  filter.finish(SECCOMP_RET_ALLOW);
  return filter.install();
}

int sluice::runtime::filterSystemCalls(const SandboxNeeds &needs) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return errno;
  if (needs.driver)
    return filterBesideDriver();
  struct sigaction action = {};
  action.sa_sigaction = reportSystemCall;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSYS, &action, nullptr);

  Filter filter;
  filter.decide(harmless, SECCOMP_RET_ALLOW);
  // No memory becomes code.
  filter.allowIf(SYS_mmap, {{2, PROT_EXEC, {0}}, {3, MAP_ANONYMOUS, {MAP_ANONYMOUS}}}, refused(EPERM));
  filter.allowIf(SYS_mprotect, {{2, PROT_EXEC, {0}}}, refused(EPERM));
  filter.allowIf(SYS_tgkill, {{0, ~0u, {uint32_t(getpid())}}}, refused(EPERM)); // abort()
  if (needs.threads) {
    constexpr int ofThreads[] = {SYS_set_robust_list, SYS_rseq};
    filter.decide(ofThreads, SECCOMP_RET_ALLOW);
    constexpr uint32_t thread = CLONE_VM | CLONE_THREAD;
    filter.allowIf(SYS_clone, {{0, thread, {thread}}}, refused(EPERM));
    constexpr int newer[] = {SYS_clone3}; // its flags lie in memory, where a filter cannot see them
    filter.decide(newer, refused(ENOSYS));
  }
  if (needs.terminal)
    filter.allowIf(SYS_ioctl, {{1, ~0u, {TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGWINSZ, FIONREAD}}}, refused(EPERM));
  constexpr int ofTerminals[] = {SYS_ioctl}; // isatty()
  filter.decide(ofTerminals, refused(ENOTTY));
  if (needs.child) {
    constexpr int ofChildren[] = {SYS_wait4};
    filter.decide(ofChildren, SECCOMP_RET_ALLOW);
  }
  filter.decide(ofTheLibrary, refused(EACCES));
  filter.decideFrom(firstUnknown, refused(ENOSYS)); // as on a kernel that has not got them, which libraries expect
  filter.finish(SECCOMP_RET_TRAP);
  return filter.install();
}

//===-- Files and network -----------------------------------------------------------===//

namespace {
// landlock_ruleset_attr of version 6.
struct Ruleset {
  uint64_t files, network, scoped;
};
} // namespace

int sluice::runtime::restrictFiles(const SandboxNeeds &needs, int &version) {
  constexpr long createRuleset = 444, restrictSelf = 446; // SYS_landlock_*
  version = int(syscall(createRuleset, nullptr, size_t(0), 1u));
  if (version < 1) {
    version = 0;
    return errno;
  }
  // Of each version: all rights on files, on the network (TCP), and against what lies outside of the sandbox.
  constexpr uint64_t files[] = {0, 0x1fff, 0x3fff, 0x7fff, 0x7fff, 0xffff};
  Ruleset rules = {needs.driver ? 0 : files[std::min<size_t>(size_t(version), std::size(files) - 1)],
                   version >= 4 ? 3u : 0u, version >= 6 && !needs.driver ? 3u : 0u};
  const size_t size = version >= 6 ? sizeof rules : version >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
  if (!rules.files && !rules.network) {
    version = 0;
    return ENOSYS; // what this version can do is not wanted
  }
  // No rule gives anything back.
  const int descriptor = int(syscall(createRuleset, &rules, size, 0u));
  int error = descriptor < 0 ? errno : 0;
  if (!error && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(restrictSelf, descriptor, 0u) != 0))
    error = errno;
  if (descriptor >= 0)
    close(descriptor);
  if (error)
    version = 0;
  return error;
}

//===-- Both --------------------------------------------------------------------------===//

static SandboxState state = {false, 0, false, "not entered"};

const SandboxState &sluice::runtime::sandboxState() { return state; }

void sluice::runtime::leaveOutSandbox(const std::string &reason) { state = {false, 0, false, reason}; }

const SandboxState &sluice::runtime::enterSandbox(const SandboxNeeds &needs) {
  state = {};
  state.driver = needs.driver;
  auto missing = [&](const char *what, int error) {
    state.reason += (state.reason.empty() ? "" : ", ") + ("no " + std::string(what) + ": ") + std::strerror(error);
  };
  // Landlock first: the filter forbids to ask for it.
  if (int error = restrictFiles(needs, state.landlock))
    missing("Landlock", error);
  if (int error = filterSystemCalls(needs))
    missing("seccomp", error);
  else
    state.systemCalls = true;
  return state;
}

std::string SandboxState::summary() const {
  const std::string lock = "Landlock " + std::to_string(landlock);
  if (!systemCalls && !landlock)
    return "none (" + reason + ")";
  std::string text;
  if (driver)
    text = std::string("no network, no other program") + (systemCalls ? "" : " by TCP");
  else
    text = systemCalls ? "no file, no network, no other program" : "no file, no network by TCP";
  text += " (" + std::string(systemCalls ? "seccomp" : "") + (systemCalls && landlock ? ", " : "") +
          (landlock ? lock : "");
  if (driver)
    text += "; files are left to the device's driver";
  return text + (reason.empty() ? ")" : "; " + reason + ")");
}
