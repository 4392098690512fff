//===- Faults.h - what happens to a process and would end it silently or wrongly -----===//
#ifndef SLUICE_RUNTIME_FAULTS_H
#define SLUICE_RUNTIME_FAULTS_H

#include <cstdint>
#include <span>
#include <string>

namespace sluice::runtime {

// A write that cannot be done fails instead of killing the process, and files that are opened never take the place of
// standard input, output or error that were closed.
void prepareStreams();

// Reading `mapping` where its file `name` has been cut short, or cannot be read, ends the process with one line and
// status 1. For the process, once.
void reportLostFile(std::span<const uint8_t> mapping, const std::string &name);

} // namespace sluice::runtime
#endif
