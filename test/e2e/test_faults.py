"""Whatever happens to a running model ends in an answer or in one line that says what happened: never in a wrong answer, a
silent stop or a hang."""
import json
import os
import pty
import re
import resource
import select
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import SLUICE, compile_model, evaluate, make_model, run
from gguf_bytes import U8, Gguf

TEXT = "Once upon a time there was a model that had to run on a small machine."


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    return compile_model(make_model(folder / "tiny.gguf", "--type", "q8_0"), folder / "tiny")


@pytest.fixture(scope="module")
def large_cache(tmp_path_factory):
    """A small file whose tokens take much of the cache: 128 KiB each in f32."""
    folder = tmp_path_factory.mktemp("cache")
    gguf = make_model(folder / "wide.gguf", "--type", "q4_0", "--layers", "8", "--heads", "32", "--head-dim", "64", "--width", "64",
                      "--context", "16384")
    return compile_model(gguf, folder / "wide")


def one_error(result, *parts, status=1):
    """Exactly one line of error, with these parts; not a signal."""
    text = result.stderr.decode()
    assert result.returncode == status, (result.returncode, text)
    lines = [line for line in text.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("error: "), text
    for part in parts:
        assert part in text, text


class Terminal:
    """A process in a terminal of its own."""

    def __init__(self, *command, ignore=()):
        def prepare():
            os.setsid()
            import fcntl, termios
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            for each in ignore:
                signal.signal(each, signal.SIG_IGN)
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen([str(word) for word in command], stdin=slave, stdout=slave, stderr=slave, preexec_fn=prepare)
        os.close(slave)
        self.seen = ""

    def wait_for(self, text, timeout=60):
        end = time.monotonic() + timeout
        while text not in self.seen:
            assert time.monotonic() < end, f"no {text!r} in {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
        seen, self.seen = self.seen, self.seen[self.seen.index(text) + len(text):]
        return seen

    def type(self, text):
        os.write(self.master, text.encode())

    def close(self):
        os.close(self.master)


# ---- streams


def test_reader_that_leaves(tiny):
    """SIGPIPE: a reader that has had enough ends the answer quietly."""
    process = subprocess.Popen([tiny, "--raw", "-n", "-1", "--ignore-eos", "-p", TEXT], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(60) == 0 and process.stderr.read() == b""


def test_full_output(tiny, tmp_path):
    with open("/dev/full", "wb") as full:
        for arguments in (["--raw", "-n", "4", "-p", TEXT], ["info"], ["tokenize"], ["verify"]):
            result = subprocess.run([tiny, *arguments], input=b"text", stdout=full, stderr=subprocess.PIPE, timeout=60)
            one_error(result, "standard output", "No space left")
    (tmp_path / "ids").write_text("1 2 3")
    one_error(run(tiny, "eval", "--tokens", tmp_path / "ids", "--logits", "/dev/full", check=False), "/dev/full", "No space left")


def test_output_file_on_a_full_disk(tiny, tmp_path):
    """A limit on file sizes stands in for a full disk: the write fails all the same."""
    (tmp_path / "ids").write_text("1 2 3 " * 60)
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    result = run(tiny, "eval", "--tokens", tmp_path / "ids", "--logits", tmp_path / "out.npy", check=False, preexec_fn=limit)
    one_error(result, "out.npy")
    assert os.listdir(tmp_path) == ["ids"]


def test_closed_streams(tiny):
    """A stream that is closed is an error where it is used; no file takes its place."""
    def without(*streams):
        return lambda: [os.close(each) for each in streams]
    for command in (["tokenize"], ["--raw", "-n", "2"]):
        result = subprocess.run([tiny, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=without(0), timeout=60)
        one_error(result, "standard input")
    result = subprocess.run([tiny, "info"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=without(1), timeout=60)
    one_error(result, "standard output")
    assert subprocess.run([tiny, "info"], preexec_fn=without(0, 1, 2), timeout=60).returncode == 1


def test_unreadable_input(tiny, tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    one_error(subprocess.run([tiny, "tokenize"], stdin=folder, capture_output=True, timeout=60), "standard input", "directory")
    os.close(folder)
    for command in (["-f", tmp_path], ["perplexity", tmp_path / "none"], ["template", tmp_path],
                    ["eval", "--tokens", tmp_path / "none", "--logits", tmp_path / "out.npy"]):
        one_error(run(tiny, *command, check=False), str(tmp_path))
    assert os.listdir(tmp_path) == []


# ---- signals


def test_interrupt_of_an_answer(tiny):
    """Ctrl-C ends an answer at once, by the signal, so that a shell's loop ends as well; what was said stays."""
    process = subprocess.Popen([tiny, "--raw", "-n", "-1", "--ignore-eos", "--context-shift", "-p", TEXT], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    said = process.stdout.read(10)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    said += process.communicate(timeout=30)[0]
    assert process.returncode == -signal.SIGINT and time.monotonic() - start < 10 and len(said) >= 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ended_compile_leaves_no_file(number, tmp_path_factory, tmp_path):
    """At any time: before there is a file, while it is linked, while it is packed."""
    model = tmp_path_factory.getbasetemp() / "large.gguf"
    if not model.exists():
        make_model(model, "--fast", "--width", "1024", "--layers", "8", "--heads", "16", "--ffn", "4096", "--type", "q8_0")
    ended = 0
    for moment in ("0.05", "0.4", "linking", "packing") if number == signal.SIGINT else ("packing",):
        process = subprocess.Popen([SLUICE, "compile", model, "-o", tmp_path / "model", "-q", "--target=x86-64"], stderr=subprocess.PIPE)
        end = time.monotonic() + 60
        if moment == "linking":
            while not os.listdir(tmp_path) and process.poll() is None:
                time.sleep(0.001)
        elif moment == "packing":
            while process.poll() is None and sum(file.stat().st_blocks for file in tmp_path.glob("*.tmp-*")) * 512 < 40 << 20:
                time.sleep(0.01)
        else:
            time.sleep(float(moment))
        process.send_signal(number)
        said = process.communicate(timeout=max(1, end - time.monotonic()))[1]
        if process.returncode == 0:  # it was faster
            (tmp_path / "model").unlink()
        else:
            assert process.returncode == -number and said in (b"", b"sluice: interrupted, no file written\n"), (process.returncode, said)
            ended += 1
        assert os.listdir(tmp_path) == [], (moment, os.listdir(tmp_path))
    assert ended


def test_interrupted_commands_of_the_compiler(tmp_path):
    """Ctrl-C ends them at once, in the middle of their output too."""
    model = Gguf(make_model(tmp_path / "model.gguf", "--type", "q8_0").read_bytes())
    model.keys.update({f"k{i}": (U8, b"\0") for i in range(10000)})
    (tmp_path / "model.gguf").write_bytes(model.build())
    for command in (["inspect", tmp_path / "model.gguf"], ["tune", tmp_path / "model.gguf", "-o", tmp_path / "tiles"]):
        process = subprocess.Popen([SLUICE, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(1)  # inspect waits for us to read
        assert process.poll() is None, command
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT, command
    assert os.listdir(tmp_path) == ["model.gguf"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_eval_leaves_no_file(large_cache, tmp_path, number):
    (tmp_path / "ids").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "ids" / "ids").write_text("1 " * 8192)  # for seconds
    command = [large_cache, "eval", "--step", "-t", "1", "--tokens", tmp_path / "ids" / "ids", "--logits", tmp_path / "out" / "out.npy"]
    process = subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE)
    end = time.monotonic() + 30
    while not os.listdir(tmp_path / "out") and time.monotonic() < end:
        pass
    process.send_signal(number)
    assert process.wait(30) == -number
    while os.listdir(tmp_path / "out") and time.monotonic() < end:
        time.sleep(0.01)
    assert os.listdir(tmp_path / "out") == []


def test_interrupt_in_a_chat(tiny):
    terminal = Terminal(tiny, "--ignore-eos", "--context-shift", "-n", "-1", "--temp", "0")
    terminal.wait_for("> ")
    terminal.type("hello\r")
    time.sleep(1)
    terminal.type("\x03")
    terminal.wait_for("\x1b[J> ")
    terminal.type("/quit\r")
    assert terminal.process.wait(30) == 0
    terminal.close()


@pytest.mark.parametrize("ignore", [(), (signal.SIGHUP,)], ids=["hangup", "hangup-ignored"])
@pytest.mark.parametrize("busy", [False, True], ids=["waiting", "answering"])
def test_closed_terminal(tiny, ignore, busy):
    """A window that is closed ends the chat, under nohup too: nothing is left spinning."""
    terminal = Terminal(tiny, "--ignore-eos", "--context-shift", "-n", "-1", ignore=ignore)
    terminal.wait_for("> ")
    if busy:
        terminal.type("hello\r")
        time.sleep(1)
    terminal.close()
    status = terminal.process.wait(30)
    assert status == -signal.SIGHUP if not ignore else status in (0, 1)


# ---- memory


def test_no_address_space_for_the_context(large_cache):
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    result = run(large_cache, "--raw", "-n", "2", "-p", TEXT, "--cache-type", "f32", check=False, preexec_fn=limit)
    one_error(result, "no memory for the context", "MiB", "-c")
    run(large_cache, "--raw", "-n", "2", "-p", TEXT, "-c", "1024", "-t", "2", preexec_fn=limit)


def test_no_memory_left_for_the_context(large_cache, tmp_path):
    """In a control group of little memory the context's growth is an error; the kernel would have killed the process."""
    version2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    parent = Path("/sys/fs/cgroup" if version2 else "/sys/fs/cgroup/memory")
    group = parent / f"sluice-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.max" if version2 else "memory.limit_in_bytes")).write_text(str(160 << 20))
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"cannot make a memory control group: {error}")
    try:
        (tmp_path / "text").write_text("many words here " * 700)
        join = lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
        result = run(large_cache, "--raw", "-n", "2", "--cache-type", "f32", "-f", tmp_path / "text", check=False, preexec_fn=join)
        one_error(result, "no memory for the context", "MiB are left")
    finally:
        for _ in range(100):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.05)


# ---- context


def test_full_context_is_said(tiny):
    result = run(tiny, "--raw", "-n", "-1", "--ignore-eos", "-c", "64", "-p", TEXT)
    assert b"the context of 64 tokens is full" in result.stderr and b"--context-shift" in result.stderr


def test_context_shift_is_exact(tiny, tmp_path):
    """What comes after a shift is what the model says to a text that begins with what was kept."""
    context, answer = 80, 100
    ids = [int(word) for word in run(tiny, "tokenize", input=TEXT.encode()).stdout.split()]
    text = run(tiny, "--raw", "-n", answer, "--temp", "0", "--ignore-eos", "-c", context, "--context-shift", "-p", TEXT).stdout
    banned = [317, 319]  # what --ignore-eos keeps away, see make-gguf.py: <|endoftext|> and <|im_end|>
    said = []
    while len(said) < answer:
        logits = evaluate(tiny, ids, tmp_path, "-c", context)[-1]
        logits[banned] = -np.inf
        said.append(int(np.argmax(logits)))
        if len(ids) == context:
            ids = ids[(context + 1) // 2:]
        ids.append(said[-1])
    plain = [i for i in said if i < 317]  # control tokens print nothing
    expected = run(tiny, "detokenize", input=" ".join(map(str, plain)).encode()).stdout
    assert text.decode(errors="replace").rstrip("\n") == expected.decode(errors="replace").rstrip("\n")


def test_chat_forgets_and_goes_on(tiny):
    terminal = Terminal(tiny, "-c", "128", "-n", "8", "--context-shift", "-sys", "Be brief.")
    for question in range(8):
        terminal.wait_for("\x1b[J> ")
        terminal.type(f"question {question} with words\r")
    terminal.wait_for("are forgotten")
    terminal.type("/quit\r")
    assert terminal.process.wait(60) == 0
    terminal.close()


# ---- sandbox


def status_of(process, field):
    return re.search(rf"^{field}:\s*(\S+)", Path(f"/proc/{process.pid}/status").read_text(), re.M).group(1)


def commands(tmp_path):
    """Every command, so that it waits for its standard input or takes its time."""
    (tmp_path / "ids").write_text("1 " * 400)
    (tmp_path / "messages").write_text('[{"role": "user", "content": "x"}]')
    (tmp_path / "text").write_text("many words here " * 12)
    yield ["--raw", "-n", "3", "-p", "x"]
    yield ["-f", tmp_path / "text", "-n", "3", "-v"]
    yield ["tokenize"]
    yield ["detokenize"]
    yield ["template", tmp_path / "messages"]
    yield ["eval", "--tokens", tmp_path / "ids", "--logits", tmp_path / "out.npy"]
    yield ["perplexity", tmp_path / "text", "-c", "64", "--chunks", "2", "--json"]
    yield ["bench", "-p", "16", "-n", "4", "-r", "1", "-t", "1,2", "--profile"]
    yield ["info", "--json"]
    yield ["verify"]


def test_every_command_works_in_the_sandbox(tiny, tmp_path):
    """And does the same without it."""
    outputs = {}
    for extra in ([], ["--no-sandbox"]):
        for command in commands(tmp_path):
            result = run(tiny, *command, *extra, input=b"1 2 3")
            if command[0] in ("tokenize", "detokenize", "template", "verify"):
                outputs.setdefault(command[0], set()).add(result.stdout)
    assert all(len(each) == 1 for each in outputs.values())
    (tmp_path / "out.npy").unlink()
    assert sorted(os.listdir(tmp_path)) == ["ids", "messages", "text"]


@pytest.mark.parametrize("command", [["tokenize"], ["detokenize"], ["chat"]], ids=lambda words: words[0])
def test_sandbox_is_in_force(tiny, command):
    """The kernel's word for it, of a process that waits for its input."""
    for extra, filters, privileges in (([], "2", "1"), (["--no-sandbox"], "0", "0")):
        arguments = extra if command == ["chat"] else [*command, *extra]
        terminal = Terminal(tiny, *arguments)
        process = terminal.process
        end = time.monotonic() + 20
        while status_of(process, "Seccomp") != filters and time.monotonic() < end:
            time.sleep(0.02)
        if command == ["chat"]:
            terminal.wait_for("> ")
        assert (status_of(process, "Seccomp"), status_of(process, "NoNewPrivs")) == (filters, privileges)
        process.kill()
        process.wait()
        terminal.close()


def test_info_says_what_is_enforced(tiny):
    assert "seccomp" in json.loads(run(tiny, "info", "--json").stdout)["sandbox"]
    assert json.loads(run(tiny, "info", "--json", "--no-sandbox").stdout)["sandbox"] == "none (--no-sandbox)"
