"""Checks that every ```mlir example of the dialects' .td files parses and verifies.

usage: examples.py SLUICE-OPT FILE.td...

An example may use what it does not define: values, weights, buffers. They are declared here, by name, with the sizes of
one model that all examples describe.
"""

import re
import subprocess
import sys

WEIGHTS = {
    "token_embd": "49152x576, q8_0",
    "attn_norm": "1x576, f32",
    "attn_q": "576x576, q4_1",
    "attn_q_bias": "1x576, f32",
    "attn_k": "192x576, q4_1",
    "attn_output": "576x576, q4_1",
    "ffn_gate": "1536x576, q4_1",
    "ffn_up": "1536x576, q4_1",
}
BUFFERS = {"parts": 594, "x": 576, "h": 576, "q": 576, "k": 192, "v": 192, "attn": 576, "hidden": 1536, "rope": 192, "logits": 49152, "data": 2048, "probabilities": 49153}

# Where an operation may stand, by the first word of its example that tells.
EPILOGUE = ("read_rows", "write_rows", "add", "swiglu", "geglu", "bias", "scale", "softcap", "rope")
KINDS = ("embed", "attention", "softmax", "peak")  # phases of their own

TILES = """stream.tiles (%operand) [@{weight}] : !stream.operand<576, i8> {{
^bb0(%{argument}: !stream.lanes):
  {body}
}}"""
READ = "%values = stream.read @x : !stream.values<576>\n"
PREPARE = READ + "%operand = stream.prepare %values : !stream.values<576> -> !stream.operand<576, i8>\n"


def declarations(kind, names, text):
    """Weights or buffers of these names that the example does not declare itself."""
    if kind == "weight":
        lines = [f'llama.weight @{name} from "{name}" : !llama.weight<{type_}>' for name, type_ in names.items()]
    else:
        lines = [f"stream.buffer @{name} width {width}" for name, width in names.items()]
    return "\n".join(line for line in lines if not re.search(rf"\.{kind} {line.split()[1]}\b", text))


def model(body, text):
    weights = declarations("weight", WEIGHTS, text)
    return f'llama.model @model attributes {{architecture = "llama", context_length = 64 : i64}} {{\n{weights}\n{body}\n}}'


def undefined(text):
    """Values that are used and not defined, in order."""
    defined = set(re.findall(r"^\s*(%\w+) = ", text, flags=re.MULTILINE)) | set(re.findall(r"(%\w+):", text))
    return [name for name in dict.fromkeys(re.findall(r"%\w+", text)) if name not in defined]


def llama_values(text):
    """Results of an unregistered operation for every value that an example of a step uses."""
    types = re.findall(r"tensor<[^>]*>", text)
    lines = []
    for name in undefined(text):
        if name == "%pos":
            type_ = "index"
        elif name.startswith("%kv"):
            type_ = "!llama.cache<3x64>"
        elif name == "%ids":
            type_ = "tensor<?xi32>"
        else:
            type_ = types[0]
        lines.append(f'{name} = "example.value"() : () -> {type_}')
    return "\n".join(lines)


def program(phases, text):
    return model(f"stream.program @p max_tokens 1 {{\n{declarations('buffer', BUFFERS, text)}\n{phases}\n}}", text)


def phase(body, text):
    return program(f'stream.phase "example" {{\n{body}\n}}', text)


def wrap(operation, text):
    """The example as a whole module."""
    dialect, name = operation.split(".")
    if dialect == "llama":
        if name == "model":
            return text
        if name in ("weight", "block", "graph"):
            return model(text, text)
        block = (
            "llama.block @blk(%in: tensor<?x576xf32>, %p: index, %c: !llama.cache<3x64>) {\n"
            "llama.yield %in : tensor<?x576xf32>\n}"
        )
        # `func.func` and not a block, whose arguments would fix the names.
        return model(f"{block}\nfunc.func @example() {{\n{llama_values(text)}\n{text}\nreturn\n}}", text)
    if name == "program":
        return model(text, text)
    if name in ("buffer", "phase", "repeat"):
        return program(text, text)
    if name in KINDS:
        return phase(text, text)
    if name == "append":
        return phase(text + "\nstream.attention @q, @attn heads 9 : !llama.cache<3x64>", text + "@q @attn")
    if name == "rope_table":
        return phase(text + "\nstream.embed @token_embd, @x", text)
    if name in EPILOGUE:
        weight = "ffn_gate" if "@hidden" in text else "attn_q"
        unknown = undefined(text) or ["%y"]
        rest = [f"{value} = stream.add {unknown[0]}, {unknown[0]}" for value in unknown[1:]]
        return phase(PREPARE + TILES.format(weight=weight, argument=unknown[0][1:], body="\n".join([*rest, text])), text)
    # The prologue, and tiles themselves. A phase needs tiles: an example without them gets one.
    lines = []
    if name in ("prepare", "rms_norm", "sum", "write"):
        lines = [f"{value} = stream.read @x : !stream.values<576>" for value in undefined(text)]
    if name == "tiles":
        operands = "stream.prepare %values : !stream.values<576> -> !stream.operand<576, i8>"
        lines = [READ, *(f"{value} = {operands}" for value in undefined(text))]
        return phase("\n".join([*lines, text]), text)
    tiles = PREPARE + TILES.format(weight="attn_q", argument="row", body="stream.write_rows %row, @q")
    return phase("\n".join([*lines, text, tiles]), text)


def main():
    tool, *files = sys.argv[1:]
    failures = 0
    for path in files:
        with open(path, encoding="utf-8") as file:
            source = file.read()
        dialect = re.search(r"(\w+)/\w+Ops\.td", path).group(1)
        # An operation's definition reaches to the next one.
        for definition in re.split(r"^def ", source, flags=re.MULTILINE)[1:]:
            mnemonic = re.match(r'\w+Op : \w+Op<"(\w+)"', definition)
            if not mnemonic:
                continue
            operation = f"{dialect}.{mnemonic.group(1)}"
            examples = re.findall(r"```mlir\n(.*?)```", definition, flags=re.DOTALL)
            print(f"{operation}: {len(examples)}")
            if not examples and operation not in ("llama.yield", "llama.return"):
                print(f"{operation}: has no example", file=sys.stderr)
                failures += 1
            for example in examples:
                module = wrap(operation, example)
                command = [tool, "--allow-unregistered-dialect", "-o", "/dev/null"]
                run = subprocess.run(command, input=module, text=True, capture_output=True, check=False)
                if run.returncode != 0 or operation not in example:
                    print(f"{operation}: {run.stderr or 'is not in its own example'}\n{module}", file=sys.stderr)
                    failures += 1
    sys.exit(1 if failures else 0)


main()
