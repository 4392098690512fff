"""Small random models as Hugging Face folders: config.json, safetensors (one or several), a tokenizer of the model's family."""
import json

import numpy as np
from tokenizers_of_models import family

COMMON = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              max_position_embeddings=512, rms_norm_eps=1e-5, hidden_act="silu", rope_theta=10000.0, tie_word_embeddings=False)
GEMMA = dict(hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True, head_dim=32, query_pre_attn_scalar=24, rms_norm_eps=1e-6)

# name: (class, what its config.json says beside COMMON)
MODELS = {
    "llama": ("LlamaForCausalLM", {}),
    "llama3.2": ("LlamaForCausalLM", dict(tie_word_embeddings=True, rope_theta=500000.0, rope_scaling=dict(
        rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64))),
    "llama-linear-biased": ("LlamaForCausalLM", dict(attention_bias=True, mlp_bias=True, rope_scaling=dict(type="linear", factor=4.0))),
    "mistral": ("MistralForCausalLM", dict(sliding_window=70, head_dim=24)),
    "qwen2": ("Qwen2ForCausalLM", dict(use_sliding_window=True, sliding_window=70, max_window_layers=1)),
    "qwen3-yarn": ("Qwen3ForCausalLM", dict(head_dim=32, rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128))),
    "smollm3": ("SmolLM3ForCausalLM", dict(num_hidden_layers=4, no_rope_layers=[1, 1, 1, 0], no_rope_layer_interval=4, tie_word_embeddings=True)),
    "phi3-longrope": ("Phi3ForCausalLM", dict(num_key_value_heads=4, sliding_window=300, original_max_position_embeddings=256, partial_rotary_factor=0.75,
                                              rope_scaling=dict(type="longrope", short_factor=[1.0 + i / 9 for i in range(6)], long_factor=[2.0 + i for i in range(6)]))),
    "granite": ("GraniteForCausalLM", dict(embedding_multiplier=12.0, residual_multiplier=0.22, attention_multiplier=0.03, logits_scaling=8.0)),
    "gemma": ("GemmaForCausalLM", {**GEMMA, "query_pre_attn_scalar": None}),
    "gemma2": ("Gemma2ForCausalLM", dict(**GEMMA, sliding_window=70, attn_logit_softcapping=50.0, final_logit_softcapping=30.0)),
    "gemma3": ("Gemma3ForCausalLM", dict(**GEMMA, num_hidden_layers=7, sliding_window=70, sliding_window_pattern=6, rope_theta=1000000.0,
                                         rope_local_base_freq=10000.0, rope_scaling=dict(rope_type="linear", factor=8.0))),
}

# As the models have them that are published in each class; and unigram, which any may have.
TOKENIZERS = {"llama": "llama2", "llama3.2": "llama-bpe", "llama-linear-biased": "unigram-json", "mistral": "tekken", "qwen2": "qwen2", "qwen3-yarn": "qwen2",
              "smollm3": "smaug-bpe", "phi3-longrope": "phi3-json", "granite": "refact", "gemma": "gemma-json", "gemma2": "gemma", "gemma3": "gemma-json"}


def config_of(name):
    kind, more = MODELS[name]
    return {**COMMON, "architectures": [kind], **{key: value for key, value in more.items() if value is not None}}


def tensors_of(config, rng):
    """Name: float32 array."""
    c, kind = config, config["architectures"][0]
    width, ffn = c["hidden_size"], c["intermediate_size"]
    head = c.get("head_dim", width // c["num_attention_heads"])
    q, kv = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
    gemma = kind.startswith("Gemma")
    tensors = {}

    def matrix(name, rows, cols, bias=False):
        tensors[name + ".weight"] = rng.normal(0, cols**-0.5, (rows, cols))
        if bias:
            tensors[name + ".bias"] = rng.normal(0, 0.5, rows)

    def norm(name, size=width):
        tensors[name + ".weight"] = rng.normal(0 if gemma else 1, 0.1, size)

    matrix("model.embed_tokens", c["vocab_size"], width)
    norm("model.norm")
    if not c["tie_word_embeddings"]:
        matrix("lm_head", c["vocab_size"], width)
    biased = c.get("attention_bias", kind.startswith("Qwen2"))
    for layer in range(c["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        norm(p + "input_layernorm")
        norm(p + "post_attention_layernorm")
        if kind in ("Gemma2ForCausalLM", "Gemma3ForCausalLM"):
            norm(p + "pre_feedforward_layernorm")
            norm(p + "post_feedforward_layernorm")
        if kind == "Phi3ForCausalLM":
            matrix(p + "self_attn.qkv_proj", q + 2 * kv, width)
            matrix(p + "mlp.gate_up_proj", 2 * ffn, width)
        else:
            for which, rows in (("q", q), ("k", kv), ("v", kv)):
                matrix(p + f"self_attn.{which}_proj", rows, width, biased)
            matrix(p + "mlp.gate_proj", ffn, width, c.get("mlp_bias"))
            matrix(p + "mlp.up_proj", ffn, width, c.get("mlp_bias"))
        if kind in ("Qwen3ForCausalLM", "Gemma3ForCausalLM"):
            norm(p + "self_attn.q_norm", head)
            norm(p + "self_attn.k_norm", head)
        matrix(p + "self_attn.o_proj", width, q, biased and kind == "LlamaForCausalLM")
        matrix(p + "mlp.down_proj", width, ffn, c.get("mlp_bias"))
    return {name: values.astype(np.float32) for name, values in tensors.items()}


def encode(values, dtype):
    """The bytes of an array in a dtype of safetensors."""
    if dtype == "F32":
        return values.astype("<f4").tobytes()
    if dtype == "F16":
        return values.astype("<f2").tobytes()
    if dtype == "BF16":
        bits = values.astype("<f4").view(np.uint32).astype(np.uint64)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
    codes = np.arange(128)
    table = np.where(codes >> 3, (1 + (codes & 7) / 8) * 2.0 ** ((codes >> 3) - 7), (codes & 7) / 8 * 2.0**-6)[:127]
    nearest = np.abs(np.abs(values).ravel()[:, None] - table).argmin(axis=1)
    return (nearest + 128 * (values.ravel() < 0)).astype(np.uint8).tobytes()


def write_safetensors(path, tensors):
    """tensors: name: (dtype, shape, bytes)."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def make_folder(folder, name, dtype, seed, shards=1, scale=None):
    """scale: None, "tensor", "row" or "block", for F8_E4M3."""
    rng = np.random.default_rng(seed)
    tokenizer = family(TOKENIZERS[name])
    config = {**config_of(name), "vocab_size": tokenizer.size}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save(folder)
    stored = {}
    for tensor, values in tensors_of(config, rng).items():
        is_matrix = values.ndim == 2 and not tensor.startswith(("model.embed", "lm_head"))
        kind = dtype if dtype != "F8_E4M3" or is_matrix else "BF16"
        if kind == "F8_E4M3" and scale:
            shape = {"tensor": (), "row": (len(values), 1), "block": tuple(-(-n // 128) for n in values.shape)}[scale]
            scales = rng.uniform(0.01, 0.02, shape).astype(np.float32)
            whole = scales if scale != "block" else np.kron(scales, np.ones((128, 128)))[: values.shape[0], : values.shape[1]]
            values = values / whole
            stored[tensor + ("_scale_inv" if scale == "block" else "_scale")] = ("F32", shape, scales.tobytes())
        stored[tensor] = (kind, values.shape, encode(values, kind))
    names = list(stored)
    if shards == 1:
        write_safetensors(folder / "model.safetensors", stored)
        return folder
    rng.shuffle(names)
    where = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[i::shards]
        write_safetensors(folder / file, {tensor: stored[tensor] for tensor in part})
        where.update({tensor: file for tensor in part})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder
