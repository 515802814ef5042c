"""What the tests of `lares` at a terminal share: terminal_test.py, terminal_line_test.py."""
import os
import pathlib
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripted"))
from client import Client, Daemon, call, remove_home
from terminal import Terminal

THINK = "hm</think>"
CTRL_C, CTRL_D, CTRL_R, CTRL_Z = "\x03", "\x04", "\x12", "\x1a"
UP, DOWN, LEFT, HOME = "\x1b[A", "\x1b[B", "\x1b[D", "\x1b[H"


class TerminalCase(unittest.TestCase):
    """A repository, a daemon with a scripted model and terminals on ptys."""
    LARES = EXECUTABLE = ""

    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-terminal-"))
        self.addCleanup(remove_home, self.home)
        self.root = os.path.join(self.home, "repo")
        os.makedirs(os.path.join(self.root, ".git"))
        with open(os.path.join(self.root, "a.txt"), "w") as f:
            f.write("alpha\nbeta\n")
        self.daemon = None
        self.state = os.path.join(self.home, "state")
        self.socket = os.path.join(self.home, "run", "s")
        self.gate = os.path.join(self.home, "gate")
        os.mkfifo(self.gate)

    def start(self, *answers):
        script = [a if isinstance(a, dict) else {"text": a} for a in answers]
        if self.daemon:
            self.daemon.start(script)
        else:
            self.daemon = Daemon(self.EXECUTABLE, self.home, script)
            self.addCleanup(self.daemon.stop)  # after the terminals: a lares that loses its daemon starts another

    def open(self, *args, width=80, height=24, ahead="", until=r"[›>] ?$", cwd=None, **env):
        base = {k: v for k, v in os.environ.items() if not k.startswith(("LARES_", "NO_COLOR", "LC_", "LANG"))}
        base |= {"LARES_SOCKET": self.socket, "LARES_STATE_DIR": self.state, "XDG_CONFIG_HOME": os.path.join(self.home, "config"), "TERM": "xterm", "LC_ALL": "C.UTF-8"} | env
        t = Terminal([self.LARES, *args], cwd or self.root, base, width, height)
        self.addCleanup(t.close)
        t.write(ahead)
        t.until(until)
        return t

    def leave(self, t):
        t.write(CTRL_D)
        self.assertEqual(t.wait(), 0, t.screen.text())
        self.assertEqual(t.modes(), t.before)
        self.assertEqual(t.screen.unknown, [])
        return t.screen.text()

    def read(self, path):
        with open(path) as f:
            return f.read()

    def gated(self, text):
        return {"text": text, "gate": self.gate}

    def open_gate(self):
        with open(self.gate, "w") as f:
            f.write("x")

    def wait_until_it_stops(self):
        """What a terminal says of an interrupt the daemon may not have heard of yet."""
        while self.listed()[0]["state"] != "stopping":
            time.sleep(0.02)

    def prompts(self, but=None):
        """What reached the daemon, as (content, delivery, mode), of the newest session but that one."""
        c = Client(self.socket)
        session = next(s["sessionId"] for s in c.call("session/list")["sessions"] if s["sessionId"] != but)
        events = c.call("session/history", sessionId=session, after=0)["events"]
        c.close()
        return [(e["params"]["content"], e["params"]["delivery"], e["params"]["mode"]) for e in events if e["method"] == "prompt/accepted"]

    def prompts_of(self, session):
        c = Client(self.socket)
        events = c.call("session/history", sessionId=session, after=0)["events"]
        c.close()
        return [e["params"]["content"] for e in events if e["method"] == "prompt/accepted"]

    def listed(self):
        c = Client(self.socket)
        sessions = c.call("session/list")["sessions"]
        c.close()
        return sessions

    def edit(self):
        return call("str_replace_editor", command="str_replace", path=os.path.join(self.root, "a.txt"), old_str="beta", new_str="gamma")


def main():
    TerminalCase.LARES, TerminalCase.EXECUTABLE = (os.path.abspath(sys.argv.pop(1)) for _ in range(2))
    unittest.main()
