#!/usr/bin/env python3
"""The engine against the NumPy reference, on random checkpoints of random shapes of the family.

  compare.py LARES [--seeds 1,2,3] [--tokens 300]

For each seed, with MTP and with DSpark, and for the first one in every format that the loader takes: a checkpoint whose layer pattern, compression ratios, streams, head counts, window, top-k and experts are drawn from the seed; `lares model
logits --mode exact` with its logits, MTP logits and residual streams against the reference (relative L2 per position); then the
same with other chunks and thread counts, which must give the same bytes. DSpark's drafts are compared after several lengths of text.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print("skipped: python3-numpy is not installed")
    sys.exit(77)

import make_checkpoint
from v4_reference import V4Reference, read_safetensors

TOLERANCE = 1e-5


def shape(r):
    """A preset with the variation the release's configs have among them, and more."""
    heads, groups = r.choice(((4, 2), (8, 4), (4, 1), (8, 2)))
    ratios = [r.choice((0, 4, 128, 4, 128, 8, 24)) for _ in range(r.randint(3, 5))] + [0]
    return dict(vocab_size=r.choice((384, 512, 640)), hidden_size=256, num_hidden_layers=len(ratios) - 1, compress_ratios=ratios,
                num_attention_heads=heads, head_dim=r.choice((128, 192)), q_lora_rank=r.choice((128, 256)), o_groups=groups, o_lora_rank=128,
                index_n_heads=r.choice((16, 32)), index_topk=r.choice((8, 16, 24)), n_routed_experts=r.choice((4, 8)),
                num_experts_per_tok=r.choice((1, 2, 3)), moe_intermediate_size=128, num_hash_layers=r.choice((0, 1, 2)),
                routed_scaling_factor=r.choice((1.5, 2.5)), sliding_window=r.choice((16, 50, 128, 200)), hc_mult=r.choice((2, 4, 1, 3)))


def floats(tensors, name):
    dtype, a = tensors[name]
    assert dtype == "F32", (name, dtype)
    return a


def error(ours, theirs):
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (ours, theirs))
    return float((np.linalg.norm(a - b, axis=1) / np.maximum(np.linalg.norm(b, axis=1), 1e-30)).max())


def logits(lares, model, tokens, out, *more):
    subprocess.run([lares, "model", "logits", "--model", model, "--tokens", tokens, "--out", out, "--mode", "exact", *more], check=True)
    with open(out, "rb") as f:
        return f.read()


def write_ids(path, tokens):
    with open(path, "w") as f:
        json.dump(tokens, f)


def compare_drafts(lares, model, tokens, rows, reference, work):
    """The worst relative errors of draft_logits and draft_confidence after a short, a window-long and the whole text."""
    ids, out = os.path.join(work, "draft.json"), os.path.join(work, "draft.safetensors")
    worst = {"draft_logits": 0, "draft_confidence": 0}
    for n in sorted(min(n, len(tokens)) for n in {2, 60, 129, 140, len(tokens)}):
        write_ids(ids, tokens[:n])
        logits(lares, model, ids, out, "--dspark", "--chunk", "50")
        ours = read_safetensors(out)
        guesses, theirs, confidence = reference.dspark_draft(rows[:n - 1], tokens[n - 1])
        if ours["draft_tokens"][1].tolist() != guesses:
            worst["draft_tokens"] = float("inf")
        worst["draft_logits"] = max(worst["draft_logits"], error(floats(ours, "draft_logits"), theirs))
        worst["draft_confidence"] = max(worst["draft_confidence"], error(floats(ours, "draft_confidence")[None], confidence[None]))
    return worst


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("lares")
    ap.add_argument("--seeds", default="1,2,3")
    ap.add_argument("--tokens", type=int, default=300)
    a = ap.parse_args()
    bad = 0
    seeds = [int(s) for s in a.seeds.split(",")]
    kinds = [(s, "official", draft) for s in seeds for draft in ("--mtp", "--dspark")] + [(seeds[0], s, "--mtp") for s in ("base", "fp8", "bf16")]
    kinds += [(seeds[0], "base", "--dspark"), (seeds[0], "bf16", "--dspark")]
    for seed, stored, draft in kinds:
        r = random.Random(seed)
        with tempfile.TemporaryDirectory(prefix="lares-reference-") as work:
            model, ids, out = (os.path.join(work, x) for x in ("model", "ids.json", "out.safetensors"))
            make_checkpoint.PRESETS["drawn"] = preset = shape(r)
            sys.argv = ["make_checkpoint.py", model, "--preset", "drawn", "--seed", str(seed), "--format", stored] + (["--dspark"] if draft == "--dspark" else [])
            make_checkpoint.main()
            tokens = [r.randrange(preset["vocab_size"]) for _ in range(a.tokens)]
            write_ids(ids, tokens)
            first = logits(a.lares, model, ids, out, draft, "--streams")
            ours = read_safetensors(out)
            m = V4Reference(model, rounding=False)
            rows, streams = [], []
            for t in tokens:
                per_layer = []
                row, _ = m.step(t, per_layer)
                rows.append(row)
                streams.append(per_layer)
            worst = {"logits": error(floats(ours, "logits"), np.stack(rows))}
            if draft == "--mtp":
                mtp = [m.mtp_step(streams[i][-1], tokens[i + 1], i)[0] for i in range(a.tokens - 1)]
                worst["mtp_logits"] = error(floats(ours, "mtp_logits"), np.stack(mtp))
            else:
                worst |= compare_drafts(a.lares, model, tokens, [m.dspark_rows(s, i) for i, s in enumerate(streams)], m, work)
            for n in range(preset["num_hidden_layers"]):
                worst[f"streams.{n}"] = error(floats(ours, f"streams.{n}"), np.stack([s[n] for s in streams]))
            same = all(logits(a.lares, model, ids, out, draft, "--streams", *how) == first
                       for how in (("--chunk", "1"), ("--chunk", "7"), ("--chunk", "64"), ("--threads", "1"), ("--chunk", "33", "--threads", "3")))
            ok = same and max(worst.values()) <= TOLERANCE
            bad += not ok
            print(f"seed {seed}, {stored} with {draft[2:]}, {preset['compress_ratios']}: worst relative error {max(worst.values()):.1e} ({max(worst, key=worst.get)}), "
                  f"chunks and threads {'give the same bytes' if same else 'DIFFER'}{'' if ok else '  FAILED'}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
