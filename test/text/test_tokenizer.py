"""The tokenizer against PyPI's `tokenizers`, built from the same vocabulary and merges: equal ids for thousands of strings.

usage: test_tokenizer.py TEXT_TOOL MODEL.gguf [SEED]
The model's own pre-tokenizer is compared, then the others with the model's vocabulary, and characters of all kinds.
"""
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gguf import GGUFReader, GGUFWriter
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
REST = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PATTERNS = {  # as in the tokenizer.json of GPT-2, Llama 3, Qwen 2 and Mistral Nemo
    "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|" + LETTERS + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + REST,
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|" + LETTERS + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + REST,
    "tekken": rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
              r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + REST,
}
WHOLE_WORDS = {"llama-bpe", "tekken"}


class Vocabulary:
    def __init__(self, path):
        fields = GGUFReader(path).fields
        self.tokens = fields["tokenizer.ggml.tokens"].contents()
        self.types = fields["tokenizer.ggml.token_type"].contents()
        self.merges = fields["tokenizer.ggml.merges"].contents()
        self.pre = fields["tokenizer.ggml.pre"].contents()

    def write(self, path, pre):
        writer = GGUFWriter(path, "llama")
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        writer.add_token_merges(self.merges)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def reference(self, pre):
        """The tokenizer that the model's publisher ships, from the fields of the GGUF file."""
        tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(self.tokens)},
                                         [tuple(line.split(" ")) for line in self.merges], ignore_merges=pre in WHOLE_WORDS))
        if pre == "smollm":
            split = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        else:
            split = [pre_tokenizers.Split(Regex(PATTERNS[pre]), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(self.tokens, self.types) if k == 3])
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


def encode(tool, model, texts):
    lists = json.dumps([list(text) for text in texts])
    return json.loads(subprocess.run([tool, "encode", model], input=lists, capture_output=True, text=True, check=True).stdout)


def known_bytes(reference):
    """The bytes that the vocabulary has; both sides drop the others."""
    return {byte for byte, char in bytes_to_characters().items() if reference.token_to_id(char) is not None}


def differing(tool, model, reference, texts):
    failures = 0
    known = known_bytes(reference)
    for text, got in zip(texts, encode(tool, model, [text.encode() for text in texts]), strict=True):
        want = reference.encode(text, add_special_tokens=False).ids
        if got["special"] != want or got["same"] != known.issuperset(text.encode()):
            failures += 1
            if failures <= 5:
                print("text", ascii(text), "\n  expected", want, "\n  got     ", got["special"], "round trip", got["same"])
    return failures


def main():
    tool, model = sys.argv[1:3]
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    vocabulary = Vocabulary(model)
    assert vocabulary.pre == "smollm", vocabulary.pre
    reference = vocabulary.reference("smollm")
    texts = list(strings(rng))
    count, failures = len(texts), differing(tool, model, reference, texts)

    points = [*range(0x3000), 0xFEFF, *(rng.choice([*range(0x3000, 0xD800), *range(0xE000, 0x20000)]) for _ in range(3000))]
    texts = texts[::5] + [f"a{chr(point)} {chr(point)}b1 " for point in points] + ["it'\u017f 'Re 'LL 1234567 1\u00bd\uff12 \r\n\r\n  \r\n x/\n"]
    with tempfile.TemporaryDirectory() as folder:
        for pre in ["smollm", *PATTERNS]:
            other = str(Path(folder) / "vocabulary.gguf")
            vocabulary.write(other, pre)
            different = differing(tool, other, vocabulary.reference(pre), texts)
            print(f"{pre}: {len(texts)} strings, {different} differ")
            count, failures = count + len(texts), failures + different
        vocabulary.write(other, "no-such-words")
        refusal = subprocess.run([tool, "encode", other], input="[]", capture_output=True, text=True)
        if refusal.returncode == 0 or "'no-such-words'" not in refusal.stderr or "llama-bpe" not in refusal.stderr:
            print("an unknown pre-tokenizer: expected an error with its name and the known ones, got", refusal)
            failures += 1

    # Bytes that are no UTF-8 have no reference there: they must come back as they were, where the vocabulary has them,
    # and must not change how the text around them is split.
    alphabet = sorted(known_bytes(reference))
    assert len(alphabet) > 128, len(alphabet)
    noise = [bytes(rng.choice(alphabet) for _ in range(rng.randint(1, 200))) for _ in range(300)]
    failures += sum(not got["same"] for got in encode(tool, model, noise))
    byte = reference.token_to_id(bytes_to_characters()[0x80])
    pairs = [(rng.choice(texts), rng.choice(texts)) for _ in range(300)]
    for pair, got in zip(pairs, encode(tool, model, [left.encode() + b"\x80" + right.encode() for left, right in pairs]), strict=True):
        left, right = (reference.encode(text, add_special_tokens=False).ids for text in pair)
        failures += got["special"] != [*left, byte, *right]

    # Time grows with the text, not with its square: of one huge word, and of many small ones.
    for text in [b"a" * (1 << 20), b"it is 12 " * (1 << 17)]:
        start = time.monotonic()
        [got] = encode(tool, model, [text])
        if not got["same"] or time.monotonic() - start > 20:
            print("a long text: expected its bytes back within 20 s, took", time.monotonic() - start)
            failures += 1
    print(f"{count + len(noise) + 300} strings, {failures} differ")
    sys.exit(failures != 0)


main()
