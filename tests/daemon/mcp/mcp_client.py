"""An MCP client in a few lines: over the daemon's socket, over `lares mcp`, in either era."""
import fcntl
import json
import queue
import socket
import subprocess
import sys
import termios
import threading

MODERN = "2026-07-28"
META = "io.modelcontextprotocol/"
ON_AND_ON = {"text": "hm</think>" + " ".join(str(i * i) for i in range(200_000))}  # what a scripted model is long at: nothing repeats


class McpClient:
    """Requests are answered in any order; what is not the awaited answer is kept."""

    def __init__(self, capabilities=None, modern=False, version="2025-11-25"):
        self.capabilities, self.modern = capabilities or {}, modern
        self.n, self.kept = 0, []
        self.connect()
        if not modern:
            self.server = self.call("initialize", protocolVersion=version, capabilities=self.capabilities, clientInfo={"name": "test", "version": "1"})
            self.notify("notifications/initialized")

    def send(self, message):
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def notify(self, method, **params):
        self.send({"method": method, "params": params})

    def request(self, method, **params):
        self.n += 1
        if self.modern:
            params.setdefault("_meta", {}).update({META + "protocolVersion": MODERN, META + "clientCapabilities": self.capabilities})
        self.send({"id": self.n, "method": method, "params": params})
        return self.n

    def read(self):
        line = self.readline()
        return json.loads(line) if line else None

    def next(self, wanted):
        """The first message that fits, whether it came already or not."""
        for i, message in enumerate(self.kept):
            if wanted(message):
                return self.kept.pop(i)
        while True:
            message = self.read()
            if message is None:
                raise EOFError(f"the server hung up; before: {self.kept}")
            if wanted(message):
                return message
            self.kept.append(message)

    def answer(self, n):
        return self.next(lambda m: m.get("id") == n and "method" not in m)

    def call(self, method, **params):
        answer = self.answer(self.request(method, **params))
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["result"]

    def refused(self, method, **params):
        return self.answer(self.request(method, **params))["error"]

    def tool(self, name, meta=None, **arguments):
        return self.call("tools/call", name=name, arguments=arguments, **({"_meta": meta} if meta else {}))

    def begin(self, name, meta=None, **arguments):
        return self.request("tools/call", name=name, arguments=arguments, **({"_meta": meta} if meta else {}))

    def question(self):
        return self.next(lambda m: m.get("method") == "elicitation/create")

    def progress(self, n):
        """The next there is of the request, which is not answered before."""
        def told(m):
            return m.get("method") == "notifications/progress" or m.get("id") == n and "method" not in m
        message = self.next(told)
        if "method" not in message:
            raise AssertionError(f"answered without any progress: {message}")
        return message["params"]


class OverSocket(McpClient):
    def __init__(self, path, root=None, **how):
        self.path, self.root = path, root
        super().__init__(**how)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)
        self.file = self.sock.makefile("rb")
        if self.root:
            self.notify("notifications/lares/root", root=self.root)

    def write(self, data):
        self.sock.sendall(data)

    def readline(self):
        return self.file.readline()

    def close(self):
        self.file.close()
        self.sock.close()


class OverStdio(McpClient):
    def __init__(self, command, env, cwd, reads=True, **how):
        self.command, self.env, self.cwd, self.reads = command, env, cwd, reads
        super().__init__(**how)

    def connect(self):
        self.process = subprocess.Popen(self.command, env=self.env, cwd=self.cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = queue.Queue()
        if self.reads:
            self.read_on()

    def read_on(self):
        threading.Thread(target=self.pump, daemon=True).start()

    def n_unread(self):
        """Bytes that lie in the pipe while nobody reads."""
        return int.from_bytes(fcntl.ioctl(self.process.stdout, termios.FIONREAD, bytes(4)), sys.byteorder)

    def pump(self):
        for line in iter(self.process.stdout.readline, b""):
            self.lines.put(line)
        self.lines.put(b"")

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def readline(self, seconds=60):
        return self.lines.get(timeout=seconds)

    def end(self):
        """Closes stdin; what the process says at its end."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait(timeout=30)
        err = self.process.stderr.read().decode()
        return self.process.returncode, err

    def kill(self):
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
