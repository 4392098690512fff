//===- Error.h - what ends a command -----------------------------------------------===//
#ifndef SLUICE_RUNTIME_ERROR_H
#define SLUICE_RUNTIME_ERROR_H

#include <stdexcept>

namespace sluice::runtime {

// One line for the user: what was expected, what came, what to do. Exit status 1.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The command line asks for what cannot be. Exit status 2.
struct UsageError : Error {
  using Error::Error;
};

// No logit, or score, is a number.
struct NotANumber : Error {
  NotANumber() : Error("the model's answer is not a number: its weights are damaged, or its values too large") {}
};

// Whoever read our output has gone. The command ends without a word.
struct BrokenPipe {};

} // namespace sluice::runtime
#endif
