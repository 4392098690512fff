//===- ModelSource.cpp - a Llama-family model of any shape, as text -----------------------===//

#include "test/codegen/ModelSource.h"
#include "passes/Passes.h"
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <random>

using namespace sluice;
using namespace sluice::test;

unsigned sluice::test::randomSeed() {
  const char *given = std::getenv("SLUICE_TEST_SEED");
  const unsigned seed = given ? unsigned(std::strtoul(given, nullptr, 10)) : std::random_device()();
  std::cout << "SLUICE_TEST_SEED=" << seed << "\n";
  return seed;
}

static std::string str(int64_t value) { return std::to_string(value); }

namespace {
class Source {
public:
  explicit Source(const Shape &shape) : s(shape), more(shape.more) {}

  std::string text() {
    global("embd", s.vocabulary, s.output);
    global("on", 1, "f32");
    weight("an", 1, s.width, "f32");
    weight("wq", queries, s.width, s.attention);
    weight("wk", keys, s.width, s.attention);
    weight("wv", keys, s.width, s.value);
    weight("wo", s.width, queries, s.attention);
    weight("fn", 1, s.width, "f32");
    weight("wg", s.hidden, s.width, s.gate);
    weight("wu", s.hidden, s.width, s.gate);
    weight("wd", s.width, s.hidden, s.down);
    if (more.biases)
      for (auto [name, rows] : {std::pair("bq", queries), std::pair("bk", keys), std::pair("bv", keys),
                                std::pair("bo", s.width), std::pair("bu", s.hidden)})
        weight(name, 1, rows, "f32");
    if (more.headNorms)
      weight("qn", 1, s.headDim, "f32"), weight("kn", 1, s.headDim, "f32");
    if (more.postNorms)
      weight("pan", 1, s.width, "f32"), weight("pfn", 1, s.width, "f32");
    out += "llama.block @blk(%x: " + type(s.width) + ", %pos: index, %kv: " + cache + ") {\n";
    block();
    out += "}\nllama.graph @token(%ids: tensor<?xi32>, %pos: index, %kv: " + cache + ") {\n";
    op("x0", "embed %ids, @embd" + attributes({{"scale", more.embedding}}), type(s.width));
    op("x1", "layers %x0, %pos, %kv [#llama.run<@blk x " + str(s.layers) + ">]", type(s.width) + ", " + cache);
    op("n", "rms_norm %x1, @on eps 1.0e-5", type(s.width));
    std::string logits = linear("l", "n", "embd", s.width, s.vocabulary);
    logits = capped(scaled(logits, s.vocabulary), s.vocabulary);
    out += "llama.return %" + logits + " : " + type(s.vocabulary) + "\n}\n";
    return "llama.model @m attributes {architecture = \"llama\", context_length = " + str(more.context) +
           " : i64} {\n" + out + "}\n";
  }

private:
  void block() {
    op("n", "rms_norm %x, @an eps 1.0e-5", type(s.width));
    const std::string q = rotated(
                          normalised(biased(linear("q", "n", "wq", s.width, queries), "bq", queries), "qn", queries),
                          queries),
                      k = rotated(normalised(biased(linear("k", "n", "wk", s.width, keys), "bk", keys), "kn", keys),
                                  keys),
                      v = biased(linear("v", "n", "wv", s.width, keys), "bv", keys);
    op("kv1", "append %" + k + ", %" + v + ", %kv, %pos", type(keys) + ", " + cache);
    op("a",
       "attention %" + q + ", %kv1, %pos heads " + str(s.heads) +
           attributes({{"scale", more.attentionScale}, {"softcap", more.attentionCap}}, more.window),
       type(queries) + ", " + cache);
    std::string o = scaled(biased(linear("o", "a", "wo", queries, s.width), "bo", s.width), s.width);
    op("h1", "add %x, %" + afterwards(o, "pan"), type(s.width));
    op("m", "rms_norm %h1, @fn eps 1.0e-5", type(s.width));
    linear("g", "m", "wg", s.width, s.hidden);
    const std::string u = biased(linear("u", "m", "wu", s.width, s.hidden), "bu", s.hidden);
    op("s", (more.geglu ? "geglu %g, %" : "swiglu %g, %") + u, type(s.hidden));
    std::string d = scaled(linear("d", "s", "wd", s.hidden, s.width), s.width);
    op("h2", "add %h1, %" + afterwards(d, "pfn"), type(s.width));
    out += "llama.yield %h2 : " + type(s.width) + "\n";
  }

  // Each gives the name of its result.
  std::string op(const std::string &name, const std::string &what, const std::string &types) {
    out += "%" + name + " = llama." + what + " : " + types + "\n";
    return name;
  }
  std::string linear(const std::string &name, const std::string &input, const std::string &weight, int64_t from,
                     int64_t to) {
    return op(name, "linear %" + input + ", @" + weight, type(from) + " -> " + type(to));
  }
  std::string biased(const std::string &x, const std::string &weight, int64_t width) {
    return more.biases ? op(x + "b", "bias %" + x + ", @" + weight, type(width)) : x;
  }
  std::string normalised(const std::string &x, const std::string &weight, int64_t width) {
    return more.headNorms ? op(x + "n", "rms_norm %" + x + ", @" + weight + " eps 1.0e-4", type(width)) : x;
  }
  std::string rotated(const std::string &x, int64_t width) {
    std::string turns;
    for (int64_t i = 0; i < s.headDim / 2; ++i)
      turns += (i ? ", " : "") + std::to_string(0.159155 / std::pow(100.0, double(2 * i) / double(s.headDim)));
    const std::string magnitude =
        more.magnitude == 1 ? "" : " {magnitude = " + std::to_string(more.magnitude) + " : f64}";
    return op(x + "r", "rope %" + x + ", %pos head_dim " + str(s.headDim) + " turns [" + turns + "]" + magnitude,
              type(width));
  }
  std::string scaled(const std::string &x, int64_t width) {
    return more.multiplier ? op(x + "s", "scale %" + x + " by " + std::to_string(more.multiplier), type(width)) : x;
  }
  std::string capped(const std::string &x, int64_t width) {
    return more.cap ? op(x + "c", "softcap %" + x + " at " + std::to_string(more.cap), type(width)) : x;
  }
  std::string afterwards(const std::string &x, const std::string &weight) {
    return more.postNorms ? op(x + "p", "rms_norm %" + x + ", @" + weight + " eps 1.0e-5", type(s.width)) : x;
  }
  // Those that are not 0.
  static std::string attributes(std::initializer_list<std::pair<const char *, double>> numbers, int64_t window = 0) {
    std::string list = window ? "window = " + str(window) + " : i64" : "";
    for (auto [name, value] : numbers)
      if (value)
        list += (list.empty() ? "" : ", ") + std::string(name) + " = " + std::to_string(value) + " : f32";
    return list.empty() ? "" : " {" + list + "}";
  }

  static std::string type(int64_t width) { return "tensor<?x" + str(width) + "xf32>"; }
  void declare(const std::string &name, const std::string &from, int64_t rows, int64_t cols,
               const std::string &format) {
    out += "llama.weight @" + name + " from \"" + from + "\" : !llama.weight<" + str(rows) + "x" + str(cols) + ", " +
           format + ">\n";
  }
  void weight(const std::string &name, int64_t rows, int64_t cols, const std::string &format) {
    declare(name, name + ".{layer}", rows, cols, format);
  }
  void global(const std::string &name, int64_t rows, const std::string &format) {
    declare(name, name, rows, s.width, format);
  }

  const Shape &s;
  const More &more;
  const int64_t queries = s.heads * s.headDim, keys = s.kvHeads * s.headDim;
  const std::string cache = "!llama.cache<" + str(s.kvHeads) + "x" + str(s.headDim) + ">";
  std::string out;
};
} // namespace

std::string sluice::test::modelSource(const Shape &shape) { return Source(shape).text(); }

void sluice::test::addSchedulePasses(mlir::PassManager &manager, int64_t peaks) {
  mlir::OpPassManager &model = manager.nest<llama::ModelOp>();
  model.addPass(createFormStages());
  model.addPass(createFuseSiblings());
  model.addPass(createFuseElementwise());
  model.addPass(createFuseHeadNorm());
  model.addPass(createFuseRope());
  model.addPass(createFuseSwiglu());
  model.addPass(createFuseResidual());
  model.addPass(createFuseNorm());
  model.addPass(createFusePostNorm());
  SchedulePhasesOptions options;
  options.peaks = peaks;
  model.addPass(createSchedulePhases(options));
}
