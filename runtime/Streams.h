//===- Streams.h - standard input and output, errors included ----------------------===//
#ifndef SLUICE_RUNTIME_STREAMS_H
#define SLUICE_RUNTIME_STREAMS_H

#include <string>
#include <string_view>

namespace sluice::runtime {

// Writes at once. Throws BrokenPipe when nobody reads any more, Error when the bytes cannot be written.
void writeOut(std::string_view text);

// A line on standard error, where failure does not matter.
void note(std::string_view text);

// The bytes of a file, of standard input for "-". Throws Error naming it.
std::string readFile(const std::string &path);

} // namespace sluice::runtime
#endif
