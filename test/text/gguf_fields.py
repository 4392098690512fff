"""Tokenizers as the keys `tokenizer.ggml.*` of GGUF, which llama.cpp's converter writes."""
import json

from gguf import GGUFWriter


def byte_level(tokenizer, pre, **more):
    """Of a byte-level BPE tokenizer of the package `tokenizers`."""
    description = json.loads(tokenizer.to_str())
    added = {each["id"]: each for each in description["added_tokens"]}
    tokens = {**{id: token for token, id in description["model"]["vocab"].items()}, **{id: each["content"] for id, each in added.items()}}
    types = [1 if id not in added else 3 if added[id]["special"] else 4 for id in sorted(tokens)]
    return {"model": "gpt2", "pre": pre, "tokens": [tokens[id] for id in sorted(tokens)], "token_type": types,
            "merges": [" ".join(pair) for pair in description["model"]["merges"]], **more}


def sentencepiece(path, **more):
    """Of SentencePiece's own file."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    keys = {"precompiled_charsmap": normalizer.precompiled_charsmap} if normalizer.precompiled_charsmap else {}
    # As llama.cpp's converter writes them: spaces in user defined symbols are spaces.
    tokens = [piece.piece.replace("▁", " ") if piece.type == 4 else piece.piece for piece in model.pieces]
    return {"model": "llama" if trainer.model_type == 2 else "t5", "tokens": tokens, "token_type": [piece.type for piece in model.pieces],
            "scores": [piece.score for piece in model.pieces], "add_space_prefix": normalizer.add_dummy_prefix,
            "remove_extra_whitespaces": normalizer.remove_extra_whitespaces, **keys, **more}


def write(path, fields, architecture="llama"):
    """A file that has a tokenizer and nothing else."""
    writer = GGUFWriter(path, architecture)
    for key, value in fields.items():
        add = {bool: writer.add_bool, int: writer.add_uint32, str: writer.add_string}.get(type(value), writer.add_array)
        add("tokenizer.ggml." + key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
