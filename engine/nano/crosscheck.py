"""Holds the trainer's forward pass against the engine's.

  crosscheck.py --bin build/bin [--state run/state.pt] [--tokens 700]

Exports the model (without --state a fresh one with random weights, seed 1), has `lares model logits --mode exact` evaluate
random tokens, and compares with the training code on the very weights of the export. Exit status 1 when the median position's
relative L2 error exceeds 1e-4, or more than 2 % of the positions exceed 1e-3: float32 sums in another order, and a top-k that now
and then falls otherwise.
"""
import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import numpy as np
import torch

import export
import optim
from model import V4

TIPPED, TIPPED_SHARE, MEDIAN = 1e-3, 0.02, 1e-4


def read_f32(path, name):
    with open(path, "rb") as f:
        n, = struct.unpack("<Q", f.read(8))
        t = json.loads(f.read(n))[name]
        f.seek(8 + n + t["data_offsets"][0])
        return np.frombuffer(f.read(t["data_offsets"][1] - t["data_offsets"][0]), np.float32).reshape(t["shape"])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--bin", required=True)
    ap.add_argument("--state")
    ap.add_argument("--tokens", type=int, default=700)
    a = ap.parse_args()
    torch.manual_seed(1)
    here = os.path.dirname(os.path.abspath(__file__))
    if a.state:
        state = torch.load(a.state, map_location="cpu")
    else:
        spec = json.load(open(os.path.join(here, "checkpoint", "tokenizer.json"), encoding="utf-8"))
        config = json.load(open(os.path.join(here, "checkpoint", "config.json"), encoding="utf-8"))
        state = dict(tokenizer=spec, config=config, model=V4(dict(config), seed=1).state_dict(), tokens=0)
    work = tempfile.mkdtemp(prefix="nano-crosscheck-")
    try:
        export.write(state, work, {})
        ids = torch.randint(10, state["config"]["vocab_size"], (1, a.tokens))
        with open(os.path.join(work, "ids.json"), "w") as f:
            json.dump(ids[0].tolist(), f)
        out = os.path.join(work, "logits.safetensors")
        subprocess.run([os.path.join(a.bin, "lares"), "model", "logits", "--model", work, "--tokens", os.path.join(work, "ids.json"),
                        "--out", out, "--mode", "exact"], check=True)
        theirs = read_f32(out, "logits")
    finally:
        shutil.rmtree(work)
    m = V4(dict(state["config"]), seed=1)
    m.load_state_dict({k: bf16(k, v) for k, v in state["model"].items()})
    m.eval()
    m.qat = True
    pad = -a.tokens % 128
    with torch.no_grad():
        ours = m(torch.nn.functional.pad(ids, (0, pad)))[0, :a.tokens].numpy()
    error = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(ours, axis=1)
    worst, median = error.max(), np.median(error)
    print(f"{a.tokens} positions: relative L2 error median {median:.1e}, worst {worst:.1e} at {error.argmax()}; "
          f"the same likeliest token at {100 * (ours.argmax(1) == theirs.argmax(1)).mean():.1f} %")
    return 0 if (error > TIPPED).mean() <= TIPPED_SHARE and median <= MEDIAN else 1


def bf16(name, w):
    """What the export stores as bfloat16 is bfloat16 here too."""
    key = name.replace("/", ".")
    stored = not (export.formats.kind(key) or key.endswith("tid2eid") or any(x in key for x in export.formats.F32_MARKS))
    return w.bfloat16().to(w.dtype) if stored else w


if __name__ == "__main__":
    sys.exit(main())
