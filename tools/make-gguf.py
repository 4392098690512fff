#!/usr/bin/env python3
"""Writes a model of the Llama family with random weights in GGUF: any architecture, any shape, any mixture of types.

For tests (small, Gaussian weights quantised by the package `gguf`, or random blocks of types that it does not quantise to) and
for benchmarks (--fast: random blocks, written as they are made, so that memory does not grow with the model). The file is
complete: byte-level BPE tokenizer (or that of --tokenizer), ChatML template.

  tools/make-gguf.py tiny.gguf --width 64 --layers 2 --heads 4 --kv-heads 2 --ffn 96 --vocab 300 --type q4_1
  tools/make-gguf.py 1b.gguf --fast --width 2048 --layers 22 --heads 32 --kv-heads 4 --ffn 5632 --vocab 49152 --type q4_0
  tools/make-gguf.py 1b.gguf --fast --width 2048 --layers 22 --heads 32 --kv-heads 4 --ffn 5632 --vocab 49152 --type q4_k_m
  tools/make-gguf.py qwen.gguf --arch qwen3 --head-dim 32 --set rope.scaling.type=linear --set rope.scaling.factor=2.0
  tools/make-gguf.py mix.gguf --type q4_0 --override 'blk.1.attn_v=q8_0' --override 'ffn_down=f16'
"""
import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize

# f16 numbers of a block, by offset: the first is the scale; the others are that many times as large.
HALVES = {
    "Q8_0": {0: 1},
    "Q4_0": {0: 1},
    "Q4_1": {0: 1, 2: -7.5},
    "Q5_0": {0: 1},
    "Q5_1": {0: 1, 2: -15.5},
    "Q2_K": {80: 1, 82: 1.5},
    "Q3_K": {108: 1},
    "Q4_K": {0: 1, 2: 7.5},
    "Q5_K": {0: 1, 2: 15.5},
    "Q6_K": {208: 1},
    "IQ4_NL": {0: 1},
    "IQ4_XS": {0: 1},
    "MXFP4": {},
}
TYPES = {name.lower(): GGMLQuantizationType[name] for name in ("F32", "F16", "BF16", *HALVES)}
# Mixtures as llama.cpp's: the type of most matrices, and that of the output and of some layers' attn_v and ffn_down.
MIXTURES = {"q4_k_m": ("q4_k", "q6_k"), "q5_k_m": ("q5_k", "q6_k")}
TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


# What layers have beyond Llama's.
BIASES = {"qwen2"}
HEAD_NORMS = {"qwen3", "gemma3"}
POST_NORMS = {"gemma2", "gemma3"}
FUSED = {"phi3"}
ARCHITECTURES = ["llama", "qwen2", "qwen3", "phi3", "granite", "smollm3", "gemma", "gemma2", "gemma3"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    for name, default in (("width", 64), ("layers", 2), ("heads", 4), ("ffn", 96), ("vocab", 320), ("context", 512), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--arch", choices=ARCHITECTURES, default="llama")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a metadata key of the architecture")
    parser.add_argument("--kv-heads", type=int, help="default: heads")
    parser.add_argument("--head-dim", type=int, help="default: width / heads")
    parser.add_argument("--rotated", type=int, help="channels of a head that RoPE turns; default: all")
    parser.add_argument("--type", choices=[*TYPES, *MIXTURES], default="f32", help="of the matrices; norms are f32")
    parser.add_argument("--embedding-type", choices=TYPES, help="of token_embd (and output); default: --type")
    parser.add_argument("--override", action="append", default=[], metavar="REGEX=TYPE", help="type of the tensors whose name matches")
    parser.add_argument("--separate", action="store_true", help="an output matrix of its own (default: tied to the embedding)")
    parser.add_argument("--biases", action="store_true", help="biases of q, k and v; default: where the architecture has them")
    parser.add_argument("--rope-freqs", action="store_true", help="random divisors of the rotations, as Llama 3 has")
    parser.add_argument("--rope-factors", action="store_true", help="random divisors for short and long contexts, as Phi-3 has")
    parser.add_argument("--rope-base", type=float, default=10000.0)
    parser.add_argument("--tokenizer", metavar="FILE", help="JSON with the keys tokenizer.ggml.*, which says how large the vocabulary is")
    parser.add_argument("--fast", action="store_true", help="random blocks in place of quantised Gaussians")
    a = parser.parse_args()
    if a.type in MIXTURES:
        a.type, better = MIXTURES[a.type]
        layers = [i for i in range(a.layers) if i < a.layers // 8 or i >= 7 * a.layers // 8 or (i - a.layers // 8) % 3 == 2]
        names = "|".join(map(str, layers))
        a.override += [rf"^output\.={better}", rf"^blk\.({names})\.(attn_v|ffn_down)\.={better}"]
        a.embedding_type = a.embedding_type or (a.type if a.separate else better)
    return a


def given_tokenizer(writer, path):
    fields = json.loads(Path(path).read_text())
    for key, value in fields.items():
        add = {bool: writer.add_bool, int: writer.add_uint32, str: writer.add_string}.get(type(value), writer.add_array)
        add("tokenizer.ggml." + key, value)
    writer.add_chat_template(TEMPLATE)
    return len(fields["tokens"])


def made_tokenizer(writer, size):
    """256 byte tokens, merges, unused fillers, then the special tokens last."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    chars = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in printable)}
    merges = [m for m in ("Ġ t", "h e", "i n", "Ġt he", "e r", "o n", "Ġ a", "r e") if size >= 280]
    tokens = [chars[b] for b in range(256)] + [m.replace(" ", "") for m in merges]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    if size < len(tokens) + len(special):
        sys.exit(f"expected --vocab of at least {len(tokens) + len(special)}, got {size}")
    fillers = size - len(tokens) - len(special)
    types = [1] * len(tokens) + [5] * fillers + [3] * 3
    tokens += [f"<unused{i}>" for i in range(fillers)] + special
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(size - 2)
    writer.add_eos_token_id(size - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    return size


def random_blocks(kind, count, deviation, rng):
    """[count, bytes of a block]: every bit random but for the scales, which make it values of about this deviation."""
    elements, size = GGML_QUANT_SIZES[kind]
    if kind.name not in HALVES:
        return rng.normal(0, deviation, count).astype(np.float32).view(np.uint8).reshape(-1, 4)[:, 4 - size :]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    jitter = rng.uniform(0.5, 1.5, count)

    def scale(sample, by):
        for at, ratio in HALVES[kind.name].items():
            sample[:, at : at + 2] = (jitter[: len(sample)] * ratio * by).astype(np.float16).view(np.uint8).reshape(-1, 2)
        if kind.name == "MXFP4":
            sample[:, 0] = np.clip(128 + np.round(np.log2(jitter[: len(sample)] * by)), 0, 254)

    sample = blocks[:500].copy()
    scale(sample, 1)
    scale(blocks, deviation / dequantize(sample, kind).std())
    return blocks


class RandomBlocks:
    """Blocks of a type with moderate scales, made in pieces as the writer asks for them."""

    def __init__(self, kind, rows, cols, rng):
        self.block, self.size = GGML_QUANT_SIZES[kind]
        self.kind, self.rng, self.deviation = kind, rng, cols**-0.5
        self.shape = (rows, cols // self.block * self.size)
        self.nbytes, self.dtype = self.shape[0] * self.shape[1], np.dtype(np.uint8)

    def tofile(self, file):
        remaining = self.nbytes // self.size
        # The same blocks over and over: the values do not matter for speed.
        blocks = random_blocks(self.kind, min(remaining, (8 << 20) // self.size), self.deviation, self.rng)
        while remaining:
            take = min(remaining, len(blocks))
            blocks[:take].tofile(file)
            remaining -= take


def main():
    a = arguments()
    kv_heads = a.kv_heads or a.heads
    head_dim = a.head_dim or a.width // a.heads
    rng = np.random.default_rng(a.seed)
    writer = GGUFWriter(a.output, a.arch)
    writer.add_name(f"random weights in {a.type}")
    writer.add_block_count(a.layers)
    writer.add_context_length(a.context)
    writer.add_embedding_length(a.width)
    writer.add_feed_forward_length(a.ffn)
    writer.add_head_count(a.heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(a.rope_base)
    writer.add_rope_dimension_count(a.rotated or head_dim)
    for key, value in (text.split("=", 1) for text in a.set):
        if re.fullmatch(r"\d+", value):
            writer.add_uint32(f"{a.arch}.{key}", int(value))
        elif re.fullmatch(r"[\d.e-]+", value):
            writer.add_float32(f"{a.arch}.{key}", float(value))
        else:
            writer.add_string(f"{a.arch}.{key}", value)
    a.vocab = given_tokenizer(writer, a.tokenizer) if a.tokenizer else made_tokenizer(writer, a.vocab)

    overrides = [(re.compile(pattern), TYPES[kind]) for pattern, kind in (o.rsplit("=", 1) for o in a.override)]
    streamed = []

    def matrix(name, rows, cols, default):
        kind = next((k for pattern, k in overrides if pattern.search(name)), TYPES[default])
        if cols % GGML_QUANT_SIZES[kind][0]:
            sys.exit(f"tensor '{name}': rows of {cols} are no multiple of the block of {kind.name}; use --override")
        if a.fast:
            blocks = RandomBlocks(kind, rows, cols, rng)
            writer.add_tensor_info(name, blocks.shape, blocks.dtype, blocks.nbytes, raw_dtype=kind)
            streamed.append(blocks)
            return
        values = rng.normal(0, 1 / np.sqrt(cols), (rows, cols)).astype(np.float32)
        if name.startswith("token_embd") and not a.arch.startswith("gemma"):  # which does that itself
            values *= np.sqrt(cols)
        add(name, values, kind)

    def quantized(values, kind):
        try:
            return quantize(values, kind)
        except NotImplementedError:
            elements, size = GGML_QUANT_SIZES[kind]
            return random_blocks(kind, values.size // elements, values.std(), rng).reshape(*values.shape[:-1], -1)

    def add(name, values, kind):
        data = values if kind == GGMLQuantizationType.F32 else quantized(values, kind)
        if a.fast:
            writer.add_tensor_info(name, data.shape, data.dtype, data.nbytes)
            streamed.append(data)
        else:
            writer.add_tensor(name, data, raw_dtype=kind)

    def vector(name, size, mean, spread):
        add(name, rng.normal(mean, spread, size).astype(np.float32), GGMLQuantizationType.F32)

    def norm(name, size=a.width):
        vector(name, size, 1, 0.1)

    embedding = a.embedding_type or a.type
    matrix("token_embd.weight", a.vocab, a.width, embedding)
    norm("output_norm.weight")
    if a.separate:
        matrix("output.weight", a.vocab, a.width, embedding)
    if a.rope_freqs:
        add("rope_freqs.weight", rng.uniform(1, 8, (a.rotated or head_dim) // 2).astype(np.float32), GGMLQuantizationType.F32)
    if a.rope_factors:
        for length in ("long", "short"):
            factors = rng.uniform(1, 8, (a.rotated or head_dim) // 2).astype(np.float32)
            add(f"rope_factors_{length}.weight", factors, GGMLQuantizationType.F32)
    q, kv = a.heads * head_dim, kv_heads * head_dim
    for layer in range(a.layers):
        p = f"blk.{layer}."
        norm(p + "attn_norm.weight")
        for name, rows in (("qkv", q + 2 * kv),) if a.arch in FUSED else (("q", q), ("k", kv), ("v", kv)):
            matrix(p + f"attn_{name}.weight", rows, a.width, a.type)
            if a.arch in BIASES or a.biases:
                vector(p + f"attn_{name}.bias", rows, 0, 0.5)
        if a.arch in HEAD_NORMS:
            norm(p + "attn_q_norm.weight", head_dim)
            norm(p + "attn_k_norm.weight", head_dim)
        matrix(p + "attn_output.weight", a.width, q, a.type)
        if a.arch in POST_NORMS:
            norm(p + "post_attention_norm.weight")
        norm(p + "ffn_norm.weight")
        if a.arch not in FUSED:
            matrix(p + "ffn_gate.weight", a.ffn, a.width, a.type)
        matrix(p + "ffn_up.weight", a.ffn * (2 if a.arch in FUSED else 1), a.width, a.type)
        matrix(p + "ffn_down.weight", a.width, a.ffn, a.type)
        if a.arch in POST_NORMS:
            norm(p + "post_ffw_norm.weight")

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    if not a.fast:
        writer.write_tensors_to_file()
    else:
        writer.write_ti_data_to_file()
        out = writer.fout[0]
        writer.write_padding(out, out.tell())
        for data in streamed:
            data.tofile(out)
            writer.write_padding(out, data.nbytes)
    writer.close()


main()
