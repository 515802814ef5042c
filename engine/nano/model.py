"""DeepSeek-V4 as a trainable torch module: whole sequences, batched, float32, no caches (as the release's inference/model.py).

Parameter names are the official tensor names with '/' for '.', except that a layer's routed experts are stacked:
`layers.N.ffn.experts.w1` is [E, I, D]. Two things differ from inference on purpose: the indexer leaves out the Hadamard
rotation (it cancels in a float dot product), and it learns from what the heads attended to (KL), for no gradient of the
language model reaches it.
"""
import math

import torch
from torch import nn
import torch.nn.functional as F

import fixed
import formats
import ops

NEG = -1e30
QB = 64  # queries per attention block; the block's keys are the window before it, itself, and the compressed entries


def rope_frequencies(rotary, base, original, factor, beta_fast, beta_slow):
    """Angular frequencies [rotary / 2]; original == 0 leaves YaRN out."""
    f = 1.0 / base ** (torch.arange(0, rotary, 2, dtype=torch.float64) / rotary)
    if original == 0:
        return f

    def dim_of(rotations):
        return rotary * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(base))
    lo, hi = max(math.floor(dim_of(beta_fast)), 0), min(math.ceil(dim_of(beta_slow)), rotary - 1)
    ramp = ((torch.arange(rotary // 2, dtype=torch.float64) - lo) / (hi - lo if hi != lo else 0.001)).clamp(0, 1)
    return f / factor * ramp + f * (1 - ramp)


class V4(nn.Module):
    def __init__(self, c, seed=0):
        super().__init__()
        self.c = c
        self.qat, self.rounded = False, {}  # round weights as the checkpoint will; the rounded ones of this step
        self.fixed = False                  # no tensor's size depends on values (fixed.py)
        self._seed = torch.Generator().manual_seed(seed)
        layers, streams, dim = c["num_hidden_layers"], c["hc_mult"], c["hidden_size"]
        self._parameter("embed.weight", c["vocab_size"], dim, std=1.0)
        for i in range(layers):
            self._block(f"layers.{i}.", i)
        self._parameter("norm.weight", dim, fill=1)
        self._hc_head("hc_head")
        self._parameter("head.weight", c["vocab_size"], dim, std=0.3 * dim ** -0.5)
        if c["num_nextn_predict_layers"]:
            self._block("mtp.0.", layers)
            for n in ("e_proj", "h_proj"):
                self._parameter(f"mtp.0.{n}.weight", dim, dim)
            for n in ("enorm", "hnorm", "norm"):
                self._parameter(f"mtp.0.{n}.weight", dim, fill=1)
            self._hc_head("mtp.0.hc_head")
        rs, rotary = c["rope_scaling"], c["qk_rope_head_dim"]
        self.freqs = {False: rope_frequencies(rotary, c["rope_theta"], 0, 1, 1, 1),
                      True: rope_frequencies(rotary, c["compress_rope_theta"], rs["original_max_position_embeddings"], rs["factor"],
                                             rs["beta_fast"], rs["beta_slow"])}
        self._cis, self._masks = {}, {}

    # -- parameters

    def _parameter(self, name, *shape, std=None, fill=None):
        if fill is not None:
            t = torch.full(shape, float(fill))
        else:
            t = torch.randn(shape, generator=self._seed) * (shape[-1] ** -0.5 if std is None else std)
        self.register_parameter(name.replace(".", "/"), nn.Parameter(t))
        return t

    def _hc(self, name, k):
        """Mostly read one stream, write to all, keep the streams apart: the start that never was unstable."""
        S, D = self.c["hc_mult"], self.c["hidden_size"]
        self._parameter(name + "_fn", (2 + S) * S, S * D, std=0.1 * (S * D) ** -0.5)
        base = self._parameter(name + "_base", (2 + S) * S, fill=0)
        base[:S] = -2.0
        base[k % S] = 2.0
        base[2 * S:] = 4 * torch.eye(S).reshape(-1)
        self._parameter(name + "_scale", 3, fill=0.3)

    def _hc_head(self, name):
        S, D = self.c["hc_mult"], self.c["hidden_size"]
        self._parameter(name + "_fn", S, S * D, std=0.1 * (S * D) ** -0.5)
        self._parameter(name + "_base", S, fill=-1.1)
        self._parameter(name + "_scale", 1, fill=0.3)

    def _compressor(self, name, ratio, dim):
        width, D = dim * (2 if ratio == 4 else 1), self.c["hidden_size"]
        self._parameter(name + "ape", ratio, width, std=0.02)
        self._parameter(name + "wkv.weight", width, D)
        self._parameter(name + "wgate.weight", width, D, std=0.1 * D ** -0.5)
        self._parameter(name + "norm.weight", dim, fill=1)

    def _block(self, p, i):
        c = self.c
        D, H, C, Q, G, O = (c[k] for k in ("hidden_size", "num_attention_heads", "head_dim", "q_lora_rank", "o_groups", "o_lora_rank"))
        E, I, L, k = c["n_routed_experts"], c["moe_intermediate_size"], c["num_hidden_layers"], c["num_experts_per_tok"]
        ratio, attn, ffn = c["compress_ratios"][i], p + "attn.", p + "ffn."
        self._parameter(attn + "attn_sink", H, fill=0)
        self._parameter(attn + "wq_a.weight", Q, D)
        self._parameter(attn + "q_norm.weight", Q, fill=1)
        self._parameter(attn + "wq_b.weight", H * C, Q)
        self._parameter(attn + "wkv.weight", C, D)
        self._parameter(attn + "kv_norm.weight", C, fill=1)
        self._parameter(attn + "wo_a.weight", G * O, H * C // G)
        self._parameter(attn + "wo_b.weight", D, G * O, std=0.5 * (G * O * L) ** -0.5)
        if ratio:
            self._compressor(attn + "compressor.", ratio, C)
        if ratio == 4:
            heads, dim = c["index_n_heads"], c["index_head_dim"]
            self._parameter(attn + "indexer.wq_b.weight", heads * dim, Q)
            self._parameter(attn + "indexer.weights_proj.weight", heads, D)
            self._compressor(attn + "indexer.compressor.", 4, dim)
        self._parameter(ffn + "gate.weight", E, D)
        if i < c["num_hash_layers"]:
            table = torch.stack([torch.randperm(E, generator=self._seed)[:k] for _ in range(c["vocab_size"])])
            self.register_buffer((ffn + "gate.tid2eid").replace(".", "/"), table)
        else:
            self.register_buffer((ffn + "gate.bias").replace(".", "/"), torch.zeros(E))
        down = 0.5 * (I * L) ** -0.5
        self._parameter(ffn + "experts.w1", E, I, D)
        self._parameter(ffn + "experts.w3", E, I, D)
        self._parameter(ffn + "experts.w2", E, D, I, std=down)
        self._parameter(ffn + "shared_experts.w1.weight", I, D)
        self._parameter(ffn + "shared_experts.w3.weight", I, D)
        self._parameter(ffn + "shared_experts.w2.weight", D, I, std=down)
        for n in ("attn_norm", "ffn_norm"):
            self._parameter(p + n + ".weight", D, fill=1)
        self._hc(p + "hc_attn", 2 * i)
        self._hc(p + "hc_ffn", 2 * i + 1)

    def p(self, name):
        """A parameter by official name; in quantisation-aware steps, what the checkpoint would hold (straight through)."""
        w = getattr(self, name.replace(".", "/"))
        kind = formats.kind(name) if self.qat else ""
        if not kind:
            return w
        if name not in self.rounded:
            self.rounded[name] = w + (formats.fake_quant(w.detach(), kind) - w.detach())
        return self.rounded[name]

    # -- pieces

    def norm(self, x, name):
        return ops.rms_norm(x, self.p(name) if name else None, self.c["rms_norm_eps"])

    def cis(self, compressed, n, stride=1):
        key = (compressed, n, stride)
        if key not in self._cis:
            angle = torch.arange(n, dtype=torch.float64)[:, None] * stride * self.freqs[compressed][None]
            self._cis[key] = torch.polar(torch.ones_like(angle), angle).to(torch.complex64).to(self.p("embed.weight").device)
        return self._cis[key]

    def hc_read(self, X, name):
        c = self.c
        return ops.hc_read(X, self.p(name + "_fn"), self.p(name + "_scale"), self.p(name + "_base"), c["hc_sinkhorn_iters"], c["hc_eps"],
                           c["rms_norm_eps"])

    def compress(self, x, ratio, dim, p, n):
        """x [B, T, D] -> entries [B, n, dim]"""
        B = x.shape[0]
        x = x[:, :n * ratio]
        kv = (x @ self.p(p + "wkv.weight").t()).view(B, n, ratio, -1)
        gate = (x @ self.p(p + "wgate.weight").t()).view(B, n, ratio, -1) + self.p(p + "ape")
        if ratio == 4:
            def overlap(t, missing):  # the previous group's first half beside this group's second half
                a, b = t.split(dim, -1)
                return torch.cat([F.pad(a, (0, 0, 0, 0, 1, -1), value=missing), b], 2)
            kv, gate = overlap(kv, 0.0), overlap(gate, NEG)
        e = self.norm((kv * torch.softmax(gate, 2)).sum(2), p + "norm.weight")
        return ops.rope(e, self.cis(True, n, ratio))

    def mask(self, j, ratio):
        """additive [QB, keys]: what the queries of block j see of the window's keys up to the block's last, and of the entries by then"""
        key = (j, ratio)
        if key not in self._masks:
            W, end = self.c["sliding_window"], (j + 1) * QB
            q = torch.arange(j * QB, end)[:, None]
            k = torch.arange(max(0, j * QB - W), end)[None]
            seen = (k <= q) & (k > q - W)
            if ratio:
                seen = torch.cat([seen, torch.arange(end // ratio)[None] < (q + 1) // ratio], -1)
            self._masks[key] = torch.where(seen, 0.0, NEG).to(self.p("embed.weight").device)
        return self._masks[key]

    def attention(self, i, x, p, aux):
        """x [B, T, D], T a multiple of QB. aux["index_loss"] asks for the indexer's loss, added to aux["index"]."""
        c = self.c
        B, T, _ = x.shape
        H, C, ratio, W, G = c["num_attention_heads"], c["head_dim"], c["compress_ratios"][i], c["sliding_window"], c["o_groups"]
        blocks, n = T // QB, T // ratio if ratio else 0
        cis = self.cis(bool(ratio), T)
        qr = self.norm(x @ self.p(p + "wq_a.weight").t(), p + "q_norm.weight")
        q = ops.rope(self.norm((qr @ self.p(p + "wq_b.weight").t()).view(B, T, H, C), None), cis)
        kv = ops.rope(self.norm(x @ self.p(p + "wkv.weight").t(), p + "kv_norm.weight"), cis)
        entries = score = drop = None
        if ratio:
            entries = self.compress(x, ratio, C, p + "compressor.", n)
            if ratio == 4 and (aux["index_loss"] or n > c["index_topk"]):
                with torch.set_grad_enabled(torch.is_grad_enabled() and aux["index_loss"]):
                    score = self.index(x.detach(), qr.detach(), p + "indexer.", n)                # [B, T, n]
                if n > c["index_topk"] and not self.fixed:
                    chosen = score.detach().topk(c["index_topk"], -1).indices
                    drop = torch.full_like(score, NEG).scatter_(-1, chosen, 0.0).view(B, blocks, QB, n)
        if self.fixed:
            key = ("all", blocks, ratio)
            if key not in self._masks:
                mask = fixed.near_mask(blocks, QB, W, x.device)
                if ratio:
                    mask = torch.cat([mask, fixed.far_mask(T, n, ratio, x.device).view(blocks, QB, n)], -1)
                self._masks[key] = mask
            mask = self._masks[key]
            if ratio == 4 and n > c["index_topk"]:
                mask = ops.top_mask(score.detach().view(B * T, n), mask.view(T, -1), c["index_topk"]).view(B * blocks, QB, -1)
            o, target = fixed.attend(q * C ** -0.5, kv, entries, mask, self.p(p + "attn_sink"), QB, W)
            target = target if score is not None and aux["index_loss"] else None
        else:
            o, target = self.attend_by_blocks(q, kv, entries, drop, ratio, self.p(p + "attn_sink"), score is not None and aux["index_loss"])
        if target is not None:
            target = target / (target.sum(-1, keepdim=True) + 1e-9)
            aux["index"] = aux.get("index", 0.0) - (target * torch.log_softmax(score, -1).clamp_min(-50))[:, 4:].sum(-1).mean()
        o = ops.rope(o, cis, inverse=True)
        A = self.p(p + "wo_a.weight").view(G, c["o_lora_rank"], -1)
        o = torch.bmm(o.reshape(B * T, G, -1).transpose(0, 1), A.transpose(1, 2)).transpose(0, 1).reshape(B, T, -1)
        return o @ self.p(p + "wo_b.weight").t()

    def attend_by_blocks(self, q, kv, entries, drop, ratio, sink, index):
        """fixed.attend with keys only up to each block's last query; drop [B, blocks, QB, n] is added to the entries' mask."""
        B, T, H, C = q.shape
        W, blocks, n = self.c["sliding_window"], T // QB, T // ratio if ratio else 0
        # One key-value head: the query heads fold into the rows of one product a block. A block's keys are the window before it,
        # itself, and the entries so far. Pieces are split off, for a slice's gradient is as long as the whole.
        queries = (q.view(B, blocks, QB, H, C) * C ** -0.5).transpose(2, 3).reshape(B, blocks, H * QB, C).unbind(1)
        pieces, out, target = kv.split(QB, 1), [], []
        for j in range(blocks):
            K = list(pieces[max(0, j - W // QB):j + 1])
            near, seen = len(K) * QB, (j + 1) * QB // ratio if ratio else 0
            K = torch.cat(K + [entries[:, :seen]] if seen else K, 1)                              # [B, keys, C]
            mask = self.mask(j, ratio)
            if drop is not None:
                mask = torch.cat([mask[:, :near].expand(B, QB, near), mask[:, near:] + drop[:, j, :, :seen]], -1)
            P = ops.sink_softmax(torch.bmm(queries[j], K.transpose(1, 2)).view(B, H, QB, near + seen), mask, sink)
            out.append(torch.bmm(P.view(B, H * QB, near + seen), K).view(B, H, QB, C))
            if index:
                target.append(F.pad(P.detach()[..., near:].sum(1), (0, n - seen)))
        return torch.stack(out, 1).transpose(2, 3).reshape(B, T, H, C), torch.cat(target, 1) if target else None

    def index(self, x, qr, p, n):
        c = self.c
        B, T, _ = x.shape
        heads, dim = c["index_n_heads"], c["index_head_dim"]
        q = ops.rope((qr @ self.p(p + "wq_b.weight").t()).view(B, T, heads, dim), self.cis(True, T))
        k = self.compress(x, 4, dim, p + "compressor.", n)
        w = (x @ self.p(p + "weights_proj.weight").t()) * (dim * heads) ** -0.5
        s = torch.relu(torch.bmm(q.reshape(B, T * heads, dim), k.transpose(1, 2)).view(B, T, heads, n))
        s = (s * w[..., None]).sum(2)
        visible = torch.arange(n, device=x.device)[None] < ((torch.arange(T, device=x.device) + 1) // 4)[:, None]
        return s.masked_fill(~visible, NEG)

    def expert(self, x, w1, w3, w2, weight=None):
        h = ops.swiglu(x @ w1.t(), x @ w3.t(), self.c["swiglu_limit"])
        return (h if weight is None else h * weight) @ w2.t()

    def moe(self, i, x, tok, p):
        """x [N, D]"""
        c = self.c
        E, k = c["n_routed_experts"], c["num_experts_per_tok"]
        score = torch.sqrt(F.softplus(x @ self.p(p + "gate.weight").t()))
        if i < c["num_hash_layers"]:
            chosen = self.p(p + "gate.tid2eid")[tok]
        else:
            bias = self.p(p + "gate.bias")
            chosen = (score.detach() + bias).topk(k, -1).indices
            if self.training:  # balance without a loss: nudge the selection bias by the sign of the error
                load = (chosen.reshape(-1, 1) == torch.arange(E, device=x.device)).sum(0).float()
                bias.add_(1e-3 * torch.sign(load.mean() - load))
        w = score.gather(1, chosen)
        w = w / w.sum(-1, keepdim=True) * c["routed_scaling_factor"]
        W1, W3, W2 = (self.p(f"{p}experts.{n}") for n in ("w1", "w3", "w2"))
        y = fixed.experts(x, chosen, w, W1, W3, W2, c["swiglu_limit"]) if self.fixed else self.experts(x, chosen, w, W1, W3, W2)
        return y + self.expert(x, *(self.p(f"{p}shared_experts.{n}.weight") for n in ("w1", "w3", "w2")))

    def experts(self, x, chosen, w, W1, W3, W2):
        E, k = W1.shape[0], chosen.shape[1]
        flat = chosen.reshape(-1)
        perm = torch.argsort(flat, stable=True)
        inverse = torch.empty_like(perm)
        inverse[perm] = torch.arange(perm.numel(), device=perm.device)
        counts = torch.bincount(flat, minlength=E).tolist()
        xs = ops.permute(x[:, None].expand(-1, k, -1).reshape(-1, x.shape[1]), perm, inverse).split(counts)
        ws = ops.permute(w.reshape(-1, 1), perm, inverse).split(counts)
        out = torch.cat([self.expert(xs[e], W1[e], W3[e], W2[e], ws[e]) for e in range(E) if counts[e]])
        return ops.permute(out, inverse, perm).view(x.shape[0], k, -1).sum(1)

    # -- the model

    def block(self, i, X, tok, p, aux):
        """X [N, S, D] with N = B * T, tok [B, T]"""
        B, T = tok.shape
        x, post, comb = self.hc_read(X, p + "hc_attn")
        y = self.attention(i, self.norm(x, p + "attn_norm.weight").view(B, T, -1), p + "attn.", aux)
        X = ops.hc_write(X, y.reshape(B * T, -1), post, comb)
        x, post, comb = self.hc_read(X, p + "hc_ffn")
        return ops.hc_write(X, self.moe(i, self.norm(x, p + "ffn_norm.weight"), tok.reshape(-1), p + "ffn."), post, comb)

    def reduce(self, X, hc, norm):
        """hc_head and the final norm: [N, S, D] -> [N, D]"""
        n, S, D = X.shape
        flat = X.reshape(n, S * D)
        mix = (flat @ self.p(hc + "_fn").t()) * torch.rsqrt((flat * flat).mean(-1, keepdim=True) + self.c["rms_norm_eps"])
        pre = torch.sigmoid(mix * self.p(hc + "_scale") + self.p(hc + "_base")) + self.c["hc_eps"]
        return self.norm((pre[..., None] * X).sum(1), norm)

    def embed(self, tok):
        """tok [B, T] -> [N, D]"""
        table, tok = self.p("embed.weight"), tok.reshape(-1)
        return fixed.embed(table, tok) if self.fixed else table[tok]

    def streams(self, tok, aux):
        B, T = tok.shape
        X = self.embed(tok).view(B * T, 1, -1).repeat(1, self.c["hc_mult"], 1)
        for i in range(self.c["num_hidden_layers"]):
            X = self.block(i, X, tok, f"layers.{i}.", aux)
        return X

    def forward(self, tok):
        """tok [B, T], T a multiple of QB -> logits [B, T, V]"""
        h = self.reduce(self.streams(tok, {"index_loss": False}), "hc_head", "norm.weight")
        return (h @ self.p("head.weight").t()).view(*tok.shape, -1)

    def mtp(self, X, following, aux):
        """following[b, t] = tok[b, t + 1]; row t then predicts tok[b, t + 2]. -> [N, D]"""
        n, S, D = X.shape
        e = self.norm(self.embed(following), "mtp.0.enorm.weight") @ self.p("mtp.0.e_proj.weight").t()
        Y = e[:, None] + self.norm(X, "mtp.0.hnorm.weight") @ self.p("mtp.0.h_proj.weight").t()
        Y = self.block(self.c["num_hidden_layers"], Y.contiguous(), following, "mtp.0.", aux)
        return self.reduce(Y, "mtp.0.hc_head", "mtp.0.norm.weight")

    def loss(self, tok, weight, mtp=0.3, index=0.1):
        """tok [B, T + 1], weight [B, T + 1] of predicting each token -> (total, {name: value, a tensor})"""
        aux = {"index_loss": index > 0}
        x, y, w = tok[:, :-1], tok[:, 1:], weight[:, 1:]
        head = self.p("head.weight")

        def cross_entropy(h, y, w):
            if self.fixed:
                return fixed.cross_entropy(h, head, y.reshape(-1), w.reshape(-1))
            rows = w.reshape(-1).nonzero().squeeze(1)  # only rows that carry weight reach the head
            each = F.cross_entropy(h[rows] @ head.t(), y.reshape(-1)[rows], reduction="none")
            return (each * w.reshape(-1)[rows]).sum() / w.sum()
        X = self.streams(x, aux)
        total = cross_entropy(self.reduce(X, "hc_head", "norm.weight"), y, w)
        parts = {"main": total.detach()}
        if mtp and self.c["num_nextn_predict_layers"]:
            after = lambda t, last: torch.cat([t[:, 1:], last], 1)
            m = cross_entropy(self.mtp(X, y, aux), after(y, y[:, :1]), after(w, torch.zeros_like(w[:, :1])))
            parts["mtp"] = m.detach()
            total = total + mtp * m
        if "index" in aux:
            parts["index"] = aux["index"].detach()
            total = total + index * aux["index"]
        return total, parts
