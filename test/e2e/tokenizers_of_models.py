"""Small tokenizers of the families that the architectures' published models use, and what their references make of texts.

A family has `fields`, the keys tokenizer.ggml.* of a GGUF file; `save(folder)`, which writes a Hugging Face folder's files; `ids(text)`, from
the package `tokenizers` or `sentencepiece` (`reference`), which takes the same as `tokenize` with `options`; `size`, of the vocabulary.
"""
import functools
import io
import json
import random
import sys
import tempfile
from pathlib import Path

import sentencepiece
from conftest import ROOT

sys.path.insert(0, str(ROOT / "test" / "text"))
import families  # noqa: E402
import gguf_fields  # noqa: E402
import strings  # noqa: E402

TEXTS = 12  # of each model


def texts_of(seed):
    """Of many scripts, with what looks like special tokens."""
    return [text for text in strings.strings(random.Random(seed), 40) if 0 < len(text) < 400][-TEXTS:]


@functools.cache
def corpus():
    return strings.corpus(random.Random(5), 300)


class ByteLevel:
    """Byte-level BPE, by its name in tokenizer.ggml.pre."""

    reference, options = "tokenizers", []

    def __init__(self, name):
        family = next(family for family in families.BYTE_LEVEL if name in (family, *families.SAME.get(family, [])))
        pre_tokenizer, ignore_merges, normalizer = families.BYTE_LEVEL[family]
        self.name = f"byte-level BPE, {name}"
        self.tokenizer = families.trained(corpus(), pre_tokenizer, ignore_merges, normalizer, size=400)
        self.fields = gguf_fields.byte_level(self.tokenizer, name, eos_token_id=2, add_bos_token=False)

    @property
    def size(self):
        return self.tokenizer.get_vocab_size()

    def save(self, folder):
        self.tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids


class Json(ByteLevel):
    """What only tokenizer.json can say. They begin with <s>, which a text that does already does not get again."""

    def __init__(self, name, tokenizer):
        self.name, self.tokenizer = name, tokenizer

    def ids(self, text):
        ids = super().ids(text)
        return ids if ids[:1] == [1] else [1, *ids]

    def save(self, folder):
        self.tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))


class SentencePiece:
    # It has no texts of special tokens, and with those BOS goes.
    reference, options = "sentencepiece", ["--no-special"]

    def __init__(self, name, bos, **options):
        self.name, self.bos, out = name, bos, io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([line for text in corpus() for line in text.split("\n")]), model_writer=out, vocab_size=700, character_coverage=0.98,
            hard_vocab_limit=False, minloglevel=2, max_sentence_length=20000, byte_fallback=True, normalization_rule_name="identity",
            remove_extra_whitespaces=False, num_threads=1, **options)
        self.bytes = out.getvalue()
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=self.bytes)

    @property
    def size(self):
        return self.processor.get_piece_size()

    @property
    def fields(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tokenizer.model"
            path.write_bytes(self.bytes)
            return gguf_fields.sentencepiece(path, bos_token_id=1, eos_token_id=2, add_bos_token=self.bos)

    def save(self, folder):
        (folder / "tokenizer.model").write_bytes(self.bytes)
        (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": self.bos}))

    def ids(self, text):
        return self.processor.encode(text)


@functools.cache
def family(name):
    if name == "llama2":
        return SentencePiece("SentencePiece BPE", True, model_type="bpe")
    if name == "gemma":
        return SentencePiece("SentencePiece BPE without prefix", True, model_type="bpe", add_dummy_prefix=False)
    if name == "t5":
        return SentencePiece("SentencePiece unigram", False, model_type="unigram")
    if name == "phi3-json":
        return Json("BPE with byte fallback, tokens that strip", families.llama2(corpus(), True, False))
    if name == "gemma-json":
        return Json("BPE with byte fallback", families.llama2(corpus(), "gemma", False))
    if name == "unigram-json":
        return Json("unigram", families.unigram(corpus(), True, "first"))
    return ByteLevel(name)
