//===- ReadBandwidth.h - how fast this machine reads memory --------------------------===//
#ifndef SLUICE_RUNTIME_READBANDWIDTH_H
#define SLUICE_RUNTIME_READBANDWIDTH_H

#include "runtime/Workers.h"
#include <span>

namespace sluice::runtime {

// Bytes a second at which `team` reads memory once from end to end, each worker its own part: the best of several
// passes over `weights`, or over memory of the same kind where those are too few to be out of the caches.
double readBandwidth(Workers &team, std::span<const uint8_t> weights);

} // namespace sluice::runtime
#endif
