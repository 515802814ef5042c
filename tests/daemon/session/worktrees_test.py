"""Sessions in git worktrees of their own, seen from `lares`, with a scripted model and the real git. worktrees_test.py LARES SCRIPTED_DAEMON
[unittest arguments]"""
import glob
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK
from client import Client, Refused, call
from worktree_case import TEST, WorktreeCase, bash


class WorktreesTest(WorktreeCase):
    def mine(self):
        """All that is the user's and must stay as it is."""
        files = {p: self.read(p) for p in ("a.txt", "b.txt")}
        return files, self.git("status", "--porcelain=v2", "--branch"), self.git("stash", "list"), self.git("rev-parse", "HEAD")

    def worktree(self, c, title="Count to eight", **settings):
        return c.call("session/create", root=self.root, title=title, worktree=True, settings=settings)

    def test_its_session_is_one_of_the_repositorys(self):
        self.start(bash("echo new > new.txt"), THINK + "Done.")
        status, _, err = self.lares("run", "--worktree", "Make it.")
        self.assertEqual(status, 0, err)
        [made] = json.loads(self.lares("sessions", "--json")[1])["sessions"]
        self.assertNotEqual(made["root"], self.root)
        self.assertIn(made["root"], self.lares("sessions")[1])
        self.assertIn("Make it.", self.lares("log")[1])
        status, out, err = self.lares("rewind", "-n")
        self.assertIn("which is about " + made["root"], out, err)
        self.assertIn("new.txt", out)
        self.assertEqual(self.client().call("session/list", root=self.root)["sessions"], [])  # of who does not ask for them

    # ---- making one

    def test_what_it_lacks_of_what_programs_made_is_said_at_the_beginning(self):
        self.write(".gitignore", "node_modules\n.venv\n*.log\n")
        self.write("vendor/kept.txt", "tracked\n")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "ignore")
        self.start(*[THINK + "Done."] * 3)
        self.assertNotIn("does not keep", self.lares("run", "--worktree", "Go.")[2])
        for path in ("node_modules/dep/index.js", "vendor/node_modules/x.js", ".venv/bin/python"):
            self.write(path, "x\n")
        said = "git does not keep .venv, node_modules, vendor/node_modules, so the worktree lacks them: what needs them fails there until a command makes them"
        self.assertEqual(self.lares("run", "--worktree", "Go.")[2].count(said), 1)
        self.assertEqual(self.lares("run", "--best-of", "2", "Go.")[2].count(said), 1)

    def test_it_begins_as_the_users_files_are_and_leaves_them_alone(self):
        self.write("a.txt", "one\ntwo\n")
        self.write("new/file.txt", "new\n")
        self.write("noise.log", "ignored\n")
        os.remove(os.path.join(self.root, "b.txt"))
        self.write("staged.txt", "staged\n")
        self.git("add", "staged.txt")
        before = self.git("status", "--porcelain=v2", "--branch")
        self.start()
        made = self.worktree(self.client(), title="Count to  EIGHT, it's time!")
        root = made["root"]
        self.assertEqual(root, os.path.join(self.state, "worktrees", os.path.basename(os.path.dirname(root)), made["sessionId"]))
        self.assertEqual((made["worktreeOf"], made["branch"]), (self.root, "lares/count-to-eight-its-time-" + made["sessionId"][:6]))
        self.assertEqual(sorted(os.listdir(root)), [".git", ".gitignore", "a.txt", "new", "staged.txt"])
        self.assertEqual((self.read("a.txt", root), self.read("new/file.txt", root)), ("one\ntwo\n", "new\n"))
        self.assertEqual(self.git("rev-parse", "--abbrev-ref", "HEAD", root=root).strip(), made["branch"])
        self.assertEqual(self.git("rev-parse", "HEAD", root=root), self.git("rev-parse", "HEAD"))
        self.assertEqual(self.git("status", "--porcelain=v2", "--branch"), before)
        self.git("fsck", "--strict")

    def test_of_what_is_too_large_for_a_snapshot_it_has_what_git_stores(self):
        """A large file whose pointer git stores, as Git LFS does it."""
        self.git("config", "filter.pointer.clean", "sha256sum")
        self.git("config", "filter.pointer.smudge", "head -c 17000000 /dev/zero")
        self.write(".gitattributes", "*.bin filter=pointer\n")
        self.write("large.bin", "\0" * 17000000)
        self.git("add", ".")
        self.git("commit", "-q", "-m", "large")
        pointer = self.git("show", "HEAD:large.bin")
        self.write("a.txt", "uncommitted\n")
        self.start(bash("echo c > c.txt"), THINK + "Done.")
        c = self.client()
        made = self.worktree(c, noSandbox=True)
        self.assertEqual((self.read("large.bin", made["root"]), self.read("a.txt", made["root"])), (pointer, "uncommitted\n"))
        c.call("session/subscribe", sessionId=made["sessionId"])
        c.call("prompt/send", sessionId=made["sessionId"], id="p1", content="Go.")
        c.until("turn/ended", turnId=1)
        done = c.call("worktree/apply", sessionId=made["sessionId"])
        self.assertEqual([(x["path"], x["kind"]) for x in done["changes"]], [("c.txt", "added")])
        self.assertEqual(os.path.getsize(os.path.join(self.root, "large.bin")), 17000000)
        self.assertEqual(self.git("status", "--porcelain"), " M a.txt\n?? c.txt\n")

    def test_of_a_sparse_checkout_it_is_as_sparse(self):
        for path in ("in/a.txt", "far/b.txt", "far/deep/c.txt"):
            self.write(path, "x\n")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "more")
        self.git("sparse-checkout", "set", "in")
        self.start(bash("echo y > in/a.txt; git status --short"), THINK + "Done.")
        c = self.client()
        made = self.worktree(c, noSandbox=True)
        self.assertEqual(sorted(os.listdir(made["root"])), [".git", ".gitignore", "a.txt", "b.txt", "in"])
        self.assertEqual(self.git("status", "--porcelain", root=made["root"]), "")
        c.call("session/subscribe", sessionId=made["sessionId"])
        c.call("prompt/send", sessionId=made["sessionId"], id="p1", content="Go.")
        c.until("turn/ended", turnId=1)
        done = c.call("worktree/apply", sessionId=made["sessionId"])
        self.assertEqual(([(x["path"], x["kind"]) for x in done["changes"]], done.get("notBrought", [])), ([("in/a.txt", "changed")], []))
        self.assertEqual(self.git("status", "--porcelain"), " M in/a.txt\n")

    def test_what_a_session_took_into_its_sparse_checkout_is_no_change_of_its(self):
        for path in ("in/a.txt", "far/b.txt", "far/deep/c.txt"):
            self.write(path, "x\n")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "more")
        self.git("sparse-checkout", "set", "in")
        self.start(bash("git sparse-checkout add far && echo y > in/a.txt && echo y > far/b.txt"), THINK + "Done.")
        c = self.client()
        made = self.worktree(c, noSandbox=True)
        c.call("session/subscribe", sessionId=made["sessionId"])
        c.call("prompt/send", sessionId=made["sessionId"], id="p1", content="Go.")
        c.until("turn/ended", turnId=1)
        self.assertEqual(self.read("far/deep/c.txt", made["root"]), "x\n")
        changes = [("far/b.txt", "added"), ("in/a.txt", "changed")]
        look = next(w for w in c.call("worktree/list")["worktrees"] if w["sessionId"] == made["sessionId"])
        diff = c.call("worktree/diff", sessionId=made["sessionId"])
        self.assertEqual((look["nChanged"], diff["nChanged"]), (2, 2))
        self.assertNotIn("deep", diff["diff"])
        for dry in (True, False):
            done = c.call("worktree/apply", sessionId=made["sessionId"], dryRun=dry)
            self.assertEqual(([(x["path"], x["kind"]) for x in done["changes"]], done.get("notBrought", [])), (changes, []))
        self.assertEqual(self.git("status", "--porcelain"), " M far/b.txt\n M in/a.txt\n")
        self.assertFalse(os.path.exists(os.path.join(self.root, "far/deep")))

    def test_where_there_is_no_git_repository_or_no_commit_it_says_so(self):
        self.start()
        c = self.client()
        plain = os.path.join(self.home, "plain")
        os.makedirs(plain)
        with self.assertRaisesRegex(Refused, "not a git repository"):
            c.call("session/create", root=plain, worktree=True)
        self.git("init", "-q", root=plain)
        with self.assertRaisesRegex(Refused, "has no commit yet"):
            c.call("session/create", root=plain, worktree=True)
        self.assertEqual(glob.glob(os.path.join(self.state, "worktrees", "*", "*")), [])
        self.assertEqual(self.git("branch", "--list", "lares/*", root=plain), "")
        self.assertEqual(c.call("session/list", closed=True)["sessions"] if "sessions" in c.call("session/list", closed=True) else [], [])

    def test_an_observer_makes_and_removes_none(self):
        self.start()
        c = self.client()
        made = self.worktree(c)
        observer = Client(self.socket, role="observe")
        self.addCleanup(observer.close)
        for method, params in (("session/create", {"root": self.root, "worktree": True}), ("worktree/remove", {"sessionId": made["sessionId"]}),
                               ("worktree/apply", {"sessionId": made["sessionId"]}), ("session/test", {"sessionId": made["sessionId"]})):
            with self.assertRaises(Refused) as refused:
                observer.call(method, **params)
            self.assertEqual(refused.exception.kind, "denied", method)
        self.assertEqual(len(observer.call("worktree/list", root=self.root)["worktrees"]), 1)

    def test_one_whose_maker_left_meanwhile_goes_again(self):
        self.start()
        c, leaving = self.client(), Client(self.socket)
        leaving.send("session/create", root=self.root, title="Left", worktree=True)
        leaving.close()
        deadline = time.monotonic() + 60
        while "worktree_taken_back " not in self.daemon.last_said():
            self.assertLess(time.monotonic(), deadline, "it stays")
            time.sleep(0.02)
        while self.git("branch", "--list", "lares/*") or c.call("worktree/list").get("worktrees"):
            self.assertLess(time.monotonic(), deadline, "its branch stays, or what is known of it")
            time.sleep(0.02)
        self.assertEqual(c.call("session/list", closed=True)["sessions"], [])

    # ---- working in it, and bringing it back

    def test_its_patch_is_one_that_git_applies(self):
        self.write("run.sh", "#!/bin/sh\n")
        self.write("gone.sh", "tab\there\n")
        self.write("dos.txt", "one\r\ntwo\r\n")
        os.chmod(os.path.join(self.root, "gone.sh"), 0o755)
        self.git("add", ".")
        self.git("commit", "-q", "-m", "more")
        self.start(bash("printf '\\tx\\n' >> b.txt; sed -i s/two/2/ dos.txt; rm gone.sh a.txt; chmod +x run.sh; mkdir 'n w'; echo new > 'n w/é.txt'; : > empty;"
                        " printf 'x\\n' > tool; chmod +x tool; ln -s b.txt link; rm .gitignore; ln -s b.txt .gitignore"), THINK + "Done.")
        self.assertEqual(self.lares("run", "--worktree", "Change")[0], 0)
        made = json.loads(self.lares("worktrees", "--json")[1])["worktrees"][0]["root"]
        # Whole lines of bytes: what was between them is as it was
        patch = subprocess.run([cli_case.LARES, "apply", "--diff"], cwd=self.root, env=self.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60).stdout
        self.assertIn(b"+\tx\n", patch)
        self.assertIn(b"-two\r\n+2\r\n", patch)
        file = os.path.join(self.home, "patch")
        with open(file, "wb") as f:
            f.write(patch)

        def tree(root):
            """What is in it: links, modes and bytes."""
            found = {}
            for path in pathlib.Path(root).rglob("*"):
                name = str(path.relative_to(root))
                if name.split("/")[0] == ".git" or path.is_dir():
                    continue
                found[name] = os.readlink(path) if path.is_symlink() else (os.stat(path).st_mode & 0o100, path.read_bytes())
            return found

        before = tree(self.root)
        self.git("apply", file)
        self.assertEqual(tree(self.root), tree(made))
        self.git("apply", "--reverse", file)
        self.assertEqual(tree(self.root), before)

    def test_a_diff_says_that_it_is_cut_wherever_something_is_left_out(self):
        line = "x" * 99
        self.start(bash("echo more >> b.txt"), THINK + "Done.", bash(f"yes {line} | head -n 5000 > a.txt"), THINK + "Done.",
                   bash("printf '%s\\n' one two three four five six seven > a.txt; head -c 17000000 /dev/zero > large"), THINK + "Done.")
        c = self.client()
        s = self.worktree(c)["sessionId"]
        c.call("session/subscribe", sessionId=s)

        def diff(turn):
            c.call("prompt/send", sessionId=s, id=f"p{turn}", content="Go.")
            c.until("turn/ended", turnId=turn)
            return c.call("worktree/diff", sessionId=s, bytesMax=1 << 20)

        def told():
            status, out, err = self.lares("apply", "--diff", s)
            self.assertEqual(status, 0, err)
            return out, err

        whole = diff(1)
        self.assertEqual((whole.get("cut", False), whole["nAdded"]), (False, 1))
        self.assertEqual(told()[1], "")
        long = diff(2)  # of the first file 500 KB, of which a half is shown; all of the second
        self.assertEqual((long["cut"], long["nChanged"], long["nAdded"], long["nDeleted"]), (True, 2, 5001, 7))
        self.assertRegex(long["diff"], r"(?s)\[\d+ more bytes of diff\]\n.*\+more\n")
        out, err = told()
        self.assertIn("+more", out)
        self.assertRegex(err, r"^cut: 2 files changed, and what is too large is left out; `lares worktrees --json` names")
        held = diff(3)  # too large for a snapshot
        self.assertEqual((held["cut"], held["nChanged"]), (True, 2))
        self.assertTrue(told()[1].startswith("cut: 2 files changed"))

    def test_in_a_worktree_the_one_that_is_meant_is_that_one(self):
        self.start(bash("echo one > b.txt"), THINK + "Done.", bash("echo two > b.txt"), THINK + "Done.")
        for prompt in ("First", "Second"):
            self.assertEqual(self.lares("run", "--worktree", prompt)[0], 0)
        second, first = json.loads(self.lares("worktrees", "--json")[1])["worktrees"]
        for one in (first, second):
            p = subprocess.run([cli_case.LARES, "apply", "--diff"], cwd=one["root"], env=self.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
            self.assertIn(b"+one" if one is first else b"+two", p.stdout, p.stderr)
            p = subprocess.run([cli_case.LARES, "worktrees", "--json"], cwd=one["root"], env=self.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60)
            self.assertEqual([w["sessionId"] for w in json.loads(p.stdout)["worktrees"]], [second["sessionId"], first["sessionId"]])

    def test_what_no_snapshot_of_the_session_holds_stays_as_it_is_here(self):
        self.write("exp/new.py", "untracked work\n")
        self.write("a.txt", "uncommitted\n")
        self.start(bash("head -c 17000000 /dev/zero >> a.txt; git init -q exp; rm b.txt; echo c > c.txt"), THINK + "Done.")
        c = self.client()
        s = self.worktree(c, noSandbox=True)["sessionId"]
        c.call("session/subscribe", sessionId=s)
        c.call("prompt/send", sessionId=s, id="p1", content="Go.")
        c.until("turn/ended", turnId=1)
        for dry in (True, False):
            done = c.call("worktree/apply", sessionId=s, dryRun=dry)
            self.assertEqual([(x["path"], x["kind"]) for x in done["changes"]], [("b.txt", "removed"), ("c.txt", "added")])
            self.assertEqual(sorted(x["path"] for x in done["notBrought"]), ["a.txt", "exp/"])
        self.assertEqual((self.read("a.txt"), self.read("exp/new.py")), ("uncommitted\n", "untracked work\n"))

    def test_run_works_there_and_apply_brings_it_back(self):
        self.start(bash("sed -i s/seven/SEVEN/ a.txt; echo c > c.txt; rm b.txt"), THINK + "Done.")
        before = self.mine()
        status, out, err = self.lares("run", "--worktree", "Shout seven")
        self.assertEqual((status, out.strip()), (0, "Done."), err)
        self.assertEqual(self.mine(), before)
        self.assertRegex(err, r"on the branch lares/shout-seven-")
        session = re.search(r"lares apply (\w+)", err).group(1)
        status, out, _ = self.lares("worktrees")
        self.assertEqual(status, 0)
        self.assertRegex(out, rf"{session} .*lares/shout-seven-{session[:6]} 3 files .*Shout seven")
        self.write("a.txt", self.read("a.txt").replace("one", "ONE"))  # the user goes on meanwhile
        status, out, err = self.lares("apply", "--dry-run")
        self.assertEqual((status, self.read("a.txt").count("SEVEN")), (0, 0), err)
        self.assertIn("would change 3 files", out)
        status, out, err = self.lares("apply", session[:8])
        self.assertEqual(status, 0, err)
        self.assertEqual(self.read("a.txt"), "ONE\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n")
        self.assertEqual((self.read("c.txt"), os.path.exists(os.path.join(self.root, "b.txt"))), ("c\n", False))
        self.assertEqual(self.git("diff", "--cached", "--name-only"), "")  # uncommitted and not staged
        self.assertEqual(self.git("rev-parse", "HEAD"), before[3])
        self.assertIn("nothing to change", self.lares("apply", session)[1])
        status, _, err = self.lares("apply", "--undo", session)
        self.assertEqual(status, 0, err)
        self.assertEqual(self.read("a.txt"), "ONE\ntwo\nthree\nfour\nfive\nsix\nseven\n")
        self.assertEqual((self.read("b.txt"), os.path.exists(os.path.join(self.root, "c.txt"))), ("bee\n", False))
        self.assertIn("they are not applied", self.lares("apply", "--undo", session)[2])

    def test_what_came_along_is_no_change_of_the_sessions(self):
        self.write("a.txt", "mine\n")
        self.write("b.txt", "mine too\n")
        self.start(bash("echo theirs >> b.txt"), THINK + "Done.")
        self.assertEqual(self.lares("run", "--worktree", "Add a line")[0], 0)
        self.write("a.txt", "mine, later\n")
        status, out, err = self.lares("apply")
        self.assertEqual(status, 0, err)
        self.assertIn("1 file in", out)
        self.assertEqual((self.read("a.txt"), self.read("b.txt")), ("mine, later\n", "mine too\ntheirs\n"))

    def test_a_conflict_applies_nothing_and_names_the_files(self):
        self.start(bash("sed -i s/one/session/ a.txt; echo x > b.txt; echo c > c.txt; rm .gitignore"), THINK + "Done.")
        self.assertEqual(self.lares("run", "--worktree", "Change")[0], 0)
        self.write("a.txt", self.read("a.txt").replace("one", "user"))
        os.remove(os.path.join(self.root, "b.txt"))
        self.write("c.txt", "other\n")
        before = self.git("status", "--porcelain"), self.read("a.txt"), self.read("c.txt")
        status, _, err = self.lares("apply")
        self.assertEqual(status, 1)
        self.assertRegex(err, r"nothing was applied, for 3 conflicts: a\.txt \(the same lines.*b\.txt \(removed here.*c\.txt \(added on both")
        self.assertEqual((self.git("status", "--porcelain"), self.read("a.txt"), self.read("c.txt")), before)
        self.assertTrue(os.path.exists(os.path.join(self.root, ".gitignore")))

    def test_what_a_conflict_says_to_do_merges_what_the_session_did(self):
        self.start(bash("sed -i s/one/session/ a.txt; echo c > c.txt"), THINK + "Done.")
        self.assertEqual(self.lares("run", "--worktree", "It's a change")[0], 0)
        self.write("a.txt", self.read("a.txt").replace("one", "user"))
        status, _, err = self.lares("apply")
        self.assertEqual(status, 1)
        self.git("commit", "-q", "-a", "-m", "mine")
        env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
        env.update({f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")})
        ran = [subprocess.run(["sh", "-c", command], cwd=self.root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for command in re.findall("`(.*?)`", err)]
        self.assertEqual([p.returncode for p in ran], [0, 1], (err, ran))
        self.assertIn(b"CONFLICT (content): Merge conflict in a.txt", ran[1].stdout)
        self.assertRegex(self.read("a.txt"), r"<<<<<<< HEAD\nuser\n=======\nsession\n>>>>>>> ")
        self.assertEqual(self.read("c.txt"), "c\n")  # a new file, too

    def test_undo_leaves_alone_what_changed_since(self):
        self.start(bash("echo x > b.txt"), THINK + "Done.")
        self.assertEqual(self.lares("run", "--worktree", "Change")[0], 0)
        self.assertEqual(self.lares("apply")[0], 0)
        self.write("b.txt", "better\n")
        status, _, err = self.lares("apply", "--undo")
        self.assertEqual((status, self.read("b.txt")), (1, "better\n"))
        self.assertIn("nothing was taken back: b.txt (changed since)", err)

    def test_it_is_applied_again_and_again_and_taken_back_as_often(self):
        self.start()
        made = self.worktree(self.client())
        s, theirs = made["sessionId"], lambda text: self.write("b.txt", text, root=made["root"])
        self.write("a.txt", "mine\n")
        before = self.read("b.txt")
        for text in ("uno\n", "eins\n", before):  # the last as after a rewinding
            theirs(text)
            status, out, err = self.lares("apply", s)
            self.assertEqual((status, self.read("b.txt")), (0, text), out + err)
        self.assertIn("nothing to change", self.lares("apply", s)[1])
        for text in ("eins\n", "uno\n", before):
            status, _, err = self.lares("apply", "--undo", s)
            self.assertEqual((status, self.read("b.txt")), (0, text), err)
        self.assertIn("they are not applied", self.lares("apply", "--undo", s)[2])
        self.assertEqual(self.read("a.txt"), "mine\n")

    def test_what_was_taken_out_by_hand_is_applied_once_more(self):
        self.start()
        made = self.worktree(self.client())
        self.write("b.txt", "uno\n", root=made["root"])
        for _ in range(2):
            self.assertEqual(self.lares("apply", made["sessionId"])[0], 0)
            self.assertEqual(self.read("b.txt"), "uno\n")
            self.git("checkout", "-q", "b.txt")
        self.assertEqual(self.read("b.txt"), "bee\n")

    # ---- removing it

    def test_uncommitted_changes_are_removed_only_by_force(self):
        self.write("a.txt", "came along\n")
        self.start(bash("echo x > b.txt"), THINK + "Done.")
        c = self.client()
        clean = self.worktree(c, title="clean")
        status, out, err = self.lares("worktrees", "remove", clean["sessionId"], "--branch")
        self.assertEqual(status, 0, err)
        self.assertFalse(os.path.exists(clean["root"]))
        self.assertEqual(self.git("branch", "--list", "lares/*"), "")
        self.assertEqual(self.lares("run", "--worktree", "Change")[0], 0)
        made = json.loads(self.lares("worktrees", "--json")[1])["worktrees"][0]
        status, _, err = self.lares("worktrees", "remove", made["sessionId"])
        self.assertEqual(status, 1)
        self.assertIn("uncommitted changes", err)
        self.assertTrue(os.path.exists(made["root"]))
        status, out, err = self.lares("worktrees", "remove", made["sessionId"], "--force")
        self.assertEqual(status, 0, err)
        self.assertFalse(os.path.exists(made["root"]))
        self.assertIn(made["branch"], self.git("branch", "--list", "lares/*"))
        self.assertEqual(len(self.git("worktree", "list").splitlines()), 1)
        self.assertIn("no session has a worktree", self.lares("worktrees")[1])
        with self.assertRaises(Refused):
            c.call("prompt/send", sessionId=made["sessionId"], id="x", content="more")

    def test_what_no_snapshot_holds_is_removed_only_by_force(self):
        self.write("a.txt", "came along\n")
        self.start()
        made = self.worktree(self.client())
        root = made["root"]
        for path in ("model.bin", "out/report.md", "notes/lib/work.c"):
            self.write(path, "work\n", root)
            if path == "model.bin":
                os.truncate(os.path.join(root, path), 17 << 20)
            elif path.startswith("notes"):
                self.git("init", "-q", root=os.path.join(root, "notes/lib"))
            with self.subTest(path):
                listed = json.loads(self.lares("worktrees", "--json")[1])["worktrees"][0]
                self.assertEqual((listed["nChanged"], listed["uncommitted"]), (1, True))
                status, _, err = self.lares("worktrees", "remove", made["sessionId"])
                self.assertEqual(status, 1)
                self.assertIn("uncommitted changes", err)
            shutil.rmtree(os.path.join(root, path.split("/")[0])) if "/" in path else os.remove(os.path.join(root, path))
        self.assertEqual(self.lares("worktrees", "remove", made["sessionId"])[0], 0)

    def test_what_was_applied_is_not_lost_with_it(self):
        self.start(bash("echo x > b.txt"), THINK + "Done.")
        self.assertEqual(self.lares("run", "--worktree", "Change")[0], 0)
        made = json.loads(self.lares("worktrees", "--json")[1])["worktrees"][0]
        self.assertEqual(self.lares("apply")[0], 0)
        self.write("b.txt", "more\n", root=made["root"])
        self.assertEqual(self.lares("worktrees", "remove", made["sessionId"])[0], 1)
        self.write("b.txt", "x\n", root=made["root"])
        status, _, err = self.lares("worktrees", "remove", made["sessionId"])
        self.assertEqual(status, 0, err)

    def test_commits_only_on_its_branch_keep_it(self):
        self.start()
        c = self.client()
        made = self.worktree(c)
        self.write("b.txt", "committed\n", root=made["root"])
        self.git("commit", "-q", "-a", "-m", "work", root=made["root"])
        status, _, err = self.lares("worktrees", "remove", made["sessionId"], "--branch")
        self.assertEqual(status, 1)
        self.assertIn("commits that HEAD does not have", err)
        self.assertEqual(self.lares("worktrees", "remove", made["sessionId"])[0], 0)
        self.assertIn("work", self.git("log", "--oneline", made["branch"]))

    def test_closing_leaves_it_and_a_restart_knows_it(self):
        self.start(bash("echo x > b.txt"), THINK + "Done.")
        self.assertEqual(self.lares("run", "--worktree", "Change")[0], 0)
        made = json.loads(self.lares("worktrees", "--json")[1])["worktrees"][0]
        c = self.client()
        c.call("session/close", sessionId=made["sessionId"])
        self.assertTrue(os.path.exists(made["root"]))
        self.daemon.kill()
        self.daemon.start([])
        again = json.loads(self.lares("worktrees", "--json")[1])["worktrees"][0]
        self.assertEqual(dict(made, closed=True, state=again["state"]), again)
        self.assertEqual(self.lares("apply")[0], 0)
        self.assertEqual(self.read("b.txt"), "x\n")

    def test_one_that_somebody_removed_is_gone_and_can_be_forgotten(self):
        self.start()
        made = self.worktree(self.client())
        shutil.rmtree(made["root"])
        self.assertRegex(self.lares("worktrees")[1], r"gone")
        status, _, err = self.lares("worktrees", "remove", made["sessionId"], "--branch")
        self.assertEqual(status, 0, err)
        self.assertIn("no session has a worktree", self.lares("worktrees")[1])
        self.assertEqual(self.git("branch", "--list", "lares/*"), "")

    # ---- tests without the model

    def test_a_sessions_tests_run_without_a_turn(self):
        self.write("calc.py", "def add(a, b):\n    return a + b\n\ndef neg(a):\n    return a\n")
        self.write("test_calc.py", TEST)
        self.start()
        c = self.client()
        made = self.worktree(c)
        result = c.call("session/test", sessionId=made["sessionId"])
        self.assertEqual([result[k] for k in ("ran", "passed", "counted", "total", "failed")], [True, False, True, 2, 1], result)
        self.assertIn("test_neg", result["summary"])
        result = c.call("session/test", sessionId=made["sessionId"], command="python3 -m unittest test_calc.T.test_add")
        self.assertEqual([result[k] for k in ("passed", "total")], [True, 1], result)
        result = c.call("session/test", sessionId=made["sessionId"], command="echo no > written; exit 3")
        self.assertEqual((result["passed"], result.get("counted", False)), (False, False))
        self.assertIn("exit status 3", result["summary"])
        self.assertTrue(os.path.exists(os.path.join(made["root"], "written")))
        self.assertFalse(os.path.exists(os.path.join(self.root, "written")))


if __name__ == "__main__":
    cli_case.main()
