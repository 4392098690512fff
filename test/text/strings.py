"""Random strings of many kinds, for comparing tokenizers."""
import unicodedata

from tokenizers import normalizers, pre_tokenizers

WORDS = (
    "the quick brown fox don't we'll I'M it'S they'Re o'clock naïve café fé fe\u0301 Straße ΑΒΓ ελληνικά Привет мир 你好 世界 日本語 テスト カタカナ 한국어 "
    "العربية עברית हिन्दी বাংলা தமிழ் ไทยภาษา ქართული Հայերեն አማርኛ ᏣᎳᎩ မြန်မာ ភាសាខ្មែរ 👍🏽 👨‍👩‍👧 🇩🇪 🏳️‍🌈 😀 e\u0301 o\u0308\u0304 ﬁ Ⅷ ½ ² ٣ १२३ ４２ 3.14 1e-9 "
    "0xFF 12345678 007 _a_b_ __init__ CamelCaseWord SHOUTING => != <= && || :: -> /* */ // # { } [ ] ( ) <|im_start|> <|im_end|> <|endoftext|> "
    "<|im_star <s> </s> <unk> <0x41> [INST] [/INST] <special> <user> wordy ▁ ▁▁ ▁a Ġ Ċ \u00a0 \u2003 \u200b \u200d \ufeff \x00 \x7f \u0301 \u3099 "
    "\u1100\u1161\u11a8 가 각 ſ K Å Ω ǅ ß İ ı \u0345 ％ ～ — … “quoted” l’été don’t $100 €5 50% a@b.org http://x.y/z?q=1&r=2 #tag a\u0323\u0307 ά ὰ ﷺ ㌔ ①"
).split(" ")
BLANKS = [" ", "  ", "   ", "\n", "\n\n", "\t", " \n", "\n ", "\r\n", "\u00a0", "        ", "\u3000", "\n\n\n", "\t\t", " \t ", "\u2028", "\x85"]
CODE = (
    "def f(x):\n    return x ** 2  # square\n\nclass A:\n\tpass\n\nint main(void) { return 0; }\nfor (auto &x : v)\n        x += 1;\n"
    "SELECT * FROM t WHERE a = 'b';\n<p class=\"x\">text</p>\n{\"key\": [1, 2.5, null]}\n\\begin{equation} e^{i\\pi} \\end{equation}\n"
)
RANGES = [(32, 127), (160, 0x24F), (0x250, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF), (0x0E00, 0x10FF), (0x1100, 0x11FF),
          (0x1E00, 0x1FFF), (0x2000, 0x2BFF), (0x3000, 0x30FF), (0x3100, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFFFD), (0x10000, 0x1F0FF),
          (0x1F000, 0x1FAFF), (0x20000, 0x2FFFF), (0, 0xD7FF)]


FORMS = [normalizers.NFC(), normalizers.NFKC()]
PUNCTUATION = pre_tokenizers.Punctuation()


def character(rng):
    """A character that Unicode assigned long ago: the reference's normalisation forms and punctuation are those of Unicode 9."""
    while True:
        c = chr(rng.randint(*rng.choice(RANGES)))
        probe = "a\u0316" + c + "\u0300\u0345" + c
        if unicodedata.category(c)[0] == "P" and len(PUNCTUATION.pre_tokenize_str("a" + c)) == 1:
            continue
        if unicodedata.category(c) != "Cn" and all(form.normalize_str(probe) == unicodedata.normalize(type(form).__name__, probe) for form in FORMS):
            return c


def corpus(rng, count):
    """Texts to train on: words and code of the kinds that `strings` has."""
    texts = ["".join(rng.choice(WORDS) + rng.choice(BLANKS[:4] + [" "] * 8) for _ in range(20)) for _ in range(count)]
    return texts + [CODE] * 20


def strings(rng, count):
    """`count` strings, some of them fixed, all valid Unicode without surrogates."""
    out = ["", " ", "\n", "  ", "a", "a" * 3000, " " * 2000, "ab" * 1000, "1" * 301, "\u0301" * 40, "\n" * 100, " \n" * 50, "▁" * 30, "<s>" * 20,
           "AAAaaa" * 50, "é" * 300, "ab " * 300]
    while len(out) < count:
        kind = rng.random()
        if kind < 0.6:
            text = "".join(rng.choice(WORDS) + rng.choice(BLANKS + [""] * 12) for _ in range(rng.randint(1, 16)))
        elif kind < 0.75:
            text = "".join(character(rng) for _ in range(rng.randint(0, 50)))
        elif kind < 0.85:
            start = rng.randrange(len(CODE))
            text = CODE[start : start + rng.randint(1, 80)] + " " * rng.randint(0, 40)
        elif kind < 0.93:  # words and single characters of any kind
            text = "".join(rng.choice([rng.choice(WORDS), character(rng), " ", rng.choice(BLANKS)]) for _ in range(rng.randint(1, 30)))
        else:
            text = "".join(rng.choice(" aAbB12'<>|\n\t.,é") for _ in range(rng.randint(1, 60)))
        out.append(text)
    return out
