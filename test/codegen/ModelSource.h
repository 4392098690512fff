//===- ModelSource.h - a Llama-family model of any shape, as text -------------------------===//
#ifndef SLUICE_TEST_CODEGEN_MODELSOURCE_H
#define SLUICE_TEST_CODEGEN_MODELSOURCE_H

#include "mlir/Pass/PassManager.h"
#include <string>

namespace sluice::test {

// What layers of other families than Llama's have; 0: not.
struct More {
  bool biases = false, headNorms = false, postNorms = false, geglu = false;
  int64_t window = 0, context = 1024;
  double attentionScale = 0, attentionCap = 0, embedding = 0, multiplier = 0, cap = 0, magnitude = 1;
};

struct Shape {
  int64_t width, heads, kvHeads, headDim, hidden, vocabulary, layers;
  std::string attention, value, gate, down, output; // formats; value: of the values' weights alone
  More more = {};
};

// A fresh one, or $SLUICE_TEST_SEED; printed, so that a failure can be repeated.
unsigned randomSeed();

// In the llama dialect, as import makes it. The output is the embedding, too.
std::string modelSource(const Shape &shape);
// From there to phases; `peaks` of stream.prepare.
void addSchedulePasses(mlir::PassManager &manager, int64_t peaks = 1);

} // namespace sluice::test
#endif
