//===- Model.h - the executable's own sections, mapped and checked -----------------===//
//
// The compiled model lies behind the machine code in the same file (runtime/abi.h). It is mapped as it is; nothing is
// parsed or copied. Opening checks all bounds, so that what the views below give can be used without checks.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_MODEL_H
#define SLUICE_RUNTIME_MODEL_H

#include "runtime/abi.h"
#include <cstddef>
#include <span>
#include <string>
#include <time.h>

namespace sluice::runtime {

class Model {
public:
  // Throws Error, naming `path`'s file, when it is not a whole file of this version.
  explicit Model(const char *path = "/proc/self/exe");
  Model(const Model &) = delete;
  ~Model();

  const sluice_model &description() const { return *array<sluice_model>(SLUICE_SECTION_MODEL).data(); }
  const sluice_program &program(uint32_t kind) const { return *byKind[kind]; }
  std::span<const sluice_step> steps(const sluice_program &program) const;
  std::span<const sluice_tensor> tensors() const { return array<sluice_tensor>(SLUICE_SECTION_TENSORS); }
  const char *string(uint32_t offset) const;
  // Places and checksums of all that has one: the sections by number, then the machine code.
  std::span<const sluice_section> parts() const { return {header->sections, SLUICE_SECTION_COUNT + 1}; }
  static std::string partName(size_t index); // "section 'steps'"
  uint64_t headerOffset() const { return uint64_t(reinterpret_cast<const uint8_t *>(header) - base); }
  std::span<const uint8_t> section(int index) const; // its bytes
  const uint8_t *weights() const { return section(SLUICE_SECTION_WEIGHTS).data(); }
  uint64_t fileBytes() const { return size; }
  std::span<const uint8_t> file() const { return {base, size}; }
  const std::string &fileName() const { return name; } // for messages

  // Kernels are numbered by the steps: throws Error unless all numbers are below `kernelCount`.
  void checkKernels(uint64_t kernelCount) const;
  // Throws Error if tokenizer or template differ from their checksums. That of the weights takes too long for each start,
  // those of the smaller tables were compared when the file was opened; findDamage() compares all.
  void checkTexts() const;
  // Throws Error if the file is not as it was when it was opened: what was computed from it since may be wrong.
  void checkUnchanged() const;
  // Maps the pages of part `index` of `parts` of the weights before they are touched, reading what is not in memory.
  void populateWeights(unsigned index, unsigned parts) const;

private:
  template <typename T> std::span<const T> array(int index) const {
    std::span<const uint8_t> bytes = section(index);
    return {reinterpret_cast<const T *>(bytes.data()), bytes.size() / sizeof(T)};
  }
  [[noreturn]] void fail(const std::string &what) const;
  void check(bool holds, const char *what) const;
  void mapFile(const char *path);
  void release();
  void checkSections();
  void checkSum(int section) const;
  void checkModel() const;
  void checkPrograms();

  std::string name;
  int descriptor = -1;
  timespec changed{}; // when the file was, last
  const uint8_t *base = nullptr;
  uint64_t size = 0;
  const sluice_header *header = nullptr;
  const sluice_program *byKind[SLUICE_PROGRAM_COUNT] = {};
};

} // namespace sluice::runtime
#endif
