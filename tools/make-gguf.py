#!/usr/bin/env python3
"""Writes a Llama model with random weights in GGUF: any shape, any mixture of types.

For tests (small, Gaussian weights quantised by the package `gguf`, or random blocks of types that it does not quantise to) and
for benchmarks (--fast: random blocks, written as they are made, so that memory does not grow with the model). The file is
complete: byte-level BPE tokenizer, ChatML template.

  tools/make-gguf.py tiny.gguf --width 64 --layers 2 --heads 4 --kv-heads 2 --ffn 96 --vocab 300 --type q4_1
  tools/make-gguf.py 1b.gguf --fast --width 2048 --layers 22 --heads 32 --kv-heads 4 --ffn 5632 --vocab 49152 --type q4_0
  tools/make-gguf.py 1b.gguf --fast --width 2048 --layers 22 --heads 32 --kv-heads 4 --ffn 5632 --vocab 49152 --type q4_k_m
  tools/make-gguf.py mix.gguf --type q4_0 --override 'blk.1.attn_v=q8_0' --override 'ffn_down=f16'
"""
import argparse
import re
import sys

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


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    for name, default in (("width", 64), ("layers", 2), ("heads", 4), ("ffn", 96), ("vocab", 320), ("context", 512), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--kv-heads", type=int, help="default: heads")
    parser.add_argument("--head-dim", type=int, help="default: width / heads")
    parser.add_argument("--rotated", type=int, help="channels of a head that RoPE turns; default: all")
    parser.add_argument("--type", choices=[*TYPES, *MIXTURES], default="f32", help="of the matrices; norms are f32")
    parser.add_argument("--embedding-type", choices=TYPES, help="of token_embd (and output); default: --type")
    parser.add_argument("--override", action="append", default=[], metavar="REGEX=TYPE", help="type of the tensors whose name matches")
    parser.add_argument("--separate", action="store_true", help="an output matrix of its own (default: tied to the embedding)")
    parser.add_argument("--rope-freqs", action="store_true", help="random divisors of the rotations, as Llama 3 has")
    parser.add_argument("--rope-base", type=float, default=10000.0)
    parser.add_argument("--fast", action="store_true", help="random blocks in place of quantised Gaussians")
    a = parser.parse_args()
    if a.type in MIXTURES:
        a.type, better = MIXTURES[a.type]
        layers = [i for i in range(a.layers) if i < a.layers // 8 or i >= 7 * a.layers // 8 or (i - a.layers // 8) % 3 == 2]
        names = "|".join(map(str, layers))
        a.override += [rf"^output\.={better}", rf"^blk\.({names})\.(attn_v|ffn_down)\.={better}"]
        a.embedding_type = a.embedding_type or (a.type if a.separate else better)
    return a


def tokenizer(writer, size):
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
    writer = GGUFWriter(a.output, "llama")
    writer.add_name(f"random llama {a.type}")
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
    tokenizer(writer, a.vocab)

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
        if name.startswith("token_embd"):
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

    def norm(name):
        add(name, rng.normal(1, 0.1, a.width).astype(np.float32), GGMLQuantizationType.F32)

    embedding = a.embedding_type or a.type
    matrix("token_embd.weight", a.vocab, a.width, embedding)
    norm("output_norm.weight")
    if a.separate:
        matrix("output.weight", a.vocab, a.width, embedding)
    if a.rope_freqs:
        add("rope_freqs.weight", rng.uniform(1, 8, (a.rotated or head_dim) // 2).astype(np.float32), GGMLQuantizationType.F32)
    for layer in range(a.layers):
        p = f"blk.{layer}."
        norm(p + "attn_norm.weight")
        matrix(p + "attn_q.weight", a.heads * head_dim, a.width, a.type)
        matrix(p + "attn_k.weight", kv_heads * head_dim, a.width, a.type)
        matrix(p + "attn_v.weight", kv_heads * head_dim, a.width, a.type)
        matrix(p + "attn_output.weight", a.width, a.heads * head_dim, a.type)
        norm(p + "ffn_norm.weight")
        matrix(p + "ffn_gate.weight", a.ffn, a.width, a.type)
        matrix(p + "ffn_up.weight", a.ffn, a.width, a.type)
        matrix(p + "ffn_down.weight", a.width, a.ffn, a.type)

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
