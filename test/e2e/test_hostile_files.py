"""Every way in which a GGUF file has hurt a program that read it: one diagnostic that names the file, no crash, no hang, little
memory, nothing written. Each case is named for its class."""
import random
import struct
import sys

import pytest
from conftest import compile_model, make_model, run
from gguf_bytes import ARRAY, BOOL, F32, F64, I32, I64, STRING, U32, U64, U8, Gguf, array, text
from measured import MEMORY, compile_measured, expect_refusal, run_measured

HUGE = [1 << 31, 1 << 32, 1 << 61, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("hostile") / "tiny.gguf", "--type", "q4_0", "--layers", "1").read_bytes()


CASES = {}


def case(*expected):
    """Registers a function that yields wrong versions of a file, each of which must be refused with these words."""
    def register(function):
        CASES[function.__name__] = (function, expected)
        return function
    return register


@case("more than fit")
def counts_that_wrap(gguf):
    for count in HUGE:
        yield gguf(key_count=count)
        yield gguf(tensor_count=count)


@case("impossible length")
def string_lengths_that_wrap(gguf):
    for length in HUGE:
        for raw in (struct.pack("<Q", length), text("k") + struct.pack("<IQ", STRING, length),
                    text("k") + struct.pack("<IIQ", ARRAY, STRING, 1) + struct.pack("<Q", length)):
            yield gguf(extra=raw + bytes(64), key_count=len(gguf().keys) + 1)


@case("'k'", "impossible length")
def array_sizes_that_wrap(gguf):
    for kind in (U8, U32, U64, F64, STRING):
        for count in HUGE:
            yield gguf(keys={"k": (ARRAY, array(kind, [], count))})


@case("'k'")
def unknown_types(gguf):
    for value in ((13, b""), ((1 << 32) - 1, b""), (ARRAY, array(13, [], 1)), (ARRAY, array(ARRAY, [], 1)),
                  (ARRAY, array((1 << 32) - 1, [], 1 << 63))):
        yield gguf(keys={"k": value})


@case("truncated")
def token_that_claims_two_gibibytes(gguf):
    tokens = struct.pack("<IQ", STRING, 320) + text("a") * 5 + struct.pack("<Q", 1 << 31)
    yield gguf(keys={"tokenizer.ggml.tokens": (ARRAY, tokens)})


@case("expected at most")
def more_than_any_model_has(gguf):
    yield gguf(keys={"k": (ARRAY, array(U8, [], 20 << 20) + bytes(20 << 20))})
    yield gguf(keys={f"k{i}": (ARRAY, array(U8, [], 4 << 20) + bytes(4 << 20)) for i in range(5)})
    yield gguf(keys={"k": (ARRAY, array(STRING, [], 18 << 20) + bytes(8 * (18 << 20)))})
    yield gguf(keys={"a": (STRING, text(bytes(13 << 20)))}, key_count=(1 << 20) + 1)
    yield gguf(keys={"a": (STRING, text(bytes(25 << 20)))}, tensor_count=(1 << 20) + 1)


@case("tokenizer.ggml.tokens", "expected")
def tokens_that_are_long(gguf):
    yield gguf(keys={"tokenizer.ggml.tokens": (ARRAY, array(STRING, ["x" * (1 << 20)] + ["a"] * 319))})
    yield gguf(keys={"tokenizer.ggml.tokens": (ARRAY, array(STRING, ["x" * 4097] + ["a"] * 319))})


@case("output_norm.weight", "expected 1 to 4 dimensions")
def numbers_of_dimensions(gguf):
    for dims, *count in ([[]], [[64, 1, 1, 1, 1]], [[64, 1, 1, 1, 1, 1, 1]], [[64], (1 << 32) - 1]):
        yield gguf(tensor=("output_norm.weight", dims, None, None, *count))


@case("output_norm.weight", "impossible dimension")
def impossible_dimensions(gguf):
    for dims in ([0], [64, 0], [64, 1, 0], [1 << 63], [(1 << 64) - 1]):
        yield gguf(tensor=("output_norm.weight", dims, None, None))


@case("output_norm.weight", "overflow")
def dimensions_whose_product_wraps(gguf):
    for dims in ([1 << 32, 1 << 32], [1 << 62, 4], [1 << 21] * 4, [3037000500, 3037000500], [1 << 61]):  # the last times four bytes
        yield gguf(tensor=("output_norm.weight", dims, None, None))


@case("output_norm.weight", "expected shape")
def other_shapes(gguf):
    for dims in ([63], [32], [32, 2], [8, 8]):
        yield gguf(tensor=("output_norm.weight", dims, None, None))


@case("output_norm.weight", "past the end")
def places_outside(gguf):
    for offset in (1 << 31, 1 << 32, 1 << 61, 1 << 63, (1 << 64) - 32, (1 << 64) - 256, 32 * 10 ** 9):
        yield gguf(tensor=("output_norm.weight", None, None, offset))


@case("output_norm.weight", "no multiple of the alignment")
def places_between(gguf):
    for offset in (1, 33, (1 << 63) - 1, (1 << 64) - 1):
        yield gguf(tensor=("output_norm.weight", None, None, offset))


@case("overlap")
def tensors_that_overlap(gguf):
    yield gguf(tensor=("output_norm.weight", None, None, 0))


@case("output_norm.weight")
def tensor_types(gguf):
    for kind in (4, 5, 1000, (1 << 32) - 1):
        yield gguf(tensor=("output_norm.weight", None, kind, None))


@case("general.alignment")
def alignments(gguf):
    for kind, value in ((U32, 0), (U32, 1 << 31), (U64, 1 << 32), (U64, 1 << 63), (I32, -32), (I64, -1 << 63), (U32, 48), (F32, 32.0),
                        (STRING, text("32"))):
        yield gguf(set=("general.alignment", kind, value))


@case("appears twice")
def names_twice(gguf):
    yield gguf(extra=text("general.name") + struct.pack("<I", STRING) + text("x"), key_count=len(gguf().keys) + 1)
    yield gguf(more=[["output_norm.weight", [64], 0, 0]])


@case("has a name of")
def names_empty_or_long(gguf):
    for name in ("", "x" * 5000):
        yield gguf(keys={name: (U8, b"\0")})
        yield gguf(more=[[name, [64], 0, 0]])


@case("llama.")
def known_keys_of_another_type(gguf):
    for key in [key for key in gguf().keys if key.startswith("llama.")]:
        for kind, value in ((STRING, text("1")), (BOOL, 1), (ARRAY, array(STRING, ["1"])), (U64, (1 << 64) - 1)):
            yield gguf(set=(key, kind, value))


@case("general.architecture")
def architecture_of_another_type(gguf):
    yield gguf(set=("general.architecture", U32, 1))
    yield gguf(set=("general.architecture", ARRAY, array(STRING, ["llama"])))


@case("llama.")
def absurd_numbers(gguf):
    for key in ("block_count", "embedding_length", "feed_forward_length", "context_length", "attention.head_count"):
        for kind, value in ((U32, 0), (I32, -1), (U32, (1 << 32) - 1), (I64, -1 << 63)):
            yield gguf(set=(f"llama.{key}", kind, value))
    for kind, value in ((U32, 10 ** 6), (U32, 1 << 31)):
        yield gguf(set=("llama.block_count", kind, value))


@case()
def heads_that_do_not_divide(gguf):
    for key, value in (("attention.head_count", 7), ("attention.head_count_kv", 3), ("attention.head_count", 1 << 24),
                       ("attention.key_length", 3), ("attention.key_length", 1 << 24), ("rope.dimension_count", 3),
                       ("rope.dimension_count", 1 << 20)):
        yield gguf(set=(f"llama.{key}", U32, value))
    for values in ([], [0], [2, 3], [1 << 31], [-2]):
        yield gguf(set=("llama.attention.head_count_kv", ARRAY, array(I32, [min(v, (1 << 31) - 1) for v in values])))


@case("llama.")
def numbers_that_are_none(gguf):
    for key in ("attention.layer_norm_rms_epsilon", "rope.freq_base"):
        for value in (float("nan"), float("inf"), -1.0, 0.0):
            yield gguf(set=(f"llama.{key}", F32, value))


@case("tokenizer.ggml.")
def tokenizer_tables_of_another_type(gguf):
    for key in ("tokens", "merges", "token_type"):
        for value in ((U32, struct.pack("<I", 1)), (ARRAY, array(F32, [1.0])), (STRING, text("x")),
                      (ARRAY, array(STRING if key == "token_type" else I32, ["1"] if key == "token_type" else [1]))):
            yield gguf(keys={f"tokenizer.ggml.{key}": value})


@case("tokenizer.ggml.")
def tokenizer_tables_of_another_length(gguf):
    yield gguf(keys={"tokenizer.ggml.tokens": (ARRAY, array(STRING, []))})
    yield gguf(keys={"tokenizer.ggml.tokens": (ARRAY, array(STRING, ["x"] * 321))})
    yield gguf(keys={"tokenizer.ggml.token_type": (ARRAY, array(I32, [1]))})
    yield gguf(keys={"tokenizer.ggml.merges": (ARRAY, array(STRING, ["no such", "", " ", "  "]))})


@case("tokenizer.ggml.scores")
def scores(gguf):
    nan, infinite = float("nan"), float("inf")
    for value in ((ARRAY, array(STRING, ["1"] * 320)), (ARRAY, array(I32, [1] * 320)), (STRING, text("1")), (F32, struct.pack("<f", 1)),
                  (ARRAY, array(F32, [1.0] * 319)), (ARRAY, array(F32, [1.0] * 321)), (ARRAY, array(F32, [])),
                  (ARRAY, array(F32, [nan] + [1.0] * 319)), (ARRAY, array(F32, [1.0] * 319 + [-infinite]))):
        yield gguf(keys={"tokenizer.ggml.model": (STRING, text("llama")), "tokenizer.ggml.scores": value})


@case("tokenizer.ggml.")
def special_ids_past_the_vocabulary(gguf):
    for key in ("bos_token_id", "eos_token_id", "eot_token_id"):
        for kind, value in ((U32, 320), (U32, (1 << 32) - 1), (I32, -1), (U64, (1 << 64) - 1), (STRING, text("1"))):
            yield gguf(set=(f"tokenizer.ggml.{key}", kind, value))


@case("chat template")
def templates(gguf):
    for source in ("{% if %}", "{% for x in y %}" * 1000, "{{ " + "(" * 100000, "{{ " + "-" * 100000 + "1 }}", "{{ " + "not " * 100000 + "1 }}",
                   "{% if a %}" * 100000, "{{ [" * 50000, "{{ x" + ".y" * 10 + "|nothing_known }}", "{{ 99999999999999999999 }}",
                   "{% if a %}" + "{% elif b %}" * 100000 + "{% endif %}", "{% macro m(" + "a," * 10 + "1) %}"):
        yield gguf(set=("tokenizer.chat_template", STRING, text(source)))


@case("not part")
def many_tensors(gguf):
    yield gguf(more=[[f"u{i}", [1], 77, 0] for i in range(100_000)], end=True)


def test_memory_is_the_childs(tmp_path):
    """What the tests below measure: neither the memory of pytest, nor nothing."""
    mine = b"x" * (300 << 20)
    assert run_measured(["/bin/true"], tmp_path / "stderr")[1] < 100 << 20 < len(mine)
    assert run_measured([sys.executable, "-c", "x = b'x' * (200 << 20)"], tmp_path / "stderr")[1] > 200 << 20


@pytest.mark.parametrize("name", CASES)
def test_hostile(name, whole, tmp_path):
    function, expected = CASES[name]

    def changed(keys=None, set=None, tensor=None, more=(), end=False, **fields):
        gguf = Gguf(whole)
        for field, value in fields.items():
            setattr(gguf, field, value)
        gguf.keys.update(keys or {})
        if set:
            gguf.set(*set)
        if tensor:
            found = gguf.tensor(tensor[0])
            for i, value in enumerate(tensor[1:4], 1):
                if value is not None:
                    found[i] = value
            found += tensor[4:]
        for each in more:
            gguf.tensors.append(list(each))
            if end:  # behind all others
                gguf.tensors[-1][3] = len(gguf.data)
        if end:
            gguf.data += bytes(32)
        return gguf

    count = 0
    for gguf in function(changed):
        count += 1
        print("case", count)
        (tmp_path / "model.gguf").write_bytes(gguf.build())
        expect_refusal(tmp_path / "model.gguf", tmp_path, *expected)
    assert count


def test_many_keys_are_no_trouble(whole, tmp_path):
    gguf = Gguf(whole)
    gguf.keys.update({f"x.{i}": (U8, b"\0") for i in range(100_000)})
    (tmp_path / "model.gguf").write_bytes(gguf.build())
    code, said, memory = compile_measured(tmp_path / "model.gguf", tmp_path)
    assert code == 0 and memory < MEMORY, (said, memory)


def sentencepiece(whole, tokens, types=None):
    gguf = Gguf(whole)
    tokens = [*tokens, *(f"t{i}" for i in range(320 - len(tokens)))]
    gguf.set("tokenizer.ggml.model", STRING, text("llama"))
    gguf.set("tokenizer.ggml.tokens", ARRAY, array(STRING, tokens))
    gguf.set("tokenizer.ggml.token_type", ARRAY, array(I32, types or [6] * 320))
    gguf.set("tokenizer.ggml.scores", ARRAY, array(F32, [-float(i) for i in range(320)]))
    return gguf


def test_byte_tokens(whole, tmp_path):
    """Tokens that are said to be bytes and name none: no table is written beyond, and no text becomes them."""
    strange = ["<0x-1>", "<0x100>", "<0xGG>", "<0x>", "<0x1>", "<0x+1>", "<0x 1>", "<0xFFFFFFFF>", "<0x41", "0x41>", "<0x0x1>", ""]
    (tmp_path / "model.gguf").write_bytes(sentencepiece(whole, [*strange, "<0x42>", "<0x62>"]).build())
    compile_model(tmp_path / "model.gguf", tmp_path / "model", "--target=x86-64")
    ids = [int(word) for word in run(tmp_path / "model", "tokenize", input=b"Bb" + bytes(range(1, 256))).stdout.split()]
    assert ids.count(len(strange)) == 2 and ids.count(len(strange) + 1) == 2 and not set(ids) & set(range(len(strange)))
    for token in range(len(strange)):
        run(tmp_path / "model", "detokenize", input=str(token).encode())


def test_token_of_two_gibibytes(whole, tmp_path):
    """It is there, as a hole of the file: neither copied nor searched."""
    head = Gguf(whole)
    first = struct.pack("<IQ", STRING, 320) + struct.pack("<Q", 1 << 31)
    head.keys = {"tokenizer.ggml.tokens": (ARRAY, first), **{key: value for key, value in head.keys.items() if key != "tokenizer.ggml.tokens"}}
    at = 24 + len(text("tokenizer.ggml.tokens")) + 4 + len(first)
    data = head.build()
    model = tmp_path / "model.gguf"
    with open(model, "wb") as file:
        file.write(data[:at])
        file.seek(at + (1 << 31))
        file.write(text("a") * 319)
        rest = data[at:]
        place = file.tell()
        file.write(rest[:len(data) - len(head.data) - at])
        file.seek((file.tell() + 31) // 32 * 32)  # may be no whole file any more: the token is refused before
        file.write(head.data)
    assert place > 1 << 31
    expect_refusal(model, tmp_path, "tokenizer.ggml.tokens", "2147483648")


def test_random_damage(whole, tmp_path):
    """A few random changes in the tables: refused in one line, or compiled."""
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    rng = random.Random(seed)
    tables = len(whole) - len(Gguf(whole).data)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 5))):
            data[rng.randrange(tables)] = rng.choice((0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)))
        (tmp_path / "model.gguf").write_bytes(data)
        code, said, memory = compile_measured(tmp_path / "model.gguf", tmp_path)
        assert code in (0, 1) and (code == 0 or len(said.strip().splitlines()) == 1) and memory < MEMORY, (code, said, memory)
        (tmp_path / "out" / "model").unlink(missing_ok=True)
