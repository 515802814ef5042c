"""nano, the daemon, the tools and the sandbox together: repairs the demo's repository, which training never saw, and the files on
disk are right. nano_e2e_test.py BIN"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "engine", "nano"))
sys.dont_write_bytecode = True

import sessions  # noqa: E402

BIN = ""
ROOT = "/tmp/lares-shop"  # always the same: the path is part of the prompt, and nano's answers hang on every token of it


class EndToEnd(unittest.TestCase):
    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-e2e-"))
        self.root = ROOT
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(os.path.join(HERE, "demo"), self.root)
        subprocess.run(["git", "init", "-q", self.root], check=True)
        self.env = dict(os.environ, LARES_SOCKET=os.path.join(self.home, "run", "s"), LARES_STATE_DIR=os.path.join(self.home, "state"))
        self.env.pop("LARES_MODEL", None)

    def tearDown(self):
        self.lares("shutdown")
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)  # the daemon may be taking its socket away just now

    def lares(self, *args):
        return subprocess.run([os.path.join(BIN, "lares"), *args], cwd=self.root, env=self.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)

    def test_the_failing_test_is_repaired(self):
        before = {p: self.read(p) for p in ("src/shelf.py", "tests/test_shelf.py")}
        run = self.lares("run", "--json", "--seed", "23", "A test fails. Find the bug and fix it.")
        result = json.loads(run.stdout.splitlines()[-1])
        self.assertEqual((run.returncode, result["stop_reason"]), (0, "end_turn"), run.stderr.decode())
        self.assertEqual(self.read("tests/test_shelf.py"), before["tests/test_shelf.py"])
        self.assertEqual([c["path"] for c in result["changes"]][-1], "src/shelf.py")
        scope = {}
        exec(self.read("src/shelf.py"), scope)
        self.assertEqual([scope["clamp_stock"](v, 1, 9) for v in (0, 1, 5, 9, 10)], [1, 1, 5, 9, 9])
        self.assertEqual(scope["count_cheap"]([1, 2, 3], 3), 2)
        events = [json.loads(line) for line in run.stdout.splitlines()[:-1]]
        items = [m["params"]["item"] for m in events if m["method"] == "item/completed"]
        calls = [item for item in items if item["kind"] == "tool"]
        self.assertEqual([call["name"] for call in calls[:4]], ["test", "outline", "str_replace_editor", "test"])
        # nano was trained on what its generator says that `outline` says.
        lines = before["src/shelf.py"].split("\n")[:6]
        self.assertEqual(calls[1]["output"], f"{self.root}/src/shelf.py\n" + "".join(sessions.numbered(k, text) for k, text in enumerate(lines, 1)))

    def test_what_a_session_recorded_is_sampled_the_same_again(self):
        run = self.lares("run", "--json", "--temperature", "1", "--seed", "14", "A test fails. Find the bug and fix it.")  # at its own it is too sure
        self.assertEqual(run.returncode, 0, run.stderr.decode())
        usage = json.loads(run.stdout.splitlines()[-1])["usage"]
        n_steps, n_tokens = usage["steps"], usage["generated"]
        equal = f"{n_steps} steps, {n_tokens} tokens, all equal\n"
        again = self.lares("replay")  # the files are others now: what an edit could say is taken from the snapshot before it
        self.assertEqual((again.returncode, again.stdout.decode()), (0, equal), again.stderr.decode())
        file = os.path.join(self.home, "session.jsonl")
        self.assertEqual(self.lares("export", "-o", file).returncode, 0)
        again = self.lares("replay", file)
        self.assertEqual((again.returncode, again.stdout.decode()), (0, equal), again.stderr.decode())
        parts = self.lares("replay", "--seed", "23")
        self.assertEqual(parts.returncode, 1)
        self.assertRegex(parts.stdout.decode(), r"^after \d+ steps?, \d+ tokens?: turn 1, step \d+, token \d+ differs: expected \d+ .*, got \d+ ")

    def test_what_was_drawn_again_is_sampled_the_same_again(self):
        run = self.lares("run", "--json", "--temperature", "1", "--seed", "5", "A test fails. Find the bug and fix it.")
        self.assertIn(b"the answer made an edit that changes nothing; drawn again", run.stdout)
        n_steps = json.loads(run.stdout.splitlines()[-1])["usage"]["steps"]
        again = self.lares("replay")  # of what was given up it knows that it was, not what it said
        self.assertRegex(again.stdout.decode(), rf"^{n_steps} steps, \d+ tokens, all equal\n$")
        self.assertEqual(again.returncode, 0)

    def test_a_question_is_answered_and_changes_nothing(self):
        before = self.read("src/shelf.py")
        ask = self.lares("ask", "--greedy", "Which file defines clamp_stock?")
        self.assertEqual(ask.returncode, 0, ask.stderr.decode())
        self.assertIn("src/shelf.py", ask.stdout.decode())
        self.assertEqual(self.read("src/shelf.py"), before)

    def test_sessions_share_the_repository_and_a_killed_daemon_brings_it_back(self):
        for k in range(4):  # long enough to be worth keeping: a place every 1024 tokens
            with open(os.path.join(self.root, "src", f"list{k}.py"), "w", encoding="utf-8") as f:
                f.write("".join(f"def item_{k}_{i}(x):\n    return x + {i}\n\n\n" for i in range(60)))

        def ask():
            run = self.lares("ask", "--json", "--greedy", "Which file defines clamp_stock?")
            return json.loads(run.stdout.splitlines()[-1])["usage"]["prefilled"]

        def prefix():
            return json.loads(self.lares("prefix", "--json").stdout)

        first, second = ask(), ask()
        base = prefix()
        self.assertEqual(base["epoch"], 1)
        self.assertGreater(base["baseTokens"], 3000)
        self.assertGreater(first, base["baseTokens"] // 2)  # the background may have begun
        self.assertLess(second, 300)  # its question, and what its tools said
        until = time.monotonic() + 60
        while prefix()["diskTokens"] < base["baseTokens"] // 128 * 128 and time.monotonic() < until:
            time.sleep(0.05)
        pid = json.loads(self.lares("status", "--json").stdout)["pid"]
        os.kill(pid, signal.SIGKILL)
        self.assertLess(ask(), 300 + 128)
        self.assertEqual(prefix()["baseTokens"], base["baseTokens"])
        # A change costs what lies behind the last place before it, at most; or its own text, where that is quicker on this machine.
        with open(os.path.join(self.root, "src", "list3.py"), "a", encoding="utf-8") as f:
            f.write("def last(x):\n    return x\n")
        self.assertLess(ask(), base["baseTokens"] * 3 // 4)

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as f:
            return f.read()


if __name__ == "__main__":
    BIN = sys.argv.pop(1)
    unittest.main()
