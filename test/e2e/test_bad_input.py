"""Bad input ends with one diagnostic naming the file and a remedy, exit code 1, and no output file."""
import json
import os
import random
import resource
import struct
import subprocess

import pytest
from conftest import SLUICE, compile_model, make_model, run
from gguf_bytes import STRING, Gguf, text


def fails(model, tmp_path, *parts, **options):
    """Compiling must fail; the diagnostic, which must name the file and contain the parts."""
    output = tmp_path / "out" / "model"
    output.parent.mkdir(exist_ok=True)
    result = run(SLUICE, "compile", model, "-o", output, "-q", check=False, **options)
    text = result.stderr.decode()
    assert result.returncode == 1, (result.returncode, text)
    assert len(text.strip().splitlines()) == 1, text
    assert text.startswith("sluice: error: "), text
    assert os.listdir(output.parent) == [], "something was left behind"
    for part in (str(model),) + parts:
        assert part in text, text
    return text


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("bad") / "tiny.gguf", "--type", "q4_1")


@pytest.fixture(scope="module")
def tiny_executable(tiny):
    return compile_model(tiny, tiny.with_name("tiny"))


def test_missing_file(tmp_path):
    fails(tmp_path / "nowhere.gguf", tmp_path, "No such file")


def test_not_a_model(tmp_path):
    file = tmp_path / "renamed.gguf"
    file.write_text("This is a text, renamed.\n" * 100)
    fails(file, tmp_path, "not a GGUF file")
    file.write_bytes(b"")
    fails(file, tmp_path, "empty")
    fails(tmp_path, tmp_path, "folder")


def test_wrong_version(tiny, tmp_path):
    for version in (0, 1, 4, 0x03000000):
        file = tmp_path / "version.gguf"
        file.write_bytes(tiny.read_bytes()[:4] + struct.pack("<I", version) + tiny.read_bytes()[8:])
        fails(file, tmp_path)


def test_truncated_in_the_header(tiny, tmp_path):
    data = tiny.read_bytes()
    file = tmp_path / "cut.gguf"
    for size in list(range(1, 200, 7)) + list(range(200, len(data), 2111)):
        file.write_bytes(data[:size])
        fails(file, tmp_path)


def test_real_model_truncated_anywhere(real_model, tmp_path):
    file = tmp_path / "cut.gguf"
    file.write_bytes(real_model.read_bytes())
    sizes = file.stat().st_size
    tables = 2 << 20  # with metadata and descriptions; behind it a cut is like any other
    for size in sorted({*range(0, tables, 65536), *range(0, sizes, 1 << 20), sizes // 65536 * 65536}, reverse=True):
        os.truncate(file, size)
        fails(file, tmp_path)


def test_unsupported_type(tiny, tmp_path):
    data = bytearray(tiny.read_bytes())
    name = b"blk.1.ffn_up.weight"
    at = data.index(name) + len(name) + 4 + 16  # dimensions, two of them
    assert struct.unpack_from("<I", data, at)[0] == 3
    # None is longer than Q4_1: tensors that overlap are another error.
    for kind, spelled in ((41, "Q1_0"), (77, "type 77")):
        struct.pack_into("<I", data, at, kind)
        file = tmp_path / "type.gguf"
        file.write_bytes(data)
        fails(file, tmp_path, "blk.1.ffn_up.weight", spelled, "re-quantise")


def test_missing_tensor(tiny, tmp_path):
    file = tmp_path / "missing.gguf"
    file.write_bytes(tiny.read_bytes().replace(b"blk.0.attn_k.weight", b"blk.0.attn_x.weight"))
    fails(file, tmp_path, "blk.0.attn_k.weight", "missing")


def test_full_disk(tiny, tmp_path):
    """A limit on file sizes stands in for a full disk: the write fails all the same."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    output = tmp_path / "full" / "model"
    output.parent.mkdir()
    result = run(SLUICE, "compile", tiny, "-o", output, "-q", check=False, preexec_fn=limit)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and b"model" in result.stderr, result
    assert os.listdir(output.parent) == []


def test_output_folder_missing(tiny, tmp_path):
    result = run(SLUICE, "compile", tiny, "-o", tmp_path / "no" / "model", "-q", check=False)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result


def test_output_that_is_no_file(tiny, tmp_path):
    """A device or a pipe is not replaced, and a link stays one."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "target")
    (tmp_path / "target").write_text("old")
    result = run(SLUICE, "compile", tiny, "-o", pipe, "-q", check=False)
    assert result.returncode == 1 and f"{pipe}: expected an ordinary file or none".encode() in result.stderr, result
    assert pipe.is_fifo()
    run(SLUICE, "compile", tiny, "-o", link, "-q")
    assert link.is_symlink() and (tmp_path / "target").stat().st_size > 100_000
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe", "target"]


def test_wrong_usage(tiny_executable):
    for command in ([SLUICE], [SLUICE, "compile"], [SLUICE, "frobnicate"], [tiny_executable, "--no-such-option"], [tiny_executable, "-n", "x"]):
        result = run(*command, check=False)
        assert result.returncode == 2 and result.stderr, command
    nothing = run(tiny_executable, "bench", "-p", "0", "-n", "0", check=False)
    assert nothing.returncode == 2 and b"-p or -n of at least 1" in nothing.stderr, nothing


    for command in (["-p", "x", "--device", "0"], ["--list-devices"], ["bench", "--launch", "token"], ["eval", "--tokens", "x", "--logits", "y", "--device", "1"]):
        result = run(tiny_executable, *command, check=False)
        assert result.returncode == 2 and b"code for processors alone" in result.stderr and result.stderr.count(b"\n") == 1, result
    for command in ("perplexity", "template"):
        result = run(tiny_executable, command, check=False)
        assert result.returncode == 2 and b"FILE is required: the name of a file, or - for standard input" in result.stderr, result


def test_quantize_rows_that_do_not_divide(tmp_path):
    path = make_model(tmp_path / "model.gguf", "--type", "f32", "--width", "64", "--ffn", "256", "--layers", "2")
    result = run(SLUICE, "compile", path, "-q", "-o", tmp_path / "model", "--quantize", "q4_k,attn=f16")
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1 and "warning: " in lines[0] and "in floats, whose rows are no whole blocks" in lines[0], lines
    assert "rows of 64, blocks of 256 in q4_k" in lines[0], lines
    assert json.loads(run(tmp_path / "model", "info", "--json").stdout)["formats"].count("q4_k") == 1  # ffn_down


MESSAGES = {
    "": "nothing",
    '[{"role": "user",\n "content": }]': "no JSON at byte 31, in line 2",
    "[": "no JSON at byte 2, in line 1",
    '["\xff"]': "no JSON at byte 3",
    "[1e999]": "a number beyond all bounds",
    "{}": "JSON of another kind",
    '[{"role": "user", "content": "a"}, {"role": "user", "content": 3}]': "element 2 without a text 'content'",
    "[[]]": "element 1 without a text 'role'",
}


def test_messages_that_are_none(tiny_executable, tmp_path):
    file = tmp_path / "messages.json"
    for text, expected in MESSAGES.items():
        file.write_bytes(text.encode("latin-1"))
        for result, name in ((run(tiny_executable, "template", file, check=False), str(file)),
                             (run(tiny_executable, "template", "-", input=file.read_bytes(), check=False), "standard input")):
            said = result.stderr.decode()
            assert result.returncode == 1 and said.startswith(f"error: {name}: expected a JSON list") and expected in said, (text, said)
            assert said.count("\n") == 1 and "exception" not in said and "json." not in said.replace(name, ""), said


def test_verify_of_other_files(tiny, tmp_path):
    kinds = {"gguf": (tiny.read_bytes(), "got a GGUF file"), "elf": (SLUICE.read_bytes(), "another program"),
             "text": (b"a text\n", "got no executable"), "empty": (b"", "got an empty file")}
    for name, (data, expected) in kinds.items():
        (tmp_path / name).write_bytes(data)
        result = run(SLUICE, "verify", tmp_path / name, check=False)
        said = result.stderr.decode()
        assert result.returncode == 1 and name in said and "expected a compiled model" in said and expected in said and said.count("\n") == 1, said
    assert b"got a folder" in run(SLUICE, "verify", tmp_path, check=False).stderr
    os.mkfifo(tmp_path / "pipe")
    assert b"no ordinary file" in run(SLUICE, "verify", tmp_path / "pipe", check=False, timeout=20).stderr


def test_prompt_longer_than_the_context(tiny_executable):
    for arguments in (["-c", "64", "--raw"], ["--raw"], ["-c", "32"]):
        result = run(tiny_executable, *arguments, "-n", "4", input=b"many words here " * 200, check=False)
        assert result.returncode == 1, result
        assert b"context" in result.stderr and len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_strange_prompts(tiny_executable):
    for prompt in (b"\xff\xfe\x80 broken \xc3", b"a\x00b\x00", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x00", b"\xe4\xbd"):
        for arguments in (["--raw"], []):
            run(tiny_executable, *arguments, "-n", "3", "--temp", "0", input=prompt)
    ids = run(tiny_executable, "tokenize", input=b"\xff\x00\xfe").stdout
    assert run(tiny_executable, "detokenize", input=ids).stdout == b"\xff\x00\xfe"


def test_without_chat_template(tiny, tmp_path):
    """Continuing a question is not what was asked for: it is said."""
    gguf = Gguf(tiny.read_bytes())
    del gguf.keys["tokenizer.chat_template"]
    (tmp_path / "model.gguf").write_bytes(gguf.build())
    model = compile_model(tmp_path / "model.gguf", tmp_path / "model")
    plain, raw = (run(model, *more, "-p", "abc", "-n", "4", "--temp", "0") for more in ([], ["--raw"]))
    assert plain.stderr == b"the model has no chat template: it continues the text as it is; --raw asks for that\n" and raw.stderr == b""
    assert plain.stdout == raw.stdout


@pytest.mark.parametrize("command", [["--raw"], ["tokenize"], ["detokenize"], ["template", "-"], ["perplexity", "-"]], ids=lambda words: words[0])
def test_endless_input(tiny_executable, command):
    """2^31 characters, or a stream without an end: refused after some, in little memory."""
    with open("/dev/zero", "rb") as endless:
        limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        result = subprocess.run([str(tiny_executable), *command], stdin=endless, capture_output=True, timeout=60, preexec_fn=limit)
    assert result.returncode == 1 and b"16 MiB" in result.stderr and len(result.stderr.strip().splitlines()) == 1, result


def test_bad_token_ids(tiny_executable, tmp_path):
    file = tmp_path / "ids"
    for text in ("1 2 x", "-1", "999999", "99999999999999999999"):
        file.write_text(text)
        result = run(tiny_executable, "eval", "--tokens", file, "--logits", tmp_path / "out.npy", check=False)
        assert result.returncode == 1 and result.stderr, text
        assert not (tmp_path / "out.npy").exists()


def test_damaged_executable(tiny_executable, tmp_path):
    """Every cut and every flipped byte of the tables at the end is found at start or by verify."""
    data = tiny_executable.read_bytes()
    broken = tmp_path / "broken"
    for size in (len(data) - 1, len(data) - 48, len(data) - 5000, len(data) - 20000):
        broken.write_bytes(data[:size])
        broken.chmod(0o755)
        result = run(broken, "info", check=False)
        assert result.returncode == 1 and len(result.stderr.strip().splitlines()) == 1, result
    for at in (len(data) - 4, len(data) - 100, len(data) - 3000):
        flipped = bytearray(data)
        flipped[at] ^= 0x10
        broken.write_bytes(flipped)
        broken.chmod(0o755)
        assert run(broken, "verify", check=False).returncode == 1, at
    # Even where nobody reads what it says.
    nobody, output = os.pipe()
    os.close(nobody)
    weights = bytearray(data)
    weights[len(data) // 2] ^= 1
    broken.write_bytes(weights)
    with os.fdopen(output, "wb") as output:
        assert subprocess.run([broken, "verify"], stdout=output, stderr=subprocess.PIPE, timeout=60).returncode == 1


def test_flipped_bytes(tiny_executable, tmp_path):
    """verify names whatever is damaged, wherever it is; 'sluice verify' does so without running the file."""
    data = tiny_executable.read_bytes()
    sections, names = header_of(data), ("weights", "model", "programs", "steps", "tensors", "strings", "tokenizer", "template")
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    rng = random.Random(seed)
    places = [(rng.randrange(offset, offset + size), "tensor " if name == "weights" else f"'{name}'")
              for name, (offset, size) in zip(names, sections) if size for _ in range(6)]
    places += [(rng.randrange(sections[0][0]), "machine code") for _ in range(6)]
    places += [(len(data) - 1 - rng.randrange(40), "") for _ in range(6)]  # the trailer
    broken = tmp_path / "broken"
    broken.write_bytes(data)
    broken.chmod(0o755)
    for at, name in places:
        with open(broken, "r+b") as file:
            file.seek(at)
            file.write(bytes([data[at] ^ (1 << rng.randrange(8))]))
        result = run(SLUICE, "verify", broken, check=False)
        said = (result.stdout + result.stderr).decode()
        assert result.returncode == 1 and name in said and len(result.stderr.strip().splitlines()) == 1, (at, name, said)
        if name != "machine code":  # which could do anything
            own = run(broken, "verify", check=False)
            assert own.returncode == 1 and name in (own.stdout + own.stderr).decode(), (at, name, own)
            answer = run(broken, "--raw", "-n", "2", "-p", "x", check=False)
            assert answer.returncode in (0, 1) and (name == "tensor " or answer.returncode == 1), (at, name, answer)
        with open(broken, "r+b") as file:
            file.seek(at)
            file.write(data[at:at + 1])
    said = run(SLUICE, "verify", broken).stdout
    assert said.startswith(b"whole: ") and b", compiled by Sluice " in said and b"blake3:" in said
    assert run(broken, "verify").stdout.startswith(b"whole: ")


def test_nothing_of_a_file_acts_on_the_terminal(tiny, tmp_path):
    """Neither a name nor an error of a template; in a compiled model nor in the compiler."""
    gguf = Gguf(tiny.read_bytes())
    gguf.set("general.name", STRING, text("name\x1b]0;title\x07\u009b2J\nline"))
    gguf.set("tokenizer.chat_template", STRING, text("{{ raise_exception('\x1b[31m\n\u009b' ~ messages[0].content) }}"))
    (tmp_path / "model.gguf").write_bytes(gguf.build())
    model = compile_model(tmp_path / "model.gguf", tmp_path / "model", "--target=x86-64")
    (tmp_path / "messages").write_text(json.dumps([{"role": "user", "content": "\x1b[2J"}]))
    for command in (["info"], ["info", "--json"], ["--version"], ["template", tmp_path / "messages"], ["-p", "\x1b[2J"]):
        result = run(model, *command, check=False)
        shown = (result.stdout + result.stderr).replace(b"\n", b"")
        assert shown and all(byte >= 32 for byte in shown) and b"\x7f" not in shown and b"\xc2\x9b" not in shown, (command, result)
        assert len(result.stderr.splitlines()) == result.returncode <= 1, result
    (tmp_path / "model.gguf").write_bytes(tiny.read_bytes().replace(b"blk.0.attn_k.weight", b"blk.0.a\x1b\n\xc2\x9b[2Jeight"))
    fails(tmp_path / "model.gguf", tmp_path, "missing")
    gguf.set("tokenizer.chat_template", STRING, text("{{ ''|filter\u009b }}{% \x1b[2J\n %}"))
    (tmp_path / "model.gguf").write_bytes(gguf.build())
    assert "\x1b" not in fails(tmp_path / "model.gguf", tmp_path, "template")


def header_of(data):
    """(offset, size) of every section of a compiled model; see runtime/abi.h."""
    header = struct.unpack_from("<Q", data, len(data) - 32)[0]
    return [struct.unpack_from("<QQ", data, header + 24 * i) for i in range(8)]
