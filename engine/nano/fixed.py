"""The parts of the model that model.py computes in pieces whose sizes depend on values or grow with the position, here in one piece
and of fixed sizes: for a GPU, where launches are dear, and for its graphs, which replay what was launched once. Same functions.
"""
import torch
import torch.nn.functional as F

import ops

ROWS = 128  # of an expert's product: its share of the tokens is filled up to a multiple


class _Place(torch.autograd.Function):
    """Row i of the result is row source[i] of x, or of no use where not `used[i]`; target is where each row of x is put."""

    @staticmethod
    def forward(ctx, x, source, target):
        ctx.save_for_backward(target)
        return x.index_select(0, source)

    @staticmethod
    def backward(ctx, g):
        return g.index_select(0, ctx.saved_tensors[0]), None, None


class _Fetch(torch.autograd.Function):
    """The way back: row i of the result is row target[i] of x."""

    @staticmethod
    def forward(ctx, x, source, target, used):
        ctx.save_for_backward(source, used)
        return x.index_select(0, target)

    @staticmethod
    def backward(ctx, g):
        source, used = ctx.saved_tensors
        return g.index_select(0, source) * used[:, None], None, None, None


class _Embed(torch.autograd.Function):
    """Rows of a table; the gradient as one product with the rows' numbers written out, where the usual one sorts them."""

    @staticmethod
    def forward(ctx, table, tok):
        ctx.save_for_backward(tok)
        ctx.size = table.shape[0]
        return table.index_select(0, tok)

    @staticmethod
    def backward(ctx, g):
        tok, = ctx.saved_tensors
        hot = torch.zeros(tok.shape[0], ctx.size, device=g.device, dtype=g.dtype).scatter_(1, tok[:, None], 1.0)
        return hot.t() @ g, None


def embed(table, tok):
    """tok [N] -> [N, D]"""
    return _Embed.apply(table, tok)


def cross_entropy(h, head, y, w):
    """h [N, D], y and w [N] -> the weighted mean"""
    each = F.cross_entropy(h @ head.t(), y, reduction="none")
    return (each * w).sum() / w.sum()


def experts(x, chosen, w, W1, W3, W2, limit):
    """x [N, D], its experts chosen [N, k] and their weights w [N, k]; W1, W3 [E, I, D], W2 [E, D, I] -> [N, D]

    Tokens lie sorted by expert, each expert's filled up to blocks of ROWS; a block has its expert's matrices. No token is dropped.
    """
    n, k = chosen.shape
    E, D = W1.shape[0], x.shape[1]
    pairs, blocks = n * k, -(-n * k // ROWS) + E
    flat = chosen.reshape(-1)
    ids = torch.arange(E, device=x.device)
    counts = (flat[:, None] == ids).sum(0)
    length = (counts + ROWS - 1) // ROWS * ROWS
    end = length.cumsum(0)
    shift = (end - length) - (counts.cumsum(0) - counts)  # from the place among the sorted to the one in blocks
    of, order = torch.sort(flat.byte(), stable=True)  # short keys are sorted in fewer passes
    slot = torch.arange(pairs, device=x.device) + shift[of.long()]
    target = torch.empty_like(order).scatter_(0, order, slot)                                     # [pairs]
    source = torch.zeros(blocks * ROWS, dtype=torch.long, device=x.device).scatter_(0, slot, order)
    used = torch.zeros(blocks * ROWS, device=x.device).scatter_(0, slot, 1.0)
    owner = (torch.arange(blocks, device=x.device)[:, None] * ROWS >= end).sum(1).clamp_max(E - 1)
    each = x[:, None].expand(n, k, D).reshape(pairs, D)
    X = _Place.apply(each, source, target).view(blocks, ROWS, D)
    weight = _Place.apply(w.reshape(pairs, 1), source, target).view(blocks, ROWS, 1)
    hot = (owner[:, None] == ids).to(x.dtype)                                                      # [blocks, E]

    def of_block(W):  # its gradient is then a product as well
        return (hot @ W.reshape(E, -1)).view(blocks, *W.shape[1:])
    h = ops.swiglu(torch.bmm(X, of_block(W1).transpose(1, 2)), torch.bmm(X, of_block(W3).transpose(1, 2)), limit) * weight
    out = torch.bmm(h, of_block(W2).transpose(1, 2)).view(-1, D)
    return _Fetch.apply(out, source, target, used).view(n, k, D).sum(1)


def near_mask(blocks, size, window, device):
    """additive [blocks, size, window + size]: what queries see of the keys from `window` before their block to its end"""
    block = torch.arange(blocks, device=device)[:, None, None]
    q = block * size + torch.arange(size, device=device)[:, None]
    k = block * size - window + torch.arange(window + size, device=device)
    return torch.where((k >= 0) & (k <= q) & (k > q - window), 0.0, -1e30)


def far_mask(length, entries, ratio, device):
    """additive [length, entries]: the compressed entries a query sees are those complete by then"""
    q = torch.arange(length, device=device)[:, None]
    return torch.where(torch.arange(entries, device=device) < (q + 1) // ratio, 0.0, -1e30)


def attend(q, kv, entries, mask, sink, size, window):
    """q [B, T, H, C] scaled, kv [B, T, C], entries [B, n, C] or None, mask [blocks or B * blocks, size, window + size + n], sink [H]
    -> (out [B, T, H, C], what each entry got from all heads [B, T, n] or None)"""
    B, T, H, C = q.shape
    blocks, near = T // size, window + size
    before = window // size
    q = q.view(B, blocks, size, H, C).transpose(2, 3).reshape(B * blocks, H * size, C)
    padded = F.pad(kv, (0, 0, window, 0)).view(B, blocks + before, size, C)
    K = torch.cat([padded[:, i:i + blocks] for i in range(before + 1)], 2).view(B * blocks, near, C)
    s = torch.bmm(q, K.transpose(1, 2))
    n = 0 if entries is None else entries.shape[1]
    if n:
        far = torch.bmm(q.view(B, blocks * H * size, C), entries.transpose(1, 2)).view(B * blocks, H * size, n)
        s = torch.cat([s, far], -1)
    P = ops.sink_softmax(s.view(B * blocks, H, size, near + n), mask, sink)
    p, seen = P.view(B * blocks, H * size, near + n), None
    if n:
        p, far = p.split([near, n], -1)
        out = torch.bmm(p, K) + torch.bmm(far.reshape(B, blocks * H * size, n), entries).view(B * blocks, H * size, C)
        seen = P.detach()[..., near:].sum(1).view(B, T, n)
    else:
        out = torch.bmm(p, K)
    return out.view(B, blocks, H, size, C).transpose(2, 3).reshape(B, T, H, C), seen
