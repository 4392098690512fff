//===- HuggingFaceConfig.cpp - the numbers of a model from config.json -----------------===//
//
// Key names and what they mean where they are absent: the configuration classes that Hugging Face publishes. A key that
// is not understood is an error unless it says zero, no or nothing.
//
//===------------------------------------------------------------------------------------===//

#include "compiler/import/Json.h"
#include "compiler/import/ModelConfig.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Path.h"
#include <cmath>

using namespace sluice;
using llvm::StringRef;
using llvm::Twine;

namespace {

// Keys that are read below; then those that do not change what the model computes.
constexpr StringRef knownKeys[] = {
    "architectures",
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "max_position_embeddings",
    "rms_norm_eps",
    "hidden_act",
    "hidden_activation",
    "tie_word_embeddings",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "rope_local_base_freq",
    "rope_interleaved",
    "partial_rotary_factor",
    "original_max_position_embeddings",
    "sliding_window",
    "sliding_window_pattern",
    "_sliding_window_pattern",
    "use_sliding_window",
    "max_window_layers",
    "layer_types",
    "no_rope_layers",
    "no_rope_layer_interval",
    "query_pre_attn_scalar",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "embedding_multiplier",
    "residual_multiplier",
    "attention_multiplier",
    "logits_scaling",
    "quantization_config",
    "use_bidirectional_attention",
    // Biases are found by their tensors.
    "attention_bias",
    "mlp_bias",
    "vocab_size",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "unk_token_id",
    "sep_token_id",
    "cls_token_id",
    "decoder_start_token_id",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "_name_or_path",
    "name_or_path",
    "auto_map",
    "use_cache",
    "cache_implementation",
    "initializer_range",
    "attention_dropout",
    "hidden_dropout",
    "embd_pdrop",
    "resid_pdrop",
    "rope_dropout",
    "pretraining_tp",
    "is_llama_config",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "attn_implementation",
    "unsloth_version",
    "unsloth_fixed",
    "transformers.js_config",
    "tokenizer_class",
    "task_specific_params",
    "problem_type",
    "id2label",
    "label2id",
    "return_dict",
    "chunk_size_feed_forward",
    "output_attentions",
    "output_hidden_states",
    "max_length",
    "max_new_tokens",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "repetition_penalty",
    "num_beams",
    "num_beam_groups",
    "num_return_sequences",
    "diversity_penalty",
    "length_penalty",
    "typical_p",
    "early_stopping",
    "prefix",
    "finetuning_task",
    "use_mems",
};

bool isNothing(const Json &value) {
  return value.is_null() || value == false || value == 0 || value == "" || (value.is_structured() && value.empty());
}

class Reader {
public:
  Reader(const Checkpoint &checkpoint, int64_t contextLimit) : checkpoint(checkpoint), contextLimit(contextLimit) {}

  llvm::Expected<ModelConfig> run() {
    llvm::Expected<Json> json = parseJsonObject(checkpoint.configText());
    if (!json)
      return checkpoint.error("config.json: " + toString(json.takeError()));
    root = std::move(*json);
    const Json &classes = root.value("architectures", Json::array());
    const std::string name =
        classes.is_array() && classes.size() == 1 && classes[0].is_string() ? std::string(classes[0]) : "";
    config.architecture = findArchitecture(Layout::HuggingFace, name);
    if (!config.architecture)
      return checkpoint.error("config.json: unknown architecture '" + name +
                              "'; known: " + architectureNames(Layout::HuggingFace));
    checkKeys();
    if (failure)
      return std::move(failure);
    readShape();
    if (failure)
      return std::move(failure);
    readLayers();
    if (failure)
      return std::move(failure);
    if (std::optional<std::string> wrong = config.inconsistency())
      return checkpoint.error("config.json: " + *wrong);
    return std::move(config);
  }

private:
  void fail(const Twine &message) {
    if (!failure)
      failure = checkpoint.error("config.json: " + message);
  }
  static const Json *get(const Json &object, const char *key) {
    auto found = object.find(key);
    return found == object.end() || found->is_null() ? nullptr : &*found;
  }
  const Json *get(const char *key) { return get(root, key); }

  int64_t integer(const Json &object, const char *key, int64_t limit, std::optional<int64_t> absent = {}) {
    const Json *found = get(object, key);
    if (!found && absent)
      return *absent;
    if (!found || !found->is_number_integer() || *found < 1 || *found > limit) {
      fail(Twine("'") + key + "': expected 1 to " + Twine(limit) + ", got " + (found ? found->dump() : "nothing"));
      return 1;
    }
    return found->get<int64_t>();
  }
  int64_t integer(const char *key, int64_t limit, std::optional<int64_t> absent = {}) {
    return integer(root, key, limit, absent);
  }
  double positive(const Json &object, const char *key, std::optional<double> absent = {}) {
    const Json *found = get(object, key);
    if (!found && absent)
      return *absent;
    if (!found || !found->is_number() || !(found->get<double>() > 0) || !std::isfinite(found->get<double>())) {
      fail(Twine("'") + key + "': expected a positive number, got " + (found ? found->dump() : "nothing"));
      return 1;
    }
    return found->get<double>();
  }
  double positive(const char *key, std::optional<double> absent = {}) { return positive(root, key, absent); }
  bool flag(const char *key, bool absent) {
    const Json *found = get(key);
    if (found && !found->is_boolean())
      fail(Twine("'") + key + "': expected true or false, got " + found->dump());
    return found && found->is_boolean() ? found->get<bool>() : absent;
  }
  std::string text(const Json &object, const char *key, std::string absent) {
    const Json *found = get(object, key);
    if (found && !found->is_string())
      fail(Twine("'") + key + "': expected a string, got " + found->dump());
    return found && found->is_string() ? found->get<std::string>() : absent;
  }

  void checkKeys() {
    llvm::StringSet<> known;
    for (StringRef name : knownKeys)
      known.insert(name);
    for (const auto &[name, value] : root.items())
      if (!known.contains(name) && !isNothing(value))
        return fail("key '" + name + "' is not understood; passing it over could change the answers");
    for (const char *refused : {"rope_interleaved", "use_bidirectional_attention"})
      if (flag(refused, false))
        fail(Twine("'") + refused + "' asks for something that is not supported");
    if (const Json *quantization = get("quantization_config"); quantization && !isNothing(*quantization)) {
      const std::string method = quantization->is_object() ? text(*quantization, "quant_method", "") : "";
      if (method != "fp8" &&
          method != "compressed-tensors") // FP8 with scales; other tensors are refused by their types
        fail(Twine("'quantization_config': expected weights in floats or 'fp8', got '") + method +
             "'; take the checkpoint that this one was made from");
    }
    if (config.architecture->windows == Windows::None || config.architecture->huggingFace == "LlamaForCausalLM")
      if (const Json *window = get("sliding_window"); window && !isNothing(*window))
        fail("'sliding_window': expected no window for " + config.architecture->huggingFace);
  }

  void checkActivation() {
    const std::string act = text(root, "hidden_act", ""), activation = text(root, "hidden_activation", "");
    const std::string used = activation.empty() ? act : activation;
    // The first Gemma said "gelu" and meant its approximation by tanh.
    const bool right = config.architecture->geglu
                           ? used == "gelu_pytorch_tanh" || used.empty() || (activation.empty() && used == "gelu")
                           : used == "silu" || used == "swish" || used.empty();
    if (!right)
      fail("'hidden_act': expected " + Twine(config.architecture->geglu ? "gelu_pytorch_tanh" : "silu") + ", got '" +
           used + "'");
  }

  void readShape() {
    const Architecture &architecture = *config.architecture;
    config.layout = Layout::HuggingFace;
    config.halfSplit = true;
    config.name = llvm::sys::path::filename(StringRef(checkpoint.path()).rtrim('/')).str();
    config.layers = integer("num_hidden_layers", maxLayers);
    config.width = integer("hidden_size", maxWidth);
    config.feedForward = integer("intermediate_size", maxWidth);
    config.context = integer("max_position_embeddings", maxContext);
    config.heads = integer("num_attention_heads", maxWidth);
    config.vocabulary = integer("vocab_size", maxWidth, 0);
    if (failure)
      return;
    config.kvHeads = integer("num_key_value_heads", maxWidth, config.heads);
    if (!get("head_dim") && config.width % config.heads != 0)
      return fail("expected 'hidden_size' divisible by 'num_attention_heads', got " + Twine(config.width) + " and " +
                  Twine(config.heads));
    config.headDim = integer("head_dim", maxWidth, config.width / config.heads);
    config.eps = positive("rms_norm_eps");
    config.tied = flag("tie_word_embeddings", architecture.tied);
    checkActivation();
    config.embeddingScale =
        architecture.scalesEmbedding ? std::sqrt(double(config.width)) : positive("embedding_multiplier", 1.0);
    config.residualScale = positive("residual_multiplier", 1.0);
    config.logitScale = 1 / positive("logits_scaling", 1.0);
    config.attentionScale = positive("attention_multiplier", 0.0);
    if (get("query_pre_attn_scalar"))
      config.attentionScale = 1 / std::sqrt(positive("query_pre_attn_scalar"));
    config.attentionSoftcap = positive("attn_logit_softcapping", 0.0);
    config.logitSoftcap = positive("final_logit_softcapping", 0.0);
  }

  //===-- Rotations ------------------------------------------------------------------------===//

  std::vector<double> factors(const Json &scaling, const char *key) {
    const Json *found = get(scaling, key);
    std::vector<double> numbers;
    if (!found || !found->is_array() || int64_t(found->size()) != config.rotated / 2) {
      fail(Twine("'") + key + "': expected " + Twine(config.rotated / 2) + " numbers");
      return numbers;
    }
    for (const Json &number : *found) {
      numbers.push_back(number.is_number() ? number.get<double>() : 0);
      if (!(numbers.back() > 0) || !std::isfinite(numbers.back()))
        fail(Twine("'") + key + "': expected positive numbers");
    }
    return numbers;
  }

  // `parameters` is rope_scaling, or what took its place: rope_parameters, with the base inside.
  Rope readRope(const Json &parameters, double base) {
    base = positive(parameters, "rope_theta", base);
    std::string type = text(parameters, "rope_type", text(parameters, "type", "default"));
    for (const auto &[name, value] : parameters.items())
      if (!llvm::is_contained({"rope_theta", "rope_type", "type", "factor", "original_max_position_embeddings",
                               "attention_factor", "beta_fast", "beta_slow", "truncate", "mscale", "mscale_all_dim",
                               "low_freq_factor", "high_freq_factor", "long_factor", "short_factor",
                               "partial_rotary_factor"},
                              name) &&
          !isNothing(value))
        fail("key '" + name + "' of the scaling of rotations is not understood");
    RopeScaling scaling;
    std::vector<double> divisors;
    const int64_t original = integer(
        parameters, "original_max_position_embeddings", maxContext,
        integer("original_max_position_embeddings", maxContext, integer("max_position_embeddings", maxContext)));
    scaling.originalContext = double(original);
    if (type == "linear") {
      scaling.kind = RopeScaling::Linear;
      scaling.factor = positive(parameters, "factor");
    } else if (type == "llama3") {
      scaling.kind = RopeScaling::Llama3;
      scaling.factor = positive(parameters, "factor");
      scaling.lowFrequencyFactor = positive(parameters, "low_freq_factor");
      scaling.highFrequencyFactor = positive(parameters, "high_freq_factor");
      if (scaling.lowFrequencyFactor >= scaling.highFrequencyFactor)
        fail("'low_freq_factor': expected less than 'high_freq_factor'");
    } else if (type == "yarn") {
      scaling.kind = RopeScaling::Yarn;
      scaling.factor = positive(parameters, "factor");
      scaling.betaFast = positive(parameters, "beta_fast", 32);
      scaling.betaSlow = positive(parameters, "beta_slow", 1);
      if (const Json *truncate = get(parameters, "truncate"))
        scaling.truncates = *truncate != false;
      auto magnitude = [&](double by) { return scaling.factor <= 1 ? 1 : 0.1 * by * std::log(scaling.factor) + 1; };
      const bool hasTwo = get(parameters, "mscale") && get(parameters, "mscale_all_dim");
      scaling.magnitude = positive(parameters, "attention_factor",
                                   hasTwo ? magnitude(positive(parameters, "mscale")) /
                                                magnitude(positive(parameters, "mscale_all_dim"))
                                          : magnitude(1));
    } else if (type == "longrope" || type == "su") {
      const double factor = get("original_max_position_embeddings")
                                ? double(integer("max_position_embeddings", maxContext)) / double(original)
                                : positive(parameters, "factor",
                                           double(integer("max_position_embeddings", maxContext)) / double(original));
      scaling.magnitude = positive(parameters, "attention_factor",
                                   factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(double(original))));
      divisors = factors(parameters, config.context > original ? "long_factor" : "short_factor");
    } else if (type != "default") {
      fail("'rope_type': expected default, linear, llama3, yarn or longrope, got '" + type +
           "', which is not supported");
    }
    return failure ? Rope() : makeRope(base, config.rotated, scaling, divisors);
  }

  void readLayers() {
    const Architecture &architecture = *config.architecture;
    config.trainedContext = config.context;
    if (contextLimit && contextLimit < config.context)
      config.context = contextLimit;
    static const Json none = Json::object();
    const Json *scaling = get("rope_parameters") ? get("rope_parameters") : get("rope_scaling");
    if (scaling && !scaling->is_object())
      return fail("expected an object for the scaling of rotations, got " + scaling->dump());
    const Json *byKind = scaling && get(*scaling, "full_attention") ? scaling : nullptr; // one for each kind of layer
    const Json *full = byKind ? get(*byKind, "full_attention") : scaling;
    const Json *sliding = byKind ? get(*byKind, "sliding_attention") : nullptr;
    if ((full && !full->is_object()) || (sliding && !sliding->is_object()))
      return fail("expected objects for the rotations of the kinds of layers");

    double partial = positive("partial_rotary_factor", full ? positive(*full, "partial_rotary_factor", 1) : 1);
    config.rotated = int64_t(double(config.headDim) * partial);
    if (config.rotated < 2 || config.rotated % 2 != 0 || config.rotated > config.headDim)
      return fail("'partial_rotary_factor': expected an even number of rotated channels of " + Twine(config.headDim) +
                  ", got " + Twine(config.rotated));
    const double base = positive("rope_theta", architecture.localRopeBase ? 1e6 : 1e4);
    Rope global = readRope(full ? *full : none, base);
    Rope local = global;
    if (architecture.localRopeBase)
      local = readRope(sliding ? *sliding : none, positive("rope_local_base_freq", architecture.localRopeBase));
    if (failure)
      return;

    const Json *given = get("sliding_window");
    const int64_t window = given && !isNothing(*given) ? integer("sliding_window", maxContext) : 0;
    llvm::SmallVector<bool> windows, ropes;
    readWindows(window, windows);
    readRopes(ropes);
    if (!failure)
      config.setKinds(window, windows, ropes, std::move(global), std::move(local));
  }

  void readWindows(int64_t window, llvm::SmallVectorImpl<bool> &windows) {
    const Architecture &architecture = *config.architecture;
    const bool isMarked = architecture.windows == Windows::Marked;
    if (const Json *types = get("layer_types")) {
      if (!types->is_array() || int64_t(types->size()) != config.layers)
        return fail("'layer_types': expected one for each of " + Twine(config.layers) + " layers");
      for (const Json &type : *types) {
        if (type != "full_attention" && type != "sliding_attention")
          return fail("'layer_types': expected full_attention or sliding_attention, got " + type.dump());
        windows.push_back(type == "sliding_attention");
      }
    } else {
      int64_t pattern =
          integer("sliding_window_pattern", maxLayers,
                  integer("_sliding_window_pattern", maxLayers, std::max<int64_t>(1, architecture.windowPattern)));
      const bool marked = isMarked && flag("use_sliding_window", false);
      const Json *first = get("max_window_layers");
      const int64_t from = first && first->is_number_integer() ? first->get<int64_t>() : 0;
      for (int64_t layer = 0; layer < config.layers; ++layer)
        windows.push_back(window && (architecture.windows == Windows::All ||
                                     (architecture.windows == Windows::Pattern && (layer + 1) % pattern != 0) ||
                                     (marked && layer >= from)));
    }
    if (llvm::is_contained(windows, true) && !window)
      fail("'sliding_window': expected the size of the windows that layers have");
    if (architecture.windows == Windows::Pattern && !window)
      fail("'sliding_window' is missing");
  }

  void readRopes(llvm::SmallVectorImpl<bool> &ropes) {
    const int64_t interval = config.architecture->noRopeInterval
                                 ? integer("no_rope_layer_interval", maxLayers, config.architecture->noRopeInterval)
                                 : 0;
    const Json *given = get("no_rope_layers"); // 1: with rotations
    if (given && !isNothing(*given) && (!interval || !given->is_array() || int64_t(given->size()) != config.layers))
      return fail("'no_rope_layers': expected one for each of " + Twine(config.layers) + " layers");
    for (int64_t layer = 0; layer < config.layers; ++layer)
      ropes.push_back(given && !isNothing(*given) ? (*given)[layer] != 0 : !interval || (layer + 1) % interval != 0);
  }

  const Checkpoint &checkpoint;
  int64_t contextLimit;
  Json root;
  ModelConfig config;
  llvm::Error failure = llvm::Error::success();
};
} // namespace

llvm::Expected<ModelConfig> sluice::readHuggingFaceConfig(const Checkpoint &checkpoint, int64_t contextLimit) {
  return Reader(checkpoint, contextLimit).run();
}
