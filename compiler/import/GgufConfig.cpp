//===- GgufConfig.cpp - the numbers of a model from a GGUF file's metadata -------------===//
//
// Key names: ggml's. A key of the model that is not understood is an error unless it says zero or no.
//
//===------------------------------------------------------------------------------------===//

#include "compiler/import/ModelConfig.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>
#include <cstring>

using namespace sluice;
using llvm::StringRef;
using llvm::Twine;

namespace {

// Keys that are read below, and some that do not change the answers.
constexpr StringRef knownKeys[] = {
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "vocab_size",
    "tensor_data_layout",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.causal",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.scale",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.finetuned",
    "embedding_scale",
    "residual_scale",
    "logit_scale",
    "attn_logit_softcapping",
    "final_logit_softcapping",
};

bool isNothing(const Metadata &value) {
  struct {
    bool operator()(bool v) { return !v; }
    bool operator()(int64_t v) { return v == 0; }
    bool operator()(uint64_t v) { return v == 0; }
    bool operator()(double v) { return v == 0; }
    bool operator()(StringRef v) { return v.empty(); }
    bool operator()(const std::vector<StringRef> &v) { return v.empty(); }
    bool operator()(const std::vector<int64_t> &v) {
      return llvm::all_of(v, [](int64_t x) { return x == 0; });
    }
    bool operator()(const std::vector<double> &v) {
      return llvm::all_of(v, [](double x) { return x == 0; });
    }
  } test;
  return std::visit(test, value);
}

// Reads keys until one is wrong; the error is then kept, and what else is read does not matter.
class Reader {
public:
  Reader(const Checkpoint &checkpoint, int64_t contextLimit) : checkpoint(checkpoint), contextLimit(contextLimit) {}

  llvm::Expected<ModelConfig> run() {
    std::string architecture = text("general.architecture", std::nullopt);
    if (failure)
      return std::move(failure);
    config.architecture = findArchitecture(Layout::Gguf, architecture);
    if (!config.architecture)
      return checkpoint.error("unknown architecture '" + architecture + "'; known: " + architectureNames(Layout::Gguf));
    prefix = architecture + ".";
    config.name = text("general.name", "");
    readShape();
    checkKeys();
    if (failure)
      return std::move(failure);
    readLayers();
    if (failure)
      return std::move(failure);
    if (std::optional<std::string> wrong = config.inconsistency())
      return checkpoint.error(*wrong);
    return std::move(config);
  }

private:
  std::string key(StringRef name) { return prefix + name.str(); }
  bool has(StringRef name) { return checkpoint.metadata().contains(key(name)); }
  void fail(llvm::Error error) {
    if (failure)
      llvm::consumeError(std::move(error));
    else
      failure = std::move(error);
  }
  void fail(const Twine &message) { fail(checkpoint.error(message)); }

  template <typename T> std::optional<T> find(const std::string &key) {
    llvm::Expected<std::optional<T>> found = checkpoint.find<T>(key);
    if (!found) {
      fail(found.takeError());
      return std::nullopt;
    }
    return *found;
  }
  template <typename T> T required(std::optional<T> found, std::optional<T> absent, const std::string &key) {
    if (!found && !absent)
      fail("metadata key '" + key + "' is missing; the file is not a complete model");
    return found ? *found : absent.value_or(T());
  }
  std::string text(const std::string &key, std::optional<std::string> absent) {
    std::optional<StringRef> found = find<StringRef>(key);
    return required(found ? std::optional(found->str()) : std::nullopt, absent, key);
  }
  // An integer in [1, limit].
  int64_t integer(StringRef name, int64_t limit, std::optional<int64_t> absent = {}) {
    int64_t value = required(find<int64_t>(key(name)), absent, key(name));
    if (value < 1 || value > limit)
      fail("metadata key '" + key(name) + "': expected 1 to " + Twine(limit) + ", got " + Twine(value));
    return value;
  }
  double positive(StringRef name, std::optional<double> absent = {}) {
    double value = required(find<double>(key(name)), absent, key(name));
    if (!std::isfinite(value) || value <= 0)
      fail("metadata key '" + key(name) + "': expected a positive number");
    return value;
  }
  // Zero counts as absent.
  double optional(StringRef name, double absent) {
    auto found = checkpoint.metadata().find(key(name));
    return found == checkpoint.metadata().end() || isNothing(found->second) ? absent : positive(name);
  }

  void checkKeys() {
    llvm::StringSet<> known;
    for (StringRef name : knownKeys)
      known.insert(name);
    for (const auto &[name, value] : checkpoint.metadata()) {
      StringRef suffix = name;
      if (suffix.consume_front(prefix) && !known.contains(suffix) && !isNothing(value))
        return fail("metadata key '" + name +
                    "' asks for something that is not supported; passing it over could change the answers");
    }
    if (!find<bool>(key("attention.causal")).value_or(true))
      fail("metadata key '" + key("attention.causal") +
           "' is false: a model that sees later tokens cannot generate text");
  }

  // Some keys come as one number or as one a layer, which must agree.
  int64_t sameInLayers(StringRef name, std::optional<int64_t> absent) {
    auto found = checkpoint.metadata().find(key(name));
    if (found == checkpoint.metadata().end() || !std::holds_alternative<std::vector<int64_t>>(found->second))
      return integer(name, maxWidth, absent);
    const auto &list = std::get<std::vector<int64_t>>(found->second);
    if (list.empty() || !llvm::all_equal(list) || list[0] < 1 || list[0] > maxWidth) {
      fail("metadata key '" + key(name) + "': expected the same positive number in every layer");
      return 1;
    }
    return list[0];
  }

  void readShape() {
    config.layout = Layout::Gguf;
    config.halfSplit = !config.architecture->adjacentPairs;
    config.layers = integer("block_count", maxLayers);
    config.width = integer("embedding_length", maxWidth);
    config.feedForward = sameInLayers("feed_forward_length", std::nullopt);
    config.context = integer("context_length", maxContext);
    config.heads = sameInLayers("attention.head_count", std::nullopt);
    config.vocabulary = has("vocab_size") ? integer("vocab_size", maxWidth) : 0;
    if (failure)
      return;
    config.kvHeads = sameInLayers("attention.head_count_kv", config.heads);
    if (!has("attention.key_length") && config.width % config.heads != 0)
      return fail("expected width divisible by heads, got " + Twine(config.width) + " and " + Twine(config.heads));
    config.headDim = integer("attention.key_length", maxWidth, config.width / config.heads);
    if (int64_t values = integer("attention.value_length", maxWidth, config.headDim); values != config.headDim)
      return fail("expected equal sizes of keys and values of a head, got " + Twine(config.headDim) + " and " +
                  Twine(values));
    config.eps = positive("attention.layer_norm_rms_epsilon");
    if (config.eps <= 1e-37 || config.eps > 1)
      return fail("metadata key '" + key("attention.layer_norm_rms_epsilon") +
                  "': expected a number above 1e-37 and at most 1");
    config.rotated = integer("rope.dimension_count", maxWidth, config.headDim);
    config.embeddingScale =
        optional("embedding_scale", config.architecture->scalesEmbedding ? std::sqrt(double(config.width)) : 1);
    config.residualScale = optional("residual_scale", 1);
    config.logitScale = 1 / optional("logit_scale", 1);
    const bool byWidth = config.layers == config.architecture->widthScaledLayers;
    config.attentionScale =
        optional("attention.scale", byWidth ? 1 / std::sqrt(double(config.width) / double(config.heads)) : 0);
    config.attentionSoftcap = optional("attn_logit_softcapping", 0);
    config.logitSoftcap = optional("final_logit_softcapping", 0);
  }

  //===-- Layers ---------------------------------------------------------------------------===//

  // One F32 number for each rotated pair; empty if there is no such tensor.
  std::vector<double> divisors(const std::string &name) {
    const TensorInfo *tensor = checkpoint.findTensor(name);
    if (!tensor)
      return {};
    const int64_t pairs = config.rotated / 2;
    if (!tensor->format || tensor->format->format != llama::Format::F32 || tensor->cols() != pairs ||
        tensor->rows() != 1) {
      fail("tensor '" + name + "': expected " + Twine(pairs) + " of F32, got " + tensor->shape() + " of " +
           tensor->typeName);
      return {};
    }
    llvm::Expected<llvm::ArrayRef<uint8_t>> bytes = checkpoint.tensorBytes(name);
    if (!bytes) {
      fail(bytes.takeError());
      return {};
    }
    std::vector<float> numbers(pairs);
    std::memcpy(numbers.data(), bytes->data(), pairs * sizeof(float));
    for (auto [i, number] : llvm::enumerate(numbers))
      if (!std::isfinite(number) || number <= 0)
        fail("tensor '" + name + "': element " + Twine(i) + " is not a positive number");
    return {numbers.begin(), numbers.end()};
  }

  RopeScaling readScaling(bool hasLongFactors) {
    RopeScaling scaling;
    // Without a type, a factor means linear scaling, as in files from before there was one.
    StringRef factorKey =
        has("rope.scaling.factor") || !has("rope.scale_linear") ? "rope.scaling.factor" : "rope.scale_linear";
    std::string type = text(key("rope.scaling.type"), has(factorKey) ? "linear" : "none");
    if (type == "linear" || type == "yarn")
      scaling.factor = positive(factorKey);
    if (type == "linear") {
      scaling.kind = RopeScaling::Linear;
    } else if (type == "yarn") {
      scaling.kind = RopeScaling::Yarn;
      scaling.originalContext = double(integer("rope.scaling.original_context_length", maxContext, config.context));
      scaling.betaFast = optional("rope.scaling.yarn_beta_fast", 32);
      scaling.betaSlow = optional("rope.scaling.yarn_beta_slow", 1);
      if (double more = optional("rope.scaling.attn_factor", 1); more != 1)
        scaling.magnitude = more * (1 + 0.1 * std::log(scaling.factor));
    } else if (hasLongFactors) {
      scaling.magnitude = optional("rope.scaling.attn_factor", 1);
    } else if (type != "none") {
      fail("metadata key '" + key("rope.scaling.type") + "': expected none, linear or yarn, got '" + type +
           "', which is not supported");
    }
    return scaling;
  }

  void readLayers() {
    const Architecture &architecture = *config.architecture;
    config.trainedContext = config.context;
    if (contextLimit && contextLimit < config.context)
      config.context = contextLimit;
    const bool hasLongFactors = checkpoint.findTensor("rope_factors_long.weight");
    std::string divisorName = "rope_freqs.weight";
    if (hasLongFactors) {
      const int64_t original = integer("rope.scaling.original_context_length", maxContext);
      divisorName = config.context > original ? "rope_factors_long.weight" : "rope_factors_short.weight";
    }
    const std::vector<double> dividing = divisors(divisorName);
    const double base = positive("rope.freq_base", 10000.0);
    const double localBase =
        positive("rope.freq_base_swa", architecture.localRopeBase ? architecture.localRopeBase : base);
    const RopeScaling scaling = readScaling(hasLongFactors);
    if (failure || config.rotated > config.headDim)
      return;
    Rope global = makeRope(base, config.rotated, scaling, dividing);
    Rope local = architecture.localRopeBase ? makeRope(localBase, config.rotated, {}, {}) : global;

    // Absent or 0: no layer has one.
    const bool has = checkpoint.metadata().contains(key("attention.sliding_window")) &&
                     !isNothing(checkpoint.metadata().find(key("attention.sliding_window"))->second);
    const int64_t window = has ? integer("attention.sliding_window", maxContext) : 0;
    llvm::SmallVector<bool> windows = readWindows(window), ropes;
    for (int64_t layer = 0; layer < config.layers; ++layer)
      ropes.push_back(!architecture.noRopeInterval || (layer + 1) % architecture.noRopeInterval != 0);
    if (!failure)
      config.setKinds(window, windows, ropes, std::move(global), std::move(local));
  }

  llvm::SmallVector<bool> readWindows(int64_t window) {
    const Architecture &architecture = *config.architecture;
    int64_t pattern = architecture.windows == Windows::Pattern ? architecture.windowPattern : 0;
    llvm::SmallVector<bool> result;
    auto given = checkpoint.metadata().find(key("attention.sliding_window_pattern"));
    if (given != checkpoint.metadata().end()) {
      if (const auto *list = std::get_if<std::vector<int64_t>>(&given->second)) {
        if (int64_t(list->size()) != config.layers)
          fail("metadata key '" + given->first + "': expected one for each of " + Twine(config.layers) +
               " layers, got " + Twine(list->size()));
        for (int64_t has : *list)
          result.push_back(has != 0);
        return result;
      }
      pattern = integer("attention.sliding_window_pattern", maxLayers);
    }
    for (int64_t layer = 0; layer < config.layers; ++layer)
      result.push_back(window && (pattern ? (layer + 1) % pattern != 0 : architecture.windows != Windows::None));
    if (window && !pattern && architecture.windows == Windows::None)
      fail("metadata key '" + key("attention.sliding_window") + "': expected no window for " + architecture.gguf);
    // The local rotation belongs to a layer whether or not the window is given.
    if (pattern && !window && architecture.localRopeBase)
      fail("metadata key '" + key("attention.sliding_window") + "' is missing; the file is not a complete model");
    return result;
  }

  const Checkpoint &checkpoint;
  int64_t contextLimit;
  std::string prefix;
  ModelConfig config;
  llvm::Error failure = llvm::Error::success();
};
} // namespace

llvm::Expected<ModelConfig> sluice::readGgufConfig(const Checkpoint &checkpoint, int64_t contextLimit) {
  return Reader(checkpoint, contextLimit).run();
}
