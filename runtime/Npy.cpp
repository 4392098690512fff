//===- Npy.cpp - a matrix of floats in NumPy's file format --------------------------===//

#include "runtime/Npy.h"
#include "runtime/Error.h"
#include <cerrno>
#include <cstring>

using namespace sluice::runtime;

NpyWriter::NpyWriter(const std::string &path, uint64_t rows, uint64_t columns)
    : path(path), file(std::fopen(path.c_str(), "wbe")) {
  if (!file)
    fail();
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                       std::to_string(columns) + "), }";
  // Magic, version and length take 10 bytes; spaces and a newline make the whole a multiple of 64.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  const std::string start{'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, char(header.size() & 255), char(header.size() >> 8)};
  if (std::fputs(header.c_str(), (std::fwrite(start.data(), 1, start.size(), file), file)) < 0)
    fail();
}

NpyWriter::~NpyWriter() {
  if (!file)
    return;
  std::fclose(file);
  std::remove(path.c_str());
}

void NpyWriter::fail() const { throw Error(path + ": cannot write it: " + std::strerror(errno)); }

void NpyWriter::append(std::span<const float> values) {
  if (std::fwrite(values.data(), sizeof(float), values.size(), file) != values.size())
    fail();
}

void NpyWriter::finish() {
  std::FILE *finished = file;
  file = nullptr;
  if (std::fclose(finished) != 0) {
    int number = errno;
    std::remove(path.c_str());
    errno = number;
    fail();
  }
}
