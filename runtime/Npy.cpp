//===- Npy.cpp - a matrix of floats in NumPy's file format --------------------------===//

#include "runtime/Npy.h"

using namespace sluice::runtime;

void NpyWriter::begin(uint64_t rows, uint64_t columns) {
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                     std::to_string(columns) + "), }";
  // Magic, version and length take 10 bytes; spaces and a newline make the whole a multiple of 64.
  text.append(63 - (10 + text.size()) % 64, ' ');
  text += '\n';
  text = std::string{'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, char(text.size() & 255), char(text.size() >> 8)} + text;
  file.write({reinterpret_cast<const uint8_t *>(text.data()), text.size()});
}

void NpyWriter::append(std::span<const float> values) {
  file.write({reinterpret_cast<const uint8_t *>(values.data()), values.size_bytes()});
}
