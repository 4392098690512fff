//===- Npy.h - a matrix of floats in NumPy's file format ----------------------------===//
#ifndef SLUICE_RUNTIME_NPY_H
#define SLUICE_RUNTIME_NPY_H

#include "runtime/OutputFile.h"
#include <cstdint>
#include <span>
#include <string>

namespace sluice::runtime {

// Writes a float32 array [rows, columns], row by row, little-endian, format version 1.0 (numpy.lib.format). The file
// exists once it is finished. Throws Error naming it.
class NpyWriter {
public:
  explicit NpyWriter(const std::string &path) : file(path) {}
  void begin(uint64_t rows, uint64_t columns);
  void append(std::span<const float> values);
  void finish() { file.commit(); }

private:
  OutputFile file;
};

} // namespace sluice::runtime
#endif
