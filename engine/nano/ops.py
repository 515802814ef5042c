"""Operators with their own backward pass: kernels in C (kernels.c, kernels.cu), or plain torch.

NANO_KERNELS names the compiled kernels.c, NANO_KERNELS_GPU the compiled kernels.cu. Without the one for a tensor's device every
operator is ordinary torch; all ways compute the same function (tests/engine/nano_test.py compares values and gradients).
"""
import ctypes
import os

import torch
import torch.nn.functional as F

PARTIALS = 1024  # kPartials of kernels.cu


class Kernels:
    """The functions of a compiled kernels.c or kernels.cu. Tensors are passed by address, whole numbers as long, others as float;
    those of kernels.cu (`streams`) run on the current stream."""

    def __init__(self, path, streams=False):
        self.library, self.streams = ctypes.CDLL(path), streams

    def __call__(self, name, *args):
        args = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else ctypes.c_void_p(None) if a is None else
                ctypes.c_long(a) if isinstance(a, int) else ctypes.c_float(a) for a in args]
        if self.streams:
            args.append(ctypes.c_void_p(torch.cuda.current_stream().cuda_stream if torch.cuda.is_available() else None))
        getattr(self.library, name)(*args)


def _kernels(variable, streams):
    return Kernels(os.environ[variable], streams) if os.environ.get(variable) else None


ON_CPU, ON_GPU = _kernels("NANO_KERNELS", False), _kernels("NANO_KERNELS_GPU", True)


def _kernel(t):
    """What runs the kernels for this tensor, or None."""
    return ON_GPU if t.is_cuda else ON_CPU


# ---------------------------------------------------------------- RMSNorm and RoPE

class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, eps):
        x = x.contiguous()
        dim = x.shape[-1]
        rows = x.numel() // dim
        y, r = torch.empty_like(x), x.new_empty(rows)
        _kernel(x)("rms_fwd", x, w, y, r, rows, dim, eps)
        ctx.save_for_backward(x, w, r)
        return y

    @staticmethod
    def backward(ctx, g):
        x, w, r = ctx.saved_tensors
        g, dim = g.contiguous(), x.shape[-1]
        dx, kernel = torch.empty_like(x), _kernel(x)
        dw = None if w is None else x.new_empty(PARTIALS, dim) if kernel.streams else x.new_zeros(1, dim)
        kernel("rms_bwd", x, w, r, g, dx, dw, x.numel() // dim, dim)
        return dx, None if w is None else dw.sum(0), None


def rms_norm(x, w, eps):
    """w * x / rms(x) over the last axis; w may be None."""
    if _kernel(x):
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
        _kernel(x)("rope", x, y, table, batch * length, length, heads, dim, table.shape[1], sign)
        return y

    @staticmethod
    def backward(ctx, g):
        return _Rope.run(g, ctx.saved_tensors[0], -ctx.sign), None, None


def rope(x, cis, inverse=False):
    """Rotates the last dims of x [B, T, C] or [B, T, H, C] by cis [T, R/2] (complex), interleaved pairs."""
    rotary = 2 * cis.shape[1]
    y = x if x.dim() == 4 else x[:, :, None]
    if _kernel(x):
        y = _Rope.apply(y, torch.view_as_real(cis).reshape(cis.shape[0], rotary), -1.0 if inverse else 1.0)
    else:
        a, b = y.split([y.shape[-1] - rotary, rotary], -1)
        z = torch.view_as_complex(b.reshape(*b.shape[:-1], rotary // 2, 2).contiguous()) * (cis.conj() if inverse else cis)[:, None]
        y = torch.cat([a, torch.view_as_real(z).flatten(-2)], -1)
    return y.view(x.shape)


# ---------------------------------------------------------------- hyper-connections (kernels/hyper.h)

class _HcRead(torch.autograd.Function):
    """The backward pass runs the 20 Sinkhorn sweeps again instead of keeping them."""

    @staticmethod
    def forward(ctx, X, fn, scale, base, iters, eps, rms_eps):
        n, streams, dim = X.shape
        flat = X.view(n, streams * dim)
        squares = X.new_empty(n)
        _kernel(X)("hc_sumsq", X, squares, n, streams * dim)
        r = torch.rsqrt(squares / (streams * dim) + rms_eps)
        raw = flat @ fn.t()
        mix = raw * r[:, None]
        pre = torch.sigmoid(mix[:, :streams] * scale[0] + base[:streams]) + eps
        post = 2 * torch.sigmoid(mix[:, streams:2 * streams] * scale[1] + base[streams:2 * streams])
        logit = (mix[:, 2 * streams:] * scale[2] + base[2 * streams:]).contiguous()
        comb, x = torch.empty_like(logit), X.new_empty(n, dim)
        _kernel(logit)("sinkhorn_fwd", logit, comb, n, iters, eps)
        _kernel(X)("hc_pre_fwd", X, pre, x, n, dim)
        ctx.save_for_backward(X, fn, scale, base, r, raw, mix, pre, post, logit)
        ctx.sinkhorn = (iters, eps)
        return x, post, comb.view(n, streams, streams)

    @staticmethod
    def backward(ctx, dx, dpost, dcomb):
        X, fn, scale, base, r, raw, mix, pre, post, logit = ctx.saved_tensors
        iters, eps = ctx.sinkhorn
        n, streams, dim = X.shape
        dx, dcomb = dx.contiguous(), dcomb.contiguous()
        dpre, dlogit = X.new_empty(n, streams), torch.empty_like(logit)
        _kernel(X)("hc_dpre", X, dx, dpre, n, dim)
        _kernel(logit)("sinkhorn_bwd", logit, dcomb, dlogit, n, iters, eps)
        s = pre - eps
        dz = torch.cat([dpre * s * (1 - s), dpost * post * (1 - post / 2), dlogit], 1)  # d(mix * scale + base)
        by_mix = dz * mix
        dscale = torch.stack([by_mix[:, :streams].sum(), by_mix[:, streams:2 * streams].sum(), by_mix[:, 2 * streams:].sum()])
        dmix = dz * torch.cat([scale[0].expand(streams), scale[1].expand(streams), scale[2].expand(streams * streams)])
        draw = dmix * r[:, None]
        through_norm = -(dmix * raw).sum(1) * r ** 3 / (streams * dim)
        dfn = draw.t() @ X.view(n, -1)
        dX = draw @ fn
        _kernel(dX)("hc_pre_bwd", dX, X, through_norm, pre, dx, n, dim)
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
    if _kernel(X):
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
        _kernel(X)("hc_post_fwd", X, y, post, comb, Z, X.shape[0], X.shape[2])
        ctx.save_for_backward(X, y, post, comb)
        return Z

    @staticmethod
    def backward(ctx, dZ):
        X, y, post, comb = ctx.saved_tensors
        dZ = dZ.contiguous()
        dX, dy, dpost, dcomb = torch.empty_like(X), torch.empty_like(y), torch.empty_like(post), torch.empty_like(comb)
        _kernel(X)("hc_post_bwd", X, y, post, comb, dZ, dX, dy, dpost, dcomb, X.shape[0], X.shape[2])
        return dX, dy, dpost, dcomb


def hc_write(X, y, post, comb):
    """X'_k = post_k y + sum_j comb[j, k] X_j"""
    if _kernel(X):
        return _HcWrite.apply(X, y, post, comb)
    return post[..., None] * y[:, None] + (comb[..., None] * X[:, :, None]).sum(1)


# ---------------------------------------------------------------- attention and experts

class _SinkSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, given, mask, sink):
        kernel, s = _kernel(given), given.contiguous()
        p = torch.empty_like(s) if kernel.streams else s  # overwritten: nobody needs the scores again
        batch, heads, queries, keys = p.shape
        p_sink, mask = p.new_empty(batch, heads, queries), mask.contiguous()
        masks = mask.shape[0] if mask.dim() == 3 else 1
        if kernel.streams:
            kernel("sink_softmax_fwd", s, p, mask, sink, p_sink, batch, heads, queries, keys, masks)
        else:
            if masks not in (1, batch):
                mask = mask.repeat(batch // masks, 1, 1)
            kernel("sink_softmax_fwd", p, mask, sink, p_sink, batch, heads, queries, keys, int(mask.dim() == 3))
            if p is given:
                ctx.mark_dirty(given)
        ctx.save_for_backward(p, p_sink)
        return p

    @staticmethod
    def backward(ctx, dp):
        p, p_sink = ctx.saved_tensors
        dp, ds, t = dp.contiguous(), torch.empty_like(p), torch.empty_like(p_sink)
        _kernel(p)("sink_softmax_bwd", p, dp, ds, t, p_sink.numel(), p.shape[-1])
        return ds, None, -(p_sink * t).sum((0, 2))


def sink_softmax(s, mask, sink):
    """softmax(s + mask) with one extra logit per head that has weight but no value. s [B, H, Q, K] may be overwritten; mask [Q, K],
    or [M, Q, K] where batch b has mask b % M."""
    if _kernel(s):
        return _SinkSoftmax.apply(s, mask, sink)
    if mask.dim() == 3:
        s = (s.view(-1, mask.shape[0], *s.shape[1:]) + mask[:, None]).view(s.shape)
    else:
        s = s + mask
    s = torch.cat([s, sink.view(1, -1, 1, 1).expand(*s.shape[:3], 1)], -1)
    return torch.softmax(s, -1)[..., :-1]


def top_mask(score, base, k):
    """base [M, near + n] for every row of score [rows, n], row r that of r % M; where one of the last n columns is not among the k
    largest of its score, -1e30 is added (or stands instead)."""
    rows, n = score.shape
    kernel, near = _kernel(score), base.shape[1] - n
    if kernel and kernel.streams:
        mask = score.new_empty(rows, near + n)
        kernel("top_mask", score.contiguous(), base, mask, rows, n, k, near, base.shape[0])
        return mask
    drop = torch.full_like(score, -1e30).scatter_(-1, score.topk(k, -1, sorted=False).indices, 0.0)
    return (base + F.pad(drop, (near, 0)).view(-1, *base.shape)).view(rows, near + n)


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
