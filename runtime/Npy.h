//===- Npy.h - a matrix of floats in NumPy's file format ----------------------------===//
#ifndef SLUICE_RUNTIME_NPY_H
#define SLUICE_RUNTIME_NPY_H

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>

namespace sluice::runtime {

// Writes a float32 array [rows, columns], row by row, little-endian, format version 1.0
// (numpy.lib.format). Throws Error naming the file; a file that is not finished is removed.
class NpyWriter {
public:
  NpyWriter(const std::string &path, uint64_t rows, uint64_t columns);
  NpyWriter(const NpyWriter &) = delete;
  ~NpyWriter();
  void append(std::span<const float> values);
  void finish();

private:
  [[noreturn]] void fail() const;
  std::string path;
  std::FILE *file;
};

} // namespace sluice::runtime
#endif
