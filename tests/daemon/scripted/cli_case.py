"""What the tests of `lares` share: a repository, a daemon with a scripted model, and the command line against it."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

from client import Daemon, call, remove_home
from terminal import Terminal

LARES = EXECUTABLE = ""
THINK = "hm</think>"


def main():
    """TEST LARES SCRIPTED_DAEMON [unittest arguments]"""
    global LARES, EXECUTABLE
    LARES, EXECUTABLE = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main()


class CliCase(unittest.TestCase):
    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-cli-"))
        self.addCleanup(remove_home, self.home)
        self.root = os.path.join(self.home, "repo")
        os.makedirs(os.path.join(self.root, ".git"))
        self.write("a.txt", "alpha\nbeta\n")
        self.daemon, self.terminals = None, []
        self.state = os.path.join(self.home, "state")
        self.socket = os.path.join(self.home, "run", "s")

    def tearDown(self):
        for t in self.terminals:  # first: a lares that loses its daemon starts another
            t.close()
        if self.daemon:
            self.daemon.stop()

    def write(self, path, text):
        with open(os.path.join(self.root, path), "w") as f:
            f.write(text)

    def read(self, path):
        with open(os.path.join(self.root, path)) as f:
            return f.read()

    def start(self, *answers):
        script = [a if isinstance(a, dict) else {"text": a} for a in answers]
        if self.daemon:
            self.daemon.start(script)
        else:
            self.daemon = Daemon(EXECUTABLE, self.home, script)

    def command(self, *args, lares=None):
        return [lares or LARES, *args]

    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("LARES_", "NO_COLOR"))}
        return dict(env, LARES_SOCKET=self.socket, LARES_STATE_DIR=self.state, XDG_CONFIG_HOME=os.path.join(self.home, "config"), TERM="xterm")

    def lares(self, *args, where=None, **how):
        p = subprocess.run(self.command(*args, **how), cwd=where or self.root, env=self.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=90)
        return p.returncode, p.stdout.decode(), p.stderr.decode()

    def background(self, *args):
        p = subprocess.Popen(self.command(*args), cwd=self.root, env=self.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(p.kill)
        return p

    def until(self, process, method, **params):
        """The parameters of the first such notification among the lines of `lares ... --json`."""
        for line in process.stdout:
            message = json.loads(line)
            if message.get("method") == method and all(message["params"].get(k) == v for k, v in params.items()):
                return message["params"]
        self.fail(f"no {method} before the end: {process.stderr.read().decode()}")

    def edit(self):
        return call("str_replace_editor", command="str_replace", path=os.path.join(self.root, "a.txt"), old_str="beta", new_str="gamma")

    def terminal(self, *args, width=200):
        """Runs it on a terminal of its own."""
        self.terminals.append(Terminal(self.command(*args), self.root, self.env(), width))
        return self.terminals[-1]
