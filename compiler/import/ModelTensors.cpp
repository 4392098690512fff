//===- ModelTensors.cpp - which tensors a model consists of, checked ------------------===//

#include "compiler/import/ModelTensors.h"
#include "compiler/UsageError.h"
#include "llvm/ADT/STLExtras.h"

using namespace sluice;
using namespace sluice::llama;
using llvm::StringRef;
using llvm::Twine;

static std::string inLayer(StringRef name, int64_t layer) { return WeightDeclOp::nameInLayer(name, layer); }

// Where a checkpoint that was quantised to 8-bit floats has the scale of a tensor.
static constexpr StringRef scaleSuffixes[] = {"_scale_inv", "_scale"};

static std::string supportedTypes() {
  std::string list;
  for (const FormatInfo &format : allFormats())
    list += (list.empty() ? "" : ", ") + StringRef(format.name).upper();
  return list;
}

void ModelTensors::listWeights() {
  const Architecture &architecture = *config.architecture;
  const int64_t q = config.heads * config.headDim, kv = config.kvHeads * config.headDim, width = config.width,
                ffn = config.feedForward;
  auto matrix = [&](StringRef role, int64_t rows, int64_t cols) {
    ofLayer.push_back({.role = role.str(), .from = nameOf(role), .rows = rows, .cols = cols});
  };
  auto part = [&](StringRef role, StringRef whole, int64_t first, int64_t rows, int64_t wholeRows) {
    ofLayer.push_back({.role = role.str(),
                       .from = nameOf(whole),
                       .rows = rows,
                       .cols = width,
                       .firstRow = first,
                       .tensorRows = wholeRows});
  };
  auto vector = [&](StringRef role, int64_t cols, bool isNorm, bool isOptional) {
    ofLayer.push_back({.role = role.str(),
                       .from = nameOf(role),
                       .rows = 1,
                       .cols = cols,
                       .isNorm = isNorm,
                       .isOptional = isOptional});
  };

  vector("attn_norm", width, true, false);
  if (architecture.fused) {
    part("attn_q", "attn_qkv", 0, q, q + 2 * kv);
    part("attn_k", "attn_qkv", q, kv, q + 2 * kv);
    part("attn_v", "attn_qkv", q + kv, kv, q + 2 * kv);
  } else {
    matrix("attn_q", q, width);
    matrix("attn_k", kv, width);
    matrix("attn_v", kv, width);
    vector("attn_q_bias", q, false, !architecture.biases);
    vector("attn_k_bias", kv, false, !architecture.biases);
    vector("attn_v_bias", kv, false, !architecture.biases);
  }
  if (architecture.headNorms) {
    vector("attn_q_norm", config.headDim, true, false);
    vector("attn_k_norm", config.headDim, true, false);
  }
  matrix("attn_output", width, q);
  vector("attn_output_bias", width, false, true);
  if (architecture.postNorms)
    vector("post_attention_norm", width, true, false);
  vector("ffn_norm", width, true, false);
  if (architecture.fused) {
    part("ffn_gate", "ffn_gate_up", 0, ffn, 2 * ffn);
    part("ffn_up", "ffn_gate_up", ffn, ffn, 2 * ffn);
  } else {
    matrix("ffn_gate", ffn, width);
    matrix("ffn_up", ffn, width);
    vector("ffn_gate_bias", ffn, false, true);
    vector("ffn_up_bias", ffn, false, true);
  }
  matrix("ffn_down", width, ffn);
  vector("ffn_down_bias", width, false, true);
  if (architecture.postNorms)
    vector("post_ffw_norm", width, true, false);
  for (ModelWeight &weight : ofLayer) {
    StringRef role = weight.role;
    weight.isHalfSplit = config.halfSplit && (role.starts_with("attn_q") || role.starts_with("attn_k"));
    for (StringRef suffix : scaleSuffixes)
      if (weight.rows > 1 && checkpoint.findTensor(inLayer(weight.from + suffix.str(), 0)))
        weight.scaleFrom = weight.from + suffix.str();
  }

  ofModel.push_back({.role = "token_embd", .from = nameOf("token_embd"), .rows = vocabulary, .cols = width});
  ofModel.push_back({.role = "output_norm", .from = nameOf("output_norm"), .rows = 1, .cols = width, .isNorm = true});
  if (!tied)
    ofModel.push_back({.role = "output", .from = nameOf("output"), .rows = vocabulary, .cols = width});
}

llvm::Error ModelTensors::find() {
  const std::string embeddingName = nameOf("token_embd");
  const TensorInfo *embedding = checkpoint.findTensor(embeddingName);
  if (!embedding)
    return checkpoint.error("tensor '" + embeddingName + "' is missing: the file is not a complete model");
  vocabulary = embedding->rows();
  if (vocabulary > maxWidth)
    return checkpoint.error("tensor '" + embeddingName + "': impossible vocabulary of " + Twine(vocabulary));
  // transformers loads no other number of rows; GGUF's are those of the tokenizer, and may be padded.
  const bool isExact = config.layout == Layout::HuggingFace;
  if (config.vocabulary && (isExact ? vocabulary != config.vocabulary : vocabulary < config.vocabulary))
    return checkpoint.error("tensor '" + embeddingName + "': expected " + Twine(config.vocabulary) + " rows" +
                            (isExact ? "" : " at least") + ", which 'vocab_size' says, got " + Twine(vocabulary));
  tied = config.tied.value_or(!checkpoint.findTensor(nameOf("output")));
  listWeights();
  for (const ModelWeight &weight : ofModel)
    if (llvm::Error error = check(weight, 0))
      return error;
  for (int64_t layer = 0; layer < config.layers; ++layer)
    for (const ModelWeight &weight : ofLayer)
      if (llvm::Error error = check(weight, layer))
        return error;
  // What a layer may have and none has.
  llvm::erase_if(ofLayer, [&](const ModelWeight &weight) {
    return llvm::none_of(llvm::seq<int64_t>(0, config.layers), [&](int64_t layer) { return has(weight, layer); });
  });

  for (StringRef name : {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})
    known.insert(name);
  if (tied && config.layout == Layout::HuggingFace) // the same numbers once more
    known.insert(nameOf("output"));
  for (const TensorInfo &tensor : checkpoint.tensors()) {
    const StringRef name = tensor.name;
    // What configurations determine, or what only quantised activations would need.
    const bool isDerived = config.layout == Layout::HuggingFace &&
                           (name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".input_scale"));
    if (!known.contains(name) && !isDerived)
      return checkpoint.error(
          "tensor '" + name + "' is not part of a " +
          (config.layout == Layout::Gguf ? config.architecture->gguf : config.architecture->huggingFace) +
          " model as it is understood; leaving it out would change the answers");
  }
  return llvm::Error::success();
}

llvm::Error ModelTensors::check(const ModelWeight &weight, int64_t layer) {
  const std::string name = inLayer(weight.from, layer);
  const int64_t rows = weight.tensorRows ? weight.tensorRows : weight.rows;
  const TensorInfo *tensor = checkpoint.findTensor(name);
  if (!tensor && weight.isOptional)
    return llvm::Error::success();
  if (!tensor)
    return checkpoint.error("tensor '" + name + "' is missing; expected " + Twine(weight.cols) + " x " + Twine(rows) +
                            ": the file is not a complete model");
  known.insert(name);
  bool isFlat =
      llvm::all_of(llvm::enumerate(tensor->dims), [](auto dim) { return dim.index() < 2 || dim.value() == 1; });
  if (tensor->cols() != weight.cols || tensor->rows() != rows || !isFlat)
    return checkpoint.error("tensor '" + name + "': expected shape " + Twine(weight.cols) + " x " + Twine(rows) +
                            ", got " + tensor->shape());
  if (!tensor->format)
    return checkpoint.error("tensor '" + name + "' has type " + tensor->typeName +
                            ", which is not supported; re-quantise the model to one of " + supportedTypes());
  if (weight.rows == 1 && !tensor->format->isFloat)
    return checkpoint.error("tensor '" + name + "': expected F32, F16 or BF16 for a " +
                            (weight.isNorm ? "norm" : "bias") + ", got " + tensor->typeName);
  if (weight.scaleFrom.empty())
    return llvm::Error::success();

  // One scale, one a row, or one a block of 128 x 128.
  const std::string scaleName = inLayer(weight.scaleFrom, layer);
  const TensorInfo *scale = checkpoint.findTensor(scaleName);
  if (!scale || !scale->format || !scale->format->isFloat)
    return checkpoint.error("tensor '" + scaleName + "': expected it in F32, F16 or BF16, with the scales of '" + name +
                            "'");
  known.insert(scaleName);
  if (!tensor->isFloat8)
    return checkpoint.error("tensor '" + name + "': expected F8_E4M3, since there is '" + scaleName + "', got " +
                            tensor->typeName);
  const int64_t count = scale->cols() * scale->rows();
  constexpr int64_t block = 128;
  const bool isBlocks =
      scale->cols() == (weight.cols + block - 1) / block && scale->rows() == (rows + block - 1) / block;
  if (count != 1 && count != rows && !isBlocks)
    return checkpoint.error("tensor '" + scaleName + "': expected one number, " + Twine(rows) + ", or one for each " +
                            Twine(block) + " x " + Twine(block) + " of '" + name + "', got " + scale->shape());
  return llvm::Error::success();
}

bool ModelTensors::has(const ModelWeight &weight, int64_t layer) const {
  return checkpoint.findTensor(inLayer(weight.from, layer)) != nullptr;
}

Format ModelTensors::format(const ModelWeight &weight, int64_t layer) const {
  const FormatInfo &format = *checkpoint.findTensor(inLayer(weight.from, layer))->format;
  const QuantizeRule *rule = format.isFloat ? ruleFor(weight) : nullptr;
  return !rule || weight.cols % formatInfo(rule->format).blockElements ? format.format : rule->format;
}

static bool matches(const QuantizeRule &rule, const ModelWeight &weight) {
  return weight.rows > 1 && (rule.pattern.empty() || llvm::Regex(rule.pattern).match(weight.role));
}

const QuantizeRule *ModelTensors::ruleFor(const ModelWeight &weight) const {
  for (const QuantizeRule &rule : llvm::reverse(options.quantize))
    if (matches(rule, weight))
      return &rule;
  return nullptr;
}

llvm::Expected<std::vector<std::string>> ModelTensors::unquantized() const {
  auto all = llvm::concat<const ModelWeight>(ofModel, ofLayer);
  for (const QuantizeRule &rule : options.quantize)
    if (llvm::none_of(all, [&](const ModelWeight &weight) { return matches(rule, weight); })) {
      std::string names;
      for (const ModelWeight &weight : all)
        if (weight.rows > 1)
          names += (names.empty() ? "" : ", ") + weight.role;
      return usageError("--quantize: no matrix matches '" + rule.pattern + "'; expected one of " + names);
    }

  int64_t kept = 0, undivided = 0;
  std::string keptExample, undividedExample;
  auto look = [&](const ModelWeight &weight, int64_t layer) {
    const QuantizeRule *rule = ruleFor(weight);
    if (!rule || !has(weight, layer))
      return;
    const std::string name = inLayer(weight.from, layer);
    const FormatInfo &is = *checkpoint.findTensor(name)->format, &wanted = formatInfo(rule->format);
    if (!is.isFloat && is.format != wanted.format && kept++ == 0)
      keptExample = "'" + name + "', which is " + is.name.str();
    if (is.isFloat && weight.cols % wanted.blockElements && undivided++ == 0)
      undividedExample = ("'" + name + "': rows of " + Twine(weight.cols) + ", blocks of " +
                          Twine(wanted.blockElements) + " in " + wanted.name)
                             .str();
  };
  for (const ModelWeight &weight : ofModel)
    look(weight, 0);
  for (int64_t layer = 0; layer < config.layers; ++layer)
    for (const ModelWeight &weight : ofLayer)
      look(weight, layer);
  std::vector<std::string> lines;
  auto say = [&](int64_t count, const Twine &what) {
    if (count)
      lines.push_back(("--quantize leaves " + Twine(count) + (count == 1 ? " matrix " : " matrices ") + what).str());
  };
  say(kept, "as the checkpoint has quantised them, such as " + keptExample);
  say(undivided, "in floats, whose rows are no whole blocks, such as " + undividedExample);
  return lines;
}
