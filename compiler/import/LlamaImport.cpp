//===- LlamaImport.cpp - from a checkpoint to the llama dialect -----------------------===//
//
// Key and tensor names: the GGUF specification and ggml's naming of the `llama` architecture. A tensor that is
// not understood is an error, never ignored; so is every key that is known to change the result and is not implemented.
//
//===------------------------------------------------------------------------------------===//

#include "compiler/import/LlamaImport.h"
#include "dialects/llama/Llama.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

namespace {

constexpr int64_t maxLayers = 1024;   // beyond any model; guards the loop over layers
constexpr int64_t maxWidth = 1 << 24; // of any dimension
constexpr const char *norms[] = {"attn_norm", "ffn_norm"};
constexpr const char *matrices[] = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"};

// The numbers of a Llama-family model.
struct Shape {
  int64_t layers, width, heads, kvHeads, headDim, feedForward, vocabulary, context;
  double eps;
  std::vector<double> turns; // see llama.rope
};

class Importer {
public:
  Importer(MLIRContext &context, const Checkpoint &checkpoint) : context(context), checkpoint(checkpoint) {}

  llvm::Expected<OwningOpRef<ModuleOp>> run() {
    if (llvm::Error failure = readShape())
      return failure;
    if (llvm::Error failure = checkTensors())
      return failure;
    if (llvm::Error failure = readRope()) // its table is as large as a head, which the tensors have confirmed
      return failure;
    return build();
  }

private:
  //===-- Metadata -----------------------------------------------------------------------===//

  std::string key(const char *name) { return architecture + "." + name; }

  // An integer in [1, limit]; `absent` if the key is, which is an error without one.
  llvm::Error readInt(const std::string &key, int64_t &value, int64_t limit, std::optional<int64_t> absent = {}) {
    llvm::Expected<std::optional<int64_t>> found = checkpoint.find<int64_t>(key);
    if (!found)
      return found.takeError();
    if (!*found && !absent)
      return checkpoint.error("metadata key '" + key + "' is missing; the file is not a complete model");
    value = found->value_or(absent.value_or(0));
    if (value < 1 || value > limit)
      return checkpoint.error("metadata key '" + key + "': expected 1 to " + Twine(limit) + ", got " + Twine(value));
    return llvm::Error::success();
  }
  llvm::Error readFloat(const std::string &key, double &value, std::optional<double> absent = {}) {
    llvm::Expected<std::optional<double>> found = checkpoint.find<double>(key);
    if (!found)
      return found.takeError();
    if (!*found && !absent)
      return checkpoint.error("metadata key '" + key + "' is missing; the file is not a complete model");
    value = found->value_or(absent.value_or(0));
    if (!std::isfinite(value) || value <= 0)
      return checkpoint.error("metadata key '" + key + "': expected a positive number");
    return llvm::Error::success();
  }
  static bool isZero(const Metadata &value) {
    if (const int64_t *integer = std::get_if<int64_t>(&value))
      return *integer == 0;
    const double *real = std::get_if<double>(&value);
    return real && *real == 0;
  }
  // KV heads come as one number or as one a layer.
  llvm::Error readKvHeads() {
    std::string name = key("attention.head_count_kv");
    auto found = checkpoint.metadata().find(name);
    if (found == checkpoint.metadata().end() || !std::holds_alternative<std::vector<int64_t>>(found->second))
      return readInt(name, shape.kvHeads, maxWidth, shape.heads);
    const auto &list = std::get<std::vector<int64_t>>(found->second);
    if (list.empty() || !llvm::all_equal(list) || list[0] < 1 || list[0] > maxWidth)
      return checkpoint.error("metadata key '" + name +
                              "': expected the same positive number of KV heads in every layer");
    shape.kvHeads = list[0];
    return llvm::Error::success();
  }

  llvm::Error readShape() {
    llvm::Expected<std::optional<StringRef>> arch = checkpoint.find<StringRef>("general.architecture");
    if (!arch)
      return arch.takeError();
    if (!*arch)
      return checkpoint.error("metadata key 'general.architecture' is missing; the file is not a model");
    llvm::Expected<std::optional<int64_t>> shards = checkpoint.find<int64_t>("split.count");
    if (!shards)
      return shards.takeError();
    if (shards->value_or(1) > 1)
      return checkpoint.error("is one of " + Twine(**shards) +
                              " parts of a model; join them first: llama-gguf-split --merge FIRST-PART OUTPUT");
    architecture = (*arch)->str();
    if (architecture != "llama")
      return checkpoint.error("unknown architecture '" + architecture + "'; known: llama");
    if (llvm::Error e = readInt(key("block_count"), shape.layers, maxLayers))
      return e;
    if (llvm::Error e = readInt(key("embedding_length"), shape.width, maxWidth))
      return e;
    if (llvm::Error e = readInt(key("feed_forward_length"), shape.feedForward, maxWidth))
      return e;
    if (llvm::Error e = readInt(key("context_length"), shape.context, int64_t(1) << 31))
      return e;
    if (llvm::Error e = readInt(key("attention.head_count"), shape.heads, maxWidth))
      return e;
    if (llvm::Error e = readKvHeads())
      return e;
    if (shape.heads % shape.kvHeads != 0)
      return checkpoint.error("expected heads divisible by KV heads, got " + Twine(shape.heads) + " and " +
                              Twine(shape.kvHeads));
    std::string headKey = key("attention.key_length");
    bool hasHead = checkpoint.metadata().contains(headKey);
    if (!hasHead && shape.width % shape.heads != 0)
      return checkpoint.error("expected width divisible by heads, got " + Twine(shape.width) + " and " +
                              Twine(shape.heads));
    if (llvm::Error e = readInt(headKey, shape.headDim, maxWidth, hasHead ? 0 : shape.width / shape.heads))
      return e;
    int64_t valueDim;
    if (llvm::Error e = readInt(key("attention.value_length"), valueDim, maxWidth, shape.headDim))
      return e;
    if (valueDim != shape.headDim || shape.headDim % 2 != 0)
      return checkpoint.error("expected equal, even sizes of keys and values of a head, got " + Twine(shape.headDim) +
                              " and " + Twine(valueDim));
    std::string epsKey = key("attention.layer_norm_rms_epsilon");
    if (llvm::Error e = readFloat(epsKey, shape.eps))
      return e;
    if (shape.eps <= 1e-37 || shape.eps > 1)
      return checkpoint.error("metadata key '" + epsKey + "': expected a number above 1e-37 and at most 1");
    for (const char *unsupported :
         {"expert_count", "attention.sliding_window", "logit_scale", "residual_scale", "embedding_scale",
          "attention.scale", "attention.clamp_kqv", "attention.max_alibi_bias", "rope.scaling.attn_factor",
          "rope.scale_linear", "attn_logit_softcapping", "final_logit_softcapping"})
      if (auto found = checkpoint.metadata().find(key(unsupported)); found != checkpoint.metadata().end())
        if (!isZero(found->second))
          return checkpoint.error("metadata key '" + key(unsupported) +
                                  "' asks for something that is not supported yet");
    llvm::Expected<std::optional<bool>> causal = checkpoint.find<bool>(key("attention.causal"));
    if (!causal)
      return causal.takeError();
    if (!causal->value_or(true))
      return checkpoint.error("metadata key '" + key("attention.causal") +
                              "' is false: a model that sees later tokens cannot generate text");
    return llvm::Error::success();
  }

  llvm::Error readRope() {
    int64_t rotated;
    double base, factor = 1;
    if (llvm::Error e = readInt(key("rope.dimension_count"), rotated, shape.headDim, shape.headDim))
      return e;
    if (rotated % 2 != 0)
      return checkpoint.error("metadata key '" + key("rope.dimension_count") + "': expected an even number, got " +
                              Twine(rotated));
    if (llvm::Error e = readFloat(key("rope.freq_base"), base, 10000.0))
      return e;
    llvm::Expected<std::optional<StringRef>> scaling = checkpoint.find<StringRef>(key("rope.scaling.type"));
    if (!scaling)
      return scaling.takeError();
    // Without a type, a factor means linear scaling, as in files from before there was one.
    bool hasFactor = checkpoint.metadata().contains(key("rope.scaling.factor"));
    StringRef type = scaling->value_or(hasFactor ? "linear" : "none");
    if (type != "none" && type != "linear")
      return checkpoint.error("metadata key '" + key("rope.scaling.type") + "': expected none or linear, got '" + type +
                              "', which is not supported yet");
    if (type == "linear")
      if (llvm::Error e = readFloat(key("rope.scaling.factor"), factor))
        return e;
    std::vector<float> divisors(rotated / 2, 1.0f);
    if (const TensorInfo *tensor = checkpoint.findTensor("rope_freqs.weight")) {
      if (!tensor->format || tensor->format->format != Format::F32 || tensor->cols() != rotated / 2 ||
          tensor->rows() != 1)
        return checkpoint.error("tensor 'rope_freqs.weight': expected " + Twine(rotated / 2) + " of F32, got " +
                                tensor->shape() + " of " + tensor->typeName);
      llvm::Expected<ArrayRef<uint8_t>> bytes = checkpoint.tensorBytes(tensor->name);
      if (!bytes)
        return bytes.takeError();
      std::memcpy(divisors.data(), bytes->data(), divisors.size() * 4);
    }
    for (int64_t i = 0; i < rotated / 2; ++i) {
      if (!std::isfinite(divisors[i]) || divisors[i] <= 0)
        return checkpoint.error("tensor 'rope_freqs.weight': element " + Twine(i) + " is not a positive number");
      shape.turns.push_back(std::pow(base, -2.0 * double(i) / double(rotated)) / (2 * M_PI) / factor / divisors[i]);
    }
    return llvm::Error::success();
  }

  //===-- Tensors ------------------------------------------------------------------------===//

  llvm::Error checkTensor(const std::string &name, int64_t rows, int64_t cols, bool isNorm) {
    const TensorInfo *tensor = checkpoint.findTensor(name);
    if (!tensor)
      return checkpoint.error("tensor '" + name + "' is missing; expected " + Twine(cols) + " x " + Twine(rows) +
                              ": the file is not a complete llama model");
    known.insert(name);
    bool isFlat =
        llvm::all_of(llvm::enumerate(tensor->dims), [](auto dim) { return dim.index() < 2 || dim.value() == 1; });
    if (tensor->cols() != cols || tensor->rows() != rows || !isFlat)
      return checkpoint.error("tensor '" + name + "': expected shape " + Twine(cols) + " x " + Twine(rows) + ", got " +
                              tensor->shape());
    if (!tensor->format)
      return checkpoint.error("tensor '" + name + "' has type " + tensor->typeName +
                              ", which is not supported; re-quantise the model (llama-quantize --pure) to one of " +
                              supportedTypes());
    if (isNorm && !tensor->format->isFloat)
      return checkpoint.error("tensor '" + name + "': expected F32, F16 or BF16 for a norm, got " + tensor->typeName);
    return llvm::Error::success();
  }
  static std::string supportedTypes() {
    std::string list;
    for (const FormatInfo &format : allFormats())
      list += (list.empty() ? "" : ", ") + StringRef(format.name).upper();
    return list;
  }

  // Rows and cols of a matrix of a layer.
  std::pair<int64_t, int64_t> matrixShape(StringRef name) {
    int64_t q = shape.heads * shape.headDim, kv = shape.kvHeads * shape.headDim;
    if (name == "attn_q")
      return {q, shape.width};
    if (name == "attn_output")
      return {shape.width, q};
    if (name == "ffn_down")
      return {shape.width, shape.feedForward};
    return {name.starts_with("ffn") ? shape.feedForward : kv, shape.width};
  }
  static std::string layerTensor(int64_t layer, StringRef name) {
    return ("blk." + Twine(layer) + "." + name + ".weight").str();
  }

  llvm::Error checkTensors() {
    const TensorInfo *embedding = checkpoint.findTensor("token_embd.weight");
    if (!embedding)
      return checkpoint.error("tensor 'token_embd.weight' is missing: the file is not a complete llama model");
    shape.vocabulary = embedding->rows();
    if (shape.vocabulary > maxWidth)
      return checkpoint.error("tensor 'token_embd.weight': impossible vocabulary of " + Twine(shape.vocabulary));
    if (llvm::Error e = checkTensor("token_embd.weight", shape.vocabulary, shape.width, false))
      return e;
    if (llvm::Error e = checkTensor("output_norm.weight", 1, shape.width, true))
      return e;
    if (checkpoint.findTensor("output.weight"))
      if (llvm::Error e = checkTensor("output.weight", shape.vocabulary, shape.width, false))
        return e;
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      for (const char *name : norms)
        if (llvm::Error e = checkTensor(layerTensor(layer, name), 1, shape.width, true))
          return e;
      for (const char *name : matrices) {
        auto [rows, cols] = matrixShape(name);
        if (llvm::Error e = checkTensor(layerTensor(layer, name), rows, cols, false))
          return e;
      }
    }
    known.insert("rope_freqs.weight");
    for (const TensorInfo &tensor : checkpoint.tensors())
      if (!known.contains(tensor.name))
        return checkpoint.error("tensor '" + tensor.name +
                                "' is not part of a llama model as it is understood; "
                                "leaving it out would change the answers");
    return llvm::Error::success();
  }

  //===-- IR -----------------------------------------------------------------------------===//

  Format formatOf(const std::string &tensor) { return checkpoint.findTensor(tensor)->format->format; }

  WeightDeclOp declare(ImplicitLocOpBuilder &b, const Twine &symbol, StringRef from, int64_t rows, int64_t cols,
                       Format format) {
    return WeightDeclOp::create(b, b.getStringAttr(symbol), b.getStringAttr(from),
                                TypeAttr::get(WeightType::get(&context, rows, cols, format)));
  }

  OwningOpRef<ModuleOp> build() {
    context.loadDialect<LlamaDialect>();
    Location loc = NameLoc::get(StringAttr::get(&context, checkpoint.path()));
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
    auto b = ImplicitLocOpBuilder::atBlockEnd(loc, module->getBody());
    auto model = ModelOp::create(b, modelName(), architecture, shape.context);
    b.createBlock(&model.getBody());

    declare(b, "token_embd", "token_embd.weight", shape.vocabulary, shape.width, formatOf("token_embd.weight"));
    declare(b, "output_norm", "output_norm.weight", 1, shape.width, formatOf("output_norm.weight"));
    bool tied = !checkpoint.findTensor("output.weight");
    if (!tied)
      declare(b, "output", "output.weight", shape.vocabulary, shape.width, formatOf("output.weight"));

    // Layers whose weights have equal formats share a block.
    std::vector<std::pair<std::string, int64_t>> signatures; // and the first layer that has it
    SmallVector<size_t> blockOf;
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      std::string signature;
      for (ArrayRef<const char *> names : {ArrayRef<const char *>(norms), ArrayRef<const char *>(matrices)})
        for (const char *name : names)
          signature += (Twine(unsigned(formatOf(layerTensor(layer, name)))) + ",").str();
      auto found = llvm::find_if(signatures, [&](const auto &other) { return other.first == signature; });
      blockOf.push_back(found - signatures.begin());
      if (found == signatures.end())
        signatures.push_back({signature, layer});
    }
    for (auto [index, entry] : llvm::enumerate(signatures))
      buildBlock(b, signatures.size() == 1 ? "blk" : "blk" + std::to_string(index),
                 signatures.size() == 1 ? "" : "blk" + std::to_string(index) + ".", entry.second);

    buildGraph(b, tied, blockOf, signatures.size());
    return module;
  }

  std::string modelName() {
    StringRef name = "model";
    if (auto found = checkpoint.metadata().find("general.name"); found != checkpoint.metadata().end())
      if (const StringRef *text = std::get_if<StringRef>(&found->second); text && !text->empty())
        name = *text;
    return name.take_front(200).str();
  }

  RankedTensorType activations(int64_t width) {
    return RankedTensorType::get({ShapedType::kDynamic, width}, Float32Type::get(&context));
  }
  CacheType cacheType() { return CacheType::get(&context, shape.kvHeads, shape.headDim); }
  FlatSymbolRefAttr symbol(const Twine &name) { return FlatSymbolRefAttr::get(&context, name.str()); }

  void buildBlock(ImplicitLocOpBuilder &b, const std::string &name, const std::string &prefix, int64_t example) {
    auto declareOfLayer = [&](StringRef name, int64_t rows, int64_t cols) {
      declare(b, prefix + name, ("blk.{layer}." + name + ".weight").str(), rows, cols,
              formatOf(layerTensor(example, name)));
    };
    for (const char *norm : norms)
      declareOfLayer(norm, 1, shape.width);
    for (const char *matrix : matrices) {
      auto [rows, cols] = matrixShape(matrix);
      declareOfLayer(matrix, rows, cols);
    }
    auto block = BlockOp::create(b, name);
    OpBuilder::InsertionGuard guard(b);
    Block *body = b.createBlock(&block.getBody(), {}, {activations(shape.width), b.getIndexType(), cacheType()},
                                {b.getLoc(), b.getLoc(), b.getLoc()});
    Value x = body->getArgument(0), position = body->getArgument(1), cache = body->getArgument(2);
    auto norm = [&](Value input, const char *weight) -> Value {
      return RmsNormOp::create(b, input.getType(), input, symbol(prefix + weight), b.getF32FloatAttr(float(shape.eps)));
    };
    auto linear = [&](Value input, const char *weight) -> Value {
      return LinearOp::create(b, activations(matrixShape(weight).first), input, symbol(prefix + weight));
    };
    auto rope = [&](Value input) -> Value {
      return RopeOp::create(b, input.getType(), input, position, b.getI64IntegerAttr(shape.headDim),
                            b.getDenseF64ArrayAttr(shape.turns));
    };
    Value n = norm(x, "attn_norm");
    Value q = linear(n, "attn_q"), k = linear(n, "attn_k"), v = linear(n, "attn_v");
    Value rotatedQ = rope(q), rotatedK = rope(k);
    Value appended = AppendOp::create(b, rotatedK, v, cache, position);
    Value a =
        AttentionOp::create(b, rotatedQ.getType(), rotatedQ, appended, position, b.getI64IntegerAttr(shape.heads));
    Value h = AddOp::create(b, x, linear(a, "attn_output"));
    Value m = norm(h, "ffn_norm");
    Value gate = linear(m, "ffn_gate"), up = linear(m, "ffn_up");
    Value hidden = SwigluOp::create(b, gate, up);
    Value out = AddOp::create(b, h, linear(hidden, "ffn_down"));
    YieldOp::create(b, out);
  }

  void buildGraph(ImplicitLocOpBuilder &b, bool tied, ArrayRef<size_t> blockOf, size_t blocks) {
    auto graph = GraphOp::create(b, "token");
    auto ids = RankedTensorType::get({ShapedType::kDynamic}, b.getI32Type());
    Block *body =
        b.createBlock(&graph.getBody(), {}, {ids, b.getIndexType(), cacheType()}, {b.getLoc(), b.getLoc(), b.getLoc()});
    SmallVector<Attribute> runs;
    for (size_t first = 0; first < blockOf.size();) {
      size_t next = first;
      while (next < blockOf.size() && blockOf[next] == blockOf[first])
        ++next;
      std::string name = blocks == 1 ? "blk" : "blk" + std::to_string(blockOf[first]);
      runs.push_back(RunAttr::get(&context, symbol(name), int64_t(next - first)));
      first = next;
    }
    Value x = EmbedOp::create(b, activations(shape.width), body->getArgument(0), symbol("token_embd"));
    Value y = LayersOp::create(b, x.getType(), x, body->getArgument(1), body->getArgument(2), b.getArrayAttr(runs));
    Value n = RmsNormOp::create(b, y.getType(), y, symbol("output_norm"), b.getF32FloatAttr(float(shape.eps)));
    Value logits = LinearOp::create(b, activations(shape.vocabulary), n, symbol(tied ? "token_embd" : "output"));
    ReturnOp::create(b, logits);
  }

  MLIRContext &context;
  const Checkpoint &checkpoint;
  std::string architecture;
  Shape shape{};
  llvm::StringSet<> known;
};

} // namespace

llvm::Expected<OwningOpRef<ModuleOp>> sluice::importModel(MLIRContext &context, const Checkpoint &checkpoint) {
  llvm::Expected<OwningOpRef<ModuleOp>> module = Importer(context, checkpoint).run();
  if (module && failed(verify(**module)))
    return checkpoint.error("its import does not verify"); // a defect of ours: the diagnostic says which
  return module;
}
