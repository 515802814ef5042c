"""Looks at a GPU before a long run: does it compute what the CPU does, and how fast? probe_gpu.py PART

PART: check (values and gradients against plain torch on the CPU), speed (tokens a second of three shapes and where the time goes),
draws (tokens a second of the producers). Each prints a few lines; the machine should have nothing else to do.
"""
import argparse
import os
import time

import numpy as np

SHAPES = ((4, 128), (4, 256), (6, 256))  # layers, hidden
TOKENS = 32768


def worst(ours, theirs):
    """The largest relative difference of two {name: gradient}, and whose."""
    each = [((ours[n] - g).norm().item() / (g.norm().item() + 1e-9), n) for n, g in theirs.items()]
    return "%.1e at %s" % max(each)


def check():
    import torch

    import device
    import formats
    import ops
    from model import V4
    from optim import config, induction_init

    def gradients(m, x, w):
        for p in m.parameters():
            p.grad = None
        m.rounded.clear()
        loss, parts = m.loss(x, w, mtp=0.3, index=0.3)
        loss.backward()
        return {k: float(v) for k, v in parts.items()}, {n: p.grad.cpu() for n, p in m.named_parameters() if p.grad is not None}
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 320, (2, 769), generator=g)
    x[:, 400:600] = x[:, 5:205]
    w = torch.rand(2, 769, generator=g)
    for name, topk, qat in (("top-k", 32, False), ("rounded", 32, True), ("all entries", 10 ** 6, False)):
        m = V4(dict(config(320, layers=4)), seed=1)
        induction_init(m)
        m.eval()  # no balancing between the runs
        m.c["index_topk"], m.qat = topk, qat
        parts, plain = gradients(m, x, w)
        m = m.cuda()
        m._cis.clear()
        m._masks.clear()
        m.fixed = True
        for precision in ("highest", "high"):
            torch.set_float32_matmul_precision(precision)
            theirs, grads = gradients(m, x.cuda(), w.cuda())
            print(f"{name}, {precision}: loss " + " ".join(f"{k} {v:.5f} ({parts[k]:.5f})" for k, v in theirs.items()) + f"; gradients {worst(grads, plain)}", flush=True)
    a = torch.randn(8, 256, 256, generator=g)
    same = [torch.equal(formats.fake_quant(t, k), formats.fake_quant(t.cuda(), k).cpu()) for t, k in ((a, "fp4"), (a[0], "fp8"))]
    print(f"rounding as on the CPU: {same}; kernels {'yes' if ops.ON_GPU else 'no'}", flush=True)
    torch.set_float32_matmul_precision("high")
    results = []
    for graphs in (False, True):
        m = V4(dict(config(320, layers=4)), seed=1)
        induction_init(m)
        m = m.cuda().train()
        m.fixed = True
        step = device.Stepper(m, device.DeviceOptim(m, 0.015, 0.004), 1536, graphs)
        step.optimiser.scale(0.1)
        losses = []
        for _ in range(6):
            step(x.numpy(), w.numpy(), 0.3, 0.3)
            torch.cuda.synchronize()
            losses.append("%.4f" % step.parts[0].item())
        results.append(losses)
    print(f"six steps one by one {' '.join(results[0])}; from the second on replayed {' '.join(results[1])}; trouble: {step.trouble or 'none'}", flush=True)


def speed():
    import torch

    import device
    from model import V4
    from optim import config, induction_init
    torch.set_float32_matmul_precision("high")
    for layers, hidden in SHAPES:
        m = V4(dict(config(1280, layers=layers, hidden=hidden)), seed=1)
        induction_init(m)
        m = m.cuda().train()
        m.fixed = True
        step = device.Stepper(m, device.DeviceOptim(m, 0.015, 0.004), TOKENS)
        step.optimiser.scale(0.01)
        out = [f"{layers} x {hidden}:"]
        for length, losses in ((512, 0), (2048, 0), (512, 0.3)):
            r = np.random.default_rng(1)
            ids = r.integers(0, 1280, (TOKENS // length, length + 1))
            w = np.where(r.random(ids.shape) < 0.4, 1.0, 0.0).astype(np.float32)
            took = []
            for n in (1, 1, 6):
                torch.cuda.synchronize()
                t = time.time()
                for _ in range(n):
                    step(ids, w, losses, losses)
                torch.cuda.synchronize()
                took.append((time.time() - t) / n)
            out.append(f"length {length}{' all losses' if losses else ''}: first {took[0]:.2f} s, record {took[1]:.2f} s, then {1e3 * took[2]:.1f} ms, "
                       f"{TOKENS / took[2] / 1e3:.0f}k tok/s;")
        print(*out, f"{torch.cuda.max_memory_allocated() >> 20} MiB; trouble: {step.trouble or 'none'}", flush=True)
        if (layers, hidden) == SHAPES[-1]:
            where(step, torch)
        del m, step
        torch.cuda.empty_cache()


def where(step, torch, rows=22):
    """The kernels of one step by their time."""
    r = np.random.default_rng(1)
    ids = r.integers(0, 1280, (TOKENS // 512, 513))
    w = np.ones(ids.shape, np.float32)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        step(ids, w, 0, 0)
        torch.cuda.synchronize()
    total = {}
    for e in profile.events():
        n, t = total.get(e.name, (0, 0.0))
        total[e.name] = (n + 1, t + getattr(e, "device_time_total", 0.0))
    print(f"one step: {sum(n for n, _ in total.values())} launches, {sum(t for _, t in total.values()) / 1e3:.1f} ms of kernels")
    for name, (n, t) in sorted(total.items(), key=lambda i: -i[1][1])[:rows]:
        short = name.replace("void ", "").replace("at::native::", "").replace("(anonymous namespace)::", "")[:88]
        print(f"  {t / 1e3:6.2f} ms {n:5d} x {short}")


def draws(seconds=8.0):
    import producers
    import train_gpu
    spec = train_gpu.tokenizer_of(os.path.join(os.path.dirname(os.path.abspath(__file__)), "checkpoint", "tokenizer.json"))
    workers = max(1, (os.cpu_count() or 2) - 1)
    source = producers.Producers(workers, spec, 1)
    try:
        for done in (0.1, 0.6):
            source.done.value = done
            begin, tokens, failed = None, 0, 0
            while begin is None or time.time() - begin < seconds / 2:
                pack = source.get(60)
                begin = begin or time.time()
                failed += isinstance(pack, str)
                tokens += 0 if isinstance(pack, str) else sum(len(ids) for ids, _ in pack)
            print(f"{workers} producers at {100 * done:.0f} %: {tokens / (time.time() - begin) / 1e3:.0f}k tok/s, {failed} draws failed", flush=True)
    finally:
        source.stop()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("part", choices=("check", "speed", "draws"))
    {"check": check, "speed": speed, "draws": draws}[ap.parse_args().part]()
