//===- Heads.h - a head is normalised and rotated before attention uses it --------------===//
#ifndef SLUICE_CODEGEN_NVPTX_HEADS_H
#define SLUICE_CODEGEN_NVPTX_HEADS_H

#include "codegen/nvptx/Scope.h"

namespace sluice::codegen {

// What `append` or `attention` does to each head of its keys or queries. A warp works on a head, a lane on every 32nd
// channel.
class HeadSteps {
public:
  template <typename Op>
  HeadSteps(const Scope &scope, Op op, int64_t channels)
      : scope(scope), t(scope.t), op(op), norm(op.getNormAttr()), rope(op.getRopeAttr()),
        eps(op.getEps() ? op.getEps()->convertToDouble() : 0), channels(channels) {}

  // What all channels of the head at `input` are multiplied with before the norm's weights; null without a norm.
  Value factorOf(Value input);
  // The lane's channel, finished, of the 32 that begin at `first`; 0 past the last. `factor`: the head's.
  Value channel(Value input, Value factor, Value token, Value first);

private:
  const Scope &scope;
  Threads &t;
  mlir::Operation *op;
  mlir::FlatSymbolRefAttr norm, rope; // null: not
  double eps;
  int64_t channels;
};

} // namespace sluice::codegen
#endif
