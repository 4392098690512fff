"""Small models with random weights, of every type and odd shapes, on every target, against the float64 reference.

The seed is fresh in every run and part of the failure's message. Bounds: with f32 and f16 weights only f32 rounding (and the f32 cache)
is left, 1e-3. Weights in bf16 meet activations rounded to bf16, whose error is 0.1 % of a dot product. Integer weights meet activations quantised to int8 in blocks of 32, whose error is 0.6 % of a dot product
(Gaussian); through a few layers of a random model the logits move by a few percent.
"""
import random

import numpy as np
import pytest
from compare import compare
from conftest import compile_model, evaluate, make_model, runnable_targets
from gguf import GGUFReader
from llama import Model

SHAPES = {
    # name: (options, type of the matrices, cache)
    "f32": (["--type", "f32"], "f32"),
    "f16": (["--type", "f16"], "f32"),
    "bf16": (["--type", "bf16", "--separate"], "f32"),
    "q8_0": (["--type", "q8_0"], "f16"),
    "q4_0": (["--type", "q4_0", "--separate"], "f16"),
    "q4_1": (["--type", "q4_1", "--embedding-type", "q8_0"], "f16"),
    # Several types a model, siblings of different ones: q, k and v; gate and up; with and without mins, zero points, parts.
    "fives": (["--type", "q5_0", "--override", "attn_[kv]=q5_1", "--override", "ffn_up=q5_1", "--embedding-type", "q5_1"], "f16"),
    "tables": (["--type", "iq4_nl", "--override", "attn_v=mxfp4", "--override", "ffn_up=mxfp4", "--embedding-type", "mxfp4"], "f16"),
    "q4_k_m": (["--type", "q4_k_m", "--width", "256", "--ffn", "256", "--layers", "3", "--override", "attn_k=q5_k", "--override", "1.ffn_up=q5_k"], "f16"),
    "k-small": (["--type", "q3_k", "--width", "256", "--ffn", "512", "--override", "attn_[qv]=q2_k", "--override", "ffn_up=iq4_xs",
                 "--override", "1.ffn_down=q5_k", "--embedding-type", "iq4_xs"], "f16"),
    "mixed-layers": (["--type", "q4_0", "--layers", "4", "--override", "blk.[13].attn_v=q8_0", "--override", "blk.2.ffn_down=f16"], "f16"),
    "mixed-siblings": (["--type", "q4_1", "--override", "ffn_up=f16", "--override", "attn_k=q8_0", "--override", "attn_v=f32"], "f16"),
    "head-8-ffn-172": (["--type", "f32", "--width", "40", "--heads", "5", "--head-dim", "8", "--ffn", "172"], "f32"),
    "q8-ffn-172": (["--type", "q8_0", "--ffn", "172", "--override", "ffn_down=f16"], "f16"),
    "head-80-partial-rope": (["--type", "f16", "--width", "160", "--heads", "2", "--kv-heads", "1", "--rotated", "32"], "f32"),
    "head-128-rope-freqs": (["--type", "q8_0", "--width", "256", "--heads", "2", "--kv-heads", "2", "--rope-freqs"], "f16"),
    "one-kv-head": (["--type", "q4_0", "--width", "96", "--heads", "6", "--kv-heads", "1", "--head-dim", "16", "--ffn", "160"], "f16"),
    "many-queries": (["--type", "f32", "--width", "64", "--heads", "14", "--kv-heads", "2", "--head-dim", "12"], "f32"),
    "vocabulary-333": (["--type", "q4_1", "--vocab", "333"], "f16"),
}
FLOAT = {"f32", "f16", "head-8-ffn-172", "head-80-partial-rope", "many-queries"}
TARGETS = runnable_targets()


@pytest.fixture(scope="module", params=SHAPES)
def model(request, tmp_path_factory):
    options, cache = SHAPES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    seed = random.randrange(1 << 31)
    default = [] if "--vocab" in options else ["--vocab", "300"]
    kv = [] if "--kv-heads" in options or request.param in ("f16", "head-8-ffn-172") else ["--kv-heads", "2"]
    path = make_model(folder / "model.gguf", "--seed", str(seed), *default, *kv, *options)
    rng = np.random.default_rng(seed)
    vocabulary = 333 if "333" in request.param else 300
    ids = rng.integers(0, vocabulary, 262)  # past a segment of attention
    reference = Model(path)
    return request.param, path, folder, seed, ids, reference.logits(ids), cache


def types_of(path):
    return ", ".join(sorted({tensor.tensor_type.name for tensor in GGUFReader(path).tensors if min(tensor.shape) > 1 and len(tensor.shape) > 1}))


@pytest.mark.parametrize("target", TARGETS)
def test_logits(model, target, combination):
    name, path, folder, seed, ids, reference, cache = model
    executable = compile_model(path, folder / target, "--target", target)
    ours = evaluate(executable, ids, folder, "-t", "2", "--cache-type", cache)
    result = compare(reference, ours)
    combination("types", result, model=name, types=types_of(path), target=target)
    where = f"{name} on {target}, seed {seed}: {result}"
    if name in FLOAT:
        assert result["max_abs"] < 1e-3, where
    elif name == "bf16":
        assert result["rel_rms"] < 0.01 and result["kl"] < 0.0002, where
    else:
        assert result["rel_rms"] < 0.04 and result["kl"] < 0.004, where
    # Token by token (the decode program) and in chunks (the prefill program), any threads, any run: the same bits.
    for options in (["--step", "-t", "1"], ["-t", "1"], ["-t", "4"], ["--step", "-t", "2"], ["-t", "2"]):
        again = evaluate(executable, ids, folder, *options, "--cache-type", cache)
        assert np.array_equal(ours.view(np.uint32), again.view(np.uint32)), f"{options}: {where}"
    # A quantised cache: near the others, not one of them, and as reproducible.
    quantised = [evaluate(executable, ids, folder, "--cache-type", "q8_0", *more) for more in ([], ["--step"])]
    result = compare(reference, quantised[0])
    assert result["rel_rms"] < 0.05 and result["kl"] < 0.005, f"q8_0 cache: {where}: {result}"
    assert not np.array_equal(quantised[0], ours)
    assert np.array_equal(quantised[0].view(np.uint32), quantised[1].view(np.uint32)), f"q8_0 cache: {where}"


def test_several_targets_in_one_file(tmp_path):
    path = make_model(tmp_path / "model.gguf", "--type", "q4_1")
    both = compile_model(path, tmp_path / "both", "--target", "x86-64,host")
    host = compile_model(path, tmp_path / "host")
    ids = list(range(20))
    assert np.array_equal(evaluate(both, ids, tmp_path), evaluate(host, ids, tmp_path))
