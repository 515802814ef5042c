"""DeepSeek-V4 as a trainable PyTorch module: whole sequences, batched, float32, no caches.

Parameter names are the official tensor names ('.' written as '/'), except that the routed experts of a layer
are stacked: `layers.N.ffn.experts.w1` [E, I, D]. Works with torch 1.13; fast on CPU with kernels.so beside it
(mHC) and fastblas.so preloaded (GEMM); falls back to plain torch for everything, which is also the GPU path.
"""
import ctypes, math, os
import torch
from torch import nn
import torch.nn.functional as F

import formats

NEG = -1e30
QB = 64  # queries per attention block; keys per block are the window and these
_so = os.environ.get("NANO_KERNELS", "")  # kernels.c, compiled; plain torch without it
KERN = ctypes.CDLL(_so) if _so else None

# ------------------------------------------------------------------ mHC

def sinkhorn_torch(x, iters, eps):
    M = torch.softmax(x, -1) + eps
    M = M / (M.sum(-2, keepdim=True) + eps)
    for _ in range(iters - 1):
        M = M / (M.sum(-1, keepdim=True) + eps)
        M = M / (M.sum(-2, keepdim=True) + eps)
    return M

def _p(t): return ctypes.c_void_p(t.data_ptr())
_L, _I, _Fl = ctypes.c_long, ctypes.c_int, ctypes.c_float

class HcRead(torch.autograd.Function):
    """X [N,S,D] -> (sublayer input x [N,D], post [N,S], M [N,S,S])"""
    @staticmethod
    def forward(ctx, X, fn, scale, base, iters, eps, rms_eps):
        N, S, D = X.shape
        flat = X.view(N, S * D)
        ss = torch.empty(N)
        KERN.hc_sumsq(_p(X), _p(ss), _L(N), _L(S * D))
        r = torch.rsqrt(ss / (S * D) + rms_eps)
        raw = flat @ fn.t()
        mix = raw * r[:, None]
        pre = torch.sigmoid(mix[:, :S] * scale[0] + base[:S]) + eps
        post = 2 * torch.sigmoid(mix[:, S:2 * S] * scale[1] + base[S:2 * S])
        logit = (mix[:, 2 * S:] * scale[2] + base[2 * S:]).contiguous()
        M, x = torch.empty_like(logit), torch.empty(N, D)
        KERN.sinkhorn_fwd(_p(logit), _p(M), _L(N), _I(iters), _Fl(eps))
        KERN.hc_pre_fwd(_p(X), _p(pre), _p(x), _L(N), _L(D))
        ctx.save_for_backward(X, fn, scale, base, r, raw, mix, pre, post, logit)
        ctx.k = (iters, eps)
        return x, post, M.view(N, S, S)
    @staticmethod
    def backward(ctx, dx, dpost, dM):
        X, fn, scale, base, r, raw, mix, pre, post, logit = ctx.saved_tensors
        iters, eps = ctx.k
        N, S, D = X.shape
        dx, dM = dx.contiguous(), dM.contiguous()
        dpre, dlogit = torch.empty(N, S), torch.empty_like(logit)
        KERN.hc_dpre(_p(X), _p(dx), _p(dpre), _L(N), _L(D))
        KERN.sinkhorn_bwd(_p(logit), _p(dM), _p(dlogit), _L(N), _I(iters), _Fl(eps))
        s = pre - eps
        da = torch.cat([dpre * s * (1 - s), dpost * post * (1 - post / 2), dlogit], 1)    # d(mix*scale+base)
        dbase = da.sum(0)
        prod = da * mix
        dscale = torch.stack([prod[:, :S].sum(), prod[:, S:2 * S].sum(), prod[:, 2 * S:].sum()])
        sc = torch.cat([scale[0].expand(S), scale[1].expand(S), scale[2].expand(S * S)])
        dmix = da * sc
        draw = dmix * r[:, None]
        coef = -(dmix * raw).sum(1) * r ** 3 / (S * D)
        dfn = draw.t() @ X.view(N, -1)
        G = draw @ fn
        KERN.hc_pre_bwd(_p(G), _p(X), _p(coef), _p(pre), _p(dx), _L(N), _L(D))
        return G.view(N, S, D), dfn, dscale, dbase, None, None, None

class HcWrite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, X, y, post, M):
        N, S, D = X.shape
        y, Z = y.contiguous(), torch.empty_like(X)
        KERN.hc_post_fwd(_p(X), _p(y), _p(post), _p(M), _p(Z), _L(N), _L(D))
        ctx.save_for_backward(X, y, post, M)
        return Z
    @staticmethod
    def backward(ctx, dZ):
        X, y, post, M = ctx.saved_tensors
        N, S, D = X.shape
        dZ = dZ.contiguous()
        dX, dy, dpost, dM = torch.empty_like(X), torch.empty_like(y), torch.empty_like(post), torch.empty_like(M)
        KERN.hc_post_bwd(_p(X), _p(y), _p(post), _p(M), _p(dZ), _p(dX), _p(dy), _p(dpost), _p(dM), _L(N), _L(D))
        return dX, dy, dpost, dM

# ------------------------------------------------------------------ norm and rope

class RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, eps):
        x = x.contiguous()
        D = x.shape[-1]; N = x.numel() // D
        y, r = torch.empty_like(x), torch.empty(N)
        KERN.rms_fwd(_p(x), _p(w) if w is not None else None, _p(y), _p(r), _L(N), _L(D), _Fl(eps))
        ctx.save_for_backward(x, w, r)
        return y
    @staticmethod
    def backward(ctx, g):
        x, w, r = ctx.saved_tensors
        g = g.contiguous(); D = x.shape[-1]
        dx, dw = torch.empty_like(x), torch.zeros(D) if w is not None else None
        KERN.rms_bwd(_p(x), _p(w) if w is not None else None, _p(r), _p(g), _p(dx), _p(dw) if w is not None else None, _L(x.numel() // D), _L(D))
        return dx, dw, None

class Rope(torch.autograd.Function):
    """x [B, T, H, C], table [T, R] of (cos, sin) pairs"""
    @staticmethod
    def forward(ctx, x, table, sign):
        ctx.save_for_backward(table); ctx.sign = sign
        return Rope.run(x, table, sign)
    @staticmethod
    def run(x, table, sign):
        x = x.contiguous(); B, T, H, C = x.shape
        y = torch.empty_like(x)
        KERN.rope(_p(x), _p(y), _p(table), _L(B * T), _L(T), _L(H), _L(C), _L(table.shape[1]), _Fl(sign))
        return y
    @staticmethod
    def backward(ctx, g):
        return Rope.run(g, ctx.saved_tensors[0], -ctx.sign), None, None

# ------------------------------------------------------------------ attention pieces

class SinkSoftmax(torch.autograd.Function):
    """softmax(s + mask) with one extra logit per head that has weight but no value. s [B,n,H,W,K], mask [..,n,1,W,K]."""
    @staticmethod
    def forward(ctx, s, mask, sink):
        s.add_(mask)
        sk = sink.view(1, 1, -1, 1, 1)
        m = torch.maximum(s.amax(-1, keepdim=True), sk)
        s.sub_(m).exp_()
        e = torch.exp(sk - m)
        z = s.sum(-1, keepdim=True).add_(e)
        s.div_(z)
        ctx.mark_dirty(s)
        ctx.save_for_backward(s, e / z)
        return s
    @staticmethod
    def backward(ctx, dp):
        p, psink = ctx.saved_tensors
        g = dp * p
        t = g.sum(-1, keepdim=True)
        dsink = -(psink * t).sum((0, 1, 3, 4))
        g.addcmul_(p, t, value=-1)
        return g, None, dsink

class PermGather(torch.autograd.Function):
    """rows[perm], whose gradient is the inverse permutation and not a scatter-add."""
    @staticmethod
    def forward(ctx, x, perm, inv):
        ctx.save_for_backward(perm, inv)
        return x.index_select(0, perm)
    @staticmethod
    def backward(ctx, g):
        perm, inv = ctx.saved_tensors
        return g.index_select(0, inv), None, None

def yarn(R, base, orig, factor, fast, slow):
    f = 1.0 / base ** (torch.arange(0, R, 2, dtype=torch.float64) / R)
    if orig == 0:
        return f
    dim = lambda rot: R * math.log(orig / (rot * 2 * math.pi)) / (2 * math.log(base))
    lo, hi = max(math.floor(dim(fast)), 0), min(math.ceil(dim(slow)), R - 1)
    ramp = ((torch.arange(R // 2, dtype=torch.float64) - lo) / (hi - lo if hi != lo else 0.001)).clamp(0, 1)
    return f / factor * ramp + f * (1 - ramp)

class V4(nn.Module):
    def __init__(self, c, use_kernels=True, seed=0):
        super().__init__()
        self.c, self.hc_fast = c, use_kernels and KERN is not None
        self.qat, self.rounded = False, {}
        g = torch.Generator().manual_seed(seed)
        D, V, S, H, C, E, I = (c[k] for k in ("hidden_size", "vocab_size", "hc_mult", "num_attention_heads", "head_dim",
                                               "n_routed_experts", "moe_intermediate_size"))
        G, O, Q = c["o_groups"], c["o_lora_rank"], c["q_lora_rank"]
        L = c["num_hidden_layers"]
        def par(name, *shape, std=None, fill=None):
            t = torch.full(shape, float(fill)) if fill is not None else torch.randn(shape, generator=g) * (std if std is not None else shape[-1] ** -0.5)
            self.register_parameter(name.replace(".", "/"), nn.Parameter(t))
            return t
        def hyper(p, k):
            par(p + "_fn", (2 + S) * S, S * D, std=0.1 * (S * D) ** -0.5)
            b = par(p + "_base", (2 + S) * S, fill=0)
            b[:S] = -2.0; b[k % S] = 2.0                   # read mostly one stream, write to all, keep the streams
            b[2 * S:] = 4 * torch.eye(S).reshape(-1)
            par(p + "_scale", 3, fill=0.3)
        def comp(p, ratio, d):
            w = d * (2 if ratio == 4 else 1)
            par(p + "ape", ratio, w, std=0.02); par(p + "wkv.weight", w, D); par(p + "wgate.weight", w, D, std=0.1 * D ** -0.5); par(p + "norm.weight", d, fill=1)
        def block(p, i):
            ratio, A, Fp = c["compress_ratios"][i], p + "attn.", p + "ffn."
            par(A + "attn_sink", H, fill=0)
            par(A + "wq_a.weight", Q, D); par(A + "q_norm.weight", Q, fill=1); par(A + "wq_b.weight", H * C, Q)
            par(A + "wkv.weight", C, D); par(A + "kv_norm.weight", C, fill=1)
            par(A + "wo_a.weight", G * O, H * C // G); par(A + "wo_b.weight", D, G * O, std=0.5 * (G * O * L) ** -0.5)
            if ratio: comp(A + "compressor.", ratio, C)
            if ratio == 4:
                n, d = c["index_n_heads"], c["index_head_dim"]
                par(A + "indexer.wq_b.weight", n * d, Q); par(A + "indexer.weights_proj.weight", n, D); comp(A + "indexer.compressor.", 4, d)
            par(Fp + "gate.weight", E, D)
            if i < c["num_hash_layers"]:
                k = c["num_experts_per_tok"]
                self.register_buffer((Fp + "gate.tid2eid").replace(".", "/"), torch.stack([torch.randperm(E, generator=g)[:k] for _ in range(V)]))
            else:
                self.register_buffer((Fp + "gate.bias").replace(".", "/"), torch.zeros(E))
            par(Fp + "experts.w1", E, I, D); par(Fp + "experts.w3", E, I, D); par(Fp + "experts.w2", E, D, I, std=0.5 * (I * L) ** -0.5)
            par(Fp + "shared_experts.w1.weight", I, D); par(Fp + "shared_experts.w3.weight", I, D); par(Fp + "shared_experts.w2.weight", D, I, std=0.5 * (I * L) ** -0.5)
            par(p + "attn_norm.weight", D, fill=1); par(p + "ffn_norm.weight", D, fill=1)
            hyper(p + "hc_attn", 2 * i); hyper(p + "hc_ffn", 2 * i + 1)
        par("embed.weight", V, D, std=1.0)
        for i in range(L): block(f"layers.{i}.", i)
        def hhead(p):
            par(p + "_fn", S, S * D, std=0.1 * (S * D) ** -0.5); par(p + "_base", S, fill=-1.1); par(p + "_scale", 1, fill=0.3)
        par("norm.weight", D, fill=1); hhead("hc_head"); par("head.weight", V, D, std=0.3 * D ** -0.5)
        if c["num_nextn_predict_layers"]:
            p = "mtp.0."
            block(p, L); par(p + "e_proj.weight", D, D); par(p + "h_proj.weight", D, D)
            for n in ("enorm", "hnorm", "norm"): par(p + n + ".weight", D, fill=1)
            hhead(p + "hc_head")
        self._rope, self._mask = {}, {}
        rs = c["rope_scaling"]
        self.freqs = {False: yarn(c["qk_rope_head_dim"], c["rope_theta"], 0, 1, 1, 1),
                      True: yarn(c["qk_rope_head_dim"], c["compress_rope_theta"], rs["original_max_position_embeddings"], rs["factor"], rs["beta_fast"], rs["beta_slow"])}

    def p(self, name):
        w = getattr(self, name.replace(".", "/"))
        if not self.qat:
            return w
        kind = formats.kind(name)
        if not kind:
            return w
        if name not in self.rounded:  # straight through: the forward pass sees what the checkpoint will hold
            self.rounded[name] = w + (formats.fake_quant(w.detach(), kind) - w.detach())
        return self.rounded[name]

    def norm(self, x, name):
        if self.hc_fast:
            return RmsNorm.apply(x, self.p(name) if name else None, self.c["rms_norm_eps"])
        y = x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.c["rms_norm_eps"])
        return y * self.p(name) if name else y

    def cis(self, compressed, T, stride=1):
        key = (compressed, T, stride)
        if key not in self._rope:
            a = torch.arange(T, dtype=torch.float64)[:, None] * stride * self.freqs[compressed][None]
            self._rope[key] = torch.polar(torch.ones_like(a), a).to(torch.complex64).to(self.p("embed.weight").device)
        return self._rope[key]

    def rope(self, x, cis, inverse=False):
        """x [B, T, C] or [B, T, H, C]: rotate the last R dims by cis [T, R/2] (conjugated for the inverse)"""
        R = self.c["qk_rope_head_dim"]
        y = x if x.dim() == 4 else x[:, :, None]
        if self.hc_fast:
            y = Rope.apply(y, torch.view_as_real(cis).reshape(cis.shape[0], R), -1.0 if inverse else 1.0)
        else:
            a, b = y.split([y.shape[-1] - R, R], -1)
            z = torch.view_as_complex(b.reshape(*b.shape[:-1], R // 2, 2).contiguous()) * (cis.conj() if inverse else cis)[:, None]
            y = torch.cat([a, torch.view_as_real(z).flatten(-2)], -1)
        return y.view(x.shape)

    # -- hyper-connections, X [N, S, D]
    def hc_read(self, X, p):
        c = self.c
        if self.hc_fast:
            return HcRead.apply(X, self.p(p + "_fn"), self.p(p + "_scale"), self.p(p + "_base"), c["hc_sinkhorn_iters"], c["hc_eps"], c["rms_norm_eps"])
        N, S, D = X.shape
        flat = X.reshape(N, S * D)
        mix = (flat @ self.p(p + "_fn").t()) * torch.rsqrt((flat * flat).mean(-1, keepdim=True) + c["rms_norm_eps"])
        sc, b, eps = self.p(p + "_scale"), self.p(p + "_base"), c["hc_eps"]
        pre = torch.sigmoid(mix[:, :S] * sc[0] + b[:S]) + eps
        post = 2 * torch.sigmoid(mix[:, S:2 * S] * sc[1] + b[S:2 * S])
        M = sinkhorn_torch((mix[:, 2 * S:] * sc[2] + b[2 * S:]).view(N, S, S), c["hc_sinkhorn_iters"], eps)
        return (pre[..., None] * X).sum(1), post, M

    def hc_write(self, X, y, post, M):
        if self.hc_fast:
            return HcWrite.apply(X, y, post, M)
        return post[..., None] * y[:, None] + torch.einsum("nij,nid->njd", M, X)

    # -- attention
    def compress(self, x, ratio, dim, p, n):
        """x [B,T,D] -> entries [B, n, dim], n = T // ratio blocks"""
        B = x.shape[0]
        x = x[:, : n * ratio]
        kv = (x @ self.p(p + "wkv.weight").t()).view(B, n, ratio, -1)
        gate = (x @ self.p(p + "wgate.weight").t()).view(B, n, ratio, -1) + self.p(p + "ape")
        if ratio == 4:
            def overlap(t, v):                             # previous block's first half beside this block's second half
                a, b = t.split(dim, -1)
                return torch.cat([F.pad(a, (0, 0, 0, 0, 1, -1), value=v), b], 2)
            kv, gate = overlap(kv, 0.0), overlap(gate, NEG)
        e = self.norm((kv * torch.softmax(gate, 2)).sum(2), p + "norm.weight")
        return self.rope(e, self.cis(True, n, ratio))

    def masks(self, T, Wn, ratio, n):
        """additive [nb, QB, Wn + QB + n]: the window's keys up to the block's last query, then compressed entries"""
        key = (T, ratio)
        if key not in self._mask:
            q = torch.arange(T).view(T // QB, QB, 1)
            k = (torch.arange(T // QB)[:, None] * QB - Wn + torch.arange(Wn + QB)[None])[:, None, :]
            ok = (k >= 0) & (k <= q) & (k > q - Wn)
            if n:
                ok = torch.cat([ok, (torch.arange(n)[None, None] < (q + 1) // ratio)], -1)
            self._mask[key] = torch.where(ok, 0.0, NEG).to(self.p("embed.weight").device)
        return self._mask[key]

    def attention(self, i, x, p, aux):
        c = self.c
        B, T, D = x.shape                                  # T is a multiple of QB
        H, C, ratio, Wn, G = c["num_attention_heads"], c["head_dim"], c["compress_ratios"][i], c["sliding_window"], c["o_groups"]
        nb, n = T // QB, (T // ratio if ratio else 0)
        near = Wn + QB
        cis = self.cis(bool(ratio), T)
        qr = self.norm(x @ self.p(p + "wq_a.weight").t(), p + "q_norm.weight")
        q = (qr @ self.p(p + "wq_b.weight").t()).view(B, T, H, C)
        q = self.rope(self.norm(q, None), cis)
        kv = self.rope(self.norm(x @ self.p(p + "wkv.weight").t(), p + "kv_norm.weight"), cis)
        kb = F.pad(kv, (0, 0, Wn, 0)).view(B, nb + Wn // QB, QB, C)
        K = torch.cat([kb[:, j:j + nb] for j in range(Wn // QB + 1)], 2)                          # [B, nb, W + QB, C]
        mask = self.masks(T, Wn, ratio, n)[None, :, None]                                          # [1, nb, 1, QB, K]
        score = None
        if ratio:
            e = self.compress(x, ratio, C, p + "compressor.", n)
            K = torch.cat([K, e[:, None].expand(B, nb, n, C)], 2)
            if ratio == 4 and aux is not None and (n > c["index_topk"] or aux.get("index_loss", True)):
                with torch.set_grad_enabled(torch.is_grad_enabled() and aux.get("index_loss", True)):
                    score = self.index(x.detach(), qr.detach(), p + "indexer.", n)                     # [B,T,n], -inf where invisible
                if n > c["index_topk"]:
                    drop = torch.full_like(score, NEG).scatter_(-1, score.detach().topk(c["index_topk"], -1).indices, 0.0).view(B, nb, 1, QB, n)
                    mask = torch.cat([mask[..., :near].expand(B, nb, 1, QB, near), mask[..., near:] + drop], -1)
        nk = K.shape[2]
        q = q.view(B, nb, QB, H, C).transpose(2, 3).reshape(B * nb, H * QB, C)
        Kf = K.reshape(B * nb, nk, C)
        s = torch.bmm(q, (Kf * C ** -0.5).transpose(1, 2)).view(B, nb, H, QB, nk)
        P = SinkSoftmax.apply(s, mask, self.p(p + "attn_sink"))
        if score is not None and aux.get("index_loss", True):
            with torch.no_grad():                           # what the heads attended to among the compressed entries
                t = P.detach()[..., near:].sum(2).view(B, T, n)
                mass = t.sum(-1, keepdim=True)
                t = t / (mass + 1e-9)
            ls = torch.log_softmax(score, -1).clamp_min(-50)
            aux["index"] = aux.get("index", 0.0) - (t * ls)[:, 4:].sum(-1).mean()
        o = torch.bmm(P.view(B * nb, H * QB, nk), Kf).view(B, nb, H, QB, C).transpose(2, 3).reshape(B, T, H, C)
        o = self.rope(o, cis, inverse=True)
        A = self.p(p + "wo_a.weight").view(G, c["o_lora_rank"], -1)
        og = o.reshape(B * T, G, -1).transpose(0, 1)                                               # [G, BT, HC/G]
        o = torch.bmm(og, A.transpose(1, 2)).transpose(0, 1).reshape(B, T, -1)
        return o @ self.p(p + "wo_b.weight").t()

    def index(self, x, qr, p, n):
        """The Hadamard rotation of queries and keys cancels in a float dot product; only quantisation needs it."""
        c = self.c
        B, T, _ = x.shape
        h, d = c["index_n_heads"], c["index_head_dim"]
        q = self.rope((qr @ self.p(p + "wq_b.weight").t()).view(B, T, h, d), self.cis(True, T))
        k = self.compress(x, 4, d, p + "compressor.", n)
        w = (x @ self.p(p + "weights_proj.weight").t()) * (d * h) ** -0.5
        s = torch.relu(torch.bmm(q.reshape(B, T * h, d), k.transpose(1, 2)).view(B, T, h, n))
        s = (s * w[..., None]).sum(2)
        vis = torch.arange(n, device=x.device)[None] < ((torch.arange(T, device=x.device) + 1) // 4)[:, None]
        return s.masked_fill(~vis, NEG)

    # -- mixture of experts, x [N, D]
    def moe(self, i, x, tok, p, aux):
        c = self.c
        E, k = c["n_routed_experts"], c["num_experts_per_tok"]
        sc = torch.sqrt(F.softplus(x @ self.p(p + "gate.weight").t()))
        if i < c["num_hash_layers"]:
            ch = self.p(p + "gate.tid2eid")[tok]
        else:
            ch = (sc.detach() + self.p(p + "gate.bias")).topk(k, -1).indices
            if aux is not None and self.training:          # loss-free balancing: nudge the selection bias
                load = torch.bincount(ch.reshape(-1), minlength=E).float()
                self.p(p + "gate.bias").add_(aux.get("bias_rate", 1e-3) * torch.sign(load.mean() - load))
        w = sc.gather(1, ch)
        w = w / w.sum(-1, keepdim=True) * c["routed_scaling_factor"]
        flat = ch.reshape(-1)
        perm = torch.argsort(flat, stable=True)
        inv = torch.empty_like(perm); inv[perm] = torch.arange(perm.numel(), device=perm.device)
        counts = torch.bincount(flat, minlength=E).tolist()
        xs = PermGather.apply(x[:, None].expand(-1, k, -1).reshape(-1, x.shape[1]), perm, inv)
        ws = PermGather.apply(w.reshape(-1, 1), perm, inv)
        W1, W3, W2 = (self.p(p + "experts." + n) for n in ("w1", "w3", "w2"))
        outs, a = [], 0
        for e, m in enumerate(counts):
            if m:
                outs.append(self.ffn(xs[a:a + m], W1[e], W3[e], W2[e], ws[a:a + m])); a += m
        y = PermGather.apply(torch.cat(outs), inv, perm).view(x.shape[0], k, -1).sum(1)
        S = p + "shared_experts."
        return y + self.ffn(x, self.p(S + "w1.weight"), self.p(S + "w3.weight"), self.p(S + "w2.weight"), None)

    def ffn(self, x, w1, w3, w2, w):
        lim = self.c["swiglu_limit"]
        h = F.silu((x @ w1.t()).clamp(max=lim)) * (x @ w3.t()).clamp(-lim, lim)
        return (h if w is None else h * w) @ w2.t()

    def block(self, i, X, tok, p, aux):
        """X [N, S, D], N = B*T, tok [B, T]"""
        B, T = tok.shape
        x, post, M = self.hc_read(X, p + "hc_attn")
        y = self.attention(i, self.norm(x, p + "attn_norm.weight").view(B, T, -1), p + "attn.", aux)
        X = self.hc_write(X, y.reshape(B * T, -1), post, M)
        x, post, M = self.hc_read(X, p + "hc_ffn")
        y = self.moe(i, self.norm(x, p + "ffn_norm.weight"), tok.reshape(-1), p + "ffn.", aux)
        return self.hc_write(X, y, post, M)

    def head(self, X, hc, norm):
        N, S, D = X.shape
        flat = X.reshape(N, S * D)
        mix = (flat @ self.p(hc + "_fn").t()) * torch.rsqrt((flat * flat).mean(-1, keepdim=True) + self.c["rms_norm_eps"])
        pre = torch.sigmoid(mix * self.p(hc + "_scale") + self.p(hc + "_base")) + self.c["hc_eps"]
        return self.norm((pre[..., None] * X).sum(1), norm)

    def streams(self, tok, aux=None):
        B, T = tok.shape
        X = self.p("embed.weight")[tok].view(B * T, 1, -1).repeat(1, self.c["hc_mult"], 1)
        for i in range(self.c["num_hidden_layers"]):
            X = self.block(i, X, tok, f"layers.{i}.", aux)
        return X

    def forward(self, tok, aux=None):
        """tok [B, T], T a multiple of the window -> logits [B, T, V]"""
        X = self.streams(tok, aux)
        return (self.head(X, "hc_head", "norm.weight") @ self.p("head.weight").t()).view(*tok.shape, -1)

    def mtp_hidden(self, X, nxt, aux):
        """nxt[b, t] = tok[b, t + 1]; row t predicts tok[b, t + 2]"""
        p = "mtp.0."
        N, S, D = X.shape
        e = self.norm(self.p("embed.weight")[nxt].view(N, D), p + "enorm.weight") @ self.p(p + "e_proj.weight").t()
        Y = e[:, None] + self.norm(X, p + "hnorm.weight") @ self.p(p + "h_proj.weight").t()
        Y = self.block(self.c["num_hidden_layers"], Y.contiguous(), nxt, p, aux)
        return self.head(Y, p + "hc_head", p + "norm.weight")

    def loss(self, tok, weight, mtp=0.3, index=0.1):
        """tok [B, T+1]; weight [B, T+1] is the loss weight of predicting that token. Returns (total, parts)."""
        aux = {"index_loss": index > 0}
        x, y, w = tok[:, :-1], tok[:, 1:], weight[:, 1:]
        X = self.streams(x, aux)
        head = self.p("head.weight")
        def ce(h, y, w):
            sel = w.reshape(-1).nonzero().squeeze(1)                    # only rows that carry loss reach the head
            l = F.cross_entropy(h[sel] @ head.t(), y.reshape(-1)[sel], reduction="none")
            ww = w.reshape(-1)[sel]
            return (l * ww).sum() / ww.sum()
        main = ce(self.head(X, "hc_head", "norm.weight"), y, w)
        parts = {"main": main.item()}
        total = main
        if mtp and self.c["num_nextn_predict_layers"]:
            h = self.mtp_hidden(X, y, aux)
            y2 = torch.cat([y[:, 1:], y[:, :1]], 1)
            w2 = torch.cat([w[:, 1:], torch.zeros_like(w[:, :1])], 1)
            m = ce(h, y2, w2); parts["mtp"] = m.item(); total = total + mtp * m
        if "index" in aux and index:
            parts["index"] = float(aux["index"]); total = total + index * aux["index"]
        return total, parts
