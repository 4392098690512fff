#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets: OUT/<target>/<name>. Small and whole, so that a mutation gets far.

usage: make_corpus.py SLUICE OUT
"""
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
