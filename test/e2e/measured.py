"""The compiler on hostile input, with the memory that it took at most.

What wait4 says of a child counts the memory of its parent at the fork, which in a run of all tests may be gibibytes: a small process,
started once, makes the forks. It reads a line of JSON for each command, and answers with one.
"""
import json
import os
import subprocess
import sys
import time

MEMORY = (1 << 30) + (64 << 20)  # bytes: a gibibyte and the compiler itself
launcher = None


def run_measured(command, errors, timeout=60):
    """(exit code, negative for a signal; peak memory in bytes). Standard error goes to the file `errors`."""
    global launcher
    if not launcher:
        launcher = subprocess.Popen([sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    launcher.stdin.write(json.dumps([[str(word) for word in command], str(errors), timeout]) + "\n")
    launcher.stdin.flush()
    code, memory = json.loads(launcher.stdout.readline())
    assert code is not None, f"{command} still runs after {timeout} s"
    return code, memory


def compile_measured(model, folder):
    """(exit code, diagnostic, peak memory) of compiling a model; nothing may be left behind."""
    from conftest import SLUICE
    out = folder / "out"
    out.mkdir(exist_ok=True)
    code, memory = run_measured([SLUICE, "compile", model, "-o", out / "model", "-q", "--target=x86-64"], folder / "stderr")
    said = (folder / "stderr").read_text(errors="replace")
    assert os.listdir(out) == (["model"] if code == 0 else []), said
    return code, said, memory


def expect_refusal(model, folder, *parts):
    """One line that names the file and says the parts, soon and in little memory."""
    code, said, memory = compile_measured(model, folder)
    assert code == 1, (code, said[:1000])
    assert len(said.strip().splitlines()) == 1 and said.startswith("sluice: error: ") and len(said) < 2000, said[:2000]
    for part in (model.name, *parts):
        assert part in said, said[:1000]
    assert memory < MEMORY, memory


def serve():
    for line in sys.stdin:
        command, errors, timeout = json.loads(line)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, errors, flags, 0o600)])
        end = time.monotonic() + timeout
        while (result := os.wait4(pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > end:
                os.kill(pid, 9)
                os.wait4(pid, 0)
                break
            time.sleep(0.002)
        code = os.waitstatus_to_exitcode(result[1]) if result[0] else None
        print(json.dumps([code, result[2].ru_maxrss * 1024]), flush=True)


if __name__ == "__main__":
    serve()
