//===- Integrity.h - whether a compiled model's file is as it was written ------------===//
//
// Checksums find damage, whole or in a byte. They are no signature: whoever makes a file makes its checksums.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_INTEGRITY_H
#define SLUICE_RUNTIME_INTEGRITY_H

#include "runtime/Model.h"
#include <vector>

namespace sluice::runtime {

// Names of what differs from its checksum, or is not zero where nothing lies, in the whole file: "tensor output.weight".
// Header and trailer were checked when the model was opened.
std::vector<std::string> findDamage(const Model &model);

} // namespace sluice::runtime
#endif
