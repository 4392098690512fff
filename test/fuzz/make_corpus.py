#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets: OUT/<target>/<name>. Small and whole, so that a mutation gets far.

usage: make_corpus.py SLUICE OUT
"""
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sluice, out = sys.argv[1], Path(sys.argv[2])


def put(target, name, data):
    folder = out / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def without_code(data):
    """A compiled model's file with one page in the place of its machine code. See runtime/abi.h."""
    page = 4096
    header_at = struct.unpack_from("<Q", data, len(data) - 32)[0]
    weights_at = struct.unpack_from("<Q", data, header_at)[0]
    moved = bytearray(data[:page] + data[weights_at:])
    shift = weights_at - page
    for section in range(8):
        at = header_at - shift + 24 * section
        struct.pack_into("<Q", moved, at, struct.unpack_from("<Q", moved, at)[0] - shift)
    struct.pack_into("<QQ", moved, len(moved) - 40, len(moved), header_at - shift)
    return bytes(moved)


models = {
    "plain": ["--type", "f16", "--layers", "1"],
    "mixed": ["--type", "q4_1", "--layers", "2", "--override", "blk.1.attn_v=q8_0", "--override", "ffn_down=bf16", "--kv-heads", "2"],
    "separate": ["--type", "q4_0", "--separate", "--rope-freqs", "--rotated", "8"],
}
with tempfile.TemporaryDirectory() as folder:
    for name, options in models.items():
        gguf, packed = Path(folder) / f"{name}.gguf", Path(folder) / name
        subprocess.run([sys.executable, ROOT / "tools" / "make-gguf.py", gguf, "--width", "32", "--heads", "2", "--ffn", "32",
                        "--vocab", "280", "--context", "64", *options], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([sluice, "compile", gguf, "-o", packed, "-q", "--target=x86-64"], check=True)
        put("gguf", name, gguf.read_bytes())
        put("packed", name, without_code(packed.read_bytes()))



def bundle(files):
    """See InputFolder.h."""
    return b"".join(b"=== " + name.encode() + b"\n" + data for name, data in files)


def small(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


sys.path.insert(0, str(ROOT / "test" / "e2e"))
import folders  # noqa: E402

folders.COMMON.update(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, vocab_size=260)
with tempfile.TemporaryDirectory() as name:
    for kind, dtype in (("llama3.2", "F16"), ("gemma3", "BF16"), ("qwen2", "F32")):
        folder = folders.make_folder(Path(name) / kind, kind, dtype, 0)
        put("folder", kind, bundle((file.name, file.read_bytes()) for file in sorted(folder.iterdir())))
    folder = folders.make_folder(Path(name) / "two", "llama", "F16", 0, shards=2)
    renamed = {f"model-0000{i + 1}-of-00002.safetensors": f"{'ab'[i]}.safetensors" for i in range(2)}
    index = (folder / "model.safetensors.index.json").read_text()
    for old, new in renamed.items():
        index = index.replace(old, new)
    (folder / "model.safetensors.index.json").write_text(index)
    put("folder", "shards", bundle((renamed.get(file.name, file.name), file.read_bytes()) for file in sorted(folder.iterdir())))

letters = {chr(c): c - 97 for c in range(97, 123)}
added = [{"id": 30, "content": "<|im_end|>", "special": True, "lstrip": False, "rstrip": True, "normalized": False, "single_word": False}]
tokenizers = {
    "bytelevel": {"added_tokens": added, "normalizer": {"type": "NFC"},
                  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                      {"type": "Split", "pattern": {"Regex": r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)|\s+"},
                       "behavior": "Isolated", "invert": False},
                      {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
                  "decoder": {"type": "ByteLevel"}, "post_processor": None,
                  "model": {"type": "BPE", "vocab": letters | {"ab": 26, "abc": 27}, "merges": ["a b", "ab c"], "ignore_merges": True}},
    "sentencepiece": {"added_tokens": [], "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
        "pre_tokenizer": None, "decoder": {"type": "ByteFallback"},
        "model": {"type": "BPE", "byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>",
                  "vocab": {"<unk>": 0, "\u2581": 1} | {f"<0x{i:02X}>": i + 2 for i in range(256)} | {"a": 258, "\u2581a": 259},
                  "merges": [["\u2581", "a"]]}},
    "unigram": {"added_tokens": [], "normalizer": {"type": "NFKC"}, "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581"},
                "decoder": {"type": "Metaspace", "replacement": "\u2581"},
                "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["\u2581a", -1.5], ["b", -2.0]], "byte_fallback": False}},
}
for name, description in tokenizers.items():
    put("tokenizer", name, bundle([("tokenizer.json", small({"version": "1.0", "truncation": None, "padding": None, **description})),
                                   ("tokenizer_config.json", small({"bos_token": "a", "eos_token": {"content": "<|im_end|>"}, "add_bos_token": True,
                                                                    "chat_template": "{{ bos_token }}{{ messages[0].content }}"})),
                                   ("generation_config.json", small({"eos_token_id": [1, 2]}))]))


def field(number, wire, value):
    return bytes([number << 3 | wire]) + value


pieces = b"".join(field(1, 2, bytes([len(p)]) + p) for p in (
    field(1, 2, bytes([len(t)]) + t) + field(2, 5, struct.pack("<f", s)) + field(3, 0, bytes([k]))
    for t, s, k in [(b"<unk>", 0, 2), (b"<s>", 0, 3), (b"</s>", 0, 3), (b"<0x0A>", 0, 6), (b"\xe2\x96\x81", -1, 1), (b"a", -2, 1)]))
put("tokenizer", "protobuf", bundle([("tokenizer.model", pieces + field(2, 2, b"\x02" + field(3, 0, b"\x02")) + field(3, 2, b"\x00"))]))

templates = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n'}}"
              "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "macro": "{%- macro m(a, b=1) -%}{{ a ~ b }}{%- endmacro -%}{% for x in messages if x %}{{ m(x.role)|upper }}"
             "{{ x.content[1:]|trim }}{{ loop.index is odd }}{% else %}{{ 1.5 + -2 }}{% endfor %}",
    "namespace": "{% set ns = namespace(a=[], n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% if m.role == 'system' %}"
                 "{% set ns.a = ns.a + [m.content|trim] %}{% elif loop.last %}{% continue %}{% endif %}{% endfor %}"
                 "{{ ns.a|join(', ')|default('none') }}{{ ns.n }}{{ strftime_now('%d %b %Y') }}",
    "errors": "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}",
    "filters": "{{ [3, 1, 2]|sort|first }}{{ {'a': 1}|tojson(indent=2) }}{{ 'x'|replace('x', 'y')|length }}"
               "{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|list }}"
               "{{ range(10)|batch(3)|list if range is defined }}{{ 'a,b'.split(',')|last }}{{ 'abc'[::-1] }}{{ 7 // 2 ** 3 }}",
    "blocks": "{% set x %}body{% endset %}{% filter upper %}{{ x }}{% endfilter %}{# comment #}{% raw %}{{ no }}{% endraw %}"
              "{% call m() %}inner{% endcall %}{{ caller() if caller else x is string and x is not none }}",
}
for name, source in templates.items():
    put("template", name, source.encode())

lines = {
    "generate": ["-p", "Hello", "-n", "4", "--temp", "0.5", "-s", "1", "--top-k=3"],
    "llama": ["-sys", "Be brief", "-st", "-cnv", "-f", "file"],
    "bench": ["bench", "-p", "1,2", "-n", "3", "-d", "0,5", "-t", "1,2", "-o", "json", "--profile"],
    "eval": ["eval", "--tokens", "ids", "--logits", "out.npy", "--step", "-c", "16", "--cache-type", "q8_0"],
    "perplexity": ["perplexity", "text", "--chunks", "2", "--json"],
    "help": ["template", "--help"],
    "numbers": ["-n", "99999999999999999999", "-s", "-1"],
    "ids": ["1 2,3\n-4 2147483648"],
}
for name, words in lines.items():
    put("options", name, "\0".join(words).encode())
