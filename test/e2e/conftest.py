"""What the end-to-end tests share: the compiler, models compiled once, running them."""
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# What a shell made us ignore (nohup, &), the programs under test would ignore as well.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SLUICE_BUILD_DIR", ROOT / "build"))
REAL_MODEL = Path(os.environ.get("SLUICE_MODEL", ROOT / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"))
SLUICE = BUILD / "bin" / "sluice"
sys.path.insert(0, str(ROOT / "test" / "reference"))


def run(*command, check=True, timeout=300, **options):
    """Runs a command; its output as bytes."""
    result = subprocess.run([str(word) for word in command], capture_output=True, timeout=timeout, **options)
    if check and result.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))}\nexit code {result.returncode}\n{result.stderr.decode(errors='replace')}")
    return result


def compile_model(model, output, *options):
    run(SLUICE, "compile", model, "-o", output, "-q", *options)
    return output


def make_model(path, *options):
    run(sys.executable, ROOT / "tools" / "make-gguf.py", path, *options)
    return path


def evaluate(executable, ids, folder, *options, env=None):
    """Logits [n, vocabulary] of token ids."""
    (folder / "ids").write_text(" ".join(map(str, ids)))
    run(executable, "eval", "--tokens", folder / "ids", "--logits", folder / "logits.npy", *options, env=env)
    return np.load(folder / "logits.npy")


@pytest.fixture
def combination(record_property):
    """Notes what a test compared and how far apart it was: write_tables.py makes a table of it."""
    return lambda table, result, **facts: record_property("combination", json.dumps({"table": table, **facts, **result}))


def runnable_targets():
    """Names of the targets that this machine can run."""
    table = run(SLUICE, "targets").stdout.decode().split("\n\n")[0]
    return [line.split()[0] for line in table.splitlines() if "cannot run" not in line]


@pytest.fixture(scope="session")
def real_model():
    if not REAL_MODEL.exists():
        pytest.fail(f"{REAL_MODEL} is missing; tools/install-deps.sh fetches it")
    return REAL_MODEL


@pytest.fixture(scope="session")
def real(real_model, tmp_path_factory):
    """The real model, compiled for this machine."""
    return compile_model(real_model, tmp_path_factory.mktemp("real") / "smollm2")
