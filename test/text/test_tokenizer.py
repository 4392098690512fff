"""The tokenizer against PyPI's `tokenizers`, built from the same vocabulary and merges: equal ids for thousands of strings.

usage: test_tokenizer.py TEXT_TOOL MODEL.gguf [SEED]
"""
import json
import random
import subprocess
import sys

from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers


def reference(path):
    """The tokenizer that the model's publisher ships, from the fields of the GGUF file."""
    fields = GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(line.split(" ")) for line in fields["tokenizer.ggml.merges"].contents()]
    assert fields["tokenizer.ggml.pre"].contents() == "smollm"
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3]
    )
    return tokenizer


def bytes_to_characters():
    """GPT-2's printable stand-ins for bytes."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def strings(rng):
    """Strings of many kinds, all valid UTF-8."""
    words = (
        "the quick brown fox don't we'll I'M it'S naïve café Straße ΑΒΓ ελληνικά Привет мир 你好 世界 日本語 テスト 한국어 "
        "العربية עברית हिन्दी ไทย 👍🏽 👨‍👩‍👧 🇩🇪 e\u0301 ﬁ Ⅷ ½ ² ٣ १२३ 3.14 1e-9 0xFF 12345678 _a_b_ __init__ => != "
        "{}[]() <|im_start|> <|im_end|> <|endoftext|> <|im_star <repo_name> \t \n \r\n \u00a0 \u2003 \u200b \ufeff \x00 \x7f"
    ).split(" ")
    blanks = [" ", "  ", "   ", "\n", "\n\n", "\t", " \n", "\n ", "\r\n", "\u00a0", "        ", "\u3000"]
    for _ in range(1500):
        yield "".join(rng.choice(words) + rng.choice(blanks + [""] * 6) for _ in range(rng.randint(1, 20)))
    for _ in range(500):  # any characters at all
        ranges = [(32, 127), (160, 0x24F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF), (0x2000, 0x2BFF), (0x3000, 0x9FFF), (0x1F000, 0x1FAFF), (0, 0xD7FF)]
        yield "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(0, 60)))
    code = "def f(x):\n    return x ** 2  # square\n\nclass A:\n\tpass\n\nint main(void) { return 0; }\n"
    for _ in range(200):
        start = rng.randrange(len(code))
        yield code[start : start + rng.randint(1, 80)] + " " * rng.randint(0, 40)
    yield from ["", " ", "\n", "a" * 5000, " " * 3000, "ab" * 2000, "1" * 300, "<|im_start|>" * 50, "\u0301" * 40]


def main():
    tool, model = sys.argv[1:3]
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    texts = list(strings(rng))
    ours = json.loads(subprocess.run([tool, "encode", model], input=json.dumps([list(t.encode()) for t in texts]),
                                     capture_output=True, text=True, check=True).stdout)
    expected = reference(model)
    failures = 0
    for text, got in zip(texts, ours, strict=True):
        want = expected.encode(text, add_special_tokens=False).ids
        if got["special"] != want or not got["same"]:
            failures += 1
            if failures <= 5:
                print("text", repr(text), "\n  expected", want, "\n  got     ", got["special"], "round trip", got["same"])
    # Bytes that are no UTF-8 have no reference there: they must come back as they were, where the vocabulary has them.
    alphabet = [byte for byte, char in bytes_to_characters().items() if expected.token_to_id(char) is not None]
    assert len(alphabet) > 128, len(alphabet)
    noise = [bytes(rng.choice(alphabet) for _ in range(rng.randint(1, 200))) for _ in range(300)]
    ours = json.loads(subprocess.run([tool, "encode", model], input=json.dumps([list(b) for b in noise]),
                                     capture_output=True, text=True, check=True).stdout)
    failures += sum(not got["same"] for got in ours)
    print(f"{len(texts) + len(noise)} strings, {failures} differ")
    sys.exit(failures != 0)


main()
