//===- Epilogue.cpp - what is done with the dot products of rows ------------------------===//

#include "codegen/nvptx/Scope.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::codegen;
using namespace sluice::stream;

namespace {

class EpilogueLowering {
public:
  EpilogueLowering(const Scope &scope, Value firstRow, Value token, int64_t rows)
      : scope(scope), t(scope.t), firstRow(firstRow), token(token), rows(rows) {}

  void lower(TilesOp op, ArrayRef<Values> sums) {
    for (auto [argument, sum] : llvm::zip_equal(op.getBody().getArguments(), sums))
      lanes[argument] = sum;
    for (Operation &operation : op.getBody().front()) {
      if (auto read = dyn_cast<ReadRowsOp>(operation)) {
        lanes[read] = load(at(read.getBufferAttr()), unsigned(4 * rows));
      } else if (auto write = dyn_cast<WriteRowsOp>(operation)) {
        const Values &x = lanes[write.getValue()];
        t.store(rows == 1 ? x[0] : t.pack(x), at(write.getBufferAttr()), unsigned(4 * rows));
      } else if (auto add = dyn_cast<AddOp>(operation)) {
        lanes[add] = map([&](int64_t i) { return t.addf(lanes[add.getLhs()][i], lanes[add.getRhs()][i]); });
      } else if (auto swiglu = dyn_cast<SwigluOp>(operation)) {
        lanes[swiglu] = map([&](int64_t i) {
          Value gate = lanes[swiglu.getGate()][i];
          Value denominator = t.addf(t.f(1), t.exp(t.subf(t.f(0), gate)));
          return t.mulf(t.divf(gate, denominator), lanes[swiglu.getUp()][i]);
        });
      } else if (auto geglu = dyn_cast<GegluOp>(operation)) {
        lanes[geglu] = map([&](int64_t i) {
          Value x = lanes[geglu.getGate()][i], cube = t.mulf(t.mulf(x, x), x);
          // x / 2 * (1 + tanh(y)) is x / (1 + exp(-2y)).
          Value y = t.fma(cube, t.f(0.044715), x);
          Value denominator = t.addf(t.f(1), t.exp(t.mulf(y, t.f(-2 * 0.79788456080286536))));
          return t.mulf(t.divf(x, denominator), lanes[geglu.getUp()][i]);
        });
      } else if (auto bias = dyn_cast<BiasOp>(operation)) {
        // Rows past the last read what follows the vector in the stream.
        Value vector = t.at(scope.args.weights, scope.plan.weights.vectorAt(bias));
        Values b = load(t.at(vector, t.mul(firstRow, 4)), unsigned(4 * rows), /*constant=*/true);
        lanes[bias] = map([&](int64_t i) { return t.addf(lanes[bias.getInput()][i], b[i]); });
      } else if (auto scale = dyn_cast<ScaleOp>(operation)) {
        Value factor = t.f(scale.getFactor().convertToDouble());
        lanes[scale] = map([&](int64_t i) { return t.mulf(lanes[scale.getInput()][i], factor); });
      } else if (auto softcap = dyn_cast<SoftcapOp>(operation)) {
        const double cap = softcap.getCap().convertToDouble();
        lanes[softcap] = map([&](int64_t i) { return t.softcap(lanes[softcap.getInput()][i], cap); });
      } else if (auto rope = dyn_cast<RopeOp>(operation)) {
        lanes[rope] = turn(rope, lanes[rope.getInput()]);
      } else {
        llvm::report_fatal_error("no lowering for '" + operation.getName().getStringRef() + "' after tiles");
      }
    }
  }

private:
  Value at(FlatSymbolRefAttr buffer) { return t.at(scope.bufferRow(buffer, token), t.mul(firstRow, 4)); }
  Values load(Value pointer, unsigned alignment, bool constant = false) {
    Type type = rows == 1 ? t.f32() : t.vec(rows, t.f32());
    Value loaded = constant ? t.loadConstant(type, pointer, alignment) : t.load(type, pointer, alignment);
    return rows == 1 ? Values{loaded} : t.unpack(loaded);
  }
  Values map(function_ref<Value(int64_t)> f) {
    Values result;
    for (int64_t i = 0; i < rows; ++i)
      result.push_back(f(i));
    return result;
  }
  Values turn(RopeOp rope, const Values &x) {
    const int64_t headDim = rope.getHeadDim();
    // The table is periodic, so that rows that run over the end of a head read on.
    Value cosines = t.at(scope.bufferRow(rope.getTableAttr(), token), t.mul(t.rem(firstRow, headDim), 4));
    Values cosine = load(cosines, 4), sine = load(t.at(cosines, (headDim + 32) * 4), 4);
    return map([&](int64_t i) {
      Value partner = rows == 1 ? t.shuffleXor(x[0], 1) : x[i ^ 1];
      return t.fma(partner, sine[i], t.mulf(x[i], cosine[i]));
    });
  }

  const Scope &scope;
  Threads &t;
  Value firstRow, token;
  int64_t rows;
  llvm::DenseMap<Value, Values> lanes; // !stream.lanes -> a value for each row
};
} // namespace

void sluice::codegen::lowerEpilogue(const Scope &scope, TilesOp op, ArrayRef<Values> sums, Value firstRow,
                                    Value token) {
  EpilogueLowering(scope, firstRow, token, int64_t(sums[0].size())).lower(op, sums);
}
