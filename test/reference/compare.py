"""How far logits are from a reference: mean KL divergence, share of equal top tokens, largest difference.

usage: compare.py REFERENCE.npy OURS.npy
"""
import sys

import numpy as np


def log_softmax(logits):
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def compare(reference, ours):
    """A dict: kl (mean over positions of KL(reference || ours), nats), same_top, max_abs, rel_rms."""
    assert reference.shape == ours.shape, (reference.shape, ours.shape)
    assert np.isfinite(ours).all(), "logits are not finite"
    p, q = log_softmax(reference), log_softmax(ours)
    difference = np.asarray(ours, dtype=np.float64) - reference
    return {
        "kl": float((np.exp(p) * (p - q)).sum(axis=-1).mean()),
        "same_top": float((reference.argmax(axis=-1) == ours.argmax(axis=-1)).mean()),
        "max_abs": float(np.abs(difference).max()),
        "rel_rms": float(np.sqrt((difference**2).mean() / (reference**2).mean())),
    }


if __name__ == "__main__":
    for name, value in compare(np.load(sys.argv[1]), np.load(sys.argv[2])).items():
        print(f"{name:9} {value:.6g}")
