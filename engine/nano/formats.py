"""The checkpoint's number formats: which tensor is stored how, rounding to it in torch, and the bytes in NumPy."""
import functools
import json
import struct

import numpy as np
import torch

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
FP8_SUFFIXES = ("attn.wq_a.weight", "attn.wq_b.weight", "attn.wkv.weight", "attn.wo_a.weight", "attn.wo_b.weight", "indexer.wq_b.weight",
                "shared_experts.w1.weight", "shared_experts.w2.weight", "shared_experts.w3.weight", "e_proj.weight", "h_proj.weight")
F32_MARKS = ("hc_", "attn_sink", ".ape", "gate.bias")


def kind(name):
    """'fp8', 'fp4' (stacked experts) or ''."""
    if name.endswith((".experts.w1", ".experts.w2", ".experts.w3")):
        return "fp4"
    return "fp8" if name.endswith(FP8_SUFFIXES) else ""


def _pow2(e):
    """2^e, exact on every device; e in -126 .. 127, whole"""
    return ((e + 127).int() << 23).view(torch.float32)


def _pow2_ceil(x):
    m, e = torch.frexp(x)
    return _pow2(torch.where(m == 0.5, e - 1, e))


@functools.lru_cache(None)
def _constant(values, device):
    """Copied once: a graph being captured may not copy from the host."""
    return torch.tensor(values, device=device)


def _blocks(w):
    """[N, K] as [N/128, 128, K/128, 128]."""
    n, k = w.shape
    assert n % 128 == 0 and k % 128 == 0, w.shape
    return w.view(n // 128, 128, k // 128, 128)


def fp8_parts(w):
    """(values on the e4m3 grid [N, K], power-of-two scales [N/128, K/128])"""
    b = _blocks(w)
    s = _pow2_ceil(b.abs().amax((1, 3)).clamp_min(1e-12) / 448)
    x = b / s[:, None, :, None]
    _, e = torch.frexp(x.abs().clamp_min(2.0 ** -9))
    ulp = _pow2((e - 1).clamp_min(-6) - 3)
    return ((x / ulp).round() * ulp).clamp(-448, 448).reshape(w.shape), s


def fp4_parts(w):
    """(codes of the last axis, power-of-two scales per 32)"""
    b = w.reshape(*w.shape[:-1], -1, 32)
    s = _pow2_ceil(b.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 6)
    a = (b / s).abs()
    mids = _constant((0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0), w.device)
    up, down = torch.bucketize(a, mids, right=True), torch.bucketize(a, mids)
    code = torch.where((up == down) | (up % 2 == 0), up, down)  # a tie goes to the even code
    return (code + 8 * (b < 0)).reshape(w.shape), s[..., 0]


def fake_quant(w, kind):
    if kind == "fp8":
        q, s = fp8_parts(w)
        return (_blocks(q) * s[:, None, :, None]).reshape(w.shape)
    code, s = fp4_parts(w)
    grid = _constant(E2M1 + tuple(-x for x in E2M1), w.device)
    return (grid[code].reshape(*w.shape[:-1], -1, 32) * s[..., None]).reshape(w.shape)


def _e4m3_bytes(q):
    q = q.numpy()
    a = np.abs(q)
    e = np.maximum(np.floor(np.log2(np.maximum(a, 2.0 ** -9))).astype(np.int32), -6)
    m = np.rint(a / np.exp2(e - 3.0)).astype(np.int32)
    return (np.where(m < 8, m, ((e + 7) << 3) | (m - 8)) | (np.signbit(q).astype(np.int32) << 7)).astype(np.uint8)


def _e8m0(s):
    return (np.log2(s.numpy()) + 127).astype(np.uint8)


def bf16_bytes(x):
    u = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


def tensors(state):
    """The model's parameters (names with '/', experts stacked) as {official name: (dtype, array)}."""
    out = {}
    for key, w in state.items():
        name, w = key.replace("/", "."), w.detach().cpu()
        k = kind(name)
        if k == "fp8":
            q, s = fp8_parts(w.float())
            out[name], out[name[:-6] + "scale"] = ("F8_E4M3", _e4m3_bytes(q)), ("F8_E8M0", _e8m0(s))
        elif k == "fp4":
            code, s = fp4_parts(w.float())
            base, part = name.rsplit(".", 1)
            for e in range(w.shape[0]):
                c = code[e].numpy().astype(np.uint8)
                out[f"{base}.{e}.{part}.weight"] = ("I8", (c[:, 0::2] | (c[:, 1::2] << 4)).view(np.int8))
                out[f"{base}.{e}.{part}.scale"] = ("F8_E8M0", _e8m0(s[e]))
        elif name.endswith("tid2eid"):
            out[name] = ("I64", w.numpy().astype(np.int64))
        elif any(m in name for m in F32_MARKS):
            out[name] = ("F32", w.numpy().astype(np.float32))
        else:
            out[name] = ("BF16", bf16_bytes(w.numpy()))
    return out


def write_safetensors(path, named):
    head, off, blobs = {}, 0, []
    order = {"I64": 0, "F32": 1, "BF16": 2}
    for name in sorted(named, key=lambda n: (order.get(named[n][0], 3), n)):
        dtype, a = named[name]
        raw = np.ascontiguousarray(a).tobytes()
        head[name] = {"dtype": dtype, "shape": list(a.shape), "data_offsets": [off, off + len(raw)]}
        off += len(raw)
        blobs.append(raw)
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
