"""The logits of a GGUF model by llama.cpp (PyPI's llama-cpp-python): a second reference, made by others.

usage: llama_cpp.py MODEL.gguf --tokens FILE --logits OUT.npy
"""
import argparse
import ctypes
import sys

sys.path[:] = [p for p in sys.path if not p.endswith("reference")]  # this file is called like the package
import llama_cpp as lib
import numpy as np


def logits(path, ids):
    silent = lib.llama_log_callback(lambda *_: None)
    lib.llama_log_set(silent, ctypes.c_void_p(0))
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
    if not model:
        sys.exit(f"llama.cpp cannot load {path}")
    params = lib.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = max(512, len(ids))
    params.n_threads = params.n_threads_batch = 2
    params.type_k = params.type_v = lib.GGML_TYPE_F32
    params.swa_full = True
    context = lib.llama_init_from_model(model, params)
    batch = lib.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
    if lib.llama_decode(context, batch) != 0:
        sys.exit("llama_decode failed")
    vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    return np.ctypeslib.as_array(lib.llama_get_logits(context), (len(ids), vocabulary)).copy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tokens", required=True)
    parser.add_argument("--logits", required=True)
    arguments = parser.parse_args()
    np.save(arguments.logits, logits(arguments.model, [int(word) for word in open(arguments.tokens).read().split()]))
