"""Operators with their own backward pass: C kernels (kernels.c) on the CPU, plain torch elsewhere.

NANO_KERNELS names the compiled kernels.c. Without it, or for tensors on a GPU, every operator is ordinary torch; both ways
compute the same function (tests/engine/nano_test.py compares values and gradients).
"""
import ctypes
import os

import torch
import torch.nn.functional as F

KERNELS = ctypes.CDLL(os.environ["NANO_KERNELS"]) if os.environ.get("NANO_KERNELS") else None


def _ptr(t):
    return ctypes.c_void_p(t.data_ptr() if t is not None else None)


def _int(n):
    return ctypes.c_long(n)


def _fast(t):
    return KERNELS is not None and not t.is_cuda


# ---------------------------------------------------------------- RMSNorm and RoPE

class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, eps):
        x = x.contiguous()
        dim = x.shape[-1]
        rows = x.numel() // dim
        y, r = torch.empty_like(x), torch.empty(rows)
        KERNELS.rms_fwd(_ptr(x), _ptr(w), _ptr(y), _ptr(r), _int(rows), _int(dim), ctypes.c_float(eps))
        ctx.save_for_backward(x, w, r)
        return y

    @staticmethod
    def backward(ctx, g):
        x, w, r = ctx.saved_tensors
        g, dim = g.contiguous(), x.shape[-1]
        dx, dw = torch.empty_like(x), None if w is None else torch.zeros(dim)
        KERNELS.rms_bwd(_ptr(x), _ptr(w), _ptr(r), _ptr(g), _ptr(dx), _ptr(dw), _int(x.numel() // dim), _int(dim))
        return dx, dw, None


def rms_norm(x, w, eps):
    """w * x / rms(x) over the last axis; w may be None."""
    if _fast(x):
        return _RmsNorm.apply(x, w, eps)
    y = x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)
    return y if w is None else y * w


class _Rope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, table, sign):
        ctx.save_for_backward(table)
        ctx.sign = sign
        return _Rope.run(x, table, sign)

    @staticmethod
    def run(x, table, sign):
        x = x.contiguous()
        batch, length, heads, dim = x.shape
        y = torch.empty_like(x)
        KERNELS.rope(_ptr(x), _ptr(y), _ptr(table), _int(batch * length), _int(length), _int(heads), _int(dim), _int(table.shape[1]),
                     ctypes.c_float(sign))
        return y

    @staticmethod
    def backward(ctx, g):
        return _Rope.run(g, ctx.saved_tensors[0], -ctx.sign), None, None


def rope(x, cis, inverse=False):
    """Rotates the last dims of x [B, T, C] or [B, T, H, C] by cis [T, R/2] (complex), interleaved pairs."""
    rotary = 2 * cis.shape[1]
    y = x if x.dim() == 4 else x[:, :, None]
    if _fast(x):
        y = _Rope.apply(y, torch.view_as_real(cis).reshape(cis.shape[0], rotary), -1.0 if inverse else 1.0)
    else:
        a, b = y.split([y.shape[-1] - rotary, rotary], -1)
        z = torch.view_as_complex(b.reshape(*b.shape[:-1], rotary // 2, 2).contiguous()) * (cis.conj() if inverse else cis)[:, None]
        y = torch.cat([a, torch.view_as_real(z).flatten(-2)], -1)
    return y.view(x.shape)


# ---------------------------------------------------------------- hyper-connections (SPEC 3.3)

class _HcRead(torch.autograd.Function):
    """The backward pass runs the 20 Sinkhorn sweeps again instead of keeping them."""

    @staticmethod
    def forward(ctx, X, fn, scale, base, iters, eps, rms_eps):
        n, streams, dim = X.shape
        flat = X.view(n, streams * dim)
        squares = torch.empty(n)
        KERNELS.hc_sumsq(_ptr(X), _ptr(squares), _int(n), _int(streams * dim))
        r = torch.rsqrt(squares / (streams * dim) + rms_eps)
        raw = flat @ fn.t()
        mix = raw * r[:, None]
        pre = torch.sigmoid(mix[:, :streams] * scale[0] + base[:streams]) + eps
        post = 2 * torch.sigmoid(mix[:, streams:2 * streams] * scale[1] + base[streams:2 * streams])
        logit = (mix[:, 2 * streams:] * scale[2] + base[2 * streams:]).contiguous()
        comb, x = torch.empty_like(logit), torch.empty(n, dim)
        KERNELS.sinkhorn_fwd(_ptr(logit), _ptr(comb), _int(n), ctypes.c_int(iters), ctypes.c_float(eps))
        KERNELS.hc_pre_fwd(_ptr(X), _ptr(pre), _ptr(x), _int(n), _int(dim))
        ctx.save_for_backward(X, fn, scale, base, r, raw, mix, pre, post, logit)
        ctx.sinkhorn = (iters, eps)
        return x, post, comb.view(n, streams, streams)

    @staticmethod
    def backward(ctx, dx, dpost, dcomb):
        X, fn, scale, base, r, raw, mix, pre, post, logit = ctx.saved_tensors
        iters, eps = ctx.sinkhorn
        n, streams, dim = X.shape
        dx, dcomb = dx.contiguous(), dcomb.contiguous()
        dpre, dlogit = torch.empty(n, streams), torch.empty_like(logit)
        KERNELS.hc_dpre(_ptr(X), _ptr(dx), _ptr(dpre), _int(n), _int(dim))
        KERNELS.sinkhorn_bwd(_ptr(logit), _ptr(dcomb), _ptr(dlogit), _int(n), ctypes.c_int(iters), ctypes.c_float(eps))
        s = pre - eps
        dz = torch.cat([dpre * s * (1 - s), dpost * post * (1 - post / 2), dlogit], 1)  # d(mix * scale + base)
        by_mix = dz * mix
        dscale = torch.stack([by_mix[:, :streams].sum(), by_mix[:, streams:2 * streams].sum(), by_mix[:, 2 * streams:].sum()])
        dmix = dz * torch.cat([scale[0].expand(streams), scale[1].expand(streams), scale[2].expand(streams * streams)])
        draw = dmix * r[:, None]
        through_norm = -(dmix * raw).sum(1) * r ** 3 / (streams * dim)
        dfn = draw.t() @ X.view(n, -1)
        dX = draw @ fn
        KERNELS.hc_pre_bwd(_ptr(dX), _ptr(X), _ptr(through_norm), _ptr(pre), _ptr(dx), _int(n), _int(dim))
        return dX.view(n, streams, dim), dfn, dscale, dz.sum(0), None, None, None


def sinkhorn(z, iters, eps):
    """Row softmax, then columns, then (iters - 1) times rows and columns. z [N, S, S]."""
    m = torch.softmax(z, -1) + eps
    m = m / (m.sum(-2, keepdim=True) + eps)
    for _ in range(iters - 1):
        m = m / (m.sum(-1, keepdim=True) + eps)
        m = m / (m.sum(-2, keepdim=True) + eps)
    return m


def hc_read(X, fn, scale, base, iters, eps, rms_eps):
    """Streams X [N, S, D] -> (the sub-layer's input [N, D], post [N, S], comb [N, S, S])."""
    if _fast(X):
        return _HcRead.apply(X, fn, scale, base, iters, eps, rms_eps)
    n, streams, dim = X.shape
    flat = X.reshape(n, streams * dim)
    mix = (flat @ fn.t()) * torch.rsqrt((flat * flat).mean(-1, keepdim=True) + rms_eps)
    pre = torch.sigmoid(mix[:, :streams] * scale[0] + base[:streams]) + eps
    post = 2 * torch.sigmoid(mix[:, streams:2 * streams] * scale[1] + base[streams:2 * streams])
    comb = sinkhorn((mix[:, 2 * streams:] * scale[2] + base[2 * streams:]).view(n, streams, streams), iters, eps)
    return (pre[..., None] * X).sum(1), post, comb


class _HcWrite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, X, y, post, comb):
        y, Z = y.contiguous(), torch.empty_like(X)
        KERNELS.hc_post_fwd(_ptr(X), _ptr(y), _ptr(post), _ptr(comb), _ptr(Z), _int(X.shape[0]), _int(X.shape[2]))
        ctx.save_for_backward(X, y, post, comb)
        return Z

    @staticmethod
    def backward(ctx, dZ):
        X, y, post, comb = ctx.saved_tensors
        dZ = dZ.contiguous()
        dX, dy, dpost, dcomb = torch.empty_like(X), torch.empty_like(y), torch.empty_like(post), torch.empty_like(comb)
        KERNELS.hc_post_bwd(_ptr(X), _ptr(y), _ptr(post), _ptr(comb), _ptr(dZ), _ptr(dX), _ptr(dy), _ptr(dpost), _ptr(dcomb),
                            _int(X.shape[0]), _int(X.shape[2]))
        return dX, dy, dpost, dcomb


def hc_write(X, y, post, comb):
    """X'_k = post_k y + sum_j comb[j, k] X_j"""
    if _fast(X):
        return _HcWrite.apply(X, y, post, comb)
    return post[..., None] * y[:, None] + (comb[..., None] * X[:, :, None]).sum(1)


# ---------------------------------------------------------------- attention and experts

class _SinkSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, s, mask, sink):
        p = s.contiguous()  # overwritten: nobody needs the scores again
        batch, heads, queries, keys = p.shape
        p_sink = torch.empty(batch, heads, queries)
        mask, per_batch = mask.contiguous(), mask.dim() == 3
        KERNELS.sink_softmax_fwd(_ptr(p), _ptr(mask), _ptr(sink), _ptr(p_sink), _int(batch), _int(heads), _int(queries), _int(keys), _int(per_batch))
        if p is s:
            ctx.mark_dirty(s)
        ctx.save_for_backward(p, p_sink)
        return p

    @staticmethod
    def backward(ctx, dp):
        p, p_sink = ctx.saved_tensors
        dp, ds, t = dp.contiguous(), torch.empty_like(p), torch.empty_like(p_sink)
        KERNELS.sink_softmax_bwd(_ptr(p), _ptr(dp), _ptr(ds), _ptr(t), _int(p_sink.numel()), _int(p.shape[-1]))
        return ds, None, -(p_sink * t).sum((0, 2))


def sink_softmax(s, mask, sink):
    """softmax(s + mask) with one extra logit per head that has weight but no value. s [B, H, Q, K] may be overwritten; mask [Q, K]
    or [B, Q, K]."""
    if _fast(s):
        return _SinkSoftmax.apply(s, mask, sink)
    s = s + (mask if mask.dim() == 2 else mask[:, None])
    s = torch.cat([s, sink.view(1, -1, 1, 1).expand(*s.shape[:3], 1)], -1)
    return torch.softmax(s, -1)[..., :-1]


class _Permute(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, perm, inverse):
        ctx.save_for_backward(inverse)
        return x.index_select(0, perm)

    @staticmethod
    def backward(ctx, g):
        return g.index_select(0, ctx.saved_tensors[0]), None, None


def permute(x, perm, inverse):
    """Rows in another order; the gradient is the inverse gather, where indexing's own would scatter row by row."""
    return _Permute.apply(x, perm, inverse)


def swiglu(gate, up, limit):
    return F.silu(gate.clamp(max=limit)) * up.clamp(-limit, limit)
