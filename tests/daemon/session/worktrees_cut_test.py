"""What meets a request about a session's worktree: a turn that begins, an end of the daemon. With a scripted model and the real git. worktrees_cut_test.py LARES SCRIPTED_DAEMON [unittest arguments]"""
import glob
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import Client, Daemon, Refused, call, remove_home, say
from git_root import GitRoot

LARES = EXECUTABLE = ""
MANY = 800  # files, so that a worktree of them is not made, looked at, applied or removed at once


class WorktreesCutTest(GitRoot, unittest.TestCase):
    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-worktrees-cut-"))
        self.addCleanup(remove_home, self.home)
        self.root = os.path.join(self.home, "repo")
        os.makedirs(self.root)
        self.git("init", "-q", "-b", "main")
        self.write("a.txt", "alpha\n")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "first")
        self.daemon = Daemon(EXECUTABLE, self.home, "prompts")
        self.addCleanup(lambda: self.daemon.stop())

    def write_many(self, root=None):
        for i in range(MANY):
            self.write(f"many/{i}.txt", f"{i}\n", root)

    def many_in(self, root):
        try:
            return len([name for name in os.listdir(os.path.join(root, "many")) if not name.startswith(".lares-")])
        except FileNotFoundError:
            return 0

    def clear_what_was_being_written(self):
        """What a killed daemon was writing lies there under a name of its own."""
        for path in glob.glob(os.path.join(self.root, "**", ".lares-*.tmp"), recursive=True, include_hidden=True):
            os.remove(path)
        if os.path.isdir(many := os.path.join(self.root, "many")) and not os.listdir(many):
            os.rmdir(many)

    def connect(self):
        c = Client(self.daemon.socket)
        c.sock.settimeout(120)
        self.addCleanup(c.close)
        return c

    def worktree(self, c):
        made = c.call("session/create", root=self.root, worktree=True)
        c.call("session/subscribe", sessionId=made["sessionId"], interactive=True)
        return made

    def lares(self, *args):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("LARES_", "NO_COLOR"))}
        env = dict(env, LARES_SOCKET=self.daemon.socket, LARES_STATE_DIR=self.daemon.state)
        p = subprocess.run([LARES, *args], cwd=self.root, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        return p.returncode, p.stdout.decode(), p.stderr.decode()

    def wait_for(self, holds, what):
        deadline = time.monotonic() + 120
        while not holds():
            self.assertLess(time.monotonic(), deadline, f"{what}: {self.daemon.last_said()}")
            time.sleep(0.002)

    # ---- a turn that begins while it is removed

    def remove_under_a_prompt(self, n_pings, dirty):
        """Gives whether it was removed. `n_pings`: how much later the prompt comes."""
        c, other = self.connect(), self.connect()
        made = self.worktree(c)
        s, root = made["sessionId"], made["root"]
        if dirty:
            self.write("dirty.txt", "not committed\n", root)
        removing = c.send("worktree/remove", sessionId=s)
        for _ in range(n_pings):
            other.call("ping")
        command = call("bash", command="echo precious > many/new.txt")
        accepted = True
        try:
            other.call("prompt/send", sessionId=s, id="p1", content="Go.\n" + say("hm</think>So." + command, "hm</think>Done."))
        except Refused as e:
            self.assertEqual(e.kind, "not_found", e)  # it is closed
            accepted = False
        try:
            c.answer(removing)
        except Refused as e:
            self.assertIn(e.kind, ("busy", "conflict"), e)
            self.assertTrue(accepted)
            self.assertEqual(c.until("turn/ended", sessionId=s)[-1]["params"]["reason"], "end_turn")
            self.assertEqual(self.read("many/new.txt", root), "precious\n")
            return False
        self.assertFalse(dirty)
        self.assertFalse(os.path.exists(root))
        events = other.call("session/history", sessionId=s)["events"]
        told = [e["method"] for e in events]
        self.assertNotIn("turn/started", told)
        self.assertEqual((told.count("prompt/accepted"), told.count("prompt/withdrawn")), (accepted, accepted))
        self.assertEqual(told[-1], "session/closed")
        return True

    def test_a_turn_that_begins_while_it_is_removed_loses_nothing(self):
        self.write_many()
        self.git("add", ".")
        self.git("commit", "-q", "-m", "many")
        removed = []
        while len(removed) < 2 or True not in removed:  # the prompt comes later and later, until that is too late
            removed.append(self.remove_under_a_prompt(10 * 4 ** len(removed), dirty=False))
        self.assertFalse(self.remove_under_a_prompt(40, dirty=True))

    def test_whoever_comes_while_it_is_removed_is_held_too(self):
        self.write_many()
        self.git("add", ".")
        self.git("commit", "-q", "-m", "many")
        c, other = self.connect(), self.connect()
        made = self.worktree(c)
        removing = c.send("worktree/remove", sessionId=made["sessionId"])
        for _ in range(20):
            other.call("ping")
        with self.assertRaises(Refused) as refused:  # nor is it removed twice at a time
            other.call("worktree/remove", sessionId=made["sessionId"])
        self.assertEqual(refused.exception.kind, "busy")
        late = other.call("session/create", root=made["root"])["sessionId"]
        sent = other.call("prompt/send", sessionId=late, id="late", content="Go.\n" + say("hm</think>So." + call("bash", command="echo x > x"), "hm</think>Done."))
        self.assertEqual(sent.get("turnId", 0), 0)
        c.answer(removing)
        told = [e["method"] for e in other.call("session/history", sessionId=late)["events"]]
        self.assertEqual(told[-2:], ["prompt/withdrawn", "session/closed"])
        self.assertFalse(os.path.exists(made["root"]))

    # ---- an end of the daemon while it is made

    def begin_to_make_one(self):
        """Gives the connection that asked for it, the request, and where it is made."""
        self.write_many()  # not committed: they come along after the checkout
        c = self.connect()
        request = c.send("session/create", root=self.root, worktree=True)
        worktrees = pathlib.Path(self.daemon.state, "worktrees")
        self.wait_for(lambda: len(list(worktrees.glob("*/*/many/*"))) > 20, "make a worktree")
        return c, request, str(next(worktrees.glob("*/*/many")).parent)

    def kill_while_one_is_made(self):
        """Gives where."""
        while True:
            _, _, root = self.begin_to_make_one()
            self.daemon.kill()
            if self.many_in(root) < MANY:
                return root
            self.daemon.start("prompts")  # all of it may have been there before the signal came
            c = self.connect()
            for w in c.call("worktree/list", root=self.root).get("worktrees", []):
                try:
                    c.call("worktree/remove", sessionId=w["sessionId"], branch=True, force=True)
                except Refused as e:
                    self.assertIn(e.kind, ("busy", "not_found"), e)  # it goes already
            self.wait_for(lambda: not c.call("worktree/list", root=self.root).get("worktrees"), "remove it")

    def test_one_that_the_daemon_was_killed_over_goes_at_the_next_start(self):
        root = self.kill_while_one_is_made()
        self.daemon.start("prompts")
        c = self.connect()
        self.wait_for(lambda: not c.call("worktree/list", root=self.root).get("worktrees"), "take it back")
        self.assertFalse(os.path.exists(root))
        self.assertEqual((len(self.git("worktree", "list").splitlines()), self.git("branch", "--list", "lares/*")), (1, ""))
        self.assertEqual(self.many_in(self.root), MANY)
        self.assertEqual(self.worktree(c)["worktreeOf"], self.root)

    def test_one_that_somebody_committed_to_stays_until_it_is_removed(self):
        root = self.kill_while_one_is_made()
        self.write("work.txt", "work\n", root)
        self.git("add", "work.txt", root=root)
        self.git("commit", "-q", "-m", "work", root=root)
        self.daemon.start("prompts")
        self.wait_for(lambda: "worktree_stays " in self.daemon.last_said(), "leave it")
        listed = self.connect().call("worktree/list", root=self.root)["worktrees"]
        self.assertEqual([w["root"] for w in listed], [root])
        s = listed[0]["sessionId"]
        status, _, err = self.lares("worktrees", "remove", "--branch", s)
        self.assertEqual(status, 1)
        self.assertIn("uncommitted changes", err)
        status, _, err = self.lares("worktrees", "remove", "--force", "--branch", s[:6])
        self.assertEqual(status, 0, err)
        self.assertFalse(os.path.exists(root))
        self.assertEqual((len(self.git("worktree", "list").splitlines()), self.git("branch", "--list", "lares/*")), (1, ""))
        self.assertIn("there is no session", self.lares("worktrees", "remove", s)[2])

    def test_the_daemon_waits_for_one_that_is_made(self):
        for when in ("now", "idle"):
            with self.subTest(when):
                c, request, root = self.begin_to_make_one()
                with self.assertRaises(Refused) as refused:
                    self.connect().call("worktree/remove", sessionId=os.path.basename(root), force=True)
                self.assertEqual(refused.exception.kind, "busy")
                self.connect().call("server/shutdown", when=when)
                made = c.answer(request)
                self.daemon.process.wait()
                self.daemon.ended()
                self.assertEqual((made["root"], self.many_in(root)), (root, MANY))
                self.daemon.start("prompts")
                self.assertEqual(self.connect().call("worktree/remove", sessionId=made["sessionId"], branch=True)["root"], root)

    # ---- an end of the daemon while it is applied

    def begin_to_apply(self):
        """Gives the connection that asked for it, the request, and the session."""
        c = self.connect()
        made = self.worktree(c)
        self.write_many(made["root"])
        self.write("a.txt", "beta\n", made["root"])
        request = c.send("worktree/apply", sessionId=made["sessionId"])
        self.wait_for(lambda: self.many_in(self.root) > 2, "apply it")
        return c, request, made["sessionId"]

    def test_the_daemon_waits_for_one_that_is_applied(self):
        for when in ("now", "idle"):
            with self.subTest(when):
                c, request, s = self.begin_to_apply()
                self.connect().call("server/shutdown", when=when)
                self.assertEqual(len(c.answer(request)["changes"]), MANY + 1)
                self.daemon.process.wait()
                self.daemon.ended()
                self.assertEqual((self.many_in(self.root), self.read("a.txt")), (MANY, "beta\n"))
                self.daemon.start("prompts")
                undone = self.connect().call("worktree/apply", sessionId=s, undo=True)
                self.assertEqual(len(undone["changes"]), MANY + 1)
                self.assertEqual((self.many_in(self.root), self.read("a.txt"), self.git("status", "--porcelain")), (0, "alpha\n", ""))

    def test_what_a_daemon_that_was_killed_had_applied_can_be_taken_back(self):
        _, _, s = self.begin_to_apply()
        self.daemon.kill()
        there = self.many_in(self.root)
        self.daemon.start("prompts")
        c = self.connect()
        if there < MANY:  # else it was done before the signal came
            with self.assertRaises(Refused) as refused:
                c.call("worktree/apply", sessionId=s)
            self.assertIn("a part of it is there", str(refused.exception))
            self.assertIs(c.call("worktree/list", root=self.root)["worktrees"][0]["uncommitted"], True)
        undone = c.call("worktree/apply", sessionId=s, undo=True)
        self.assertLessEqual(there, len(undone["changes"]))
        self.clear_what_was_being_written()
        self.assertEqual((self.many_in(self.root), self.read("a.txt"), self.git("status", "--porcelain")), (0, "alpha\n", ""))
        self.assertEqual(len(c.call("worktree/apply", sessionId=s)["changes"]), MANY + 1)
        self.assertEqual((self.many_in(self.root), self.read("a.txt")), (MANY, "beta\n"))


if __name__ == "__main__":
    LARES, EXECUTABLE = [os.path.abspath(a) for a in sys.argv[1:3]]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
