"""One turn of one agent with a daemon and a relay of its own: it is asked to write a file, something happens meanwhile, and this is what
came of it."""
import collections
import os
import re
import signal
import subprocess
import tempfile
import threading
import time

import door
from agents import AGENTS
from client import Daemon, remove_home
from relay import Relay

ASKS_MAX = 12      # of a turn that needs two; a client that reaches it asks for ever
TURN_S_MAX = 240   # on a machine that does other things besides
END_S_MAX = 20     # once it is told to end
WRITTEN = "hello from Lares\n"
LAST_WORDS = "The file is written."
CHUNK = 256        # tokens that the daemon's engine evaluates at a time


def end(process):
    process.terminate()
    try:
        process.wait(END_S_MAX)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


Generation = collections.namedtuple("Generation", "prompt cached")  # tokens


class Scene:
    """`fault` is the relay's, `script` what the daemon's is (scripted_daemon.cc), `env` its environment."""

    def __init__(self, agent, fault, script="files", **env):
        self.name, self.agent = agent, AGENTS[agent]
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-scene-"))
        self.file = os.path.join(self.home, "work", "hello.txt")
        subprocess.run(["git", "init", "-q", os.path.dirname(self.file)], check=True)
        self.relay = Relay(fault, ASKS_MAX)
        self.restarting = None
        fault.scene = self
        self.daemon = Daemon(door.DAEMON, self.home, script, **{"LARES_TEST_CHUNK": str(CHUNK), "LARES_TEST_LISTEN": "127.0.0.1:0"} | env)
        self.daemon_is_back()

    # ---- the daemon

    def log(self):
        with open(os.path.join(self.home, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def token(self):
        with open(os.path.join(self.daemon.state, "api-token"), encoding="utf-8") as f:
            return f.read().strip()

    def daemon_is_back(self):
        self.relay.reaches(int(re.findall(r"http_listens .*address=127\.0\.0\.1:(\d+)", self.log())[-1]))

    def restart(self, how):
        """The daemon ends by this signal, and another one begins; returns when it listens."""
        self.daemon.process.send_signal(how)
        self.daemon.process.wait()
        self.daemon.log.close()
        self.daemon.start("files")
        self.daemon_is_back()

    # ---- the turn

    def run(self):
        def write(path, content):
            return door.write_below(self.home, path, content)

        start = self.agent.again or self.agent.start
        argv, env = start(write, self.relay.url, self.token(), f"Create the file. [[write {self.file}]]")
        began = time.monotonic()
        with open(os.path.join(self.home, "said"), "wb") as said:
            self.process = process = subprocess.Popen(argv, cwd=os.path.dirname(self.file), env=door.bare(self.home) | env,
                                                      stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
            while process.poll() is None and time.monotonic() < began + TURN_S_MAX and not self.relay.exceeded.wait(0.05):
                pass
        self.returncode = process.poll()  # None: it would have gone on
        if self.returncode is None:
            end(process)
        self.seconds = time.monotonic() - began
        return self

    def restart_meanwhile(self, how):
        """At once, and without waiting for it."""
        self.relay.reaches(None)
        self.restarting = threading.Thread(target=self.restart, args=(how,))
        self.restarting.start()

    def end(self):
        if self.restarting:
            self.restarting.join()
        self.relay.stop()
        self.daemon.stop()
        remove_home(self.home)

    # ---- what came of it

    def generations(self):
        """Those of the turn as the daemon's log has them; titles have short prompts."""
        found = re.findall(r"generation\.end prompt=(\d+) cached=(\d+)", self.log())
        ends = [Generation(int(prompt), int(cached)) for prompt, cached in found]
        return [end for end in ends if 2 * end.prompt > max(e.prompt for e in ends)]

    @property
    def asks(self):
        return self.relay.asks

    def said(self):
        with open(os.path.join(self.home, "said"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def outcome(self):
        """In one or two words; the first that holds. rc 1 of opencode's: the turn ended with an error."""
        if self.relay.exceeded.is_set():
            return "asks for ever"
        if self.returncode is None:
            return "hangs"
        if self.returncode != 0:
            return f"rc {self.returncode}"
        if not os.path.exists(self.file):
            return "nothing done"
        with open(self.file, encoding="utf-8") as f:
            if f.read() != WRITTEN:
                return "wrong file"
        if LAST_WORDS not in self.said():
            return "text lost"
        return "ok" if len(self.asks) == 2 else "asks again"

    def describe(self):
        asks = "".join(f"\n  {a.path} {len(a.body)} bytes -> {a.status} {a.usage} {' '.join(a.kinds)}" for a in self.asks)
        return f"{self.outcome()} after {self.seconds:.1f} s, rc {self.returncode}{asks}\n{self.said()[-3000:]}\n{self.log()[-2000:]}"
