"""Small tokenizers of every family, trained here with the components of the published tokenizer.json files."""
import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.pre_tokenizers import ByteLevel, Digits, Metaspace, Punctuation, Split

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
START = r"[^\r\n\p{L}\p{N}]?"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{CONTRACTIONS}|{LETTERS}|\p{{N}}{{1,3}}|{SYMBOLS}|{REST}"
QWEN2 = rf"{CONTRACTIONS}|{LETTERS}|\p{{N}}|{SYMBOLS}|{REST}"
TEKKEN = rf"{START}{UPPER}*{LOWER}+|{START}{UPPER}+{LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{REST}"
GPT4O = (rf"{START}{UPPER}*{LOWER}+{CONTRACTIONS}?|{START}{UPPER}+{LOWER}*{CONTRACTIONS}?|\p{{N}}{{1,3}}"
         rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{REST}")
SEED = rf"{CONTRACTIONS}|{LETTERS}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{REST}"
DEEPSEEK_LETTERS = (
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1F7Dᾀ-ᾴᾶ-ᾼ\u1FBEῂ-ῄῆ-ῌῐ-\u1FD3ῖ-\u1FDBῠ-Ῥῲ-ῴῶ-ῼ"
    "ℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212A-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+")
DEEPSEEK_V3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"""
               + REST)
VIKING = r" ?[^(\s|.,!?…。，、।۔،)]+"


def split(*patterns):
    """The patterns one after another, then bytes."""
    return pre_tokenizers.Sequence([Split(Regex(p), "isolated") for p in patterns] + [ByteLevel(add_prefix_space=False, use_regex=False)])


def words(*before):
    return pre_tokenizers.Sequence([*before, ByteLevel(add_prefix_space=False)])


DIGITS = Digits(individual_digits=True)
# By name of `tokenizer.ggml.pre`: pre-tokenizer, ignore_merges, normalizer
BYTE_LEVEL = {
    "gpt-2": (ByteLevel(add_prefix_space=False), False, None),
    "smollm": (words(DIGITS), False, None),
    "minicpm5": (words(Split(Regex(r"\p{N}{1,3}"), "isolated")), True, None),
    "llama-bpe": (split(LLAMA3), True, None),
    "dbrx": (split(LLAMA3), False, None),
    "qwen2": (split(QWEN2), False, normalizers.NFC()),
    "deepseek-r1-qwen": (split(QWEN2), False, None),
    "seed-coder": (split(SEED), False, None),
    "tekken": (split(TEKKEN), True, None),
    "gpt-4o": (split(GPT4O), False, None),
    "deepseek-llm": (split(r"[\r\n]", DEEPSEEK_LETTERS, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}+"), False, None),
    "deepseek-coder": (split(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}"), False, None),
    "deepseek-v3": (split(r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK_V3), False, None),
    "viking": (split(VIKING, r"\p{N}"), False, None),
}
SAME = {"gpt-2": ["mpt", "olmo", "phi-2", "trillion", "granite-docling", "mellum", "a.x-4.0"],
        "smollm": ["starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
        "llama-bpe": ["llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        "dbrx": ["smaug-bpe"], "deepseek-r1-qwen": ["megrez", "stablelm2", "kormo"], "gpt-4o": ["llama4", "kanana2"]}

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>"]


def trained(corpus, pre_tokenizer, ignore_merges=False, normalizer=None, size=1500):
    """Byte-level BPE."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIALS, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def rebuilt(tokenizer, change):
    """The tokenizer after `change` of its JSON."""
    description = json.loads(tokenizer.to_str())
    change(description)
    return Tokenizer.from_str(json.dumps(description))


def with_bytes(description, specials=("<unk>", "<s>", "</s>")):
    """Adds tokens for the 256 bytes to a vocabulary, behind its special ones."""
    model = description["model"]
    model["byte_fallback"] = True
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    if model["type"] == "BPE":
        taken = len(model["vocab"])
        model["vocab"].update({name: taken + i for i, name in enumerate(names)})
        model["unk_token"], model["fuse_unk"] = "<unk>", True
    else:
        model["vocab"] += [[name, -20.0] for name in names]


def llama2(corpus, legacy, rich):
    """BPE over characters with byte fallback: Llama 2, Mistral, TinyLlama, Phi-3 (legacy), Mistral v3, Gemma."""
    tokenizer = Tokenizer(models.BPE())
    if legacy == "gemma":
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = Split(" ", "merged_with_previous")
    elif legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = Metaspace(replacement="▁", prepend_scheme="first", split=False)
    tokenizer.train_from_iterator([line for text in corpus for line in text.split("\n")], trainers.BpeTrainer(
        vocab_size=1200 if rich else 400, special_tokens=["<unk>", "<s>", "</s>"], limit_alphabet=300 if rich else 60, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    tokenizer = rebuilt(tokenizer, with_bytes)
    strip = [] if legacy == "gemma" else [decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    if legacy == "gemma":
        tokenizer.add_tokens([AddedToken(text, normalized=False) for text in ["\n\n", "\n\n\n", "▁▁", "▁▁▁▁", "<table>", "\t\t"]])
    elif legacy:  # as Phi-3: white space behind its tokens goes
        tokenizer.add_special_tokens([AddedToken("<|user|>", rstrip=True, normalized=False), AddedToken("<special>", lstrip=True, normalized=False)])
        tokenizer.add_tokens([AddedToken("wordy", normalized=True), AddedToken("quick", single_word=True, normalized=True)])
    return tokenizer


def unigram(corpus, byte_fallback, scheme):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = Metaspace(replacement="▁", prepend_scheme=scheme, split=scheme != "never")
    tokenizer.train_from_iterator(corpus, trainers.UnigramTrainer(
        vocab_size=900, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme)
    return rebuilt(tokenizer, with_bytes) if byte_fallback else tokenizer


def falcon(corpus):
    """Splits what ByteLevel has made, seen as the bytes' stand-ins."""
    return trained(corpus, pre_tokenizers.Sequence([Punctuation("contiguous"), ByteLevel(add_prefix_space=False), Digits(individual_digits=False),
                                                    Split(Regex("[0-9][0-9][0-9]"), "isolated")]))


def random_tokenizer(base, rng):
    """Any mixture of normalizers, splits and flags of added tokens around the vocabulary of `base`."""
    patterns = [r"\s+", r"\p{L}+|\p{N}+", r"[a-z]", r"\p{Lu}\p{Ll}*", r"(?i:the|quick)", r"[^\s\w]", r"\w+?", r"a(b|c)?|[d-g]{2,3}", r"\n|\r\n", r" ",
                r"[\p{L}&&[^a-z]]+", r"\S+(?=\s)", r"\d(?!\d)", r"(?:ab)+|.", r"[^\P{L}x]+", r"\x41|\u00e9"]
    behaviors = ["isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"]
    steps = []
    for _ in range(rng.randint(0, 3)):
        kind = rng.random()
        if kind < 0.6:
            pattern = rng.choice(patterns)
            steps.append(Split(Regex(pattern), rng.choice(behaviors), invert=rng.random() < 0.3))
        elif kind < 0.75:
            steps.append(Digits(individual_digits=rng.random() < 0.5))
        elif kind < 0.9:
            steps.append(Punctuation(rng.choice(behaviors)))
        else:
            steps.append(rng.choice([pre_tokenizers.Whitespace(), pre_tokenizers.WhitespaceSplit(), pre_tokenizers.CharDelimiterSplit("e")]))
    steps.append(ByteLevel(add_prefix_space=rng.random() < 0.3, use_regex=rng.random() < 0.5))
    forms = [normalizers.NFC(), normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD()]
    changes = [rng.choice(forms)] if rng.random() < 0.6 else []
    if rng.random() < 0.3:
        changes.append(normalizers.Strip(left=rng.random() < 0.5, right=rng.random() < 0.5))
    if rng.random() < 0.3:
        changes.append(normalizers.Replace(rng.choice(["a", "don't", Regex(r"\s+"), Regex(r"\p{N}")]), rng.choice(["", "xyz", " "])))
    ignore_merges = rng.random() < 0.5
    tokenizer = rebuilt(base, lambda description: description["model"].update(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    if changes:
        tokenizer.normalizer = normalizers.Sequence(changes)
    regex = any("Regex" in json.dumps(each) for each in json.loads(tokenizer.to_str())["normalizer"]["normalizers"]) if changes else False
    trims = any(isinstance(each, normalizers.Strip) for each in changes)  # a token of white space would become empty
    strips = rng.random() < 0.5  # then no token of white space alone: the reference panics where one is stripped by another
    for text in ["quick", " fox", "naïve", "fe\u0301", "ab", "<user>", "\n\n", "don", "ｱ"]:
        if rng.random() < 0.5 and not ((strips or trims) and not text.strip()):
            token = AddedToken(text, single_word=rng.random() < 0.3, lstrip=strips and rng.random() < 0.3, rstrip=strips and rng.random() < 0.3,
                               normalized=rng.random() < 0.5 and not regex)
            (tokenizer.add_special_tokens if rng.random() < 0.5 else tokenizer.add_tokens)([token])
    return tokenizer


STRIPPED = ["x_b", "_x_b_b_b", "x_x__b", "a_b_b_c", "x__a", "_b_", "x__x", "xb_x_"]


def stripping(base):
    """Added tokens that take the white space beside them, and such as begin or end with it: where two of them want the same."""
    for text in (" b", "b ", " b ", " "):
        for flags in range(8):
            left, right, normalized = flags & 1 > 0, flags & 2 > 0, flags & 4 > 0
            if left and not text.strip():  # the reference panics
                continue
            tokenizer = rebuilt(base, lambda description: None)
            if normalized:  # a text without white space has some by then; the first token becomes the second in some of these
                tokenizer.normalizer = normalizers.Replace("a", " ")
            tokenizer.add_tokens([AddedToken("x", lstrip=text.endswith(" "), rstrip=True, normalized=normalized)])
            tokenizer.add_tokens([AddedToken(text, lstrip=left, rstrip=right, normalized=normalized)])
            yield f"{text!r} {flags}", tokenizer
