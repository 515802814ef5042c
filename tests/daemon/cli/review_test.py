"""`lares review`: which change reaches the model, and what of one that is too long. review_test.py LARES SCRIPTED_DAEMON"""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK, CliCase
from client import Client

KB = 1 << 10


class ReviewTest(CliCase):
    def setUp(self):
        super().setUp()
        os.rmdir(os.path.join(self.root, ".git"))
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *args):
        env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_AUTHOR_NAME="A", GIT_AUTHOR_EMAIL="a@b", GIT_COMMITTER_NAME="A", GIT_COMMITTER_EMAIL="a@b")
        return subprocess.run(["git", *args], cwd=self.root, env=env, check=True, stdout=subprocess.PIPE, timeout=60).stdout.decode()

    def commit(self, message):
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)

    def asked(self):
        """What the newest session was asked, and in which mode."""
        c = Client(self.socket)
        session = c.call("session/list")["sessions"][0]
        events = c.call("session/history", sessionId=session["sessionId"], after=0)["events"]
        c.close()
        prompt = [e["params"] for e in events if e["method"] == "prompt/accepted"][0]
        return prompt["content"], prompt["mode"]

    def test_what_is_not_committed_is_reviewed_new_files_too(self):
        self.commit("begin")
        self.write("a.txt", "alpha\ngamma\n")
        self.write("b ü.py", "x = 1\n")
        self.write(".gitignore", "*.o\n")
        self.write("c.o", "object\n")
        self.start(THINK + "[major] a.txt:2: gamma.")
        status, out, err = self.lares("review")
        self.assertEqual((status, out.strip()), (0, "[major] a.txt:2: gamma."), err)
        content, mode = self.asked()
        self.assertEqual(mode, "ask")
        self.assertTrue(content.startswith("Review the uncommitted changes."), content[:200])
        for shown in ("-beta\n+gamma\n", "+++ b/b ü.py", "+x = 1\n", "+++ b/.gitignore"):
            self.assertIn(shown, content)
        self.assertNotIn("c.o", content)
        self.assertEqual(self.git("status", "--short"), " M a.txt\n?? .gitignore\n?? \"b \\303\\274.py\"\n")  # and the index is as it was

    def test_a_task_goes_on_with_what_a_review_found(self):
        self.start(THINK + "Done.", THINK + "[major] a.txt:2: beta.", THINK + "Four.", THINK + "Mended.")
        self.assertEqual(self.lares("run", "Older work.")[0], 0)
        self.assertEqual(self.lares("review")[0], 0)
        self.assertEqual(self.lares("ask", "Two and two?")[0], 0)
        status, out, err = self.lares("run", "--continue", "Mend that.")
        self.assertEqual((status, out.strip()), (0, "Mended."), err)
        self.assertRegex(err, r"goes on with session \w+: Review the uncommitted changes")
        self.assertIn("[major] a.txt:2: beta.", self.lares("log")[1])

    def test_a_repository_without_a_commit_and_only_some_paths(self):
        self.write("b.txt", "b\n")
        self.git("add", "b.txt")
        self.start(THINK + "no findings", THINK + "no findings")
        self.assertEqual(self.lares("review")[0], 0)
        content = self.asked()[0]
        self.assertIn("+++ b/b.txt", content)
        self.assertIn("+++ b/a.txt", content)
        self.assertEqual(self.lares("review", "--only", "a.txt")[0], 0)
        content = self.asked()[0]
        self.assertNotIn("b/b.txt", content)
        self.assertIn("+++ b/a.txt", content)

    def test_a_commit_and_a_range_from_where_they_parted(self):
        self.commit("begin")
        self.git("switch", "--quiet", "-c", "topic")
        self.write("a.txt", "alpha\ngamma\n")
        self.commit("Make it gamma\n\nBecause of reasons.")
        self.git("switch", "--quiet", "main")
        self.write("main.txt", "meanwhile\n")
        self.commit("meanwhile")
        self.git("switch", "--quiet", "topic")
        self.start(*[THINK + "no findings"] * 3)
        for range, what in (("HEAD", "commit "), ("main..HEAD", "main...HEAD"), ("main...", "main...HEAD")):
            self.assertEqual(self.lares("review", range)[0], 0)
            content = self.asked()[0]
            self.assertTrue(content.startswith("Review " + what), content[:80])
            self.assertIn("-beta\n+gamma\n", content)
            self.assertIn("Because of reasons.", content)
            self.assertNotIn("meanwhile", content)

    def test_the_first_commit_is_all_new(self):
        self.commit("begin")
        self.start(THINK + "no findings")
        self.assertEqual(self.lares("review", "main")[0], 0)
        self.assertIn("+alpha\n+beta\n", self.asked()[0])

    def test_what_is_too_long_is_named_and_said(self):
        self.commit("begin")
        self.write("big.txt", "x" * 99 + "\n" + ("y" * 99 + "\n") * (200 * KB // 100))
        self.write("huge.txt", ("z" * 99 + "\n") * (100 * KB // 100))
        self.write("small.txt", "small\n")
        self.start(THINK + "no findings", THINK + "no findings")
        status, _, err = self.lares("review")
        self.assertEqual(status, 0)
        self.assertIn("longer than 256 kB, so the model is only told the names of: huge.txt;", err)
        content = self.asked()[0]
        self.assertIn("+small\n", content)
        self.assertIn("look at it with the git tool:\n  huge.txt\n", content)
        self.assertLess(len(content), 258 * KB)
        self.write("big.txt", ("y" * 99 + "\n") * (400 * KB // 100))
        self.assertIn("the rest of big.txt", self.lares("review", "--only", "big.txt")[2])
        self.assertTrue(self.asked()[0].endswith("y\n```\n"))

    def test_nothing_to_review_needs_no_daemon(self):
        self.commit("begin")
        status, out, err = self.lares("review")
        self.assertEqual((status, out), (0, ""))
        self.assertIn("nothing to review", err)
        self.assertEqual(json.loads(self.lares("review", "--json")[1])["stop_reason"], "nothing_to_review")
        self.assertFalse(os.path.exists(self.socket))

    def test_what_names_nothing_is_told_so(self):
        self.commit("begin")
        for range, name in (("nope", "nope"), ("nope..HEAD", "nope"), ("main..nope", "nope"), ("main:a.txt", "main:a.txt")):
            status, out, err = self.lares("review", range)
            self.assertEqual((status, out), (1, ""), err)
            self.assertIn(f"review {range}: {name} names no commit of {self.root}; `git log --oneline`", err)
            self.assertEqual(len(err.splitlines()), 1, err)
        status, _, err = self.lares("review", "--root", self.home)
        self.assertEqual(status, 1)
        self.assertRegex(err, f"review {self.home}: .*not a git repository.*; run it inside a repository, or name one with --root")

    def test_configuration_of_git_does_not_change_the_diff_or_run_a_program(self):
        self.commit("begin")
        self.write(".gitattributes", "*.txt diff=evil\n")
        self.write("a.txt", "alpha\ngamma\n")
        for key, value in (("diff.external", "touch ran"), ("diff.evil.textconv", "touch ran; cat"), ("color.ui", "always"), ("diff.noprefix", "true"), ("core.pager", "touch ran")):
            self.git("config", key, value)
        self.start(THINK + "no findings")
        self.assertEqual(self.lares("review", "--only", "a.txt")[0], 0)
        self.assertIn("--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,2 @@\n alpha\n-beta\n+gamma\n", self.asked()[0])
        self.assertFalse(os.path.exists(os.path.join(self.root, "ran")))

    def test_json_ends_with_the_result(self):
        self.start(THINK + "no findings")
        status, out, _ = self.lares("review", "--json")
        last = json.loads(out.splitlines()[-1])
        self.assertEqual((status, last["type"], last["stop_reason"]), (0, "result", "end_turn"))


if __name__ == "__main__":
    cli_case.main()
