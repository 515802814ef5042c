"""nano, the daemon, the tools and the sandbox together: repairs the demo's repository, which training never saw, and the files on
disk are right. nano_e2e_test.py BIN"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = ""


class EndToEnd(unittest.TestCase):
    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-e2e-"))
        self.root = os.path.join(self.home, "shop")
        shutil.copytree(os.path.join(HERE, "demo"), self.root)
        subprocess.run(["git", "init", "-q", self.root], check=True)
        self.env = dict(os.environ, LARES_SOCKET=os.path.join(self.home, "run", "s"), LARES_STATE_DIR=os.path.join(self.home, "state"))
        self.env.pop("LARES_MODEL", None)

    def tearDown(self):
        self.lares("shutdown")
        shutil.rmtree(self.home, ignore_errors=True)  # the daemon may be taking its socket away just now

    def lares(self, *args):
        return subprocess.run([os.path.join(BIN, "lares"), *args], cwd=self.root, env=self.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)

    def test_the_failing_test_is_repaired(self):
        before = {p: self.read(p) for p in ("src/shelf.py", "tests/test_shelf.py")}
        run = self.lares("run", "--json", "A test fails. Find the bug and fix it.")
        result = json.loads(run.stdout.splitlines()[-1])
        self.assertEqual((run.returncode, result["stop_reason"]), (0, "end_turn"), run.stderr.decode())
        self.assertEqual(self.read("tests/test_shelf.py"), before["tests/test_shelf.py"])
        self.assertEqual([c["path"] for c in result["changes"]][-1], "src/shelf.py")
        scope = {}
        exec(self.read("src/shelf.py"), scope)
        self.assertEqual([scope["clamp_stock"](v, 1, 9) for v in (0, 1, 5, 9, 10)], [1, 1, 5, 9, 9])
        self.assertEqual(scope["count_cheap"]([1, 2, 3], 3), 2)
        tools = [json.loads(line) for line in run.stdout.splitlines()[:-1]]
        names = [m["params"]["item"]["name"] for m in tools if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]
        self.assertEqual(names[0], "test")
        self.assertIn("str_replace_editor", names)

    def test_a_question_is_answered_and_changes_nothing(self):
        before = self.read("src/shelf.py")
        ask = self.lares("ask", "Which file defines clamp_stock?")
        self.assertEqual(ask.returncode, 0, ask.stderr.decode())
        self.assertIn("src/shelf.py", ask.stdout.decode())
        self.assertEqual(self.read("src/shelf.py"), before)

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as f:
            return f.read()


if __name__ == "__main__":
    BIN = sys.argv.pop(1)
    unittest.main()
