"""Reads an official-layout checkpoint directory one tensor at a time: the shards are mapped, values are decoded on demand."""
import json
import mmap
import os
import struct
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "reference"))

from v4_reference import bf16_decode, e2m1_value, e4m3_decode, e8m0_decode  # noqa: E402

STORED = {"F32": np.float32, "BF16": np.uint16, "I64": np.int64, "I8": np.uint8, "F8_E4M3": np.uint8, "F8_E8M0": np.uint8}
BLOCK = 128  # rows and columns of an FP8 scale
E4M3 = e4m3_decode(np.arange(256, dtype=np.uint8))  # [256] f32, by code
E2M1 = e2m1_value(np.arange(16, dtype=np.uint8))  # [16] f32, by code


class Checkpoint:
    def __init__(self, directory):
        self.directory = directory
        with open(os.path.join(directory, "config.json")) as f:
            self.config = json.load(f)
        with open(os.path.join(directory, "model.safetensors.index.json")) as f:
            where = json.load(f)["weight_map"]
        self._tensors = {}
        for shard in sorted(set(where.values())):
            with open(os.path.join(directory, shard), "rb") as f:
                data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
            (n,) = struct.unpack("<Q", data[:8])
            for name, t in json.loads(data[8:8 + n]).items():
                if name in where:
                    self._tensors[name] = (t["dtype"], tuple(t["shape"]), data, 8 + n + t["data_offsets"][0])

    def __contains__(self, name):
        return name in self._tensors

    def dtype(self, name):
        """The dtype as safetensors spells it."""
        return self._tensors[name][0]

    def shape(self, name):
        """The logical shape: FP4 [N, K / 2] bytes are [N, K]."""
        dtype, shape, _, _ = self._tensors[name]
        return shape[:-1] + (2 * shape[-1],) if dtype == "I8" else shape

    def stored(self, name):
        """The raw codes or values, a view of the mapped file."""
        dtype, shape, data, offset = self._tensors[name]
        return np.frombuffer(data, STORED[dtype], int(np.prod(shape)), offset).reshape(shape)

    def scale(self, name):
        """The scale tensor that belongs to the quantised tensor `name`, as stored."""
        return self.stored(name.removesuffix("weight") + "scale")

    def floats(self, name, rows=slice(None)):
        """The values of some rows, f32; of FP8, `rows` starts at a multiple of 128."""
        dtype, raw = self.dtype(name), self.stored(name)[rows]
        if dtype == "BF16":
            return bf16_decode(raw)
        if dtype == "F8_E4M3":  # [N, K], a scale for every 128 x 128 block
            n, k = raw.shape
            scale = self.scale(name)[(rows.start or 0) // BLOCK:]
            scale = scale if scale.dtype == np.float32 else e8m0_decode(scale)
            return E4M3[raw] * scale.repeat(BLOCK, 0)[:n].repeat(BLOCK, 1)[:, :k]
        if dtype == "I8":  # [N, K / 2], two codes a byte, the low nibble first; a scale for every 32 along K
            codes = np.stack([raw & 15, raw >> 4], -1).reshape(len(raw), -1)
            return E2M1[codes] * e8m0_decode(self.scale(name)[rows]).repeat(32, 1)
        return raw
