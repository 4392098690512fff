//===- FuzzTarget.h - what the fuzz targets share -----------------------------------===//
//
// A target is one function over bytes that were written by anyone. It may refuse them; it must not crash, hang, or take
// memory without bound. With SLUICE_FUZZ it is linked with libFuzzer; otherwise with Replay.cpp, which runs files.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_TEST_FUZZ_FUZZTARGET_H
#define SLUICE_TEST_FUZZ_FUZZTARGET_H

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

namespace sluice::test {

// A file in memory that holds the input: readers want paths.
class InputFile {
public:
  InputFile(const uint8_t *data, size_t size) : descriptor(memfd_create("input", MFD_CLOEXEC)) {
    if (descriptor < 0 || write(descriptor, data, size) != ssize_t(size)) {
      perror("cannot hold the input in memory");
      std::abort();
    }
  }
  InputFile(const InputFile &) = delete;
  ~InputFile() { close(descriptor); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor); }

private:
  int descriptor;
};

} // namespace sluice::test
#endif
