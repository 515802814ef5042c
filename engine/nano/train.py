"""Trains nano. train.py OUT (--tokens N | --seconds N) [--resume] [--threads N] [--seed N]

OUT gets log.txt and state.pt (every two minutes, enough to resume). The curriculum, by share of the time: random repeats
(copying), mini and micro sessions (test result, source, edit), whole sessions; the last part with weights rounded as the checkpoint will
store them. With --tokens the schedule depends on nothing but the tokens seen: the same seed, tokens and threads give the same
model again. With --seconds it follows the clock, for a machine one has for a certain time.
"""
import argparse
import os
import random
import time

import torch
import torch.nn.functional as F

import data
import ops
import sessions
import skeletons
import tokenizer
from data import SAID, make_tokenizer, repeats, tokens_of
from model import QB, V4
from optim import Optim, config, induction_init

BATCH = 2048            # tokens a step; small: steps are what is scarce on a CPU
FLOPS_MIN = 10e9        # a BLAS below this is the reference one; training would take days
FIELDS = ("function", "go", "stop", "kind", "repair", "path", "old_str", "new_str")


def matmul_speed(device):
    """FLOP/s of a typical product: the best of many short tries, for the machine may be busy."""
    a, b = torch.randn(2048, 128, device=device), torch.randn(128, 512, device=device)
    best = 0.0
    for _ in range(200):
        t = time.time()
        (a @ b)[0, 0].item()
        best = max(best, 2 * 2048 * 128 * 512 / (time.time() - t))
    return best


class Data:
    """Batches of sessions of about one length, padded to a multiple of the attention block."""

    def __init__(self, r, pool, tok, step, questions, mix):
        self.r, self.pool, self.tok, self.step, self.questions, self.mix, self.bins = r, pool, tok, step, questions, mix, {}

    def session(self, mini, micro):
        return data.session(self.r, self.pool, self.tok, mini, micro, self.questions, self.mix)

    def batch(self, mini_share):
        while True:
            mini = self.r.random() < mini_share
            ids, w = self.session(mini, mini and self.r.random() < 0.7)
            T = -(-(len(ids) - 1) // self.step) * self.step
            b = self.bins.setdefault(T, [])
            b.append((ids + [2] * (T + 1 - len(ids)), w + [0.0] * (T + 1 - len(w))))
            if (len(b) + 1) * T > BATCH:
                self.bins[T] = []
                return torch.tensor([x for x, _ in b]), torch.tensor([x for _, x in b])


@torch.no_grad()
def evaluate(m, pool, tok, held_skeleton, n=32):
    """Teacher-forced exactness of each field on short sessions with held-out names (or skeletons)."""
    r = random.Random(99)
    hit, count, ce, rows = dict.fromkeys(FIELDS, 0), 0, 0.0, 0
    m.eval()
    while count < n:
        R = sessions.draw(r, pool, small=True, held_names=not held_skeleton, held_skeleton=held_skeleton)
        ids, w, spans = tokens_of(tok, sessions.transcript(r, R))
        T = -(-(len(ids) - 1) // QB) * QB
        x = torch.tensor([ids + [2] * (T + 1 - len(ids))], device=m.p("embed.weight").device)
        lg = m(x[:, :-1])[0, :len(ids) - 1]
        y = x[0, 1:len(ids)]
        ok = lg.argmax(-1) == y
        said = torch.tensor(w[1:], device=x.device) >= SAID
        ce, rows = ce + F.cross_entropy(lg[said], y[said], reduction="sum").item(), rows + int(said.sum())
        for f in FIELDS:
            hit[f] += all(bool(ok[a - 1:b - 1].all()) for tag, a, b in spans if tag == f)
        count += 1
    m.train()
    return " ".join([f"ce {ce / rows:.3f}"] + [f"{f} {hit[f] / n:.2f}" for f in FIELDS])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("out")
    length = ap.add_mutually_exclusive_group(required=True)
    length.add_argument("--seconds", type=float)
    length.add_argument("--tokens", type=float, help="length of the run in tokens, such as 28e6")
    ap.add_argument("--resume", action="store_true")
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--layers", type=int, default=4)
    ap.add_argument("--start", type=float, default=0.0, help="share of the curriculum to skip")
    ap.add_argument("--questions", type=float, default=0.08, help="share of questions among whole sessions")
    ap.add_argument("--mix", choices=data.MIXES, default="first", help="which sessions it learns from (data.py)")
    a = ap.parse_args()
    os.makedirs(a.out, exist_ok=True)
    torch.set_num_threads(a.threads)
    log = open(os.path.join(a.out, "log.txt"), "a")

    def say(text):
        print(text, flush=True)
        log.write(text + "\n")
        log.flush()
    speed = matmul_speed(a.device)
    say(f"matrix products {speed / 1e9:.0f} GFLOP/s on {a.threads} threads, kernels {'yes' if ops.ON_CPU else 'no'}")
    if speed < FLOPS_MIN:
        raise SystemExit(f"train: {speed / 1e9:.1f} GFLOP/s is the reference BLAS; preload fastblas (train.sh does) or install libopenblas0-pthread")
    pool = skeletons.load() + skeletons.load("skeletons_more.txt")
    path = os.path.join(a.out, "state.pt")
    state = torch.load(path, map_location=a.device) if a.resume else None
    spec = state["tokenizer"] if state else make_tokenizer(pool, a.seed)
    tok = tokenizer.Tokenizer(spec)
    c = state["config"] if state else config(-(-tok.size // 64) * 64, layers=a.layers)
    topk = c["index_topk"]
    m = V4(dict(c), seed=a.seed)
    if not state:
        induction_init(m)
    m = m.to(a.device).train()
    o = Optim(m, 0.015, 0.004)
    tokens, step = 0, 0
    if state:
        m.load_state_dict(state["model"])
        o.adam.load_state_dict(state["adam"])
        o.momentum = [t.to(a.device) for t in state["muon"]]
        tokens, step = state["tokens"], state["step"]
    r = random.Random(a.seed * 1000 + step)
    batches = Data(r, pool, tok, QB, a.questions, data.MIXES[a.mix])
    say(f"{sum(p.numel() for p in m.parameters()) / 1e6:.2f}M parameters, vocabulary {c['vocab_size']}")

    def save(to=path):
        torch.save(dict(model=m.state_dict(), config=dict(c), tokenizer=spec, adam=o.adam.state_dict(), muon=o.momentum, tokens=tokens, step=step), to + ".new")
        os.replace(to + ".new", to)
    save()
    # Time is this process's CPU time on one thread: a busy or suspended machine then only delays the schedule.
    clock = time.process_time if a.threads == 1 and a.device == "cpu" else time.time
    begin = saved = evaluated = clock()
    first, mean, trunk = step, None, True
    budget = os.path.join(a.out, "seconds")  # a number written here while it runs changes the length of the run
    tokens_first = tokens

    def done():
        return (tokens - tokens_first) / a.tokens if a.tokens else (clock() - begin) / a.seconds
    while done() < 1:
        if a.seconds and step % 25 == 0 and os.path.exists(budget):
            a.seconds = float(open(budget).read())
        frac = a.start + (1 - a.start) * min(1.0, done())
        scale = min(1.0, (step - first + 1) / 30) * (1.0 if frac < 0.6 else max(0.04, (1 - frac) / 0.4))
        m.qat = frac > 0.88
        m.rounded.clear()
        m.c["index_topk"] = 10 ** 6 if frac < 0.25 else topk
        if frac < 0.05 or r.random() < 0.04:
            length = 256 if frac < 0.05 else 512
            b = [repeats(r, tok.size, length) for _ in range(BATCH // length)]
            x, w = torch.tensor([i for i, _ in b]), torch.tensor([v for _, v in b])
        else:
            x, w = batches.batch(1.0 if frac < 0.2 else 0.92 if frac < 0.6 else 0.7)
        loss, parts = m.loss(x.to(a.device), w.to(a.device), mtp=0.3 if frac > 0.3 and r.random() < 0.25 else 0, index=0.3 if r.random() < 0.3 else 0)
        loss.backward()
        o.step(scale)
        o.zero()
        parts = {k: float(v) for k, v in parts.items()}
        step += 1
        tokens += x.shape[0] * (x.shape[1] - 1)
        mean = parts["main"] if mean is None else 0.95 * mean + 0.05 * parts["main"]
        now = clock()
        if step % 50 == 0:
            say(f"{step} {tokens / 1e6:.2f}M {now - begin:.0f}s {100 * frac:.0f}% {(tokens - tokens_first) / max(1e-9, now - begin):.0f} tok/s loss {mean:.3f} " + " ".join(f"{k} {v:.2f}" for k, v in parts.items()))
        if now - evaluated > 900:
            m.rounded.clear()
            say(f"EVAL {tokens / 1e6:.2f}M names: {evaluate(m, pool, tok, False)}")
            say(f"EVAL {tokens / 1e6:.2f}M skeletons: {evaluate(m, pool, tok, True)}")
            evaluated = clock()
        if trunk and frac > 0.6:  # the learning rate falls from here: a longer run would go on from this state
            save(os.path.join(a.out, "trunk.pt"))
            trunk = False
        if now - saved > 120:
            save()
            saved = clock()
    m.qat, m.c["index_topk"] = True, topk
    m.rounded.clear()
    save()
    for held, name in ((False, "names"), (True, "skeletons")):
        say(f"FINAL {tokens / 1e6:.2f}M {name}: {evaluate(m, pool, tok, held, 96)}")


if __name__ == "__main__":
    main()
