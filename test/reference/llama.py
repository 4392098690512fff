"""The logits of a model of the Llama family in float64: the reference that the compiler is compared with.

Shares no code with the compiler: checkpoints.py reads and dequantises, numpy computes. What a model has beyond Llama (biases, norms of
heads, norms after attention and feed-forward, windows, soft caps, multipliers) is found in the checkpoint.

usage: llama.py MODEL --tokens FILE --logits OUT.npy
"""
import argparse
import re

import numpy as np
from checkpoints import load


class Model:
    def __init__(self, path):
        self.checkpoint = load(path)
        self.f = self.checkpoint.facts

    def norm(self, x, weight):
        weight = weight + 1 if self.f["plus_one"] else weight
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.f["eps"]) * weight

    def rope(self, x, rope):
        """x: [tokens, heads, head_dim]."""
        if rope is None:
            return x
        turns, magnitude = rope
        angle = np.outer(np.arange(len(x)), turns)
        cos, sin = magnitude * np.cos(angle)[:, None, :], magnitude * np.sin(angle)[:, None, :]
        rotated, out = self.f["rotated"], x.copy()
        first, second = (slice(0, rotated, 2), slice(1, rotated, 2)) if self.checkpoint.adjacent else (
            slice(0, rotated // 2), slice(rotated // 2, rotated))
        out[..., first] = x[..., first] * cos - x[..., second] * sin
        out[..., second] = x[..., first] * sin + x[..., second] * cos
        return out

    def attention(self, q, k, v, window):
        """q: [tokens, heads, head_dim]; k, v: [tokens, kv_heads, head_dim]."""
        group = self.f["heads"] // self.f["kv_heads"]
        k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
        scores = np.einsum("thd,shd->hts", q, k, optimize=True) * self.f["attention_scale"]
        if cap := self.f["attention_cap"]:
            scores = cap * np.tanh(scores / cap)
        back = np.subtract.outer(np.arange(len(q)), np.arange(len(q)))
        scores = np.where((back >= 0) & (back < (window or len(q))), scores, -np.inf)
        p = np.exp(scores - scores.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        return np.einsum("hts,shd->thd", p, v, optimize=True)

    def layer(self, x, i):
        f, n = self.f, len(x)
        w = lambda name: self.checkpoint.weight(name, i)

        def linear(h, name, whole=None, rows=None):
            matrix = w(name)
            y = h @ (w(whole)[rows] if matrix is None else matrix).T
            bias = w(name + "_bias")
            return y if bias is None else y + bias

        def after(y, name):
            weight = w(name)
            return f["residual_scale"] * (y if weight is None else self.norm(y, weight))

        def heads(y, count, name):
            y, weight = y.reshape(n, count, f["head_dim"]), w(name)
            return y if weight is None else self.norm(y, weight)

        q_rows, kv_rows = f["heads"] * f["head_dim"], f["kv_heads"] * f["head_dim"]
        h = self.norm(x, w("attn_norm"))
        q = linear(h, "attn_q", "attn_qkv", slice(0, q_rows))
        k = linear(h, "attn_k", "attn_qkv", slice(q_rows, q_rows + kv_rows))
        v = linear(h, "attn_v", "attn_qkv", slice(q_rows + kv_rows, None))
        q = self.rope(heads(q, f["heads"], "attn_q_norm"), f["ropes"][i])
        k = self.rope(heads(k, f["kv_heads"], "attn_k_norm"), f["ropes"][i])
        a = self.attention(q, k, v.reshape(n, f["kv_heads"], f["head_dim"]), f["windows"][i]).reshape(n, -1)
        x = x + after(linear(a, "attn_output"), "post_attention_norm")
        h = self.norm(x, w("ffn_norm"))
        if w("ffn_gate") is None:  # gate, then up
            both = h @ (w("ffn_gate_up") if w("ffn_gate_up") is not None else w("ffn_up")).T
            gate, up = np.split(both, 2, axis=-1)
        else:
            gate, up = linear(h, "ffn_gate"), linear(h, "ffn_up")
        if f["gelu"]:
            gate = gate / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
        else:
            gate = gate / (1 + np.exp(-gate))
        return x + after(linear(gate * up, "ffn_down"), "post_ffw_norm")

    def logits(self, ids):
        weight = self.checkpoint.weight
        x = weight("token_embd")[np.asarray(ids)] * self.f["embedding_scale"]
        for i in range(self.f["layers"]):
            x = self.layer(x, i)
        output = weight("output") if weight("output") is not None else weight("token_embd")
        logits = self.norm(x, weight("output_norm")) @ output.T * self.f["logit_scale"]
        cap = self.f["logit_cap"]
        return cap * np.tanh(logits / cap) if cap else logits


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
