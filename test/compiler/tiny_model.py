"""Writes a small Llama in GGUF, with random weights and a byte-level tokenizer. Needs nothing but Python.

usage: tiny_model.py OUT.gguf [--layers N] [--vocabulary N] [--drop TENSOR]
"""
import argparse
import random
import struct

parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--layers", type=int, default=2)
parser.add_argument("--vocabulary", type=int, default=300)
parser.add_argument("--drop", default="")
args = parser.parse_args()

WIDTH, HEADS, KV_HEADS, HEAD_DIM, FEED_FORWARD = 64, 4, 2, 16, 96
F32, Q4_0, Q4_1, Q8_0 = 0, 2, 3, 8
BLOCK = {F32: (1, 0, 4), Q4_0: (32, 1, 16), Q4_1: (32, 2, 16), Q8_0: (32, 1, 32)}  # elements, halves, code bytes


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def u32(value):
    return struct.pack("<II", 4, value)


def f32(value):
    return struct.pack("<If", 6, value)


def text(value):
    return struct.pack("<I", 8) + string(value)


def texts(values):
    return struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(string, values))


def ints(values):
    return struct.pack("<IIQ", 9, 5, len(values)) + struct.pack(f"<{len(values)}i", *values)


def byte_tokens():
    """GPT-2's printable stand-ins for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    letters = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [letters[b] for b in range(256)]


tokens = ["<|end|>", "<|user|>"] + byte_tokens() + ["th", "the"]
tokens += [f"<unused{i}>" for i in range(args.vocabulary - len(tokens))]
metadata = {
    "general.architecture": text("llama"),
    "general.name": text("tiny"),
    "llama.context_length": u32(128),
    "llama.embedding_length": u32(WIDTH),
    "llama.block_count": u32(args.layers),
    "llama.feed_forward_length": u32(FEED_FORWARD),
    "llama.attention.head_count": u32(HEADS),
    "llama.attention.head_count_kv": u32(KV_HEADS),
    "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
    "llama.rope.freq_base": f32(10000.0),
    "llama.vocab_size": u32(args.vocabulary),
    "tokenizer.ggml.model": text("gpt2"),
    "tokenizer.ggml.pre": text("smollm"),
    "tokenizer.ggml.tokens": texts(tokens),
    "tokenizer.ggml.token_type": ints([3 if i < 2 else 1 for i in range(len(tokens))]),
    "tokenizer.ggml.merges": texts(["t h", "th e"]),
    "tokenizer.ggml.bos_token_id": u32(0),
    "tokenizer.ggml.eos_token_id": u32(0),
    "tokenizer.chat_template": text("{% for m in messages %}<|user|>{{ m['content'] }}<|end|>{% endfor %}"),
}

tensors = [("token_embd.weight", Q8_0, args.vocabulary, WIDTH), ("output_norm.weight", F32, 1, WIDTH)]
for layer in range(args.layers):
    tensors += [
        (f"blk.{layer}.attn_norm.weight", F32, 1, WIDTH),
        (f"blk.{layer}.attn_q.weight", Q4_1, HEADS * HEAD_DIM, WIDTH),
        (f"blk.{layer}.attn_k.weight", Q4_1, KV_HEADS * HEAD_DIM, WIDTH),
        (f"blk.{layer}.attn_v.weight", Q4_1, KV_HEADS * HEAD_DIM, WIDTH),
        (f"blk.{layer}.attn_output.weight", Q4_1, WIDTH, HEADS * HEAD_DIM),
        (f"blk.{layer}.ffn_norm.weight", F32, 1, WIDTH),
        (f"blk.{layer}.ffn_gate.weight", Q4_1, FEED_FORWARD, WIDTH),
        (f"blk.{layer}.ffn_up.weight", Q4_1, FEED_FORWARD, WIDTH),
        (f"blk.{layer}.ffn_down.weight", Q4_0, WIDTH, FEED_FORWARD),
    ]
tensors = [tensor for tensor in tensors if tensor[0] != args.drop]


def weights(kind, count):
    if kind == F32:
        return struct.pack(f"<{count}f", *(random.uniform(0.5, 1.5) for _ in range(count)))
    elements, halves, codes = BLOCK[kind]
    scale = lambda: struct.pack("<e", random.uniform(-0.02, 0.02))
    return b"".join(
        b"".join(scale() for _ in range(halves)) + random.randbytes(codes) for _ in range(count // elements)
    )


header, data = b"", b""
for name, kind, rows, cols in tensors:
    dims = (cols,) if rows == 1 else (cols, rows)
    header += string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(data))
    data += weights(kind, rows * cols)
    data += bytes(-len(data) % 32)
with open(args.out, "wb") as file:
    file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    for key, value in metadata.items():
        file.write(string(key) + value)
    file.write(header)
    file.write(bytes(-file.tell() % 32))
    file.write(data)
