"""nano's training step on a GPU: sizes that do not change, so that a step is recorded once as a graph and then replayed."""
import torch

from optim import is_matrix, orthogonalise

SLOTS = 8  # pinned buffers for batches on their way


class DeviceOptim:
    """optim.Optim with its learning rates on the device, for a step that is replayed. One factor scales both."""

    def __init__(self, model, lr_muon, lr_adam, decay=0.05):
        named = list(model.named_parameters())
        for _, p in named:
            p.grad = torch.zeros_like(p)
        self.parameters = [p for _, p in named]
        self.by_shape = {}
        for name, p in named:
            if is_matrix(name, p):
                self.by_shape.setdefault(tuple(p.shape[-2:]), []).append(p)
        mine = {id(p) for ps in self.by_shape.values() for p in ps}
        rest = [p for p in self.parameters if id(p) not in mine]
        device = rest[0].device
        self.momentum = {s: torch.zeros(sum(p.numel() for p in ps) // (s[0] * s[1]), *s, device=device) for s, ps in self.by_shape.items()}
        self.lr, self.lr_adam, self.decay = lr_muon, lr_adam, decay
        self.rate, self.rate_adam = torch.zeros((), device=device), torch.zeros((), device=device)
        on_gpu = device.type == "cuda"
        self.adam = torch.optim.AdamW([dict(params=[p for p in rest if p.dim() >= 2], weight_decay=decay),
                                       dict(params=[p for p in rest if p.dim() < 2], weight_decay=0.0)],
                                      lr=self.rate_adam if on_gpu else lr_adam, betas=(0.9, 0.95), eps=1e-10, **({"capturable": True} if on_gpu else {}))

    def scale(self, factor):
        self.rate.fill_(self.lr * factor)
        self.rate_adam.fill_(self.lr_adam * factor)
        if self.rate.device.type != "cuda":
            for g in self.adam.param_groups:
                g["lr"] = self.lr_adam * factor

    @torch.no_grad()
    def step(self):
        """Also sets the gradients to zero."""
        self.adam.step()
        keep = 1 - self.rate * self.decay
        for shape, ps in self.by_shape.items():
            g, m = torch.cat([p.grad.view(-1, *shape) for p in ps]), self.momentum[shape]
            m.mul_(0.95).add_(g)
            u = orthogonalise(g.add_(m, alpha=0.95)).mul_(0.2 * max(shape) ** 0.5) * self.rate
            for p, part in zip(ps, u.split([p.numel() // (shape[0] * shape[1]) for p in ps])):
                p.mul_(keep).sub_(part.reshape(p.shape))
        torch._foreach_zero_([p.grad for p in self.parameters])


class Stepper:
    """Runs steps. A kind of step (lengths, losses, phase) is recorded when it first comes, and replayed from then on; what it may need
    that a recording cannot make, such as tables, is made by running one step of such lengths and losses, and one of such a phase, as
    they are. Where recording fails every step is run as it is, and `trouble` says why."""

    def __init__(self, model, optimiser, tokens, graphs=True):
        self.model, self.optimiser, self.tokens, self.graphs = model, optimiser, tokens, graphs
        self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        self.stream.wait_stream(torch.cuda.current_stream())
        self.inputs, self.recorded, self.seen, self.trouble = {}, {}, set(), ""
        self.parts = torch.zeros(3, device="cuda")  # main, mtp, index: of the last step that had each
        self.mean = torch.zeros((), device="cuda")  # of the main loss, over some thirty steps
        self.slots = [(torch.empty(2 * tokens, dtype=torch.long).pin_memory(), torch.empty(2 * tokens).pin_memory(), torch.cuda.Event())
                      for _ in range(SLOTS)]
        self.count = 0

    def _load(self, ids, w):
        """Numpy [B, T + 1] each -> the device's buffers of that size"""
        shape = ids.shape
        if shape not in self.inputs:
            self.inputs[shape] = (torch.zeros(shape, dtype=torch.long, device="cuda"), torch.zeros(shape, device="cuda"))
        a, b, sent = self.slots[self.count % SLOTS]
        sent.synchronize()  # eight steps ago: no wait
        n = ids.size
        a[:n].copy_(torch.from_numpy(ids).view(-1))
        b[:n].copy_(torch.from_numpy(w).view(-1))
        x, y = self.inputs[shape]
        x.copy_(a[:n].view(shape), non_blocking=True)
        y.copy_(b[:n].view(shape), non_blocking=True)
        sent.record()
        return x, y

    def _run(self, x, w, mtp, index):
        self.model.rounded.clear()
        loss, parts = self.model.loss(x, w, mtp=mtp, index=index)
        loss.backward()
        for k, name in enumerate(("main", "mtp", "index")):
            if name in parts:
                self.parts[k].copy_(parts[name])
        self.mean.mul_(0.97).add_(parts["main"], alpha=0.03)
        self.optimiser.step()
        self.model.rounded.clear()

    def __call__(self, ids, w, mtp, index):
        """ids [B, T + 1] int64, w [B, T + 1] float32, NumPy"""
        with torch.cuda.stream(self.stream):
            x, y = self._load(ids, w)
            self.count += 1
            kind = (ids.shape, mtp, index, self.model.qat, self.model.c["index_topk"])
            if kind in self.recorded:
                self.recorded[kind].replay()
                return
            lengths, phase = kind[:3], kind[3:]
            if not self.graphs or lengths not in self.seen or phase not in self.seen:
                self.seen.update((lengths, phase))
                self._run(x, y, mtp, index)
                return
            try:
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                    self._run(x, y, mtp, index)
            except Exception as why:  # slower, but right
                self.graphs, self.trouble = False, f"record a step of {kind}: {str(why)[:500]}"
                torch.cuda.synchronize()
                torch._foreach_zero_([p.grad for p in self.optimiser.parameters])
                self._run(x, y, mtp, index)
                return
            self.recorded[kind] = graph
            graph.replay()

    def forget(self):
        """Drops the records, as when a phase ends whose steps do not come again."""
        torch.cuda.synchronize()
        self.recorded.clear()


class Guard:
    """Takes a model back to where its loss was well, and its optimiser to its start at half the learning rates, should it run away."""

    def __init__(self, model, optimiser, ratio=2.5, least=3.5):
        self.model, self.optimiser, self.ratio, self.least = model, optimiser, ratio, least
        self.kept, self.mean, self.returns = None, None, 0

    @torch.no_grad()
    def look(self, loss):
        """Keeps the state or goes back to the kept one (True). A loss below `least` is well in any case."""
        tensors = list(self.model.state_dict().values())
        if self.kept is None or loss < max(self.least, self.ratio * self.mean):
            self.kept = [t.clone() for t in tensors]
            self.mean = loss if self.mean is None else 0.7 * self.mean + 0.3 * loss
            return False
        for t, k in zip(tensors, self.kept):
            t.copy_(k)
        o = self.optimiser
        for m in o.momentum.values():
            m.zero_()
        for state in o.adam.state.values():
            for t in state.values():
                t.zero_()
        for p in o.parameters:
            p.grad.zero_()
        o.lr, o.lr_adam, self.returns = o.lr / 2, o.lr_adam / 2, self.returns + 1
        return True
