//===- LlamaImport.cpp - from a checkpoint to the llama dialect -----------------------===//
//
// ModelConfig has the numbers, ModelTensors the weights. Here one operation is made for each mathematical step, with
// those that an architecture adds.
//
//===------------------------------------------------------------------------------------===//

#include "compiler/import/LlamaImport.h"
#include "compiler/import/ModelTensors.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace sluice;
using namespace sluice::llama;

namespace {

class Importer {
public:
  Importer(MLIRContext &context, const Checkpoint &checkpoint, const ModelConfig &config, const ModelTensors &tensors)
      : context(context), checkpoint(checkpoint), config(config), tensors(tensors) {}

  OwningOpRef<ModuleOp> build() {
    context.loadDialect<LlamaDialect>();
    Location loc = NameLoc::get(StringAttr::get(&context, checkpoint.path()));
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
    auto b = ImplicitLocOpBuilder::atBlockEnd(loc, module->getBody());
    auto model = ModelOp::create(b, modelName(), config.architecture->gguf, config.context);
    b.createBlock(&model.getBody());
    for (const ModelWeight &weight : tensors.ofModel)
      declare(b, weight, "", 0);

    // Layers whose weights have equal formats, and that are of one kind, share a block.
    std::vector<std::pair<std::string, int64_t>> signatures; // and the first layer that has it
    SmallVector<size_t> blockOf;
    for (int64_t layer = 0; layer < config.layers; ++layer) {
      std::string signature = (Twine(config.kinds[layer].window) + "," + Twine(config.kinds[layer].rope)).str();
      for (const ModelWeight &weight : tensors.ofLayer)
        signature += tensors.has(weight, layer) ? "," + std::to_string(unsigned(tensors.format(weight, layer))) : ",-";
      auto found = llvm::find_if(signatures, [&](const auto &other) { return other.first == signature; });
      blockOf.push_back(found - signatures.begin());
      if (found == signatures.end())
        signatures.push_back({signature, layer});
    }
    for (auto [index, entry] : llvm::enumerate(signatures)) {
      const std::string name = signatures.size() == 1 ? "blk" : "blk" + std::to_string(index);
      buildBlock(b, name, signatures.size() == 1 ? "" : name + ".", entry.second);
    }
    buildGraph(b, blockOf, signatures.size());
    return module;
  }

private:
  std::string modelName() { return StringRef(config.name.empty() ? "model" : config.name).take_front(200).str(); }

  void declare(ImplicitLocOpBuilder &b, const ModelWeight &weight, const std::string &prefix, int64_t layer) {
    auto optional = [&](const std::string &text) { return text.empty() ? StringAttr() : b.getStringAttr(text); };
    auto split = weight.isHalfSplit ? HalfSplitAttr::get(&context, config.headDim, config.rotated) : HalfSplitAttr();
    const bool plusOne = weight.isNorm && config.layout == Layout::HuggingFace && config.architecture->plusOne;
    WeightDeclOp::create(
        b, b.getStringAttr(prefix + weight.role), b.getStringAttr(weight.from),
        TypeAttr::get(WeightType::get(&context, weight.rows, weight.cols, tensors.format(weight, layer))),
        b.getI64IntegerAttr(weight.firstRow), optional(weight.scaleFrom), split, b.getF32FloatAttr(plusOne ? 1 : 0));
  }

  RankedTensorType activations(int64_t width) {
    return RankedTensorType::get({ShapedType::kDynamic, width}, Float32Type::get(&context));
  }
  CacheType cacheType() { return CacheType::get(&context, config.kvHeads, config.headDim); }
  FlatSymbolRefAttr symbol(const Twine &name) { return FlatSymbolRefAttr::get(&context, name.str()); }

  Value scaled(ImplicitLocOpBuilder &b, Value input, double factor) {
    return factor == 1 ? input : ScaleOp::create(b, input.getType(), input, b.getF32FloatAttr(float(factor)));
  }

  void buildBlock(ImplicitLocOpBuilder &b, const std::string &name, const std::string &prefix, int64_t example) {
    llvm::StringMap<const ModelWeight *> weights;
    for (const ModelWeight &weight : tensors.ofLayer)
      if (tensors.has(weight, example)) {
        weights[weight.role] = &weight;
        declare(b, weight, prefix, example);
      }
    auto block = BlockOp::create(b, name);
    OpBuilder::InsertionGuard guard(b);
    Block *body = b.createBlock(&block.getBody(), {}, {activations(config.width), b.getIndexType(), cacheType()},
                                {b.getLoc(), b.getLoc(), b.getLoc()});
    Value x = body->getArgument(0), position = body->getArgument(1), cache = body->getArgument(2);
    auto norm = [&](Value input, StringRef weight) -> Value {
      return RmsNormOp::create(b, input.getType(), input, symbol(prefix + weight),
                               b.getF32FloatAttr(float(config.eps)));
    };
    auto normIfAny = [&](Value input, StringRef weight) { return weights.count(weight) ? norm(input, weight) : input; };
    auto linear = [&](Value input, StringRef weight) -> Value {
      Value rows = LinearOp::create(b, activations(weights.lookup(weight)->rows), input, symbol(prefix + weight));
      const std::string bias = (weight + "_bias").str();
      return weights.count(bias) ? BiasOp::create(b, rows.getType(), rows, symbol(prefix + bias)) : rows;
    };
    const LayerKind kind = config.kinds[example];
    auto rope = [&](Value input) -> Value {
      if (kind.rope < 0)
        return input;
      const Rope &table = config.ropes[kind.rope];
      return RopeOp::create(b, input.getType(), input, position, b.getI64IntegerAttr(config.headDim),
                            b.getDenseF64ArrayAttr(table.turns), b.getF64FloatAttr(table.magnitude));
    };
    auto optionalFloat = [&](double value) { return value ? b.getF32FloatAttr(float(value)) : FloatAttr(); };
    auto addTo = [&](Value residual, Value output, StringRef postNorm) -> Value {
      return AddOp::create(b, residual, scaled(b, normIfAny(output, postNorm), config.residualScale));
    };

    Value n = norm(x, "attn_norm");
    Value q = linear(n, "attn_q"), k = linear(n, "attn_k"), v = linear(n, "attn_v");
    Value rotatedQ = rope(normIfAny(q, "attn_q_norm")), rotatedK = rope(normIfAny(k, "attn_k_norm"));
    Value appended = AppendOp::create(b, rotatedK, v, cache, position);
    Value a =
        AttentionOp::create(b, rotatedQ.getType(), rotatedQ, appended, position, b.getI64IntegerAttr(config.heads),
                            kind.window ? b.getI64IntegerAttr(kind.window) : IntegerAttr(),
                            optionalFloat(config.attentionScale), optionalFloat(config.attentionSoftcap));
    Value h = addTo(x, linear(a, "attn_output"), "post_attention_norm");
    Value m = norm(h, "ffn_norm");
    Value gate = linear(m, "ffn_gate"), up = linear(m, "ffn_up");
    Value hidden = config.architecture->geglu ? Value(GegluOp::create(b, gate, up)) : SwigluOp::create(b, gate, up);
    YieldOp::create(b, addTo(h, linear(hidden, "ffn_down"), "post_ffw_norm"));
  }

  void buildGraph(ImplicitLocOpBuilder &b, ArrayRef<size_t> blockOf, size_t blocks) {
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
    Value x = EmbedOp::create(b, activations(config.width), body->getArgument(0), symbol("token_embd"),
                              b.getF32FloatAttr(float(config.embeddingScale)));
    Value y = LayersOp::create(b, x.getType(), x, body->getArgument(1), body->getArgument(2), b.getArrayAttr(runs));
    Value n = RmsNormOp::create(b, y.getType(), y, symbol("output_norm"), b.getF32FloatAttr(float(config.eps)));
    Value logits =
        LinearOp::create(b, activations(tensors.vocabulary), n, symbol(tensors.tied ? "token_embd" : "output"));
    logits = scaled(b, logits, config.logitScale);
    if (config.logitSoftcap)
      logits = SoftcapOp::create(b, logits.getType(), logits, b.getF32FloatAttr(float(config.logitSoftcap)));
    ReturnOp::create(b, logits);
  }

  MLIRContext &context;
  const Checkpoint &checkpoint;
  const ModelConfig &config;
  const ModelTensors &tensors;
};

} // namespace

llvm::Expected<OwningOpRef<ModuleOp>> sluice::importModel(MLIRContext &context, const Checkpoint &checkpoint,
                                                          const ImportOptions &options) {
  llvm::Expected<ModelConfig> config = checkpoint.isFolder() ? readHuggingFaceConfig(checkpoint, options.context)
                                                             : readGgufConfig(checkpoint, options.context);
  if (!config)
    return config.takeError();
  ModelTensors tensors(checkpoint, *config, options);
  if (llvm::Error failure = tensors.find())
    return failure;
  llvm::Expected<std::vector<std::string>> unquantized = tensors.unquantized();
  if (!unquantized)
    return unquantized.takeError();
  for (const std::string &line : *unquantized)
    emitWarning(UnknownLoc::get(&context)) << checkpoint.path() << ": " << line;
  if (options.context > config->trainedContext)
    emitWarning(UnknownLoc::get(&context))
        << checkpoint.path() << ": the model was trained for " << config->trainedContext
        << " positions, beyond which answers degrade: it is made for these, not for the " << options.context
        << " of --context";
  OwningOpRef<ModuleOp> module = Importer(context, checkpoint, *config, tensors).build();
  if (failed(verify(*module)))
    return checkpoint.error("its import does not verify"); // a defect of ours: the diagnostic says which
  return module;
}
