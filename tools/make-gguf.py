#!/usr/bin/env python3
"""Writes a Llama model with random weights in GGUF: any shape, any mixture of types.

For tests (small, Gaussian weights quantised by the package `gguf`) and for benchmarks (--fast: random valid blocks, written as
they are made, so that memory does not grow with the model). The file is complete: byte-level BPE tokenizer, ChatML template.

  tools/make-gguf.py tiny.gguf --width 64 --layers 2 --heads 4 --kv-heads 2 --ffn 96 --vocab 300 --type q4_1
  tools/make-gguf.py 1b.gguf --fast --width 2048 --layers 22 --heads 32 --kv-heads 4 --ffn 5632 --vocab 49152 --type q4_0
  tools/make-gguf.py mix.gguf --type q4_0 --override 'blk.1.attn_v=q8_0' --override 'ffn_down=f16'
"""
import argparse
import re
import sys

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import quantize

TYPES = {t.name.lower(): t for t in (GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16,
                                     GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q4_1)}
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
    parser.add_argument("--type", choices=TYPES, default="f32", help="of the matrices; norms are f32")
    parser.add_argument("--embedding-type", choices=TYPES, help="of token_embd (and output); default: --type")
    parser.add_argument("--override", action="append", default=[], metavar="REGEX=TYPE", help="type of the tensors whose name matches")
    parser.add_argument("--separate", action="store_true", help="an output matrix of its own (default: tied to the embedding)")
    parser.add_argument("--rope-freqs", action="store_true", help="random divisors of the rotations, as Llama 3 has")
    parser.add_argument("--rope-base", type=float, default=10000.0)
    parser.add_argument("--fast", action="store_true", help="random blocks in place of quantised Gaussians")
    return parser.parse_args()


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


class RandomBlocks:
    """Blocks of a type with moderate scales, made in pieces as the writer asks for them."""

    def __init__(self, kind, rows, cols, rng):
        self.block, self.size = GGML_QUANT_SIZES[kind]
        self.kind, self.rng = kind, rng
        self.shape = (rows, cols // self.block * self.size)
        self.nbytes, self.dtype = self.shape[0] * self.shape[1], np.dtype(np.uint8)

    def tofile(self, file):
        remaining = self.nbytes // self.size
        # The same million blocks over and over: the values do not matter for speed.
        blocks = self.rng.integers(0, 256, (min(remaining, 1 << 18), self.size), dtype=np.uint8)
        halves = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "F16": [0]}.get(self.kind.name, [])
        for at in halves:
            values = self.rng.uniform(0.0005, 0.002, len(blocks)).astype(np.float16) * (-1 if at == 2 else 1)
            blocks[:, at : at + 2] = values.astype(np.float16).view(np.uint8).reshape(-1, 2)
        if not halves:
            values = self.rng.normal(0, 0.02, len(blocks)).astype(np.float32).view(np.uint8).reshape(-1, 4)
            blocks[:, :] = values[:, 4 - self.size :]
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

    def add(name, values, kind):
        data = values if kind == GGMLQuantizationType.F32 else quantize(values, kind)
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
