"""What the suites of sessions in git worktrees share: a repository that the real git made, and a scripted model that works on it."""
from cli_case import THINK, CliCase
from client import Client, call
from git_root import GitRoot

CALC = "def add(a, b):\n    return a - b\n\ndef neg(a):\n    return a\n"
TEST = "import unittest, calc\n\nclass T(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(calc.add(2, 3), 5)\n\n    def test_neg(self):\n        self.assertEqual(calc.neg(2), -2)\n"


def bash(command):
    return THINK + "So." + call("bash", command=command)


class WorktreeCase(GitRoot, CliCase):
    def setUp(self):
        super().setUp()
        self.git("init", "-q", "-b", "main")
        self.write("a.txt", "one\ntwo\nthree\nfour\nfive\nsix\nseven\n")
        self.write("b.txt", "bee\n")
        self.write(".gitignore", "*.log\n")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "first")

    def client(self):
        c = Client(self.socket)
        self.addCleanup(c.close)
        return c
