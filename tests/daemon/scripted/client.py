"""A client of the native protocol, and a daemon with a scripted model to talk to."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import evaluated

DSML = "｜DSML｜"
LAST_SAID = 8192  # bytes of a daemon's log that a failure shows


def call(tool, **arguments):
    params = "\n".join(f'<{DSML}parameter name="{k}" string="true">{v}</{DSML}parameter>' for k, v in arguments.items())
    return f'\n\n<{DSML}tool_calls>\n<{DSML}invoke name="{tool}">\n{params}\n</{DSML}invoke>\n</{DSML}tool_calls>'


def mcp_call(server, tool, **arguments):
    parameters = "\n".join(f'<{DSML}parameter name="{k}" string="{str(s).lower()}">{v}</{DSML}parameter>' for k, s, v in (
        ("server", True, server), ("tool", True, tool), ("arguments", False, json.dumps(arguments))))
    return f'\n\n<{DSML}tool_calls>\n<{DSML}invoke name="mcp_call">\n{parameters}\n</{DSML}invoke>\n</{DSML}tool_calls>'


def say(*answers):
    """A prompt that tells the scripted model its answers."""
    return "[[say " + json.dumps(answers) + "]]\n"


def processes_of(home):
    """The living ones that were started for this folder or stand in it: a lares that lost its daemon starts another."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                named = home.encode() in f.read()
            if named or os.readlink(f"/proc/{pid}/cwd").startswith(home):
                yield int(pid)
        except OSError:  # it has just ended, or is another user's
            pass


def remove_home(home):
    """Removes a test's folder; what still runs there ends first, or it would go on writing into it."""
    while left := [pid for pid in processes_of(home) if pid != os.getpid()]:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)
    shutil.rmtree(home)


class Refused(Exception):
    def __init__(self, error):
        super().__init__(error["message"])
        self.kind, self.error = error["data"]["kind"], error


class Gated:
    """Of a test with a `home`: the scripted model waits with an answer until its gate is opened."""

    def gate(self):
        path = os.path.join(self.home, "gate")
        os.mkfifo(path)
        return path

    def open_gate(self, path):
        with open(path, "w") as f:
            f.write("x")


class Client:
    """One connection. Notifications that arrive while an answer is awaited are kept, in order."""

    def __init__(self, path, initialize=True, role="control"):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(path)
        self.file = self.sock.makefile("rb")
        self.n, self.kept = 0, []
        if initialize:
            self.greeting = self.call("initialize", protocol=1, role=role, client="test")

    def close(self):
        self.file.close()
        self.sock.close()

    def send_raw(self, data):
        self.sock.sendall(data)

    def read(self):
        """The next message, or None when the daemon hung up."""
        line = self.file.readline()
        return json.loads(line) if line else None

    def send(self, method, **params):
        self.n += 1
        self.send_raw(json.dumps({"jsonrpc": "2.0", "id": self.n, "method": method, "params": params}).encode() + b"\n")
        return self.n

    def answer(self, n):
        while True:
            message = self.read()
            if message is None:
                raise EOFError("the daemon hung up")
            if "method" in message:
                self.kept.append(message)
            elif message["id"] == n:
                if "error" in message:
                    raise Refused(message["error"])
                return message["result"]

    def call(self, method, **params):
        return self.answer(self.send(method, **params))

    def next(self):
        return self.kept.pop(0) if self.kept else self.read()

    def until(self, method, **fields):
        """All notifications up to the first of this method with these params."""
        seen = []
        while True:
            message = self.next()
            if message is None:
                raise EOFError(f"the daemon hung up before {method}")
            seen.append(message)
            if message["method"] == method and all(message["params"].get(k) == v for k, v in fields.items()):
                return seen


def memory_told():
    """The environment of a daemon whose VmRSS says what it holds: AddressSanitizer keeps the last 256 MB that were freed. They are looked at there no more."""
    options = [os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=0", "thread_local_quarantine_size_kb=0"]
    return {"ASAN_OPTIONS": ":".join(filter(None, options))}


def now_ms():
    return time.time_ns() // 1_000_000


class Daemon:
    def __init__(self, executable, home, script, **env):
        self.executable, self.home, self.env = executable, home, env
        self.socket, self.state = os.path.join(home, "run", "s"), os.path.join(home, "state")
        self.lived = []                     # [since, until] in ms: each process of it
        self.known_is_evaluated_again = ""  # why; empty: it is not, and that is looked at whenever it ends
        self.start(script)

    def start(self, script):
        path = os.path.join(self.home, "script.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(script, f)
        self.log = open(os.path.join(self.home, "log"), "ab")
        self.lived.append([now_ms(), None])
        self.process = subprocess.Popen([self.executable, self.socket, self.state, path], stderr=self.log, env=os.environ | self.env)
        self.wait_for_log("start", self.process)

    def wait_for_log(self, event, process):
        """The daemon listens when it has logged its start."""
        with open(os.path.join(self.home, "log"), "rb") as f:
            before = getattr(self, "logged", 0)
            while True:
                f.seek(before)
                for line in f.read().splitlines():
                    if f" {event} ".encode() in line or line.startswith(event.encode()):
                        self.logged = f.tell()
                        return
                if process.poll() is not None:
                    raise AssertionError(f"the daemon ended: {open(os.path.join(self.home, 'log')).read()}")
                time.sleep(0.002)

    def last_said(self):
        with open(os.path.join(self.home, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()[-LAST_SAID:]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.ended()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
        self.ended()

    def ended(self):
        if self.log.closed:
            return
        self.log.close()
        self.lived[-1][1] = now_ms()
        if self.process.returncode not in (0, -signal.SIGKILL):  # killed is what a test does to it
            raise AssertionError(f"the daemon ended with status {self.process.returncode}: {self.last_said()}")
        evaluated.check(self.state, self.lived, self.known_is_evaluated_again)
