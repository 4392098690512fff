"""Whole executables for NVIDIA devices, run unchanged on the libcuda.so.1 of tools/ptx-vm.

Small random models of odd shapes against the float64 reference, with the CPU's bounds (see test_random_models.py); a prompt in chunks, a graph
of phases and one kernel a token give the same bits. The chips take turns; of each only a few multiprocessors, so that tests are quick.
With SLUICE_TEST_CHIPS=sm_80,sm_90,sm_100 the mixtures of types run on each of these, and with SLUICE_CUDA_LIBRARY=libcuda.so.1 everything
on the machine's GPU: name chips whose code it runs, then.
"""
import json
import os
import random
import re
from pathlib import Path

import numpy as np
import pytest
from compare import compare
from conftest import BUILD, SLUICE, compile_model, evaluate, make_model, run
from llama import Model
from test_architectures import MIXED

ON_GPU = "SLUICE_CUDA_LIBRARY" in os.environ
CHOSEN = os.environ["SLUICE_TEST_CHIPS"].split(",") if "SLUICE_TEST_CHIPS" in os.environ else []
CHIPS = CHOSEN or ["sm_80", "sm_90", "sm_100", "sm_89", "sm_120", "sm_86"]
SHAPES = {
    # name: (options, chip, cache)
    "f32": (["--type", "f32", "--width", "40", "--heads", "5", "--head-dim", "8", "--ffn", "172"], "sm_80", "f16"),
    "f16": (["--type", "f16", "--width", "160", "--heads", "2", "--kv-heads", "1", "--rotated", "32"], "sm_100", "f16"),
    "bf16": (["--type", "bf16", "--separate"], "sm_90", "f16"),
    "q8_0": (["--type", "q8_0", "--ffn", "172", "--override", "ffn_down=f16"], "sm_90", "q8_0"),
    "q4_0": (["--type", "q4_0", "--width", "96", "--heads", "6", "--kv-heads", "1", "--head-dim", "16", "--ffn", "160"], "sm_80", "f16"),
    "q4_1": (["--type", "q4_1", "--embedding-type", "q8_0", "--vocab", "333"], "sm_100", "f16"),
    # Siblings of different types, whose slices lie in one ring.
    "fives": (["--type", "q5_0", "--override", "attn_[kv]=q5_1", "--override", "ffn_up=q5_1", "--embedding-type", "q5_1"], "sm_86", "f16"),
    "tables": (["--type", "iq4_nl", "--override", "attn_v=mxfp4", "--override", "ffn_up=mxfp4", "--embedding-type", "mxfp4"], "sm_120", "q8_0"),
    "q4_k_m": (["--type", "q4_k_m", "--width", "256", "--ffn", "256", "--override", "attn_k=q5_k", "--override", "1.ffn_up=q5_k"], "sm_89", "f16"),
    "k-small": (["--type", "q3_k", "--width", "256", "--ffn", "512", "--override", "attn_[qv]=q2_k", "--override", "ffn_up=iq4_xs",
                 "--override", "1.ffn_down=q6_k", "--embedding-type", "iq4_xs"], "sm_90", "f16"),
}


def device(chip, **more):
    """The environment in which the machine has such a device."""
    simulated = {} if ON_GPU else {"LD_LIBRARY_PATH": str(BUILD / "lib" / "ptx-vm"), "PTX_VM_DEVICE": chip, "PTX_VM_SMS": "3"}
    return {**os.environ, **simulated, **more}


@pytest.fixture
def without_ptxas(monkeypatch):
    """The executor takes PTX; test/codegen assembles kernels."""
    if not ON_GPU:
        monkeypatch.setenv("SLUICE_PTXAS", "/none")


def chips_of(name):
    return CHOSEN or [SHAPES[name][1]]


@pytest.mark.parametrize("name, chip", [(name, chip) for name in SHAPES for chip in chips_of(name)])
@pytest.mark.usefixtures("without_ptxas")
def test_logits(name, chip, tmp_path):
    options, _, cache = SHAPES[name]
    seed = random.randrange(1 << 31)
    vocabulary = 333 if "333" in options else 300
    path = make_model(tmp_path / "model.gguf", "--seed", str(seed), *([] if "--vocab" in options else ["--vocab", "300"]), *options)
    executable = compile_model(path, tmp_path / "model", "--target", f"{chip},host")
    ids = np.random.default_rng(seed).integers(0, vocabulary, 70)
    logits = lambda *more: evaluate(executable, ids, tmp_path, "--cache-type", cache, *more, env=device(chip))
    ours = logits()
    result = compare(Model(path).logits(ids), ours)
    where = f"{name} on {chip}, seed {seed}: {result}"
    if name in ("f32", "f16"):
        assert result["rel_rms"] < 0.002 and result["kl"] < 1e-5, where  # what an f16 cache costs
    else:
        assert result["rel_rms"] < 0.05 and result["kl"] < 0.005, where
    for launch in ("phases", "token"):
        again = logits("--step", "--launch", launch)
        assert np.array_equal(ours.view(np.uint32), again.view(np.uint32)), f"{launch}: {where}"
    assert not np.array_equal(ours, logits("--device", "cpu"))  # that it was the device


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.usefixtures("without_ptxas")
def test_architecture(name, tmp_path):
    """See test_architectures.py. Longer than windows; segments of attention are test/codegen's."""
    options = MIXED[name]
    chip = CHIPS[list(MIXED).index(name) % len(CHIPS)]
    seed = random.randrange(1 << 31)
    path = make_model(tmp_path / "model.gguf", "--seed", str(seed), "--vocab", "300", "--kv-heads", "2", *([] if "--type" in options else ["--type", "f32"]), *options)
    executable = compile_model(path, tmp_path / "model", "--target", chip)
    ids = np.random.default_rng(seed).integers(0, 300, 90)
    logits = lambda count, *more: evaluate(executable, ids[:count], tmp_path, "--cache-type", "f32", *more, env=device(chip))
    expected, ours = Model(path).logits(ids), logits(90)
    result = compare(expected, ours)
    where = f"{name} on {chip}, seed {seed}: {result}"
    bound, kl = (0.05, 0.002) if name == "everything" else (1e-4, 1e-9)
    assert result["max_abs"] < bound * max(1, np.abs(expected).max()) and result["kl"] < kl, where
    for launch in ("phases", "token"):
        again = logits(76, "--step", "--launch", launch)
        assert np.array_equal(ours[:76].view(np.uint32), again.view(np.uint32)), f"{launch}: {where}"


def test_explains_phases_that_share_kernels(tmp_path):
    path = make_model(tmp_path / "model.gguf", "--vocab", "300", "--type", "f32", *MIXED["smollm3"])
    table = run(SLUICE, "explain", path, "--target", "sm_90").stdout.decode()
    assert table.startswith("phase") and table.count("attention") == 2 and "A token reads" in table


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    path = make_model(folder / "model.gguf", "--type", "q4_0", "--vocab", "300")
    return compile_model(path, folder / "both", "--target", "sm_90,host"), compile_model(path, folder / "alone", "--target", "sm_90")


def test_greedy_answer_is_the_processors(both):
    answers = [run(both[0], "--raw", "-p", "abc", "-n", "12", "--temp", "0", *more, env=device("sm_90")).stdout
               for more in (["--device", "cpu"], ["--launch", "phases"], ["--launch", "token"])]
    assert answers[1] == answers[2]
    # Sums are rounded in another order than the processor's: a near tie may go the other way.
    assert answers[0][:4] == answers[1][:4]


def test_seeds_repeat_and_differ(both):
    def answer(seed, *more):
        return run(both[1], "--raw", "-p", "abc", "-n", "12", "--temp", "50", "--top-p", "1", "--min-p", "0", "--top-k", "100", "-s", str(seed), *more, env=device("sm_90")).stdout
    assert answer(1) == answer(1, "--launch", "phases")
    assert len({answer(seed) for seed in range(4)}) > 1


def test_whatever_needs_probabilities(both):
    """A file with code for a device alone computes them there: for samplers that choose among all tokens, and for perplexities."""
    def answer(seed, *more):
        return run(both[1], "--raw", "-p", "abc", "-n", "8", "--temp", "50", "--top-p", "1", "--min-p", "0", "--top-k", "0", "-s", str(seed), *more, env=device("sm_90")).stdout
    assert answer(1) == answer(1, "--launch", "phases")
    assert len({answer(seed) for seed in range(3)}) > 1
    text = Path(__file__).parent / "english.txt"
    scores = [json.loads(run(executable, "perplexity", text, "-c", "64", "--chunks", "1", "--json", *more, env=device("sm_90")).stdout)["nll"]
              for executable, more in ((both[1], []), (both[0], ["--device", "cpu"]))]
    assert abs(scores[0] - scores[1]) < 0.02, scores


def test_bench(both):
    table = run(both[1], "bench", "-p", "0", "-n", "1", "-r", "1", env=device("sm_90")).stdout
    assert b"| memory's nominal GB/s |" in table and b"machine reads" not in table
    rows = json.loads(run(both[1], "bench", "-p", "5", "-n", "3", "-r", "1", "--profile", "--output", "json", env=device("sm_90")).stdout)
    assert [row["test"] for row in rows] == ["pp5", "tg3"] and all(row["avg_ts"] > 0 and row["target"] == "sm_90" for row in rows)
    assert all(0 < row["share"] < row["avg_ts"] / row["roofline_ts"] * 1.01 and row["peak_gop_per_s"] is None for row in rows)
    # Some drivers do not say how fast the memory is.
    unknown = device("sm_90", PTX_VM_MEMORY_CLOCK="0")
    for output in ("md", "csv", "json"):
        result = run(both[1], "bench", "-p", "0", "-n", "1", "-r", "1", "--profile", "--output", output, env=unknown)
        assert b"inf" not in result.stdout + result.stderr and b"nan" not in result.stdout + result.stderr, result
    assert json.loads(result.stdout)[0]["share"] is None


def test_without_a_driver(both):
    plain = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
    result = run(both[0], "--raw", "-p", "abc", "-n", "2", env=plain)
    assert b"no NVIDIA driver" in result.stderr and b"running on the processor" in result.stderr
    for arguments in (["-p", "abc"], ["--list-devices"]):
        result = run(both[1], *arguments, env=plain, check=False)
        assert result.returncode == 1 and result.stderr.startswith(b"error: no NVIDIA driver: libcuda.so.1") and result.stderr.count(b"\n") == 1
    assert run(both[1], "info", env=plain).returncode == 0


def test_what_a_device_lacks_is_said(both):
    older = run(both[1], "-p", "abc", env=device("sm_80"), check=False)
    assert older.returncode == 1, older
    assert re.search(rb"the file has code for sm_90 and newer with \d+ bytes of shared memory a block; .*\(sm_80, \d+ bytes\)", older.stderr)
    assert b"running on the processor" in run(both[0], "--raw", "-p", "abc", "-n", "1", env=device("sm_80")).stderr
    small = run(both[1], "-p", "abc", env=device("sm_90", PTX_VM_MEMORY=str(8 << 20)), check=False)
    assert small.returncode == 1 and b"MiB needed" in small.stderr and b"MiB available" in small.stderr
    none = run(both[1], "-p", "abc", "--device", "7", env=device("sm_90"), check=False)
    assert none.returncode == 2 and b"there is no device 7" in none.stderr


def test_without_ptxas(tmp_path):
    path = make_model(tmp_path / "model.gguf", "--type", "q4_0", "--vocab", "300")
    result = run(SLUICE, "compile", path, "--target", "sm_90", "-o", tmp_path / "model", env={**os.environ, "SLUICE_PTXAS": "/none"})
    assert b"warning: ptxas was not found" in result.stderr and b"the code for sm_90" in result.stderr
    assert run(tmp_path / "model", "--raw", "-p", "abc", "-n", "1", env=device("sm_90")).stdout


def test_lists_devices(both):
    assert b"0: ptx-vm" in (out := run(both[0], "--list-devices", env=device("sm_90")).stdout) and b"runs the code for sm_90" in out
    assert b"the file has no code for it" in run(both[0], "--list-devices", env=device("sm_86")).stdout


def test_needs_the_c_library_alone(both):
    needed = [line.split("[")[1].rstrip("]") for line in run("readelf", "-d", both[0]).stdout.decode().splitlines() if "(NEEDED)" in line]
    assert sorted(needed) == ["libc.so.6", "libm.so.6"]
