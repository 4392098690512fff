//===- Tables.h - the sections of a file that describe the model -------------------===//
//
// What runtime/abi.h lays down about the model, its programs and their steps, all taken from a scheduled and configured
// llama.model.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_COMPILER_PACK_TABLES_H
#define SLUICE_COMPILER_PACK_TABLES_H

#include "codegen/Target.h"
#include "compiler/pack/PackWeights.h"
#include "runtime/abi.h"
#include "llvm/ADT/StringMap.h"

namespace sluice {

// SLUICE_SECTION_STRINGS under construction. Equal strings are stored once.
class Strings {
public:
  uint32_t add(llvm::StringRef string);
  // Puts `string` in place of the string of the same length at `offset`.
  void replace(uint32_t offset, llvm::StringRef string) { text.replace(offset, string.size(), string.str()); }
  llvm::ArrayRef<uint8_t> bytes() const { return {reinterpret_cast<const uint8_t *>(text.data()), text.size()}; }

private:
  std::string text;
  llvm::StringMap<uint32_t> offsets;
};

struct Tables {
  sluice_model model{};
  std::vector<sluice_program> programs;
  std::vector<sluice_step> steps;
  std::vector<sluice_tensor> tensors; // without checksums, which packWeights finds
  Strings strings;
};

// What the model itself does not say.
struct Provenance {
  llvm::StringRef compilerVersion, sourceFile;
  llvm::StringRef sourceHash; // "blake3:..."
  uint64_t sourceBytes;
};

// `memory`: what a program's phases need on the target that needs most. Fails on a model whose programs are not
// those that the runtime runs; the error names the program or phase.
llvm::Expected<Tables> buildTables(llama::ModelOp model, const stream::Schedule &schedule,
                                   llvm::ArrayRef<PackedTensor> tensors, const Provenance &provenance,
                                   llvm::function_ref<codegen::WorkerMemory(stream::ProgramOp)> memory);

} // namespace sluice
#endif
