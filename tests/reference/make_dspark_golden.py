#!/usr/bin/env python3
"""Writes a tiny checkpoint with DSpark stages, and what the NumPy reference drafts on it, into DIR.

  make_dspark_golden.py DIR

goldens.safetensors: tokens I32 [T]; lengths I32 [N]: tokens of the text, the last of which is the one to go on from; and per length
and mode (exact, released) tokens I32 [B], logits F32 [B, V], confidence F32 [B]; released.hidden BF16 [T, targets D]: the streams' means that released drafts were made from. tests/goldens/tiny-dspark was made with it.
"""
import random
import sys

import numpy as np

import make_checkpoint
from v4_reference import V4Reference, bf16_encode, write_safetensors

LENGTHS = (2, 40, 128, 129, 160)  # tokens: within the window, filling it, past it


def main():
    out = sys.argv[1]
    sys.argv = ["make_checkpoint.py", out, "--preset", "tiny", "--seed", "5", "--dspark"]
    make_checkpoint.main()
    r = random.Random(5)
    tokens = [r.randrange(make_checkpoint.PRESETS["tiny"]["vocab_size"]) for _ in range(max(LENGTHS))]
    tensors = {"tokens": ("I32", np.array(tokens, np.int32)), "lengths": ("I32", np.array(LENGTHS, np.int32))}
    for mode in ("exact", "released"):
        m = V4Reference(out, rounding=mode == "released")
        rows, hidden = [], []
        for i, t in enumerate(tokens):
            streams = []
            m.step(t, streams)
            rows.append(m.dspark_rows(streams, i))
            hidden.append(m.dspark_hidden(streams))
        if mode == "released":
            tensors["released.hidden"] = ("BF16", bf16_encode(np.stack(hidden)))
        for n in LENGTHS:
            guesses, logits, confidence = m.dspark_draft(rows[:n - 1], tokens[n - 1])
            tensors |= {f"{mode}.{n}.tokens": ("I32", np.array(guesses, np.int32)), f"{mode}.{n}.logits": ("F32", logits.astype(np.float32)),
                        f"{mode}.{n}.confidence": ("F32", confidence)}
    write_safetensors(f"{out}/goldens.safetensors", tensors)


if __name__ == "__main__":
    main()
