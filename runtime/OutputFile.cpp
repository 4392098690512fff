//===- OutputFile.cpp - a file that exists under its name only when it is whole ------===//

#include "runtime/OutputFile.h"
#include "runtime/Error.h"
#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace sluice::runtime;

OutputFile::OutputFile(const std::string &path) : path(path) {
  struct stat status;
  const bool exists = stat(path.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode))
    fail(EISDIR);
  if (exists && !S_ISREG(status.st_mode)) {
    descriptor = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor < 0)
      fail(errno);
    return;
  }
  char resolved[PATH_MAX]; // a link stays, what it names is replaced
  const std::string target = exists && realpath(path.c_str(), resolved) ? resolved : path;
  const std::string temporary = target + ".tmp-" + std::to_string(getpid());
  startKeeper(temporary, target); // first: from the file's first moment somebody will remove it
  descriptor = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (int number = descriptor < 0 ? errno : 0) {
    endKeeper(false);
    fail(number);
  }
}

OutputFile::~OutputFile() {
  if (descriptor >= 0)
    close(descriptor);
  endKeeper(false);
}

void OutputFile::fail(int number) const { throw Error(path + ": cannot write it: " + std::strerror(number)); }

void OutputFile::startKeeper(const std::string &temporary, const std::string &target) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    fail(errno);
  sigset_t meantForTheGroup, before; // signals that it outlives its parent in spite of: blocked from its begin on
  sigemptyset(&meantForTheGroup);
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP})
    sigaddset(&meantForTheGroup, number);
  sigprocmask(SIG_BLOCK, &meantForTheGroup, &before);
  keeper = fork();
  const int forked = keeper < 0 ? errno : 0;
  if (keeper == 0) {
    for (int open : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, ends[1]})
      close(open);
    char whole = 0;
    while (read(ends[0], &whole, 1) < 0 && errno == EINTR)
      ;
    if (whole && rename(temporary.c_str(), target.c_str()) == 0)
      _exit(0);
    int number = errno;
    unlink(temporary.c_str());
    _exit(whole ? number : 0);
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
  toKeeper = ends[1];
  close(ends[0]);
  if (forked) {
    close(toKeeper);
    fail(forked);
  }
}

int OutputFile::endKeeper(bool whole) {
  if (keeper < 0)
    return 0;
  const char word = 1;
  int status = 0, error = whole && ::write(toKeeper, &word, 1) != 1 ? errno : 0;
  close(toKeeper);
  while (waitpid(keeper, &status, 0) < 0)
    if (errno != EINTR)
      return errno;
  keeper = -1;
  return error ? error : WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

void OutputFile::write(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0 && errno == EPIPE)
      throw BrokenPipe();
    if (written < 0)
      fail(errno);
    bytes = bytes.subspan(size_t(written));
  }
}

void OutputFile::commit() {
  const int closed = close(descriptor) == 0 ? 0 : errno;
  descriptor = -1;
  if (closed)
    fail(closed);
  if (int number = endKeeper(true))
    fail(number);
}
