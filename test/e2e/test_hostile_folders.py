"""The same for Hugging Face folders: safetensors, their index, the JSON files and the tokenizer. What is wrong in a single tensor's
description, FolderTest.cpp has; here is what takes time or memory, or needs a whole program."""
import json
import os
import random
import shutil

import folders
import pytest
from conftest import compile_model, run
from measured import compile_measured, expect_refusal


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folders_common = dict(folders.COMMON)
    folders.COMMON.update(num_hidden_layers=1)
    try:
        return folders.make_folder(tmp_path_factory.mktemp("whole") / "model", "llama3.2", "BF16", 0)
    finally:
        folders.COMMON.update(folders_common)


@pytest.fixture
def model(whole, tmp_path):
    """A copy, to be damaged."""
    return shutil.copytree(whole, tmp_path / "model")


def safetensors(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + data


def one(count, **wrong):
    """The header of `count` tensors of one number each."""
    return {f"t{i}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4], **wrong} for i in range(count)}


# ---- safetensors

HEADERS = {
    "longer-than-the-file": (1000).to_bytes(8, "little") + b"{}",
    "length-that-wraps": (2**64 - 8).to_bytes(8, "little") + b"{}",
    "length-without-header": (50 << 20).to_bytes(8, "little"),
    "nested": safetensors(b'{"t":' * 200000),
    "nested-in-metadata": safetensors(b'{"__metadata__":' + b"[" * 200000 + b"]" * 200000 + b"}"),
    "millions-of-values": safetensors(b'{"__metadata__":[' + b"0," * 8_000_000 + b"0]}"),
    "millions-of-keys": safetensors(b"{" + b",".join(b'"%x":0' % i for i in range(5_000_000)) + b"}"),
    "shape-that-wraps": safetensors(one(1, shape=[2**32, 2**32, 4], data_offsets=[0, 0])),
    "shape-that-wraps-to-what-is-there": safetensors(one(1, shape=[2**62 + 1]), bytes(4)),
    "offsets-that-wrap": safetensors(one(1, data_offsets=[2**63 - 2, 2**63 + 2])),
    "bad-dtype": safetensors(one(1, dtype="F3"), bytes(4)),
    "dtype-of-another-type": safetensors(one(1, dtype=7), bytes(4)),
    "dtype-with-a-terminal-in-it": safetensors(one(1, dtype="\x1b]0;x\x07\n"), bytes(4)),
    "key-twice": safetensors(b'{"t":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    "no-utf-8": safetensors(b'{"\xff":0}'),
}


@pytest.mark.parametrize("name", HEADERS)
def test_header(name, model, tmp_path):
    (model / "model.safetensors").write_bytes(HEADERS[name])
    expect_refusal(model, tmp_path, "model.safetensors")


def test_many_tensors(model, tmp_path):
    (model / "model.safetensors").write_bytes(safetensors(one(100_000), bytes(400_000)))
    expect_refusal(model, tmp_path, "model.embed_tokens.weight", "missing")


def test_many_tensors_of_an_index(model, tmp_path):
    tensors = {f"t{i}": "model.safetensors" for i in range(100_000)}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": tensors}))
    expect_refusal(model, tmp_path, "tensor 't0' is missing")


@pytest.mark.parametrize("name", ["/etc/passwd", "../model.safetensors", "a\0b", "", ".", "config.json", 7, None])
def test_place_of_an_index(name, model, tmp_path):
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": name}}))
    expect_refusal(model, tmp_path)


def test_weights_that_are_no_numbers(model, tmp_path):
    """Nothing refuses them, for nobody reads all; but what comes out is not taken for an answer."""
    damaged = bytearray((model / "model.safetensors").read_bytes())
    damaged[-len(damaged) // 2:] = b"\xff" * (len(damaged) // 2 + len(damaged) % 2)
    (model / "model.safetensors").write_bytes(damaged)
    executable = compile_model(model, tmp_path / "out")
    for arguments in (["--raw", "-p", "abc", "-n", "4", "--temp", "0"], ["--raw", "-p", "abc", "-n", "4"], ["perplexity", __file__, "-c", "64", "--chunks", "1"]):
        result = run(executable, *arguments, check=False)
        assert result.returncode == 1 and b"not a number" in result.stderr and not result.stdout.strip(), arguments


# ---- files that are none

TEXTS = ["config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
         "generation_config.json", "chat_template.jinja", "chat_template.json"]


@pytest.mark.parametrize("kind", ["pipe", "device", "huge", "nested", "another-type"])
@pytest.mark.parametrize("name", TEXTS)
def test_text(name, kind, model, tmp_path):
    """A pipe does not block, a device that never ends is not read, nor is a file of a terabyte; a parser does not recurse for ever."""
    file = model / name
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "huge":
        file.touch()
        os.truncate(file, 1 << 40)
    elif name.endswith(".jinja"):
        file.write_text("{{ " + ("(" if kind == "nested" else "[1, ") * 200000)
    else:
        file.write_text('{"a":' * 200000 if kind == "nested" else "[" + "7, " * 100 + "7]")
    expect_refusal(model, tmp_path, *([name] if not name.endswith("jinja") else []))


def test_pipe_as_weights(model, tmp_path):
    (model / "model.safetensors").unlink()
    os.mkfifo(model / "model.safetensors")
    expect_refusal(model, tmp_path, "model.safetensors", "not an ordinary file")


# ---- tokenizer.json


def replace(pattern, content):
    return {"type": "Replace", "pattern": pattern, "content": content}


def splitting(expression):
    return dict(pre_tokenizer={"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated"})


def sequence(kind, count):
    """A sequence in a sequence in a sequence ..."""
    inner = {"type": "NFC"}
    for _ in range(count):
        inner = {"type": "Sequence", kind: [inner]}
    return inner


TOKENIZERS = {
    "an empty text is replaced": (dict(normalizer=replace({"String": ""}, "x")), "empty"),
    "an added token doubles and doubles": (dict(normalizer={"type": "Sequence", "normalizers": [replace({"String": "l"}, "ll")] * 30},
                                                added_tokens=[dict(id=256, content="l", normalized=True)]), "longer than"),
    "an added token is long": (dict(added_tokens=[dict(id=256, content="l" * 2_000_000, normalized=True)]), "2000000 bytes"),
    "steps": (dict(normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "x"}] * 1000}), "steps"),
    "objects": (dict(added_tokens=[dict(id=i, content=f"t{i}") for i in range(100_000)]), "objects"),
    "a normalizer nested": (dict(normalizer=sequence("normalizers", 100)), "deep"),
    "a normalizer of a terminal": (dict(normalizer={"type": "\x1b[2J\n"}), "\\x1b"),
    "an id past all": (dict(added_tokens=[dict(id=9_999_999, content="x")]), "id of"),
    "an id that wraps": (dict(added_tokens=[dict(id=2**32, content="x")]), "id of"),
    "a negative id": (dict(added_tokens=[dict(id=-1, content="x")]), "id of"),
    "a long expression": (splitting("a" * 100_000), "100000 bytes"),
    "an expression nested": (splitting("(" * 1000 + "a" + ")" * 1000), "pattern"),
    "a class nested": (splitting("[" * 1000 + "a" + "]" * 1000), "pattern"),
    "repeats that multiply": (splitting("((a{1,1000}){1,1000}){1,1000}"), "too complex"),
    "states that multiply": (splitting("(a|b)*a" + "(a|b|c)" * 20), "too complex"),
    "states of many threads": (splitting("(a{0,900}b?){0,10}[a-y]*z"), ""),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizer(name, model, tmp_path):
    changes, expected = TOKENIZERS[name]
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    (model / "tokenizer.json").write_text(json.dumps({**tokenizer, **changes}))
    expect_refusal(model, tmp_path, expected)


VOCABULARIES = {
    "a long token": ({"x" * 10_000_000: 300}, "bytes"),
    "many bytes": ({"x%07d" % i + "x" * 3000: 300 + i for i in range(10_000)}, "bytes in all"),
    "an id past all": ({"x": 1 << 31}, "id of"),
    "an id of another type": ({"x": "7"}, "id of"),
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_vocabulary(name, model, tmp_path):
    more, expected = VOCABULARIES[name]
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"].update(more)
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    expect_refusal(model, tmp_path, "tokenizer.json", expected)


def test_tokens_behind_the_embedding(model, tmp_path):
    """Added ones are dropped, as by converters to GGUF; the model's own are an error, and so are those that are put around a text."""
    file = model / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    rows = json.loads((model / "config.json").read_text())["vocab_size"]
    tokenizer["added_tokens"].append({"id": rows + 5, "content": "<image>", "special": True})
    file.write_text(json.dumps(tokenizer))
    compiled = compile_model(model, tmp_path / "compiled")
    ids = [int(line) for line in run(compiled, "tokenize", input=b"an <image> here").stdout.split()]
    assert max(ids) < rows and run(compiled, "detokenize", input=" ".join(map(str, ids)).encode()).stdout.endswith(b"an <image> here")
    tokenizer["model"]["vocab"]["qqqq"] = rows + 7
    file.write_text(json.dumps(tokenizer))
    expect_refusal(model, tmp_path, f"token {rows + 7}, and the embedding {rows} rows")
    del tokenizer["model"]["vocab"]["qqqq"]
    file.write_text(json.dumps(tokenizer))
    (model / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<image>"}))
    expect_refusal(model, tmp_path, f"token {rows + 5}, and the embedding {rows} rows")


def test_scores_that_are_none(model, tmp_path):
    file = model / "tokenizer.json"
    file.write_text('{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", 1e999]]}}')
    expect_refusal(model, tmp_path, "tokenizer.json", "finite")


# ---- tokenizer.model


@pytest.mark.parametrize("name", ["pieces", "length-that-wraps", "number-without-an-end", "score", "long-token"])
def test_sentencepiece(name, model, tmp_path):
    (model / "tokenizer.json").unlink()
    (model / "tokenizer.model").write_bytes({
        "pieces": b"\x0a\x00" * 3_000_000,
        "length-that-wraps": b"\x0a" + b"\xff" * 9 + b"\x01",
        "number-without-an-end": b"\xff" * 1000,
        "score": b"\x0a\x08\x0a\x01a\x15\x00\x00\xc0\x7f",
        "long-token": b"\x0a\x84\x80\x40\x0a\x80\x80\x40" + b"x" * (1 << 20),
    }[name])
    expect_refusal(model, tmp_path, "tokenizer.model")


# ---- any of them


def test_random_damage(whole, tmp_path):
    """A few random changes in any of the files, and cuts: refused in one line, or compiled."""
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    rng = random.Random(seed)
    names = sorted(file.name for file in whole.iterdir())
    for i in range(16):
        model = shutil.copytree(whole, tmp_path / f"model{i}")
        file = model / rng.choice(names)
        data = bytearray(file.read_bytes())
        header = 8 + int.from_bytes(data[:8], "little") if file.suffix == ".safetensors" else len(data)
        for _ in range(rng.choice((1, 1, 2, 5))):
            data[rng.randrange(header)] = rng.choice((0, 0x22, 0x2c, 0x5b, 0x7b, 0x7d, 0x39, 0xff, rng.randrange(256)))
        file.write_bytes(data if i % 3 else data[:rng.randrange(header)])
        code, said, _ = compile_measured(model, tmp_path)
        assert code in (0, 1) and (code == 0 or len(said.strip().splitlines()) == 1), (code, said)
        (tmp_path / "out" / "model").unlink(missing_ok=True)
