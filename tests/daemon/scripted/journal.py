"""Sessions' journals (daemon/session/journal.h), read and written by tests."""
import json


def frames(path):
    """Of a journal, up to the first that is damaged."""
    with open(path, "rb") as f:
        f.readline()
        while len(header := f.read(8)) == 8:
            payload = f.read(int.from_bytes(header[:4], "little"))
            if not payload.startswith(b'{"method":"'):
                return
            yield payload


def frame(payload):
    crc = 0xFFFFFFFF
    for byte in payload:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return len(payload).to_bytes(4, "little") + (crc ^ 0xFFFFFFFF).to_bytes(4, "little") + payload


def append(path, payload):
    with open(path, "ab") as f:
        f.write(frame(payload))


def rewrite(path, method, change):
    """`change` is given the params of every frame of this method."""
    with open(path, "rb") as f:
        out = f.readline()
    for payload in frames(path):
        if payload.startswith(b'{"method":"' + method.encode() + b'"'):
            whole = json.loads(payload)
            change(whole["params"])
            payload = json.dumps(whole, separators=(",", ":")).encode()
        out += frame(payload)
    with open(path, "wb") as f:
        f.write(out)
