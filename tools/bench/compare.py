#!/usr/bin/env python3
"""Speed beside llama.cpp: the two in turn, A B A B, on the same model, threads and machine; ratios as Markdown.

Installs llama-cpp-python into an environment of its own (build/llama-cpp; the first time takes some minutes). llama.cpp is measured in
process through its C interface: prefill in one batch, decode one token at a time, flash attention on; what `llama-bench` does.

usage: tools/bench/compare.py MODEL.gguf [--threads 1,2] [--prompt 256] [--generate 64] [--rounds 7] [--depth 0]
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "build" / "llama-cpp"


def measure_llama_cpp(arguments):
    """Runs in the peer's environment: one line of JSON for every line of input."""
    import ctypes

    import llama_cpp as lib

    silent = lib.llama_log_callback(lambda *_: None)
    lib.llama_log_set(silent, ctypes.c_void_p(0))
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(arguments.model.encode(), lib.llama_model_default_params())
    vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    contexts = {}

    def context(threads):
        if threads not in contexts:
            params = lib.llama_context_default_params()
            params.n_ctx = arguments.depth + arguments.prompt + arguments.generate + 64
            params.n_batch = params.n_ubatch = 512
            params.n_threads = params.n_threads_batch = threads
            contexts[threads] = lib.llama_init_from_model(model, params)
        return contexts[threads]

    def decode(ctx, ids):
        array = (lib.llama_token * len(ids))(*ids)
        if lib.llama_decode(ctx, lib.llama_batch_get_one(array, len(ids))) != 0:
            sys.exit("llama_decode failed")
        lib.llama_get_logits_ith(ctx, -1)

    def run(ctx, kind):
        lib.llama_memory_clear(lib.llama_get_memory(ctx), True)
        ids = [(i * 7919 + 13) % vocabulary for i in range(arguments.depth + arguments.prompt)]
        for at in range(0, arguments.depth, 512):
            decode(ctx, ids[at : min(at + 512, arguments.depth)])
        start = time.perf_counter()
        if kind == "prefill":
            decode(ctx, ids[arguments.depth :])
            return arguments.prompt / (time.perf_counter() - start)
        for i in range(arguments.generate):
            decode(ctx, [ids[i]])
        return arguments.generate / (time.perf_counter() - start)

    for line in sys.stdin:
        threads = int(line)
        ctx = context(threads)
        if not getattr(run, f"warm{threads}", False):
            run(ctx, "prefill"), run(ctx, "decode")
            setattr(run, f"warm{threads}", True)
        print(json.dumps({kind: run(ctx, kind) for kind in ("prefill", "decode")}), flush=True)


def measure_ours(executable, threads, a):
    out = subprocess.run([executable, "bench", "-p", str(a.prompt), "-n", str(a.generate), "-d", str(a.depth), "-t", str(threads), "-r", "1",
                          "--output", "json"], capture_output=True, check=True).stdout
    rows = json.loads(out)
    result = {"prefill" if row["n_prompt"] else "decode": row["avg_ts"] for row in rows}
    result["share"] = next(row["share"] for row in rows if row["n_gen"])
    return result


def spread(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--threads", default="1,2")
    for name, default in (("prompt", 256), ("generate", 64), ("rounds", 7), ("depth", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--llama-cpp", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--python", help="an interpreter that has llama-cpp-python; default: one is made")
    a = parser.parse_args()
    if a.llama_cpp:
        return measure_llama_cpp(a)

    python = Path(a.python or PEER / "bin" / "python")
    if not python.exists() or subprocess.run([python, "-c", "import llama_cpp"], capture_output=True).returncode:
        print("building llama.cpp (llama-cpp-python)", file=sys.stderr)
        subprocess.run(["/usr/bin/python3", "-m", "venv", PEER], check=True)
        subprocess.run([PEER / "bin" / "pip", "install", "-q", "llama-cpp-python"], check=True, env=os.environ | {"CMAKE_ARGS": "-DGGML_NATIVE=ON"})
    version = subprocess.run([python, "-c", "import llama_cpp; print(llama_cpp.__version__)"], capture_output=True, text=True).stdout.strip()

    executable = ROOT / "build" / "bench-model"
    subprocess.run([ROOT / "build" / "bin" / "sluice", "compile", a.model, "-o", executable, "-q"], check=True)
    peer = subprocess.Popen([python, __file__, a.model, "--llama-cpp", "--prompt", str(a.prompt), "--generate", str(a.generate), "--depth", str(a.depth)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    print(f"{Path(a.model).name}, {cpu}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, llama-cpp-python {version}, "
          f"{a.rounds} rounds in turn; tok/s: median (least–most); ratio: median of the rounds' ratios\n")
    print("| test | threads | Sluice | llama.cpp | ratio | share of read bandwidth |\n|---|---|---|---|---|---|")
    for threads in map(int, a.threads.split(",")):
        rounds = []
        for _ in range(a.rounds):
            ours = measure_ours(executable, threads, a)
            peer.stdin.write(f"{threads}\n")
            peer.stdin.flush()
            rounds.append((ours, json.loads(peer.stdout.readline())))
        for kind, name in (("decode", f"decode {a.generate}"), ("prefill", f"prefill {a.prompt}")):
            ratio = [ours[kind] / theirs[kind] for ours, theirs in rounds]
            share = f"{100 * statistics.median(ours['share'] for ours, _ in rounds):.0f} %" if kind == "decode" else ""
            depth = f" at depth {a.depth}" if a.depth else ""
            print(f"| {name}{depth} | {threads} | {spread([o[kind] for o, _ in rounds])} | {spread([t[kind] for _, t in rounds])} | "
                  f"{statistics.median(ratio):.2f} ({min(ratio):.2f}–{max(ratio):.2f}) | {share} |", flush=True)
    peer.stdin.close()


main()
