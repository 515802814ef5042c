#!/usr/bin/env python3
"""What the daemon adds to a model that takes no time, over HTTP: the first token (p50), a streamed one; then 64 clients that stream at once.
Fails beyond the bars, and where the daemon grows. http_bench.py SCRIPTED_DAEMON [--seconds N]"""
import argparse
import json
import os
import pathlib
import random
import re
import selectors
import socket
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "daemon" / "scripted"))
from client import Daemon, memory_told  # noqa: E402

N_FIRST, N_TOKENS, N_RUNS, N_CLIENTS = 200, 20_000, 5, 64
FIRST_MS_MAX, TOKEN_US_MAX = 2.0, 50.0
GROWTH_KB_MAX, KEPT_KB = 8_000, 3  # of each answer its tokens are kept, for a follow-up; a connection that stayed would be 17 kB
N_FDS = 32  # more than a daemon without clients has
LAST_CHUNK = b"0\r\n\r\n"


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def text_of(n):
    """Letters that do not repeat themselves: a model that does is stopped."""
    return "".join(random.Random(n).choices("abcdefghijklmnopqrstuvwxyz", k=n))


def chat(n):
    """A streamed answer of the scripted model, which says a byte a token."""
    say = json.dumps(["</think>" + text_of(n)])
    body = json.dumps({"model": "scripted", "stream": True, "messages": [{"role": "user", "content": f"[[say {say}]]\n"}]}).encode()
    return f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s


def streamed(s, request, token=b"data: "):
    """Milliseconds to the first token, to the end of the stream, and what came."""
    began = time.perf_counter()
    s.sendall(request)
    data, first = b"", None
    parts = []
    while not data.endswith(LAST_CHUNK):
        part = s.recv(1 << 20)
        if not part:
            raise EOFError("the daemon hung up")
        parts.append(part)
        data = (data + part)[-4096:]
        if first is None and token in data:
            first = time.perf_counter()
    return (first - began) * 1e3, (time.perf_counter() - began) * 1e3, b"".join(parts)


def said(data):
    """The content of a stream's chunks."""
    deltas = (json.loads(line[6:])["choices"][0]["delta"] for line in data.splitlines() if line.startswith(b"data: {"))
    return "".join(delta.get("content") or "" for delta in deltas)


class Client:
    """One of many: the next stream begins when one has ended."""

    def __init__(self, path, request, last):
        self.s, self.request, self.last = connect(path), request, last
        self.s.setblocking(False)
        self.n_streams = self.n_bytes = 0
        self.begin()

    def begin(self):
        self.tail = b""
        self.s.send(self.request)

    def read(self, again):
        part = self.s.recv(1 << 18)
        if not part:
            raise EOFError("the daemon hung up on a client of many")
        self.n_bytes += len(part)
        self.tail = (self.tail + part)[-200:]
        if not self.tail.endswith(LAST_CHUNK):
            return True
        if self.last not in self.tail:
            raise AssertionError(f"a stream ended without its terminal event: {self.tail}")
        self.n_streams += 1
        if again:
            self.begin()
        return again


def many(path, request, last, seconds):
    clients = [Client(path, request, last) for _ in range(N_CLIENTS)]
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for c in clients:
            selector.register(c.s, selectors.EVENT_READ, c)
        while selector.get_map():
            ready = selector.select(timeout=60)
            if not ready:
                raise AssertionError("64 clients at once: nothing came for a minute")
            for key, _ in ready:
                if not key.data.read(again=time.monotonic() < end):
                    selector.unregister(key.fileobj)
    for c in clients:
        c.s.close()
    return clients


def status(daemon, field):
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as f:
        return int(re.search(rf"^{field}:\s+(\d+)", f.read(), re.M)[1])


def fds(daemon, expected):
    """Open descriptors; those of clients that have just left close within a moment."""
    end = time.monotonic() + 10
    while (n := len(os.listdir(f"/proc/{daemon.process.pid}/fd"))) > expected and time.monotonic() < end:
        time.sleep(0.01)
    return n


def main():
    options = argparse.ArgumentParser()
    options.add_argument("daemon")
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--bars", choices=("on", "off"), default="on")  # off: a machine that is busy with other tests
    options = options.parse_args()
    slow, broken = [], []

    def row(what, value, unit, bar):
        print(f"{what:58} {value:8.2f} {unit}, at most {bar:g}", flush=True)
        if value > bar:
            slow.append(what)

    with tempfile.TemporaryDirectory(prefix="lares-bench-") as home:
        daemon = Daemon(os.path.abspath(options.daemon), home, "prompts", **memory_told())
        has_chat = b" 404 " not in streamed_head(daemon.socket)
        kinds = [("the server alone", lambda n: get(f"/test/stream?n={n}&bytes=180"), b"data: done", b"data: ")]
        if has_chat:
            kinds.append(("chat completions", chat, b"data: [DONE]", b'"delta":{"content"'))
        for name, request, last, token in kinds:
            s = connect(daemon.socket)
            firsts = [streamed(s, request(1), token)[0] for _ in range(N_FIRST)]
            row(f"{name}: first token, p50 of {N_FIRST}", statistics.median(firsts), "ms", FIRST_MS_MAX)
            runs = []
            for _ in range(N_RUNS):
                first, whole, data = streamed(s, request(N_TOKENS), token)
                assert last in data[-200:], data[-200:]
                assert name == "the server alone" or said(data) == text_of(N_TOKENS), f"only {len(said(data))} of {N_TOKENS} tokens came"
                runs.append((whole - first) * 1e3 / N_TOKENS)
            row(f"{name}: a token of {N_TOKENS}, least of {N_RUNS} runs", min(runs), "us", TOKEN_US_MAX)  # others' work is not the daemon's
            s.close()
        name, request, last, _ = kinds[-1]
        many(daemon.socket, request(200), last, min(2, options.seconds))
        before = status(daemon, "VmRSS"), status(daemon, "Threads"), fds(daemon, N_FDS)
        began = time.monotonic()
        clients = many(daemon.socket, request(200), last, options.seconds)
        seconds = time.monotonic() - began
        n = sum(c.n_streams for c in clients)
        print(f"{N_CLIENTS} clients of {name} for {seconds:.0f} s: {n} streams, {n * 200 / seconds:.0f} tokens/s, each client {min(c.n_streams for c in clients)} to {max(c.n_streams for c in clients)} streams")
        after = status(daemon, "VmRSS"), status(daemon, "Threads"), fds(daemon, before[2])
        growth_max = GROWTH_KB_MAX + KEPT_KB * n
        print(f"the daemon grew by {(after[0] - before[0]) / 1e3:.1f} MB, at most {growth_max / 1e3:.1f}; threads {before[1]} before and {after[1]} after, descriptors {before[2]} and {after[2]}")
        if after[0] > before[0] + growth_max or after[1] > before[1] or after[2] > before[2]:
            broken.append("the daemon grew")
        if min(c.n_streams for c in clients) == 0:
            broken.append("a client got nothing")
        daemon.stop()
    failed = broken + (slow if options.bars == "on" else [])
    if failed:
        print("beyond the bars: " + "; ".join(failed))
    return 1 if failed else 0


def streamed_head(path):
    with connect(path) as s:
        s.sendall(b"GET /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return s.recv(4096)


if __name__ == "__main__":
    sys.exit(main())
