#!/usr/bin/env python3
"""Speed beside llama.cpp: the two in turn, A B A B, on the same model, threads and machine; ratios as Markdown.

Installs llama-cpp-python and matplotlib into an environment of its own (build/llama-cpp; the first time takes some minutes). llama.cpp is
measured in process through its C interface: prefill in one batch, decode one token at a time, flash attention on; what `llama-bench` does.
The roofline is the larger of bytes over the read bandwidth and operations over the peak of 8-bit dot products, both measured in the same
runs. With --results each line is kept as JSON too; --plot draws such files.

usage: tools/bench/compare.py MODEL.gguf [--threads 1,2] [--prompt 256,512] [--generate 64] [--rounds 7] [--depth 0] [--results FILE.jsonl]
       tools/bench/compare.py --plot OUT.svg FILE.jsonl ...
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
            params.n_ctx = arguments.depth + max(arguments.prompt) + arguments.generate + 64
            params.n_batch = params.n_ubatch = 512
            params.n_threads = params.n_threads_batch = threads
            params.flash_attn_type = 1  # LLAMA_FLASH_ATTN_TYPE_ENABLED
            contexts[threads] = lib.llama_init_from_model(model, params)
        return contexts[threads]

    def decode(ctx, ids):
        array = (lib.llama_token * len(ids))(*ids)
        if lib.llama_decode(ctx, lib.llama_batch_get_one(array, len(ids))) != 0:
            sys.exit("llama_decode failed")
        lib.llama_get_logits_ith(ctx, -1)

    def run(ctx, test):
        lib.llama_memory_clear(lib.llama_get_memory(ctx), True)
        ids = [(i * 7919 + 13) % vocabulary for i in range(arguments.depth + max(arguments.generate, *arguments.prompt))]
        for at in range(0, arguments.depth, 512):
            decode(ctx, ids[at : min(at + 512, arguments.depth)])
        start = time.perf_counter()
        kind, count = test
        if kind == "prefill":
            for at in range(arguments.depth, arguments.depth + count, 512):
                decode(ctx, ids[at : min(at + 512, arguments.depth + count)])
        else:
            for i in range(count):
                decode(ctx, [ids[i]])
        return count / (time.perf_counter() - start)

    warm = set()
    for line in sys.stdin:
        threads = int(line)
        ctx = context(threads)
        if threads not in warm:
            run(ctx, ("prefill", min(arguments.prompt))), run(ctx, ("decode", 4))
            warm.add(threads)
        print(json.dumps([run(ctx, test) for test in tests_of(arguments)]), flush=True)


def tests_of(arguments):
    return [("decode", arguments.generate)] + [("prefill", count) for count in arguments.prompt]


def measure_ours(executable, threads, a):
    """A row of `bench` for each test."""
    out = subprocess.run([executable, "bench", "-p", ",".join(map(str, a.prompt)), "-n", str(a.generate), "-d", str(a.depth), "-t", str(threads), "-r", "1",
                          "--output", "json"], capture_output=True, check=True).stdout
    rows = {("prefill", row["n_prompt"]) if row["n_prompt"] else ("decode", row["n_gen"]): row for row in json.loads(out)}
    return [rows[test] for test in tests_of(a)]


def spread(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})"


def plot(out, files):
    """Bars of tok/s and a mark at the roofline, a row for each line of the files. Runs in the peer's environment."""
    import matplotlib

    matplotlib.use("svg" if out.endswith(".svg") else "agg")
    import matplotlib.pyplot as pyplot

    rows = [json.loads(line) for file in files for line in open(file)]
    figure, axes = pyplot.subplots(figsize=(9, 0.32 * len(rows) + 1.2))
    at = range(len(rows))
    axes.barh([i - 0.2 for i in at], [row["ours"] for row in rows], 0.38, label="Sluice", color="#2a6fbb")
    axes.barh([i + 0.2 for i in at], [row["theirs"] for row in rows], 0.38, label="llama.cpp", color="#c9c9c9")
    axes.scatter([row["roofline"] for row in rows], at, marker="|", s=160, color="#b3202c", label="roofline", zorder=3)
    axes.set_yticks(list(at), [f"{row['model']}  {row['test']}  t={row['threads']}" for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("tokens a second")
    axes.grid(axis="x", which="both", alpha=0.25)
    axes.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(out)


def install():
    """The peer's interpreter."""
    python = PEER / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-c", "import llama_cpp, matplotlib"], capture_output=True).returncode:
        print("building llama.cpp (llama-cpp-python): some minutes", file=sys.stderr)
        subprocess.run(["/usr/bin/python3", "-m", "venv", PEER], check=True)
        subprocess.run([PEER / "bin" / "pip", "install", "-q", "llama-cpp-python", "matplotlib"], check=True,
                       env=os.environ | {"CMAKE_ARGS": "-DGGML_NATIVE=ON"})
    return python


def main():
    def counts(text):
        values = [int(word) for word in text.split(",")]
        if min(values) < 1:
            raise ValueError
        return values

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--threads", type=counts, default=[1, 2])
    parser.add_argument("--prompt", type=counts, default=[256, 512], help="lengths of prompts to read")
    for name, default in (("generate", 64), ("rounds", 7), ("depth", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--name", help="of the model in the results; default: its file's")
    parser.add_argument("--results", help="file to append the lines to as JSON")
    parser.add_argument("--plot", nargs="+", metavar="FILE", help="draw OUT from results: OUT.svg or OUT.png, then files of --results")
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)  # in the peer's environment
    a = parser.parse_args()
    if a.plot and a.peer:
        return plot(a.plot[0], a.plot[1:])
    if a.peer:
        return measure_llama_cpp(a)
    if not a.plot and not a.model:
        parser.error("expected MODEL.gguf")
    python = install()
    if a.plot:
        sys.exit(subprocess.run([python, __file__, "--peer", "--plot", *a.plot]).returncode)
    version = subprocess.run([python, "-c", "import llama_cpp; print(llama_cpp.__version__)"], capture_output=True, text=True).stdout.strip()

    executable = ROOT / "build" / "bench-model"
    subprocess.run([ROOT / "build" / "bin" / "sluice", "compile", a.model, "-o", executable, "-q"], check=True)
    peer = subprocess.Popen([python, __file__, a.model, "--peer", "--prompt", ",".join(map(str, a.prompt)), "--generate", str(a.generate), "--depth", str(a.depth)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    name = a.name or Path(a.model).stem
    print(f"{name}, {cpu}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, llama-cpp-python {version}, "
          f"{a.rounds} rounds in turn; tok/s: median (least–most); ratio: median of the rounds' ratios\n")
    print("| test | threads | Sluice | llama.cpp | ratio | share of the roofline |\n|---|---|---|---|---|---|")
    for threads in a.threads:
        rounds = []
        for _ in range(a.rounds):
            ours = measure_ours(executable, threads, a)
            peer.stdin.write(f"{threads}\n")
            peer.stdin.flush()
            line = peer.stdout.readline()
            if not line:
                sys.exit("error: llama.cpp's process ended: what it said is above")
            rounds.append((ours, json.loads(line)))
        for i, (kind, count) in enumerate(tests_of(a)):
            test = f"{kind} {count}" + (f" at depth {a.depth}" if a.depth else "")
            ours, theirs = [o[i]["avg_ts"] for o, _ in rounds], [t[i] for _, t in rounds]
            ratio = [x / y for x, y in zip(ours, theirs)]
            roofline = [o[i]["roofline_ts"] for o, _ in rounds]
            share = statistics.median(x / y for x, y in zip(ours, roofline))
            print(f"| {test} | {threads} | {spread(ours)} | {spread(theirs)} | {statistics.median(ratio):.2f} ({min(ratio):.2f}–{max(ratio):.2f}) | "
                  f"{100 * share:.0f} % |", flush=True)
            if a.results:
                with open(a.results, "a") as out:
                    print(json.dumps({"model": name, "test": test, "threads": threads, "cpu": cpu, "date": time.strftime("%Y-%m-%d"),
                                      "target": rounds[0][0][i]["target"], "llama_cpp_python": version, "rounds": a.rounds, "ours": statistics.median(ours),
                                      "theirs": statistics.median(theirs), "roofline": statistics.median(roofline)}), file=out)
    peer.stdin.close()


main()
