//===- UsageError.h - options that ask for what cannot be -------------------------------===//
#ifndef SLUICE_COMPILER_USAGEERROR_H
#define SLUICE_COMPILER_USAGEERROR_H

#include "llvm/Support/Error.h"

namespace sluice {

// An option's value is wrong, by itself or for this checkpoint. Exit status 2.
class UsageError : public llvm::ErrorInfo<UsageError, llvm::StringError> {
public:
  explicit UsageError(const llvm::Twine &text) : ErrorInfo(text, llvm::inconvertibleErrorCode()) {}
  static inline char ID = 0;
};

inline llvm::Error usageError(const llvm::Twine &text) { return llvm::make_error<UsageError>(text); }

} // namespace sluice
#endif
