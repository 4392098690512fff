//===- Streams.cpp - standard input and output, errors included --------------------===//

#include "runtime/Streams.h"
#include "runtime/Error.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

using namespace sluice::runtime;

void sluice::runtime::writeOut(std::string_view text) {
  while (!text.empty()) {
    ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0)
      text.remove_prefix(written);
    else if (errno == EPIPE)
      throw BrokenPipe();
    else if (errno != EINTR)
      throw Error(std::string("cannot write to standard output: ") + std::strerror(errno));
  }
}

void sluice::runtime::note(std::string_view text) {
  std::string line = std::string(text) + "\n";
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

// Far beyond any context. Tokens to be are kept for every byte: this bounds what they take.
static constexpr size_t maxTextBytes = 16 << 20;

std::string sluice::runtime::readFile(const std::string &path) {
  const bool standardInput = path == "-";
  int descriptor = standardInput ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  std::string contents;
  ssize_t got = descriptor < 0 ? -1 : 1;
  while (got > 0) {
    size_t size = contents.size();
    if (size > maxTextBytes)
      throw Error((standardInput ? "standard input" : path) + ": expected at most " +
                  std::to_string(maxTextBytes >> 20) + " MiB of text, got more; give a shorter one");
    contents.resize(size + 65536);
    do
      got = read(descriptor, contents.data() + size, 65536);
    while (got < 0 && errno == EINTR);
    contents.resize(size + (got > 0 ? got : 0));
  }
  int number = errno;
  if (!standardInput && descriptor >= 0)
    close(descriptor);
  if (got < 0)
    throw Error((standardInput ? "standard input" : path) + ": cannot read it: " + std::strerror(number));
  return contents;
}
