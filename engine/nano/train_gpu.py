"""Trains nano on a GPU, in minutes: train_gpu.py OUT --seconds N [--hidden N] [--layers N] [--tokenizer FILE] [--from STATE]

OUT gets log.txt and state.pt (every minute: weights, shape and tokenizer, for export.py; the optimiser's state is not kept). The
curriculum is train.py's, by share of the time; the data is drawn while it runs by all cores but one (producers.py). --seconds
counts from the start of this process. --from goes on from a state.pt, this trainer's or train.py's or restore.py's, with its weights and
shape and a fresh optimiser. Needs a CUDA build of torch, and kernels.cu compiled for speed (train_gpu.sh does it).
"""
import argparse
import collections
import gc
import json
import os
import queue
import random
import threading
import time

import numpy as np

import producers
from sessions import EFFORT, HEAD

BEGIN = time.time()
LENGTHS = (256, 320, 384, 512, 1024, 1280, 1536, 2048, 2560, 3072, 4096)  # of a batch's sessions; a session is filled up to the next
RESERVE = 5.0           # seconds for the last checkpoint
CHECKPOINT = 60.0       # seconds between checkpoints
REMEMBERED = 200        # batches to go back to when the producers are late
WARMUP = 100            # steps
FALL, ROUNDED = 0.5, 0.82  # from these shares on the learning rate falls, and weights are rounded as the checkpoint will
GUARDED = 0.1           # until then losses change with what is trained on
SPARSE = 0.08           # from this share on only index_topk entries are attended to


class Batches(threading.Thread):
    """Packs of the producers sorted by length into batches of `tokens`, ready in `ready`."""

    def __init__(self, source, tokens, say):
        super().__init__(daemon=True)
        self.source, self.tokens, self.say = source, tokens, say
        self.ready, self.bins = queue.Queue(24), collections.defaultdict(list)

    def run(self):
        while True:
            try:
                pack = self.source.get(5)
            except queue.Empty:
                continue
            if isinstance(pack, str):
                self.say(f"a draw failed: {pack}")
                continue
            for ids, w in pack:
                length = next(n for n in LENGTHS if n >= len(ids) - 1)
                b = self.bins[length]
                b.append((ids, w))
                if len(b) == self.tokens // length:
                    self.ready.put(filled(b, length))
                    self.bins[length] = []


def filled(sessions, length):
    """ids int64 and weights float32 [B, length + 1], and how many tokens are no filling"""
    x = np.full((len(sessions), length + 1), 2, np.int64)
    w = np.zeros((len(sessions), length + 1), np.float32)
    for k, (ids, weight) in enumerate(sessions):
        x[k, :len(ids)] = ids
        w[k, :len(weight)] = weight / np.float32(10)
    return x, w, sum(len(ids) - 1 for ids, _ in sessions)


def tokenizer_of(path):
    """A checkpoint's tokenizer.json, its head spelled as the generator does."""
    with open(path, encoding="utf-8") as f:
        spec = json.load(f)
    for token, content in zip((t for t in spec["added_tokens"] if t["id"] in (8, 9)), (EFFORT, HEAD)):
        token["content"] = content
    return spec


def arguments():
    here = os.path.dirname(os.path.abspath(__file__))
    ap = argparse.ArgumentParser()
    ap.add_argument("out")
    ap.add_argument("--seconds", type=float, required=True)
    ap.add_argument("--layers", type=int, default=6)
    ap.add_argument("--hidden", type=int, default=256)
    ap.add_argument("--tokens", type=int, default=16384, help="tokens a step")
    ap.add_argument("--muon", type=float, default=0.015, help="Muon's learning rate")
    ap.add_argument("--adam", type=float, default=0.004, help="AdamW's learning rate")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    ap.add_argument("--tokenizer", default=os.path.join(here, "checkpoint", "tokenizer.json"))
    ap.add_argument("--from", dest="start", metavar="STATE", help="a state.pt to go on from; its shape is its own")
    ap.add_argument("--no-graphs", action="store_true", help="launch every step's kernels one by one")
    ap.add_argument("--from-share", type=float, default=0.0, help="share of the curriculum to skip, for a look at its later parts")
    return ap.parse_args()


def agree(m, ids, w):
    """Whether the compiled kernels give this model the loss and gradients that torch's own operators do."""
    import torch

    import ops
    kernels, topk, results = ops.ON_GPU, m.c["index_topk"], []
    x, w = torch.from_numpy(ids).cuda(), torch.from_numpy(w).cuda()
    torch.set_float32_matmul_precision("highest")
    m.c["index_topk"] = 10 ** 6  # whose choice tips with the last bit
    m.eval()
    for ops.ON_GPU in (None, kernels):
        loss, _ = m.loss(x, w, mtp=0.3, index=0.3)
        results.append([loss.detach()] + [g for g in torch.autograd.grad(loss, list(m.parameters()), allow_unused=True) if g is not None])
    m.c["index_topk"] = topk
    worst = max(float((a - b).norm() / (b.norm() + 1e-6)) for a, b in zip(results[1], results[0]))
    return worst < 0.05, worst


def main():
    a = arguments()
    os.makedirs(a.out, exist_ok=True)
    spec = tokenizer_of(a.tokenizer)
    source = producers.Producers(a.workers, spec, a.seed)  # before torch: forks of a process with a GPU are none
    try:
        train(a, spec, source)
    finally:
        source.stop()


def train(a, spec, source):
    import torch

    import device
    import ops
    import tokenizer
    from model import V4
    from optim import config, induction_init

    log = open(os.path.join(a.out, "log.txt"), "a", encoding="utf-8")

    def say(text):
        print(text, flush=True)
        log.write(text + "\n")
        log.flush()
    tok = tokenizer.Tokenizer(spec)
    state = torch.load(a.start, map_location="cpu") if a.start else None
    if state and state["tokenizer"] != spec:
        raise SystemExit(f"train_gpu: {a.start} was trained with another tokenizer than {a.tokenizer}; give its own with --tokenizer")
    c = state["config"] if state else config(-(-tok.size // 64) * 64, layers=a.layers, hidden=a.hidden)
    topk = c["index_topk"]
    m = V4(dict(c), seed=a.seed)
    induction_init(m)
    m = m.cuda().train()
    m.fixed = True
    if ops.ON_GPU:
        g = np.random.default_rng(1)
        ids = g.integers(0, tok.size, (2, 513))
        ids[:, 300:400] = ids[:, 5:105]
        try:
            right, worst = agree(m, ids, g.random(ids.shape).astype(np.float32))
        except RuntimeError as why:
            right, worst = False, why
        say(f"kernels against torch: {worst}")
        m.train()
        if not right:
            ops.ON_GPU = None
    if state:
        m.load_state_dict(state["model"])
    torch.set_float32_matmul_precision("high")  # TF32
    step = device.Stepper(m, device.DeviceOptim(m, a.muon, a.adam), a.tokens, graphs=not a.no_graphs)
    guard = device.Guard(m, step.optimiser)
    batches = Batches(source, a.tokens, say)
    batches.start()
    say(f"{sum(p.numel() for p in m.parameters()) / 1e6:.2f}M parameters on {torch.cuda.get_device_name()}, kernels {'yes' if ops.ON_GPU else 'no'}, "
        f"{a.workers} producers, ready after {time.time() - BEGIN:.0f} s")

    def save():
        path = os.path.join(a.out, "state.pt")
        torch.cuda.synchronize()
        torch.save(dict(model={k: v.cpu() for k, v in m.state_dict().items()}, config=dict(c), tokenizer=spec, tokens=tokens, step=steps), path + ".new")
        os.replace(path + ".new", path)
    r, recent = random.Random(a.seed), collections.deque(maxlen=REMEMBERED)
    tokens = steps = filling = again = reported = 0
    begin = saved = None
    gc.collect()
    gc.freeze()  # recordings begin with a collection
    while True:
        now = time.time()
        done = 0.0 if begin is None else (now - begin) / (BEGIN + a.seconds - RESERVE - begin)
        done = a.from_share + (1 - a.from_share) * done
        if done >= 1:
            break
        source.done.value = done
        try:
            x, w, real = batches.ready.get(timeout=0.002 if len(recent) > REMEMBERED // 4 and begin else 60)
            recent.append((x, w, real))
        except queue.Empty:
            if not recent:
                raise SystemExit("train_gpu: the producers gave nothing in 60 s; see what they printed")
            x, w, real = r.choice(recent)
            again += 1
        if begin is None:
            begin = saved = now = time.time()
        rounded, sparse = done > ROUNDED, done > SPARSE
        if rounded != m.qat or (m.c["index_topk"] == topk) != sparse:
            step.forget()
            m.qat, m.c["index_topk"] = rounded, topk if sparse else 10 ** 6
        step.optimiser.scale(min(1.0, (steps + 1) / WARMUP) * (1.0 if done < FALL else max(0.02, (1 - done) / (1 - FALL))))
        all_losses = r.random() < 0.3
        step(x, w, 0.3 if all_losses else 0, 0.3 if all_losses else 0)
        steps += 1
        tokens, filling = tokens + real, filling + x.shape[0] * (x.shape[1] - 1) - real
        if steps in (1, 10, 30) or now - reported > 4:
            torch.cuda.synchronize()
            mean, (main_loss, mtp, index) = step.mean.item(), step.parts.tolist()
            reported = time.time()
            say(f"{steps} {tokens / 1e6:.2f}M {reported - begin:.1f}s {100 * done:.0f}% {tokens / max(0.01, reported - begin) / 1e3:.0f}k tok/s "
                f"filling {filling / (tokens + filling):.2f} again {again / steps:.2f} mean {mean:.3f} main {main_loss:.3f} mtp {mtp:.2f} index {index:.2f} "
                f"graphs {len(step.recorded)} {torch.cuda.max_memory_allocated() >> 20} MiB" + (f" TROUBLE {step.trouble}" if step.trouble else ""))
            if (done > GUARDED or mean != mean) and guard.look(mean):
                step.mean.fill_(guard.mean)
                say(f"the loss ran away: back to the last good state, learning rates {step.optimiser.lr:.4f} and {step.optimiser.lr_adam:.4f}")
            if reported - saved > CHECKPOINT:
                save()
                saved = time.time()
    save()
    say(f"FINAL {steps} steps, {tokens / 1e6:.2f}M tokens, state.pt after {time.time() - BEGIN:.0f} s")


if __name__ == "__main__":
    main()
