//===- Progress.h - a line that tells how far a copy is ----------------------------===//
//
// On a terminal a line that rewrites itself, at most ten times a second; elsewhere one line a second after the first
// second. Says percent and megabytes a second.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_PROGRESS_H
#define SLUICE_COMPILER_PROGRESS_H

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>
#include <string>

namespace sluice {

class Progress {
public:
  Progress(std::string what, uint64_t total, bool quiet)
      : what(std::move(what)), total(total), quiet(quiet), terminal(llvm::errs().is_displayed()) {}
  ~Progress() {
    if (shown && terminal)
      llvm::errs() << "\r\x1b[K";
  }
  Progress(const Progress &) = delete;

  void update(uint64_t done) {
    auto now = std::chrono::steady_clock::now();
    if (quiet || now - last < std::chrono::milliseconds(terminal ? 100 : 1000))
      return;
    last = now;
    shown = true;
    double seconds = std::chrono::duration<double>(now - start).count();
    llvm::errs() << (terminal ? "\r" : "")
                 << llvm::format("%s: %3.0f %%, %.0f MB/s", what.c_str(), 100.0 * done / total, done / seconds / 1e6)
                 << (terminal ? "\x1b[K" : "\n");
  }

private:
  std::string what;
  uint64_t total;
  bool quiet, terminal, shown = false;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now(), last = start;
};

} // namespace sluice
#endif
