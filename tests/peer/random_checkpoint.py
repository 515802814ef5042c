#!/usr/bin/env python3
"""Writes an official-layout DeepSeek-V4 checkpoint of random codes in seconds: for speed, of realistic shapes and no meaning.

  random_checkpoint.py [--preset mid] [--seed 1] OUT_DIR

make_checkpoint.py quantises random values and takes minutes for this size; here FP8 and FP4 codes are drawn directly, every one
that is a number equally likely, and scales are such that a matrix keeps the size of what it multiplies. Names, shapes, dtypes
and scale blocks are the release's. No MTP block, no tokenizer.json.
"""
import argparse
import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "reference"))

import make_checkpoint  # noqa: E402
from v4_reference import E2M1, bf16_encode, e4m3_decode, write_safetensors  # noqa: E402

# The release's heads, indexer, window and top-k; fewer and narrower layers. 1.3 GB.
MID = dict(vocab_size=32768, hidden_size=2048, num_hidden_layers=8, compress_ratios=[0, 0, 4, 128, 4, 128, 4, 128], num_attention_heads=16,
           head_dim=512, q_lora_rank=1024, o_groups=4, o_lora_rank=512, index_n_heads=64, index_topk=512, n_routed_experts=32,
           num_experts_per_tok=6, moe_intermediate_size=1024, num_hash_layers=2, routed_scaling_factor=1.5)
PRESETS = {"mid": MID, **make_checkpoint.PRESETS}

FP8_NUMBERS = np.array([c for c in range(256) if c & 127 != 127], np.uint8)
FP8_RMS = np.sqrt(np.square(e4m3_decode(FP8_NUMBERS), dtype=np.float64).mean())  # of codes drawn alike: 98
FP4_RMS = np.sqrt(np.square(E2M1, dtype=np.float64).mean())  # 2.9
ROWS = 1 << 22  # values that are drawn at a time


class Shard:
    """Tensors of one file, drawn from one generator in the order they are asked for."""

    def __init__(self, rng):
        self.rng, self.tensors = rng, {}

    def e8m0(self, shape, rms):
        """Scales of 2^e and 2^(e+1), mixed so that their mean square is rms^2; both occur, so a misplaced block shows."""
        e = int(np.floor(np.log2(rms)))
        share = (rms * rms / 4.0 ** e - 1) / 3
        return (127 + e + (self.rng.random(shape) < share)).astype(np.uint8)

    def fp8(self, name, n, k):
        codes = np.frombuffer(self.rng.bytes(n * k), np.uint8).reshape(n, k).copy()
        codes -= codes & 127 == 127  # NaN becomes the largest number
        self.tensors[name + ".weight"] = "F8_E4M3", codes
        self.tensors[name + ".scale"] = "F8_E8M0", self.e8m0((-(-n // 128), -(-k // 128)), k ** -0.5 / FP8_RMS)

    def fp4(self, name, n, k):
        self.tensors[name + ".weight"] = "I8", np.frombuffer(self.rng.bytes(n * k // 2), np.int8).reshape(n, k // 2)
        self.tensors[name + ".scale"] = "F8_E8M0", self.e8m0((n, k // 32), k ** -0.5 / FP4_RMS)

    def normal(self, *shape, std=1.0, mean=0.0):
        return (mean + std * self.rng.standard_normal(shape, np.float32)).astype(np.float32)

    def f32(self, name, *shape, **how):
        self.tensors[name] = "F32", self.normal(*shape, **how)

    def bf16(self, name, *shape, **how):
        out = np.empty(shape, np.uint16)
        step = max(1, ROWS // int(np.prod(shape[1:])))
        for at in range(0, shape[0], step):
            out[at:at + step] = bf16_encode(self.normal(*out[at:at + step].shape, **how))
        self.tensors[name] = "BF16", out

    def norm(self, name, d):
        self.bf16(name + ".weight", d, std=0.1, mean=1.0)

    def hyper(self, name, n_mix, n_scale, width, c):
        """Hyper-connection weights: n_mix rows, hc_mult of them at the head, else (2 + hc_mult) hc_mult."""
        S = c["hc_mult"]
        self.f32(name + "_fn", n_mix, width, std=width ** -0.5)
        base = self.normal(n_mix, std=0.5)
        if n_mix > S:  # the last hc_mult^2 mix streams: each keeps most of its own
            base[2 * S:] += 2 * np.eye(S, dtype=np.float32).reshape(-1)
        self.tensors[name + "_base"] = "F32", base
        self.f32(name + "_scale", n_scale, std=0.1, mean=0.7)

    def compressor(self, p, ratio, d, D):
        width = 2 * d if ratio == 4 else d  # CSA's blocks overlap
        self.bf16(p + "wkv.weight", width, D, std=D ** -0.5)
        self.bf16(p + "wgate.weight", width, D, std=D ** -0.5)
        self.f32(p + "ape", ratio, width, std=0.5)
        self.norm(p + "norm", d)

    def attention(self, p, c, ratio):
        D, Q, H, C, G, O = (c[k] for k in ("hidden_size", "q_lora_rank", "num_attention_heads", "head_dim", "o_groups", "o_lora_rank"))
        self.f32(p + "attn_sink", H)
        self.fp8(p + "wq_a", Q, D)
        self.norm(p + "q_norm", Q)
        self.fp8(p + "wq_b", H * C, Q)
        self.fp8(p + "wkv", C, D)
        self.norm(p + "kv_norm", C)
        self.fp8(p + "wo_a", G * O, H * C // G)
        self.fp8(p + "wo_b", D, G * O)
        if ratio:
            self.compressor(p + "compressor.", ratio, C, D)
        if ratio == 4:
            n, d = c["index_n_heads"], c["index_head_dim"]
            self.fp8(p + "indexer.wq_b", n * d, Q)
            self.bf16(p + "indexer.weights_proj.weight", n, D, std=D ** -0.5)
            self.compressor(p + "indexer.compressor.", 4, d, D)

    def moe(self, p, c, hashed):
        D, I, E, k, V = (c[x] for x in ("hidden_size", "moe_intermediate_size", "n_routed_experts", "num_experts_per_tok", "vocab_size"))
        self.bf16(p + "gate.weight", E, D, std=2 * D ** -0.5)
        if hashed:
            self.tensors[p + "gate.tid2eid"] = "I64", self.rng.random((V, E)).argsort(1)[:, :k].astype(np.int64)
        else:
            self.f32(p + "gate.bias", E, std=0.2)
        for make, expert in [(self.fp4, f"experts.{e}") for e in range(E)] + [(self.fp8, "shared_experts")]:
            make(f"{p}{expert}.w1", I, D)
            make(f"{p}{expert}.w2", D, I)
            make(f"{p}{expert}.w3", I, D)


def shards(c, seed):
    """The tensors of each file, one after another: embedding and head first, then a layer in each."""
    D, V, S, rng = c["hidden_size"], c["vocab_size"], c["hc_mult"], np.random.default_rng(seed)
    s = Shard(rng)
    s.bf16("embed.weight", V, D)
    s.bf16("head.weight", V, D, std=2 * D ** -0.5)
    s.norm("norm", D)
    s.hyper("hc_head", S, 1, S * D, c)
    yield s.tensors
    for i in range(c["num_hidden_layers"]):
        p, s = f"layers.{i}.", Shard(rng)
        s.attention(p + "attn.", c, c["compress_ratios"][i])
        s.moe(p + "ffn.", c, i < c["num_hash_layers"])
        for part in ("attn", "ffn"):
            s.norm(f"{p}{part}_norm", D)
            s.hyper(f"{p}hc_{part}", (2 + S) * S, 3, S * D, c)
        yield s.tensors


def write(directory, preset="mid", seed=1, progress=None):
    """Writes the checkpoint and returns its size in bytes. `progress(files written, files in all)` after each."""
    c = {**make_checkpoint.BASE, **PRESETS[preset], "num_nextn_predict_layers": 0}
    c["compress_ratios"] = c["compress_ratios"][:c["num_hidden_layers"]]
    os.makedirs(directory, exist_ok=True)
    where, size, n = {}, 0, c["num_hidden_layers"] + 1
    for i, tensors in enumerate(shards(c, seed), 1):
        file = f"model-{i:05d}-of-{n:05d}.safetensors"
        write_safetensors(os.path.join(directory, file), tensors)
        where |= dict.fromkeys(tensors, file)
        size += sum(t.nbytes for _, t in tensors.values())
        if progress:
            progress(i, n)
    with open(os.path.join(directory, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": size}, "weight_map": where}, f, indent=1)
    with open(os.path.join(directory, "config.json"), "w") as f:  # last: a directory with one is complete
        json.dump(c, f, indent=2)
    return size


def main():
    ap = argparse.ArgumentParser(description="official-layout checkpoint of random codes")
    ap.add_argument("out")
    ap.add_argument("--preset", default="mid", choices=PRESETS)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    print(f"{a.out}: {a.preset}, {write(a.out, a.preset, a.seed) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
