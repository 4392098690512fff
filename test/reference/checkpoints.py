"""What a checkpoint says, as numbers and float64 matrices: GGUF files and Hugging Face folders.

Shares no code with the compiler. A checkpoint has `facts`, the numbers of a model under names of this file, and `weight(name, layer)`, with
GGUF's names of tensors without "blk.N." and ".weight"; `adjacent` says how the channels of a rotated pair lie in q and k.
"""
import json
import math
from pathlib import Path

import numpy as np


def yarn(turns, base, rotated, factor, original, beta_fast=32.0, beta_slow=1.0):
    pair = lambda rotations: rotated * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(base))
    low, high = max(math.floor(pair(beta_fast)), 0), min(math.ceil(pair(beta_slow)), rotated - 1)
    ramp = np.clip((np.arange(rotated // 2) - low) / max(high - low, 0.001), 0, 1)
    return turns / factor * ramp + turns * (1 - ramp)


def llama3(turns, factor, low, high, original):
    out = []
    for turn in turns:  # radians a position
        wavelength = 2 * math.pi / turn
        if wavelength < original / high:
            out.append(turn)
        elif wavelength > original / low:
            out.append(turn / factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            out.append((1 - smooth) * turn / factor + smooth * turn)
    return np.array(out)


def plain_turns(base, rotated):
    return base ** (-2.0 * np.arange(rotated // 2) / rotated)


class Gguf:
    def __init__(self, path):
        from gguf import GGUFReader

        self.reader = GGUFReader(path)
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        arch = self.arch = self.reader.fields["general.architecture"].contents()
        get = self.field
        self.adjacent = arch in ("llama", "granite", "smollm3")
        layers, width = get("block_count"), get("embedding_length")
        heads = get("attention.head_count")
        head_dim = get("attention.key_length", width // heads)
        rotated = get("rope.dimension_count", head_dim)
        gemma = arch.startswith("gemma")
        pattern = get("attention.sliding_window_pattern", {"gemma2": 2, "gemma3": 6}.get(arch))
        window = get("attention.sliding_window", 0)
        windows = [window if not pattern or (i + 1) % pattern else 0 for i in range(layers)]
        by_width = (arch, layers) in (("gemma2", 46), ("gemma3", 62))
        self.facts = dict(
            layers=layers, width=width, heads=heads, kv_heads=get("attention.head_count_kv", heads), head_dim=head_dim,
            eps=get("attention.layer_norm_rms_epsilon"), windows=windows,
            embedding_scale=math.sqrt(width) if gemma else get("embedding_scale", 1.0),
            residual_scale=get("residual_scale", 1.0), logit_scale=1 / get("logit_scale", 1.0),
            attention_scale=get("attention.scale", 1 / math.sqrt(width / heads if by_width else head_dim)),
            attention_cap=get("attn_logit_softcapping", 0), logit_cap=get("final_logit_softcapping", 0),
            gelu=gemma, plus_one=False, rotated=rotated,
        )
        turns, magnitude = self.turns(rotated)
        local = plain_turns(get("rope.freq_base_swa", 10000.0), rotated), 1.0
        self.facts["ropes"] = [
            None if arch == "smollm3" and (i + 1) % 4 == 0 else local if arch == "gemma3" and windows[i] else (turns, magnitude)
            for i in range(layers)
        ]

    def turns(self, rotated):
        """Radians a position of every pair, and what rotated channels are multiplied by."""
        get, base = self.field, self.field("rope.freq_base", 10000.0)
        turns, magnitude, kind = plain_turns(base, rotated), 1.0, get("rope.scaling.type", "none")
        factor, original = get("rope.scaling.factor", 1.0), get("rope.scaling.original_context_length", 0)
        if kind == "linear":
            turns = turns / factor
        if kind == "yarn":
            turns, magnitude = yarn(turns, base, rotated, factor, original), 1 + 0.1 * math.log(factor)
        name = "rope_freqs.weight"
        if "rope_factors_long.weight" in self.tensors:
            name = f"rope_factors_{'long' if get('context_length') > original else 'short'}.weight"
            magnitude = get("rope.scaling.attn_factor", 1.0)
        return (turns / self.tensor(name) if name in self.tensors else turns), magnitude

    def field(self, key, default=None):
        field = self.reader.fields.get(f"{self.arch}.{key}")
        value = default if field is None else field.contents()
        return value[0] if isinstance(value, list) else value

    def tensor(self, name):
        from gguf.quants import dequantize

        tensor = self.tensors[name]
        data = dequantize(tensor.data, tensor.tensor_type)
        return data.reshape(tuple(int(n) for n in reversed(tensor.shape))).astype(np.float64)

    def weight(self, name, layer=None):
        """None if there is no such tensor."""
        base, suffix = (name[:-5], ".bias") if name.endswith("_bias") else (name, ".weight")
        full = (f"blk.{layer}." if layer is not None else "") + base + suffix
        return self.tensor(full) if full in self.tensors else None


FOLDER_NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head", "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_gate_up": "mlp.gate_up_proj", "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}


class Folder:
    adjacent = False

    def __init__(self, path):
        self.path = Path(path)
        self.files = {}
        for file in sorted(self.path.glob("*.safetensors")):
            data = file.read_bytes()
            size = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + size])
            self.files.update({name: (data, 8 + size, what) for name, what in header.items() if name != "__metadata__"})
        c = self.config = json.loads((self.path / "config.json").read_text())
        kind = c["architectures"][0]
        gemma = kind.startswith("Gemma")
        self.post_norms = kind in ("Gemma2ForCausalLM", "Gemma3ForCausalLM")
        layers, width, heads = c["num_hidden_layers"], c["hidden_size"], c["num_attention_heads"]
        head_dim = c.get("head_dim") or width // heads
        rotated = int(head_dim * c.get("partial_rotary_factor", 1.0))
        types = c.get("layer_types")
        if types is None:
            pattern = {"Gemma2ForCausalLM": 2, "Gemma3ForCausalLM": c.get("sliding_window_pattern", 6)}.get(kind)
            sliding = [
                (i + 1) % pattern != 0 if pattern else kind in ("MistralForCausalLM", "Phi3ForCausalLM")
                or bool(c.get("use_sliding_window")) and i >= c.get("max_window_layers", 0)
                for i in range(layers)
            ]
        else:
            sliding = [t == "sliding_attention" for t in types]
        window = c.get("sliding_window") or 0
        self.facts = dict(
            layers=layers, width=width, heads=heads, kv_heads=c.get("num_key_value_heads", heads), head_dim=head_dim,
            eps=c["rms_norm_eps"], windows=[window if s else 0 for s in sliding], rotated=rotated,
            embedding_scale=math.sqrt(width) if gemma else c.get("embedding_multiplier", 1.0),
            residual_scale=c.get("residual_multiplier", 1.0), logit_scale=1 / c.get("logits_scaling", 1.0),
            attention_scale=c.get("attention_multiplier") or (c.get("query_pre_attn_scalar") or head_dim) ** -0.5,
            attention_cap=c.get("attn_logit_softcapping") or 0, logit_cap=c.get("final_logit_softcapping") or 0,
            gelu=gemma, plus_one=gemma,
        )
        rope = self.turns(c.get("rope_scaling") or {}, c.get("rope_theta", 10000.0), rotated)
        local = plain_turns(c.get("rope_local_base_freq", 10000.0), rotated), 1.0
        without = [not has for has in c.get("no_rope_layers", [])] or [False] * layers
        self.facts["ropes"] = [
            None if without[i] else local if kind == "Gemma3ForCausalLM" and sliding[i] else rope for i in range(layers)
        ]

    def turns(self, scaling, base, rotated):
        c, kind = self.config, scaling.get("rope_type", scaling.get("type"))
        turns, magnitude = plain_turns(base, rotated), 1.0
        longest = c["max_position_embeddings"]
        if kind == "linear":
            turns = turns / scaling["factor"]
        elif kind == "llama3":
            turns = llama3(turns, scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"],
                           scaling["original_max_position_embeddings"])
        elif kind == "yarn":
            turns = yarn(turns, base, rotated, scaling["factor"], scaling["original_max_position_embeddings"])
            magnitude = 0.1 * math.log(scaling["factor"]) + 1
        elif kind == "longrope":
            original = c["original_max_position_embeddings"]
            turns = turns / np.array(scaling["long_factor" if longest > original else "short_factor"])
            magnitude = math.sqrt(1 + math.log(longest / original) / math.log(original)) if longest > original else 1.0
        elif kind not in (None, "default"):
            raise ValueError(kind)
        return turns, magnitude

    def tensor(self, name):
        data, begin, what = self.files[name]
        raw = np.frombuffer(data, np.uint8)[begin + what["data_offsets"][0] : begin + what["data_offsets"][1]]
        kind = what["dtype"]
        if kind == "BF16":
            values = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif kind == "F8_E4M3":
            code = np.arange(256)
            exponent, mantissa = code >> 3 & 15, (code & 7) / 8
            table = np.where(exponent == 0, mantissa * 2.0**-6, (1 + mantissa) * 2.0 ** (exponent - 7))
            values = np.where(code & 128, -table, table)[raw]
        else:
            values = raw.view({"F32": np.float32, "F16": np.float16}[kind])
        return values.astype(np.float64).reshape(what["shape"])

    def weight(self, name, layer=None):
        base, suffix = (name[:-5], ".bias") if name.endswith("_bias") else (name, ".weight")
        if base == "ffn_norm":
            base = "pre_feedforward_layernorm" if self.post_norms else "post_attention_layernorm"
        elif base == "post_attention_norm":
            base = "post_attention_layernorm" if self.post_norms else "absent"
        else:
            base = FOLDER_NAMES.get(base, base)
        if name == "output" and self.config.get("tie_word_embeddings"):
            return None
        full = (f"model.layers.{layer}." if layer is not None else "") + base + suffix
        if full not in self.files:
            return None
        values = self.tensor(full)
        for scale_name in (full + "_scale_inv", full + "_scale"):
            if scale_name in self.files:
                scale = self.tensor(scale_name)
                if scale.ndim == 2 and scale.shape[1] > 1:
                    scale = np.repeat(np.repeat(scale, 128, axis=0), 128, axis=1)[: values.shape[0], : values.shape[1]]
                elif scale.size > 1:
                    scale = scale.reshape(-1, 1)
                values = values * scale
        return values


def load(path):
    return Folder(path) if Path(path).is_dir() else Gguf(path)
