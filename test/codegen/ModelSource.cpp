//===- ModelSource.cpp - a Llama-family model of any shape, as text -----------------------===//

#include "test/codegen/ModelSource.h"
#include "passes/Passes.h"
#include <cmath>

using namespace sluice;
using namespace sluice::test;

static std::string str(int64_t value) { return std::to_string(value); }

std::string sluice::test::modelSource(const Shape &s) {
  const std::string w = str(s.width), kv = str(s.kvHeads * s.headDim), q = str(s.heads * s.headDim), h = str(s.hidden);
  auto activation = [](const std::string &n) { return "tensor<?x" + n + "xf32>"; };
  const std::string aw = activation(w), aq = activation(q), akv = activation(kv), ah = activation(h),
                    cache = "!llama.cache<" + str(s.kvHeads) + "x" + str(s.headDim) + ">";
  auto weight = [](const std::string &name, const std::string &rows, const std::string &cols, const std::string &format) {
    return "llama.weight @" + name + " from \"" + name + ".{layer}\" : !llama.weight<" + rows + "x" + cols + ", " +
           format + ">\n";
  };
  auto global = [&](const std::string &name, const std::string &rows, const std::string &format) {
    return "llama.weight @" + name + " from \"" + name + "\" : !llama.weight<" + rows + "x" + w + ", " + format + ">\n";
  };
  std::string turns;
  for (int64_t i = 0; i < s.headDim / 2; ++i)
    turns += (i ? ", " : "") + std::to_string(0.159155 / std::pow(100.0, double(2 * i) / double(s.headDim)));
  return "llama.model @m attributes {architecture = \"llama\", context_length = 1024 : i64} {\n" +
         global("embd", str(s.vocabulary), s.output) + global("on", "1", "f32") + weight("an", "1", w, "f32") +
         weight("wq", q, w, s.attention) + weight("wk", kv, w, s.attention) + weight("wv", kv, w, s.value) +
         weight("wo", w, q, s.attention) + weight("fn", "1", w, "f32") + weight("wg", h, w, s.gate) +
         weight("wu", h, w, s.gate) + weight("wd", w, h, s.down) + "llama.block @blk(%x: " + aw + ", %pos: index, %kv: " +
         cache + ") {\n%n = llama.rms_norm %x, @an eps 1.0e-5 : " + aw + "\n%q = llama.linear %n, @wq : " + aw + " -> " +
         aq + "\n%k = llama.linear %n, @wk : " + aw + " -> " + akv + "\n%v = llama.linear %n, @wv : " + aw + " -> " +
         akv + "\n%qr = llama.rope %q, %pos head_dim " + str(s.headDim) + " turns [" + turns + "] : " + aq +
         "\n%kr = llama.rope %k, %pos head_dim " + str(s.headDim) + " turns [" + turns + "] : " + akv +
         "\n%kv1 = llama.append %kr, %v, %kv, %pos : " + akv + ", " + cache +
         "\n%a = llama.attention %qr, %kv1, %pos heads " + str(s.heads) + " : " + aq + ", " + cache +
         "\n%o = llama.linear %a, @wo : " + aq + " -> " + aw + "\n%h1 = llama.add %x, %o : " + aw +
         "\n%m = llama.rms_norm %h1, @fn eps 1.0e-5 : " + aw + "\n%g = llama.linear %m, @wg : " + aw + " -> " + ah +
         "\n%u = llama.linear %m, @wu : " + aw + " -> " + ah + "\n%s = llama.swiglu %g, %u : " + ah +
         "\n%d = llama.linear %s, @wd : " + ah + " -> " + aw + "\n%h2 = llama.add %h1, %d : " + aw +
         "\nllama.yield %h2 : " + aw + "\n}\nllama.graph @token(%ids: tensor<?xi32>, %pos: index, %kv: " + cache +
         ") {\n%x0 = llama.embed %ids, @embd : " + aw + "\n%x1 = llama.layers %x0, %pos, %kv [#llama.run<@blk x " +
         str(s.layers) + ">] : " + aw + ", " + cache + "\n%n = llama.rms_norm %x1, @on eps 1.0e-5 : " + aw +
         "\n%l = llama.linear %n, @embd : " + aw + " -> " + activation(str(s.vocabulary)) + "\nllama.return %l : " +
         activation(str(s.vocabulary)) + "\n}\n}\n";
}

void sluice::test::addSchedulePasses(mlir::PassManager &manager) {
  mlir::OpPassManager &model = manager.nest<llama::ModelOp>();
  model.addPass(createFormStages());
  model.addPass(createFuseSiblings());
  model.addPass(createFuseRope());
  model.addPass(createFuseSwiglu());
  model.addPass(createFuseResidual());
  model.addPass(createFuseNorm());
  model.addPass(createSchedulePhases());
}
