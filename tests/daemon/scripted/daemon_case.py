"""A daemon with a scripted model, and a repository with one file to work in: what the tests from outside begin with."""
import os
import sys
import tempfile
import unittest

from client import Client, Daemon, Gated, call, remove_home

EXECUTABLE = ""


def main():
    """The first argument is the scripted daemon, the others are unittest's."""
    global EXECUTABLE
    EXECUTABLE = sys.argv.pop(1)
    unittest.main()


class DaemonCase(Gated, unittest.TestCase):
    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-daemon-"))
        self.addCleanup(remove_home, self.home)
        self.root = os.path.join(self.home, "repo")
        os.makedirs(os.path.join(self.root, ".git"))
        with open(os.path.join(self.root, "a.txt"), "w") as f:
            f.write("alpha\n")
        self.daemon = None

    def tearDown(self):
        if self.daemon:
            self.daemon.stop()

    def start(self, *answers):
        script = [a if isinstance(a, dict) else {"text": a} for a in answers]
        if self.daemon:
            self.daemon.start(script)
        else:
            self.daemon = Daemon(EXECUTABLE, self.home, script)
        return self.connect()

    def connect(self, **how):
        c = Client(self.daemon.socket, **how)
        self.addCleanup(c.close)
        return c

    def session(self, c, **settings):
        s = c.call("session/create", root=self.root, settings=settings)["sessionId"]
        c.call("session/subscribe", sessionId=s)
        return s

    def prompt(self, c, s, text, id="p1", **more):
        return c.call("prompt/send", sessionId=s, id=id, content=text, **more)

    def create(self, name):
        return "hm</think>Text" + call("str_replace_editor", command="create", path=os.path.join(self.root, name), file_text="x\n")

    def bash(self, command):
        return "hm</think>So." + call("bash", command=command)
