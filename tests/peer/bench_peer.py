#!/usr/bin/env python3
"""Lares' CPU engine beside llama.cpp v0.5.0: the same logits from the same weights, and which of the two is faster.

  bench_peer.py [--bin build/bin] [--work build/peer] [--only logits|speed]

logits: random micro checkpoints of the Flash and the Pro pattern, 300 random tokens, f32 on both sides. The two were written
apart from each other, so what they agree on is the model. Sums in another order end up at a KL divergence of 1e-11; a window or a
top-k that is off by one, too few Sinkhorn sweeps or an expert weight off by 0.05 % show at 3e-4 and more at some position.

speed: a random model of 8 layers of the release's kind and 1.3 GB, prefill of 512 tokens and decoding of 64 after it, ours and
theirs in turn on all CPUs this process may use. Each side runs it as people would: ours is the checkpoint itself with released
numerics, theirs MXFP4 experts, the same bits, and Q8_0 for the rest, FP8 and BF16 alike, which for BF16 is half of our bytes.
Their workers wait for each other after every node of the graph, so a core that another program takes costs them far more than us:
of theirs only the repeats count in which they had their cores, of ours all do.

Exit status: 0, 1 when a bar is missed or a step failed, 77 when this machine lacks something. What it fetched and made stays in
--work for the next time, 3 GB.
"""
import argparse
import json
import os
import re
import shutil
import sys

try:
    import numpy as np
except ImportError:
    print("bench-peer: skipped: NumPy is not installed; Debian has it in the package python3-numpy")
    sys.exit(77)

import gguf
import llama_package
import make_checkpoint
import random_checkpoint
from steps import Failure, Skip, Step, run
from v4_reference import read_safetensors

KL_BAR = 1e-8  # nats, the worst position
PREFILL_BAR, DECODE_BAR = 2.0, 1.2  # ours / theirs, more than
N_LOGITS, N_PROMPT, N_DECODE = 300, 512, 64
REPEATS = 3  # of theirs in a run, which then is about as long as one of ours with its loading
QUIET = 0.95  # share of the CPU time it wanted that a repeat of theirs must have had to count
WORK_BYTES = 3.2e9
HERE = os.path.dirname(os.path.abspath(__file__))


def fresh(path, *made_from):
    """Whether `path` is there and newer than what it is made from."""
    return os.path.exists(path) and os.path.getmtime(path) > max(map(os.path.getmtime, made_from))


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def divergence(ours, theirs):
    """KL(ours || theirs) of logits [n_tokens, n_vocab], nats, [n_tokens] f64; infinite where a logit is no number."""
    p, q = log_softmax(ours), log_softmax(theirs)
    return np.nan_to_num((np.exp(p) * (p - q)).sum(-1), nan=np.inf, posinf=np.inf)


def compare_logits(lares, llama, work, preset):
    """Whether both give the same logits for a micro checkpoint."""
    model, ids, theirs, ours = (os.path.join(work, preset + end) for end in ("", ".ids.json", ".f32", ".safetensors"))
    with Step(f"{preset}: {N_LOGITS} tokens on both sides"):
        run(f"make {model}", [sys.executable, make_checkpoint.__file__, model, "--preset", preset, "--seed", "1"])
        gguf.convert(model, model + ".gguf")
        n_vocab = make_checkpoint.PRESETS[preset]["vocab_size"]
        with open(ids, "w") as f:
            json.dump(np.random.default_rng(7).integers(0, n_vocab, N_LOGITS).tolist(), f)
        program, libraries = llama
        run("llama.cpp's logits", [program, "logits", libraries, model + ".gguf", ids, theirs, str(N_LOGITS)])
        run("our logits", [lares, "model", "logits", "--mode", "exact", "--model", model, "--tokens", ids, "--out", ours])
    a, b = read_safetensors(ours)["logits"][1], np.fromfile(theirs, np.float32).reshape(N_LOGITS, n_vocab)
    kl, good = divergence(a, b), (a.argmax(-1) == b.argmax(-1)).sum()
    passed = bool(kl.max() <= KL_BAR)
    print(f"{preset:12} KL worst {kl.max():.1e} at {kl.argmax()}, median {np.median(kl):.1e}; likeliest token alike at {good} of {N_LOGITS}; "
          f"bar {KL_BAR:.0e}: {'passed' if passed else 'MISSED'}", flush=True)
    return passed


def our_speed(lares, model, ids, threads):
    """(prefill, decode) tokens per second of one run."""
    command = [lares, "model", "generate", "--model", model, "--tokens", ids, "--ids", "--n", str(N_DECODE), "--temperature", "0", "--stats"]
    said = run("our speed", [*command, "--threads", str(threads)]).stderr
    found = [re.search(rf"^{head}{n} tokens, ([0-9.]+)/s$", said, re.M) for head, n in (("prompt: ", N_PROMPT), ("", N_DECODE))]
    if not all(found):
        raise Failure(f"our speed: lares model generate --stats says no \"prompt: {N_PROMPT} tokens, N/s\" and \"{N_DECODE} tokens, N/s\"; another version?")
    return tuple(float(m[1]) for m in found)


def their_speed(llama, model, threads):
    """[(prefill, decode, share of the CPU time they wanted)], REPEATS times."""
    program, libraries = llama
    said = run("llama.cpp's speed", [program, "speed", libraries, model, *map(str, (threads, N_PROMPT, N_DECODE, REPEATS))]).stdout
    found = re.findall(r"^prefill ([0-9.]+) decode ([0-9.]+) cpu ([0-9.]+)$", said, re.M)
    if len(found) != REPEATS:
        raise Failure(f"llama.cpp's speed: {len(found)} results, expected {REPEATS}")
    return [tuple(map(float, line)) for line in found]


def make_mid(work):
    """(checkpoint, its GGUF, prompt ids)."""
    model, out, ids = (os.path.join(work, name) for name in ("mid", "mid.gguf", "mid.ids.json"))
    config, sources = os.path.join(model, "config.json"), [os.path.join(HERE, f) for f in ("random_checkpoint.py", "checkpoint.py", "gguf.py", "gguf_file.py")]
    if not fresh(config, sources[0]):
        with Step("writing mid, a checkpoint of random codes, 1.3 GB") as step:
            random_checkpoint.write(model, "mid", progress=step.progress)
    if not fresh(out, config, *sources):
        with Step("writing mid.gguf, 1.3 GB") as step:
            gguf.convert(model, out, "q8_0", "mxfp4", step.progress)
    n_vocab = random_checkpoint.PRESETS["mid"]["vocab_size"]
    with open(ids, "w") as f:
        json.dump([(i + 1) * 7919 % n_vocab for i in range(N_PROMPT)], f)  # as llama_run does
    return model, out, ids


def compare_rates(name, bar, ours, theirs):
    """Whether the median of `ours`, tokens per second, is more than `bar` times that of `theirs`."""
    ratio = np.median(ours) / np.median(theirs)
    spread = [f"{np.median(r):.1f} ({min(r):.1f} to {max(r):.1f})" for r in (ours, theirs)]
    print(f"{name:12} ours {spread[0]} tokens/s, theirs {spread[1]}: {ratio:.2f}x, bar {bar}x: {'passed' if ratio > bar else 'MISSED'}", flush=True)
    return bool(ratio > bar)


def compare_speed(lares, llama, work):
    """Whether ours is faster by the bars."""
    threads = len(os.sched_getaffinity(0))
    model, out, ids = make_mid(work)
    ours, theirs = [], []
    for turn, side in enumerate(("ours", "theirs", "ours", "theirs", "ours"), 1):
        with Step(f"run {turn} of 5, {side}, {threads} threads"):
            if side == "ours":
                ours.append(our_speed(lares, model, ids, threads))
            else:
                theirs += their_speed(llama, out, threads)
    shares, quiet = [repeat[2] for repeat in theirs], [repeat for repeat in theirs if repeat[2] >= QUIET]
    print(f"theirs had {100 * min(shares):.0f} to {100 * max(shares):.0f} % of the CPU time it wanted; the {len(quiet)} of {len(theirs)} repeats "
          f"with {100 * QUIET:.0f} % or more count", flush=True)
    if not quiet:
        raise Skip("other programs took theirs' CPU time in every repeat; measure again on an idle machine")
    bars = (f"prefill {N_PROMPT}", PREFILL_BAR), (f"decode {N_DECODE}", DECODE_BAR)
    return all([compare_rates(*bar, [r[i] for r in ours], [r[i] for r in quiet]) for i, bar in enumerate(bars)])


def machine():
    with open("/proc/cpuinfo") as f:
        name = re.search(r"^model name\s*: (.*)$", f.read(), re.M)
    return f"{name[1] if name else 'unknown CPU'}, {len(os.sched_getaffinity(0))} CPUs"


def bench(bin_directory, work, only):
    lares, work = os.path.abspath(os.path.join(bin_directory, "lares")), os.path.abspath(work)
    if not os.access(lares, os.X_OK):
        raise Failure(f"{lares} is not there; make build first")
    llama_package.check_machine()
    os.makedirs(work, exist_ok=True)
    held = sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(work) for f in files)
    if (free := shutil.disk_usage(work).free) < WORK_BYTES - held:
        raise Skip(f"{work} has {free / 1e9:.1f} GB free and {(WORK_BYTES - held) / 1e9:.1f} are needed; choose another --work")
    with Step(f"fetching {llama_package.PACKAGE}, building llama_run"):
        libraries = llama_package.unpack(llama_package.fetch(work), work)
        llama = llama_package.build(work), libraries
    print(f"Lares and llama.cpp v0.5.0 on {machine()}", flush=True)
    if only != "speed":
        same = [compare_logits(lares, llama, work, preset) for preset in ("micro-flash", "micro-pro")]
        if not all(same):
            return 1  # how fast something else is computed is no comparison
    return 0 if only == "logits" or compare_speed(lares, llama, work) else 1


def main():
    ap = argparse.ArgumentParser(description="our CPU engine beside llama.cpp v0.5.0")
    ap.add_argument("--bin", default="build/bin", help="directory with lares")
    ap.add_argument("--work", default="build/peer", help="directory for what is fetched and made, 3 GB; kept")
    ap.add_argument("--only", choices=("logits", "speed"))
    a = ap.parse_args()
    try:
        return bench(a.bin, a.work, a.only)
    except Skip as e:
        print(f"bench-peer: skipped: {e}")
        return 77
    except (Failure, OSError) as e:
        print(f"bench-peer: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
