"""`lares run --best-of`: several sessions in worktrees of their own, of which the tests choose one. With a scripted model and the real git.
best_of_test.py LARES SCRIPTED_DAEMON [unittest arguments]"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK
from worktree_case import CALC, TEST, WorktreeCase, bash


class BestOfTest(WorktreeCase):
    def best_of(self, *edits, more=()):
        self.write("calc.py", CALC)
        self.write("test_calc.py", TEST)
        self.git("add", ".")
        self.git("commit", "-q", "-m", "calc")
        self.start(*[{"text": bash(e), "step": 1} for e in edits], *[{"text": THINK + "Done.", "step": 2} for _ in edits], *more)

    ADD, NEG = "sed -i 's/a - b/a + b/' calc.py", "sed -i 's/return a$/return -a/' calc.py"

    def test_the_one_that_passes_wins_and_the_others_go(self):
        self.best_of(self.ADD, f"{self.ADD}; {self.NEG}; echo >> calc.py", f"{self.ADD}; {self.NEG}")
        status, out, err = self.lares("run", "--best-of", "3", "--json", "Mend calc")
        result = json.loads(out.splitlines()[-1])
        self.assertEqual((status, result["passes"], result["applied"], len(result["attempts"])), (0, True, False, 3), err)
        best = result["attempts"][0]
        self.assertEqual((best["session"], best["test"]["total"], best["added"], best["deleted"]), (result["winner"], 2, 2, 2))
        self.assertEqual([a["test"]["passed"] for a in result["attempts"]], [True, True, False])
        self.assertIn("+    return a + b", result["diff"])
        self.assertEqual(self.git("status", "--porcelain"), "")
        left = json.loads(self.lares("worktrees", "--json")[1])["worktrees"]
        self.assertEqual([w["sessionId"] for w in left], [result["winner"]])
        self.assertEqual(len(self.git("branch", "--list", "lares/*").split()), 2)  # "+ lares/..."
        seeds = {s["settings"]["seed"] for s in self.client().call("session/list", closed=True)["sessions"]}
        self.assertEqual(len(seeds), 3)

    def test_it_is_applied_when_asked_for_and_shown(self):
        self.best_of(self.ADD, f"{self.ADD}; {self.NEG}")
        status, out, err = self.lares("run", "--best-of", "2", "--apply", "--keep", "Mend calc")
        self.assertEqual(status, 0, out + err)
        self.assertRegex(out, r"\* \w+ +finished +2 passed +\+2 +-2")
        self.assertRegex(out, r"  \w+ +finished +1 of 2 failed +\+1 +-1")
        self.assertIn("changed 1 file in", out)
        self.assertIn("+    return -a", out)
        self.assertEqual(self.read("calc.py"), "def add(a, b):\n    return a + b\n\ndef neg(a):\n    return -a\n")
        self.assertEqual(len(json.loads(self.lares("worktrees", "--json")[1])["worktrees"]), 2)
        for n in ("1", "2"):
            self.assertRegex(err, rf"(?m)^{n}  finished +step +2 .*lares/mend-calc-")
        self.assertNotIn("\x1b", out + err)

    def test_none_passes_so_nothing_is_applied(self):
        self.best_of(self.ADD, "echo '# no' >> calc.py", "true")
        status, out, err = self.lares("run", "--best-of", "3", "--apply", "Mend calc")
        self.assertEqual(status, 1, out + err)
        rows = re.findall(r"(?m)^[* ] \w{12} +finished +(.+?) +\+", out)
        self.assertEqual(rows, ["1 of 2 failed", "2 of 2 failed", "not run"])
        self.assertIn("none passes its tests", out)
        self.assertEqual(self.git("status", "--porcelain"), "")

    def test_a_command_of_the_users_decides(self):
        self.best_of("echo good > verdict", "echo bad > verdict")
        status, out, err = self.lares("run", "--best-of", "2", "--test", "grep -q good verdict", "Decide")
        self.assertEqual(status, 0, out + err)
        self.assertRegex(out, r"\* \w+ +finished +passed +\+1 +-0")

    def test_ctrl_c_ends_the_turns_and_the_tests_decide_all_the_same(self):
        self.best_of(self.ADD, f"{self.ADD}; {self.NEG}")
        self.daemon.stop()
        talk = {"text": THINK + " ".join(str(i * i) for i in range(20000)), "openEnded": True, "step": 2, "us": 100}  # nothing that repeats
        self.daemon.start([{"text": bash(e), "step": 1} for e in (self.ADD, f"{self.ADD}; {self.NEG}")] + [talk, talk])
        p = self.background("run", "--best-of", "2", "Mend calc")
        c, before = self.client(), self.read("calc.py")

        def talks(s):  # while its command runs it is "tool"
            return s["state"] == "decode" and self.read("calc.py", s["root"]) != before

        while sum(talks(s) for s in c.call("session/list")["sessions"] if s["root"] != self.root) < 2:
            self.assertIsNone(p.poll())
            time.sleep(0.02)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 0, out.decode() + err.decode())
        how = re.search(r"(?s)\* \w+ +(\w+) +2 passed.*  \w+ +(\w+) +1 of 2 failed", out.decode())
        self.assertTrue(how, out.decode())
        self.assertIn("interrupted", how.groups())  # one may have talked to its limit before both were at it

    def test_ctrl_c_while_they_are_made_leaves_none(self):
        for n in range(200):  # so that it takes its time
            self.write(f"many/{n % 50}/{n}", f"{n}\n")
        self.start()
        p = self.background("run", "--best-of", "3", "Mend calc")
        while b"making worktree 3 of 3" not in (line := p.stderr.readline()):
            self.assertTrue(line)
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 130, err)
        c, deadline = self.client(), time.monotonic() + 60
        while "worktree_taken_back " not in self.daemon.last_said() or self.git("branch", "--list", "lares/*") or c.call("worktree/list").get("worktrees"):
            self.assertLess(time.monotonic(), deadline, self.git("branch", "--list", "lares/*"))
            time.sleep(0.02)
        self.assertEqual([s for s in c.call("session/list", closed=True)["sessions"] if not s.get("closed")], [])

    def test_where_nobody_reads_stderr_the_losers_go_all_the_same(self):
        self.best_of(self.ADD, f"{self.ADD}; {self.NEG}")
        read, write = os.pipe()
        os.close(read)
        p = subprocess.run([cli_case.LARES, "run", "--best-of", "2", "Mend calc"], cwd=self.root, env=self.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=write, timeout=90)
        os.close(write)
        self.assertEqual(p.returncode, 0, p.stdout)
        self.assertEqual(len(json.loads(self.lares("worktrees", "--json")[1])["worktrees"]), 1)

    def test_options_that_do_not_go_together(self):
        for args, why in ((("--best-of", "9"), "1 to 8|2 to 8"), (("--best-of", "1"), "2 to 8"), (("--apply",), "best-of"), (("--best-of", "2", "--worktree"), "leave out --worktree"),
                          (("--best-of", "2", "--greedy"), "leave out --greedy"), (("--worktree", "--session", "x"), "leave out --worktree")):
            status, _, err = self.lares("run", *args, "Do it")
            self.assertEqual(status, 2, args)
            self.assertRegex(err, why)


if __name__ == "__main__":
    cli_case.main()
