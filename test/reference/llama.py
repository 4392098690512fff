"""The logits of a GGUF model in float64: the reference that the compiler is compared with.

Shares no code with the compiler: the package `gguf` reads and dequantises, numpy computes. Grouped-query attention with a causal
mask, RoPE over adjacent pairs (as GGUF permutes Llama's Q and K), rope_freqs divisors, linear scaling.

usage: llama.py MODEL.gguf --tokens FILE --logits OUT.npy
"""
import argparse
import re

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize


class Model:
    def __init__(self, path):
        self.reader = GGUFReader(path)
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        get = self.field
        self.layers = get("block_count")
        self.width = get("embedding_length")
        self.heads = get("attention.head_count")
        self.kv_heads = get("attention.head_count_kv", self.heads)
        if isinstance(self.kv_heads, list):
            self.kv_heads = self.kv_heads[0]
        self.head_dim = get("attention.key_length", self.width // self.heads)
        self.eps = get("attention.layer_norm_rms_epsilon")
        self.rotated = get("rope.dimension_count", self.head_dim)
        self.base = get("rope.freq_base", 10000.0)
        self.scale = get("rope.scaling.factor", 1.0) if get("rope.scaling.type", "none") == "linear" else 1.0

    def field(self, key, default=None):
        field = self.reader.fields.get("llama." + key)
        return default if field is None else field.contents()

    def weight(self, name):
        """A tensor as float64 [rows, cols] (or [cols])."""
        tensor = self.tensors[name]
        data = dequantize(tensor.data, tensor.tensor_type)
        return data.reshape(tuple(int(n) for n in reversed(tensor.shape))).astype(np.float64)

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.eps) * self.weight(name)

    def rope(self, x, positions):
        """x: [tokens, heads, head_dim]."""
        angle = np.outer(positions, self.base ** (-2.0 * np.arange(self.rotated // 2) / self.rotated)) / self.scale
        if "rope_freqs.weight" in self.tensors:
            angle = angle / self.weight("rope_freqs.weight")
        cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
        out = x.copy()
        even, odd = x[..., 0 : self.rotated : 2], x[..., 1 : self.rotated : 2]
        out[..., 0 : self.rotated : 2] = even * cos - odd * sin
        out[..., 1 : self.rotated : 2] = even * sin + odd * cos
        return out

    def attention(self, q, k, v):
        """q: [tokens, heads, head_dim]; k, v: [tokens, kv_heads, head_dim]."""
        group = self.heads // self.kv_heads
        k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
        scores = np.einsum("thd,shd->hts", q, k, optimize=True) / np.sqrt(self.head_dim)
        scores = np.where(np.tril(np.ones(scores.shape[1:], dtype=bool)), scores, -np.inf)
        p = np.exp(scores - scores.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        return np.einsum("hts,shd->thd", p, v, optimize=True)

    def logits(self, ids):
        ids, n = np.asarray(ids), len(ids)
        positions = np.arange(n)
        x = self.weight("token_embd.weight")[ids]
        for layer in range(self.layers):
            w = lambda name: self.weight(f"blk.{layer}.{name}.weight")
            h = self.norm(x, f"blk.{layer}.attn_norm.weight")
            q = self.rope((h @ w("attn_q").T).reshape(n, self.heads, self.head_dim), positions)
            k = self.rope((h @ w("attn_k").T).reshape(n, self.kv_heads, self.head_dim), positions)
            v = (h @ w("attn_v").T).reshape(n, self.kv_heads, self.head_dim)
            x = x + self.attention(q, k, v).reshape(n, -1) @ w("attn_output").T
            h = self.norm(x, f"blk.{layer}.ffn_norm.weight")
            gate, up = h @ w("ffn_gate").T, h @ w("ffn_up").T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ w("ffn_down").T
        output = "output.weight" if "output.weight" in self.tensors else "token_embd.weight"
        return self.norm(x, "output_norm.weight") @ self.weight(output).T


def read_ids(path):
    """Token ids separated by spaces, commas or lines."""
    return [int(word) for word in re.split(r"[\s,]+", open(path).read().strip())]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tokens", required=True, help="file of token ids")
    parser.add_argument("--logits", required=True, help="float64 [n, vocabulary] in NumPy's format")
    arguments = parser.parse_args()
    np.save(arguments.logits, Model(arguments.model).logits(read_ids(arguments.tokens)))


if __name__ == "__main__":
    main()
