"""Writes the tables of docs/models.md from what a run of the tests measured.

usage: pytest test/e2e -k "architecture or gguf or folder or logits or gemma or close_to" -o junit_family=xunit1 --junitxml=FILE
       write_tables.py FILE
A test notes what it compared by the fixture `combination`.
"""
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- written by test/e2e/write_tables.py -->", "<!-- up to here -->"


def measured(path):
    """By table: what its tests noted, in their order. A test that failed says nothing."""
    tables = {}
    for case in ElementTree.parse(path).iter("testcase"):
        if case.find("failure") is None and case.find("error") is None:
            for each in case.iter("property"):
                if each.get("name") == "combination":
                    note = json.loads(each.get("value"))
                    tables.setdefault(note["table"], []).append(note)
    return tables


def table(head, rows):
    return "\n".join(["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)])


def grid(notes, by):
    """A row for each model, a column for each target, mean KL in both."""
    targets = list(dict.fromkeys(note["target"] for note in notes))
    rows = {}
    for note in notes:
        rows.setdefault(tuple(by(note)), {})[note["target"]] = f"{note['kl']:.1e}"
    return targets, [[*key, *(row.get(target, "") for target in targets)] for key, row in rows.items()]


def main():
    tables, parts = measured(sys.argv[1]), []
    if notes := tables.get("architectures"):
        parts += ["### Architectures and tokenizers, weights in F32\n", table(
            ["model", "architecture", "read from", "tokenizer", "equal texts", "RMS error", "mean KL"],
            [[note["model"], f"`{note['architecture']}`", note["source"], note["tokenizer"], f"{note['texts']} (`{note['texts_reference']}`)",
              f"{note['rel_rms']:.1e}", f"{max(note['kl'], 0):.0e}"] for note in notes])]
    if notes := tables.get("targets"):
        targets, rows = grid(notes, lambda note: [note["model"], f"`{note['architecture']}`", note["types"]])
        parts += ["\n### Architectures, types and targets: mean KL\n", table(["model", "architecture", "types", *targets], rows)]
    if notes := tables.get("types"):
        targets, rows = grid(notes, lambda note: [note["model"], note["types"]])
        parts += ["\n### Types and targets, Llama: mean KL\n", table(["model", "types", *targets], rows)]
    if notes := tables.get("folder types"):
        parts += ["\n### Types of safetensors, Llama 3.2\n", table(
            ["type", "RMS error", "mean KL"], [[note["type"], f"{note['rel_rms']:.1e}", f"{note['kl']:.1e}"] for note in notes])]
    if notes := tables.get("real"):
        parts += ["\n### Real models\n", table(
            ["model", "tokens of English", "RMS error", "mean KL", "same top token"],
            [[note["model"], str(note["tokens"]), f"{note['rel_rms']:.1e}", f"{note['kl']:.1e}", f"{note['same_top']:.1%}"] for note in notes])]
    text = PAGE.read_text()
    before, after = text[: text.index(BEGIN)], text[text.index(END):]
    PAGE.write_text(before + BEGIN + "\n\n" + "\n".join(parts) + "\n\n" + after)


main()
