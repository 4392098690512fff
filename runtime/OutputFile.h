//===- OutputFile.h - a file that exists under its name only when it is whole --------===//
#ifndef SLUICE_RUNTIME_OUTPUTFILE_H
#define SLUICE_RUNTIME_OUTPUTFILE_H

#include <cstdint>
#include <span>
#include <string>
#include <sys/types.h>

namespace sluice::runtime {

// Written beside its name as `<path>.tmp-<process id>`. A child process waits for this one: it gives the file its name
// when told that it is whole, and removes it if this process ends before, however that happens. So this process needs no
// right on the folder any more (see SandboxNeeds::child). What is no ordinary file (/dev/null, a pipe) is written as it
// is. Errors name `path`.
class OutputFile {
public:
  explicit OutputFile(const std::string &path);
  OutputFile(const OutputFile &) = delete;
  ~OutputFile();
  void write(std::span<const uint8_t> bytes);
  void commit();

private:
  [[noreturn]] void fail(int number) const;
  void startKeeper(const std::string &temporary, const std::string &target);
  int endKeeper(bool whole); // 0, or the error's number

  std::string path;
  int descriptor = -1, toKeeper = -1;
  pid_t keeper = -1;
};

} // namespace sluice::runtime
#endif
