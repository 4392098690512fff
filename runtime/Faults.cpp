//===- Faults.cpp - what happens to a process and would end it silently or wrongly ---===//

#include "runtime/Faults.h"
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

using namespace sluice::runtime;

void sluice::runtime::prepareStreams() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN); // a limit on the size of files
  // Opened the wrong way round, so that using them fails and is reported.
  if (fcntl(STDIN_FILENO, F_GETFD) < 0)
    open("/dev/null", O_WRONLY);
  for (int stream : {STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(stream, F_GETFD) < 0)
      open("/dev/null", O_RDONLY);
}

// What the handler reads: prepared, since it may neither allocate nor lock.
static const uint8_t *mappingBegin, *mappingEnd;
static std::string lostFile, lostMemory;

static void handleBusError(int, siginfo_t *info, void *) {
  const uint8_t *address = static_cast<const uint8_t *>(info->si_addr);
  const std::string &line = address >= mappingBegin && address < mappingEnd ? lostFile : lostMemory;
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  _exit(1);
}

void sluice::runtime::reportLostFile(std::span<const uint8_t> mapping, const std::string &name) {
  mappingBegin = mapping.data();
  mappingEnd = mappingBegin + mapping.size();
  lostFile = "\nerror: " + name +
             ": the file was cut short or cannot be read any more while the model ran; copy or compile it again\n";
  lostMemory = "\nerror: the machine reports a fault of its memory\n";
  struct sigaction action = {};
  action.sa_sigaction = handleBusError;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}
