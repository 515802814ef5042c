"""Makes a training state of a checkpoint, so that it can be trained further where no state was kept.

  restore.py CHECKPOINT STATE [--tokens N]

The weights are those stored, so rounded, and the optimiser begins from zero: go on at a low learning rate (train.py --start).
--tokens: how many the checkpoint was trained with, for the log.
"""
import argparse
import json
import os

import numpy as np
import torch

import formats
from model import V4
from optim import Optim
from sessions import EFFORT, HEAD

TYPES = {"I64": np.int64, "F32": np.float32, "BF16": np.uint16, "I8": np.uint8, "F8_E4M3": np.uint8, "F8_E8M0": np.uint8}


def read_safetensors(path):
    """{name: array}; numbers that NumPy has no type for as their bits."""
    with open(path, "rb") as f:
        data = f.read()
    begin = 8 + int.from_bytes(data[:8], "little")
    out = {}
    for name, at in json.loads(data[8:begin]).items():
        if name != "__metadata__":
            a, b = at["data_offsets"]
            out[name] = np.frombuffer(data[begin + a:begin + b], TYPES[at["dtype"]]).reshape(at["shape"])
    return out


def scales(e8m0):
    return np.exp2(e8m0.astype(np.float32) - 127)


def fp8(q, scale):
    """[N, K] of e4m3 bits and the scales of its blocks of 128 x 128."""
    exponent, mantissa = (q >> 3) & 15, (q & 7).astype(np.float32)
    x = np.where(exponent == 0, mantissa * 2.0 ** -9, (8 + mantissa) * np.exp2(exponent.astype(np.float32) - 10))
    x = np.where(q & 128, -x, x)
    return x * np.repeat(np.repeat(scales(scale), 128, 0), 128, 1)


def fp4(codes, scale):
    """[N, K / 2] of two codes each, and the scales of 32 values."""
    both = np.stack([codes & 15, codes >> 4], -1).reshape(codes.shape[0], -1)
    x = np.array(formats.E2M1, np.float32)[both & 7] * np.where(both & 8, -1, 1)
    return x * np.repeat(scales(scale), 32, 1)


def value(stored, name, shape):
    """One of the model's parameters as it is stored."""
    kind = formats.kind(name)
    if kind == "fp4":
        base, part = name.rsplit(".", 1)
        return np.stack([fp4(*(stored[f"{base}.{e}.{part}.{what}"] for what in ("weight", "scale"))) for e in range(shape[0])])
    a = stored[name]
    if kind == "fp8":
        return fp8(a, stored[name[:-6] + "scale"])
    return (a.astype(np.uint32) << 16).view(np.float32) if a.dtype == np.uint16 else a


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("checkpoint")
    ap.add_argument("state")
    ap.add_argument("--tokens", type=float, default=0)
    a = ap.parse_args()

    def load(name):
        with open(os.path.join(a.checkpoint, name), encoding="utf-8") as f:
            return json.load(f)
    config, spec = load("config.json"), load("tokenizer.json")
    for token, content in zip((t for t in spec["added_tokens"] if t["id"] in (8, 9)), (EFFORT, HEAD)):
        token["content"] = content  # the head is the project's, whatever it says now
    stored = {}
    for shard in sorted(set(load("model.safetensors.index.json")["weight_map"].values())):
        stored.update(read_safetensors(os.path.join(a.checkpoint, shard)))
    model = V4(dict(config))
    weights = {}
    for key, w in model.state_dict().items():
        x = np.ascontiguousarray(value(stored, key.replace("/", "."), w.shape))
        if x.shape != tuple(w.shape):
            raise SystemExit(f"restore: {key} is {x.shape} in {a.checkpoint}, and {tuple(w.shape)} in the model")
        weights[key] = torch.from_numpy(x.copy()).to(w.dtype)
    for key, w in weights.items():
        if kind := formats.kind(key.replace("/", ".")):
            if not torch.equal(formats.fake_quant(w, kind), w):
                raise SystemExit(f"restore: {key} would be rounded once more")
    model.load_state_dict(weights)
    optimiser = Optim(model, 0, 0)
    torch.save(dict(model=weights, config=config, tokenizer=spec, adam=optimiser.adam.state_dict(), muon=optimiser.momentum,
                    tokens=int(a.tokens), step=0), a.state)
    print(f"{a.state}: {len(weights)} tensors of {a.checkpoint}")


if __name__ == "__main__":
    main()
