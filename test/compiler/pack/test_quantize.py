"""The quantiser's error against that of the package `gguf`, which does some types, and of llama.cpp, which does all, if it is there.

usage: test_quantize.py QUANTIZE_TOOL [PYTHON_WITH_LLAMA_CPP]
"""
import random
import subprocess
import sys

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

LLAMA_CPP = """
import ctypes, sys, pathlib, llama_cpp, numpy as np
ggml = ctypes.CDLL(str(next(pathlib.Path(llama_cpp.__file__).parent.glob('lib/libggml-base.so*'))))
values = np.frombuffer(sys.stdin.buffer.read(), np.float32)
out = np.zeros(values.size * 4, np.uint8)
ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
size = ggml.ggml_quantize_chunk(int(sys.argv[1]), values.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p),
                                ctypes.c_int64(0), ctypes.c_int64(values.size // 1024), ctypes.c_int64(1024), None)
sys.stdout.buffer.write(out[:size].tobytes())
"""


def inputs(rng):
    size = 1 << 14
    gaussian = rng.normal(0, 0.02, size)
    yield "gaussian", gaussian
    yield "uniform", rng.uniform(-1, 1, size)
    yield "outliers", np.where(rng.random(size) < 0.01, 20 * gaussian, gaussian)
    yield "positive", np.abs(gaussian) + 0.01
    yield "small", gaussian * 1e-4
    yield "zeros", np.where(np.arange(size) // 256 % 2, gaussian, 0)


def main():
    tool, peer = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    names = subprocess.run([tool], capture_output=True, check=True).stdout.decode().strip().split(", ")
    assert {"q8_0", "q4_0", "q4_1"} <= set(names), names
    seed = random.randrange(1 << 31)
    failures = compared = 0
    for label, values in inputs(np.random.default_rng(seed)):
        values = values.astype(np.float32)
        for name in names:
            kind = GGMLQuantizationType[name.upper()]
            done = subprocess.run([tool, name], input=values.tobytes(), capture_output=True)
            assert done.returncode == 0, (name, done)
            error = lambda blocks: float(((dequantize(blocks, kind).ravel() - values.astype(np.float64)) ** 2).sum())
            ours = error(np.frombuffer(done.stdout, np.uint8))
            theirs = {}
            try:
                theirs["gguf"] = error(quantize(values, kind).view(np.uint8))
            except NotImplementedError:
                pass
            if peer and name not in ("f32", "f16", "bf16"):
                blocks = subprocess.run([peer, "-c", LLAMA_CPP, str(int(kind))], input=values.tobytes(), capture_output=True, check=True)
                theirs["llama.cpp"] = error(np.frombuffer(blocks.stdout, np.uint8))
            for who, other in theirs.items():
                compared += 1
                if ours > other * (1 + 1e-6):
                    failures += 1
                    print(f"{name}, {label}, seed {seed}: squared error {ours:.6g}, {who} has {other:.6g}")
            if peer:
                print(f"{name:7} {label:9}", *(f"{ours / other if other else 1:.3f} of {who}" for who, other in theirs.items()))
    for name in names:
        if name not in ("f32", "f16", "bf16"):
            values = np.zeros(256, np.float32)
            values[7] = np.nan
            assert subprocess.run([tool, name], input=values.tobytes(), capture_output=True).returncode == 3, name
    assert compared >= 18 and not failures, (compared, failures)


main()
