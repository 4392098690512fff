//===- ArithmeticPeak.h - how many operations this machine can do --------------------===//
#ifndef SLUICE_RUNTIME_ARITHMETICPEAK_H
#define SLUICE_RUNTIME_ARITHMETICPEAK_H

#include "runtime/Model.h"
#include "runtime/Workers.h"

namespace sluice::runtime {

// Multiplications and additions a second of 8-bit dot products on data at hand, by all of `team` with the instructions
// of `variant`: the best of several passes.
double arithmeticPeak(Workers &team, const Model &model, const sluice_variant &variant);

} // namespace sluice::runtime
#endif
