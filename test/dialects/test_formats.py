"""Every weight format, decoded as its description says, has the bits that the package `gguf` gives.

usage: test_formats.py FORMAT_TOOL
Blocks are random bits, fresh in every run (the seed is printed): scales that are subnormal, infinite or not a number included.
"""
import random
import subprocess
import sys

import numpy as np
from gguf import GGMLQuantizationType
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

tool = sys.argv[1]
seed = random.randrange(1 << 31)
print("seed", seed)
rng = np.random.default_rng(seed)
failed = False
formats = [line.split() for line in subprocess.run([tool], capture_output=True, check=True, text=True).stdout.splitlines()]
assert len(formats) >= 16, formats
for name, number in formats:
    kind = GGMLQuantizationType(int(number))
    assert kind.name.lower() == name, (kind, name)
    elements, size = GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (max(2000, 4000 // elements), size), dtype=np.uint8)
    if elements > 1:  # moderate scales in half of the blocks, where most bits of the result matter
        blocks[::2] = np.where(rng.random((len(blocks[::2]), size)) < 0.5, blocks[::2] & 0x3F, blocks[::2])
    ours = np.frombuffer(subprocess.run([tool, name], input=blocks.tobytes(), capture_output=True, check=True).stdout, np.float32)
    with np.errstate(all="ignore"):
        data = blocks.reshape(-1).view(np.dtype({"F32": np.float32, "F16": np.float16}.get(kind.name, np.uint8)))
        theirs = dequantize(data if elements == 1 else blocks, kind).astype(np.float32).reshape(-1)
    same = (ours.view(np.uint32) == theirs.view(np.uint32)) | (np.isnan(ours) & np.isnan(theirs))
    if not same.all():
        at = int(np.argmin(same))
        print(f"{name}: {np.count_nonzero(~same)} of {len(same)} differ; element {at % elements}: {ours[at]!r}, expected {theirs[at]!r}")
        failed = True
sys.exit(failed)
