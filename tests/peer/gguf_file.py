"""GGUF version 3 as a file: value types, ggml's block formats, and a writer that holds one piece of a tensor at a time.

Layout: magic, version, counts; key-value pairs; tensor names, dimensions and offsets; then the data, everything aligned to 32.
"""
import os
import struct
from dataclasses import dataclass
from typing import Callable

import numpy as np

ALIGNMENT = 32
UINT32, FLOAT32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9  # gguf_type


@dataclass(frozen=True)
class Kind:
    """A ggml_type: its id, and the bytes that a block of so many values takes."""
    id: int
    values: int
    bytes: int

    def size(self, shape):
        assert shape[-1] % self.values == 0, (self, shape)
        return int(np.prod(shape, dtype=np.int64)) // self.values * self.bytes


F32, Q8_0, I32, MXFP4 = Kind(0, 1, 4), Kind(8, 32, 34), Kind(26, 1, 4), Kind(39, 32, 17)


@dataclass(frozen=True)
class Tensor:
    name: str
    kind: Kind
    shape: tuple  # slowest dimension first, as NumPy and the checkpoint have it; the file lists them the other way around
    pieces: list[Callable[[], np.ndarray]]  # their bytes, one after another, are the tensor's


def q8_0(x):
    """f32 [..., K] -> [n / 32, 34] bytes: blocks of 32 along K, an f16 scale of max|x| / 127 and 32 signed bytes."""
    x = x.reshape(-1, 32)
    scale = np.abs(x).max(1, keepdims=True) / np.float32(127)
    codes = np.rint(x / np.where(scale > 0, scale, 1)).astype(np.int8)
    return np.hstack([scale.astype(np.float16).view(np.uint8), codes.view(np.uint8)])


def mxfp4(codes, scale):
    """Official FP4, [N, K / 2] bytes and [N, K / 32] e8m0 -> [N K / 32, 17] bytes with the same values.

    A block is the e8m0 byte and 16 bytes of codes. Official bytes pair values 2j and 2j + 1, MXFP4 pairs j and j + 16; in both
    the first of the two is the low nibble.
    """
    pairs = codes.reshape(-1, 16)
    values = np.empty((len(pairs), 32), np.uint8)
    values[:, 0::2], values[:, 1::2] = pairs & 15, pairs >> 4
    return np.hstack([scale.reshape(-1, 1), values[:, :16] | values[:, 16:] << 4])


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def value(v):
    """(gguf_type, bytes) of a bool, int, float, str, or a list of one of them."""
    if isinstance(v, bool):
        return BOOL, struct.pack("<?", v)
    if isinstance(v, int):
        return UINT32, struct.pack("<I", v)
    if isinstance(v, float):
        return FLOAT32, struct.pack("<f", v)
    if isinstance(v, str):
        return STRING, string(v)
    (kind,) = {value(x)[0] for x in v}
    return ARRAY, struct.pack("<IQ", kind, len(v)) + b"".join(value(x)[1] for x in v)


def pair(key, v):
    kind, data = value(v)
    return string(key) + struct.pack("<I", kind) + data


def padding(n):
    return b"\0" * (-n % ALIGNMENT)


def write(path, metadata, tensors, progress=None):
    """Writes the file and returns its size. `progress(bytes written, bytes in all)` after each piece."""
    info, size = b"", 0
    for t in tensors:
        info += string(t.name) + struct.pack(f"<I{len(t.shape)}Q", len(t.shape), *t.shape[::-1]) + struct.pack("<IQ", t.kind.id, size)
        size += t.kind.size(t.shape) + len(padding(t.kind.size(t.shape)))
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata)) + b"".join(pair(*kv) for kv in metadata.items()) + info
    head += padding(len(head))
    with open(path + ".part", "wb") as f:
        f.write(head)
        for t in tensors:
            begun = f.tell()
            for piece in t.pieces:
                f.write(np.ascontiguousarray(piece()).data)
                if progress:
                    progress(f.tell(), len(head) + size)
            assert f.tell() - begun == t.kind.size(t.shape), (t.name, t.shape, f.tell() - begun)
            f.write(padding(f.tell()))
    os.replace(path + ".part", path)
    return len(head) + size
