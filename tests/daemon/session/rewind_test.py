"""The daemon from outside, with a scripted model. Rewinds and forks: a session goes back and forth with its files.

rewind_test.py SCRIPTED_DAEMON [unittest arguments]
"""
import concurrent.futures
import glob
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import journal
from client import Refused, call
from daemon_case import DaemonCase, main


class RewindTest(DaemonCase):
    def read(self, name):
        path = os.path.join(self.root, name)
        if not os.path.exists(path):
            return None
        with open(path) as f:
            return f.read()

    def write(self, name, text):
        with open(os.path.join(self.root, name), "w") as f:
            f.write(text)

    def turn(self, c, s, text, n):
        self.prompt(c, s, text, id=f"p{n}")
        return c.until("turn/ended", turnId=n)

    def test_directories_that_were_there_stay_and_come_back_as_they_were(self):
        for name, mode in (("empty", 0o755), ("secret", 0o700)):
            os.mkdir(os.path.join(self.root, name), mode)
        self.write("secret/key", "mine\n")
        c = self.start(self.create("empty/new"), self.bash("rm -r secret; mkdir -p made/deep; echo x > made/deep/x; echo y > made/y"), "hm</think>Done.")
        s = self.session(c, noSandbox=True)
        self.turn(c, s, "Go.", 1)
        self.assertEqual((self.read("empty/new"), self.read("secret/key"), self.read("made/y")), ("x\n", None, "y\n"))
        done = c.call("session/rewind", sessionId=s, turnId=1)
        self.assertEqual(done.get("notDone", []), [])
        self.assertEqual(sorted(os.listdir(self.root)), [".git", "a.txt", "empty", "secret"])
        self.assertEqual((os.listdir(os.path.join(self.root, "empty")), self.read("secret/key")), ([], "mine\n"))
        self.assertEqual(os.stat(os.path.join(self.root, "secret")).st_mode & 0o777, 0o700)

    def test_a_session_goes_back_and_forth_with_its_files(self):
        self.write("mine", "before\n")
        answers = ["hm</think>First.", self.create("new"), self.bash("echo by command > cmd; rm -f mine"), "hm</think>Second.", "hm</think>Other second."]
        c = self.start(*answers)
        s = self.session(c, noSandbox=True)
        self.turn(c, s, "First.", 1)
        before = c.call("session/get", sessionId=s)["contextTokens"]
        seen = self.turn(c, s, "Second.", 2)
        after = c.call("session/get", sessionId=s)["contextTokens"]
        calls = [m["params"]["item"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]
        self.assertTrue(all(i["snapshot"] for i in calls), calls)
        self.assertEqual([bool(i.get("snapshotAfter")) for i in calls], [False, True])
        self.assertEqual((self.read("new"), self.read("cmd"), self.read("mine")), ("x\n", "by command\n", None))
        self.write("theirs", "somebody else's\n")  # not the session's: it stays
        plan = c.call("session/rewind", sessionId=s, turnId=2, dryRun=True)
        kinds = {x["path"]: x["kind"] for x in plan["changes"]}
        self.assertEqual(kinds, {"new": "removed", "cmd": "removed", "mine": "added"})
        self.assertEqual(self.read("new"), "x\n")
        done = c.call("session/rewind", sessionId=s, turnId=2)
        self.assertEqual({x["path"]: x["kind"] for x in done["changes"]}, kinds)
        self.assertEqual((self.read("new"), self.read("cmd"), self.read("mine"), self.read("theirs")), (None, None, "before\n", "somebody else's\n"))
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], before)
        with self.assertRaises(Refused) as e:
            c.call("session/rewind", sessionId=s, turnId=2)
        self.assertEqual(e.exception.kind, "not_found")
        self.daemon.kill()  # and it is still so for the next daemon
        c = self.start("hm</think>Other second.")
        c.call("session/subscribe", sessionId=s, after=-1)
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], before)
        back = c.call("session/unrewind", sessionId=s)
        self.assertEqual((back["turnId"], self.read("new"), self.read("cmd"), self.read("mine")), (2, "x\n", "by command\n", None))
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], after)
        with self.assertRaises(Refused):
            c.call("session/unrewind", sessionId=s)
        c.call("session/rewind", sessionId=s, turnId=2, files="keep")
        self.assertEqual((self.read("new"), c.call("session/get", sessionId=s)["contextTokens"]), ("x\n", before))
        self.assertEqual(self.turn(c, s, "Another.", 3)[-1]["params"]["reason"], "end_turn")
        with self.assertRaises(Refused):  # a turn has begun since
            c.call("session/unrewind", sessionId=s)
        self.assertEqual(c.call("session/rewind", sessionId=s, turnId=1)["turnId"], 1)
        self.assertNotIn("contextTokens", c.call("session/get", sessionId=s))

    def test_what_somebody_changed_since_is_in_the_undo(self):
        c = self.start(self.create("new"), "hm</think>Done.")
        s = self.session(c)
        self.turn(c, s, "Go.", 1)
        alone = c.call("session/rewind", sessionId=s, turnId=1, dryRun=True)
        self.assertEqual(alone["changes"], [{"path": "new", "kind": "removed"}])
        self.write("new", "changed by a person\n")
        marked = [{"path": "new", "kind": "removed", "others": True}]
        self.assertEqual(c.call("session/rewind", sessionId=s, turnId=1, dryRun=True)["changes"], marked)
        self.assertEqual(c.call("session/rewind", sessionId=s, turnId=1)["changes"], marked)
        self.assertIsNone(self.read("new"))
        c.call("session/unrewind", sessionId=s)
        self.assertEqual(self.read("new"), "changed by a person\n")

    def test_what_somebody_wrote_since_a_rewinding_stays_when_it_is_taken_back(self):
        for restarts in (False, True):
            with self.subTest(restarts=restarts):
                edit = "hm</think>" + call("str_replace_editor", command="str_replace", path=os.path.join(self.root, "a.txt"), old_str="alpha", new_str="beta")
                self.write("a.txt", "alpha\n")
                c = self.start(edit, self.create("new"), self.create("again"), "hm</think>Done.")
                s = self.session(c)
                self.turn(c, s, "Go.", 1)
                c.call("session/rewind", sessionId=s, turnId=1)
                self.assertEqual((self.read("a.txt"), self.read("new"), self.read("again")), ("alpha\n", None, None))
                self.write("a.txt", "alpha\nhours of my own work\n")
                self.write("new", "mine\n")
                if restarts:
                    self.daemon.kill()
                    c = self.start()
                back = c.call("session/unrewind", sessionId=s)
                self.assertEqual(back["changes"], [{"path": "again", "kind": "added"}])
                self.assertEqual(back["notDone"], [{"path": path, "why": "it was changed since it was rewound"} for path in ("a.txt", "new")])
                self.assertEqual((self.read("a.txt"), self.read("new"), self.read("again")), ("alpha\nhours of my own work\n", "mine\n", "x\n"))
                for name in ("new", "again"):
                    os.remove(os.path.join(self.root, name))
                self.daemon.stop()

    def test_a_rewinding_that_a_kill_cut_off_is_taken_back(self):
        n = 400
        folder = os.path.join(self.root, "d")
        made = lambda: {name: self.read("d/" + name) for name in (os.listdir(folder) if os.path.isdir(folder) else ()) if not name.startswith(".")}

        def cut_off():
            """What the session had made, and the session; nothing where all had gone before the signal came."""
            c = self.start(self.bash(f"mkdir d; for i in $(seq {n}); do echo $i > d/f$i; done"), "hm</think>Done.")
            s = self.session(c, noSandbox=True)
            self.turn(c, s, "Go.", 1)
            whole = made()
            self.assertEqual(len(whole), n)
            c.send("session/rewind", sessionId=s, turnId=1)
            while len(glob.glob(os.path.join(folder, "f*"))) == n:
                pass
            self.daemon.kill()
            told = journal.frames(os.path.join(self.daemon.state, "sessions", s + ".journal"))
            if os.path.isdir(folder) and not any(frame.startswith(b'{"method":"session/rewound"') for frame in told):
                return whole, s
            shutil.rmtree(folder, ignore_errors=True)
            return None

        for then in ("rewind", "keep", "undo", "write", "unwritable", "prompt", "unwritable prompt"):
            with self.subTest(then=then):
                while not (left := cut_off()):
                    pass
                whole, s = left
                self.assertLess(len(made()), n)
                c = self.start("hm</think>Other.")
                if then.endswith("prompt"):
                    self.a_prompt_settles_it(c, s, folder, unwritable=then != "prompt")
                    self.assertEqual(made(), whole)
                    self.daemon.stop()
                    shutil.rmtree(folder, ignore_errors=True)
                    continue
                if then == "write":  # that stays, whatever comes back
                    lost = min(whole.keys() - made().keys())
                    self.write("d/" + lost, "hours of my own work\n")
                    back = c.call("session/unrewind", sessionId=s)
                    self.assertEqual(back["notDone"], [{"path": "d/" + lost, "why": "it was changed since it was rewound"}])
                    self.assertEqual(made(), whole | {lost: "hours of my own work\n"})
                    os.remove(os.path.join(folder, lost))
                elif then == "rewind":
                    self.assertEqual(len(c.call("session/rewind", sessionId=s, turnId=1, dryRun=True)["changes"]), n)
                    self.assertEqual(len(c.call("session/rewind", sessionId=s, turnId=1)["changes"]), n)
                    self.assertEqual(made(), {})
                elif then == "keep":
                    self.assertEqual(c.call("session/rewind", sessionId=s, turnId=1, files="keep").get("changes", []), [])
                    self.assertEqual(made(), whole)
                elif then == "unwritable":
                    shutil.rmtree(folder, ignore_errors=True)
                    self.write("d", "in the way\n")
                    for _ in range(2):
                        self.assertEqual(len(c.call("session/unrewind", sessionId=s)["notDone"]), n)
                    for files in ("restore", "keep"):
                        with self.assertRaises(Refused) as e:
                            c.call("session/rewind", sessionId=s, turnId=1, files=files)
                        self.assertEqual(e.exception.kind, "internal")
                    os.remove(folder)
                if then != "write":
                    c.call("session/unrewind", sessionId=s)
                    self.assertEqual(made(), whole)
                with self.assertRaises(Refused):  # all is as it was
                    c.call("session/unrewind", sessionId=s)
                self.assertEqual(c.call("session/get", sessionId=s)["nTurns"], 1)
                c.call("session/rewind", sessionId=s, turnId=1)
                self.daemon.stop()
                shutil.rmtree(folder, ignore_errors=True)

    def a_prompt_settles_it(self, c, s, folder, unwritable):
        """What a rewinding that was cut off has done is told once, and comes back before anything else is done."""
        notes = lambda: [e["params"]["item"]["text"] for e in c.call("session/history", sessionId=s)["events"]
                         if e["method"] == "item/completed" and e["params"]["item"]["kind"] == "note"]
        died = r"^the daemon died while the session was rewound to before turn 1: some of 400 files may have gone back; `lares rewind --undo` brings them back"
        self.assertEqual(len([n for n in notes() if re.match(died, n)]), 1, notes())
        self.daemon.kill()
        c = self.start("hm</think>Other.")
        c.call("session/subscribe", sessionId=s, after=-1)
        self.assertEqual(len([n for n in notes() if re.match(died, n)]), 1, notes())
        turn = 2
        if unwritable:
            shutil.rmtree(folder, ignore_errors=True)
            self.write("d", "in the way\n")
            c.call("prompt/send", sessionId=s, id="p2", content="Go on.")
            ended = c.until("turn/ended", turnId=turn)[-1]["params"]
            self.assertEqual(ended["reason"], "error")
            self.assertRegex(ended["message"], r"^take back the rewinding to before turn 1, which was cut off: its files were to come back, and d/f\d+ and 399 more did not: .*; put that right, and send the prompt again$")
            os.remove(folder)
            turn = 3
        c.call("prompt/send", sessionId=s, id="p3", content="Go on.")
        self.assertEqual(c.until("turn/ended", turnId=turn)[-1]["params"]["reason"], "end_turn")
        back = [n for n in notes() if re.match(r"^take back the rewinding to before turn 1, which was cut off: \d+ files? came back$", n)]
        self.assertEqual(len(back), 1, notes())
        self.daemon.kill()
        c = self.start("hm</think>More.")
        c.call("session/subscribe", sessionId=s, after=-1)
        before = notes()
        c.call("prompt/send", sessionId=s, id="p4", content="Go on.")
        self.assertEqual(c.until("turn/ended", turnId=turn + 1)[-1]["params"]["reason"], "end_turn")
        self.assertEqual(notes(), before)  # it is settled

    def test_a_command_that_changed_nothing_hides_nobodys_edits(self):
        c = self.start(self.create("new"), self.create("both"), self.bash("true"), "hm</think>Done.")
        s = self.session(c, noSandbox=True)
        self.turn(c, s, "Go.", 1)
        alone = [{"path": "both", "kind": "removed"}, {"path": "new", "kind": "removed"}]
        self.assertEqual(c.call("session/rewind", sessionId=s, dryRun=True)["changes"], alone)
        self.write("new", "x\nmy own precious edit\n")
        marked = [alone[0], dict(alone[1], others=True)]
        self.assertEqual(c.call("session/rewind", sessionId=s, dryRun=True)["changes"], marked)
        self.assertEqual(c.call("session/rewind", sessionId=s)["changes"], marked)

    def test_what_commands_left_is_known_as_well(self):
        c = self.start(self.create("new"), self.bash("echo more >> new; echo by command > cmd; rm a.txt"), "hm</think>Done.")
        s = self.session(c, noSandbox=True)
        self.turn(c, s, "Go.", 1)
        alone = [{"path": "a.txt", "kind": "added"}, {"path": "cmd", "kind": "removed"}, {"path": "new", "kind": "removed"}]
        self.assertEqual(c.call("session/rewind", sessionId=s, dryRun=True)["changes"], alone)
        for name in ("new", "cmd", "a.txt"):
            self.write(name, "changed by a person\n")
        plan = c.call("session/rewind", sessionId=s, dryRun=True)["changes"]
        self.assertEqual([(x["path"], x.get("others")) for x in plan], [("a.txt", True), ("cmd", True), ("new", True)])

    def test_an_edit_between_two_calls_is_somebodys_too(self):
        append = self.bash("echo by command >> new; echo by command >> cmd")
        c = self.start(self.create("new"), self.bash("echo x > cmd"), "hm</think>One.", append, "hm</think>Two.")
        s = self.session(c, noSandbox=True)
        self.turn(c, s, "One.", 1)
        self.write("new", "x\nby a person\n")
        self.turn(c, s, "Two.", 2)
        plan = c.call("session/rewind", sessionId=s, turnId=1, dryRun=True)["changes"]
        self.assertEqual(plan, [{"path": "cmd", "kind": "removed"}, {"path": "new", "kind": "removed", "others": True}])
        plan = c.call("session/rewind", sessionId=s, turnId=2, dryRun=True)["changes"]  # it stays
        self.assertEqual(plan, [{"path": "cmd", "kind": "changed"}, {"path": "new", "kind": "changed"}])

    def test_edits_that_no_snapshot_holds_are_said_to_stay(self):
        git = lambda *args, at=self.root: subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", *args], cwd=at, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        git("init", "-q")
        self.write(".gitignore", "*.log\n")
        for name in ("sub", "build"):
            os.mkdir(os.path.join(self.root, name))
        git("init", "-q", at=os.path.join(self.root, "sub"))
        for name in ("run.log", "sub/s.c", "build/b.c", "back.log"):
            self.write(name, "beta\n")
        edit = lambda name, old="beta", new="gamma": "hm</think>" + call("str_replace_editor", command="str_replace", path=os.path.join(self.root, name), old_str=old, new_str=new)
        names = ("run.log", "sub/s.c", "build/b.c", "a.txt", "back.log")
        self.write("a.txt", "beta\n")
        c = self.start(*map(edit, names), edit("back.log", "gamma", "beta"), "hm</think>Done.")
        s = self.session(c)
        seen = self.turn(c, s, "Go.", 1)
        items = [m["params"]["item"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]
        self.assertEqual([i["state"] for i in items], ["done"] * 6, items)
        for dry in (True, False):
            said = c.call("session/rewind", sessionId=s, dryRun=dry)
            self.assertEqual([x["path"] for x in said["changes"]], ["a.txt"])
            self.assertEqual(sorted(x["path"] for x in said["notDone"]), ["build/b.c", "run.log", "sub/s.c"])
            for file in said["notDone"]:
                self.assertRegex(file["why"], "^no snapshot holds it: .* by hand$")
        self.assertEqual([self.read(name) for name in names[:3]], ["gamma\n"] * 3)

    def test_what_the_user_had_where_no_snapshot_looks_is_not_removed(self):
        git = lambda at: subprocess.run(["git", "init", "-q"], cwd=at, check=True)
        for name in ("sub", "build"):
            os.mkdir(os.path.join(self.root, name))
        for at in (".", "sub"):
            git(os.path.join(self.root, at))
        for name, text in ((".gitignore", "*.sqlite\n"), ("dev.sqlite", "precious\n"), ("sub/mine.c", "my work\n"), ("build/notes.txt", "by hand\n")):
            self.write(name, text)
        steps = ("python3 -c \"import shutil; shutil.rmtree('sub/.git')\"; echo x > new1", "mv dev.sqlite dev.db; echo x > new2", "mv build docs; echo x > new3")
        c = self.start(*(a for step in steps for a in (self.bash(step), "hm</think>Done.")))
        s = self.session(c, noSandbox=True)
        expected = (["sub/mine.c"], ["dev.db"], ["docs/notes.txt", "new3"])  # build/ is gone: the new one may be of it
        for n, stays in enumerate(expected, 1):
            self.turn(c, s, "Go.", n)
            for dry in (True, False):
                said = c.call("session/rewind", sessionId=s, turnId=n, dryRun=dry)
                self.assertEqual(sorted(x["path"] for x in said["notDone"]), stays)
                self.assertEqual([x["path"] for x in said.get("changes", [])], [name for name in (f"new{n}",) if name not in stays])
            c.call("session/unrewind", sessionId=s)
        self.assertEqual([self.read(name) for name in ("sub/mine.c", "dev.db", "docs/notes.txt")], ["my work\n", "precious\n", "by hand\n"])

    def test_going_back_over_many_edits_takes_one_snapshot(self):
        names = [f"new{i}" for i in range(8)]
        c = self.start(*map(self.create, names), "hm</think>Done.")
        s = self.session(c)
        self.turn(c, s, "Go.", 1)
        n_snapshots = lambda: len(glob.glob(os.path.join(self.daemon.state, "snapshots", "*", "refs", "lares", "snapshots", "*")))
        before = n_snapshots()
        self.assertEqual([x["path"] for x in c.call("session/rewind", sessionId=s, dryRun=True)["changes"]], names)
        self.assertEqual(n_snapshots(), before)
        self.assertEqual([x["path"] for x in c.call("session/rewind", sessionId=s)["changes"]], names)
        self.assertEqual(n_snapshots(), before + 1)

    def test_a_snapshot_that_was_given_up_hides_no_other(self):
        c = self.start(self.bash("true"), "hm</think>One.", self.bash("echo x > cmd"), "hm</think>Two.", self.create("new"), "hm</think>Three.")
        s = self.session(c, noSandbox=True)
        calls = []
        for n in (1, 2, 3):
            self.write("a.txt", f"{n}\n")  # so that each call has a snapshot of its own
            calls += [m["params"]["item"] for m in self.turn(c, s, "Go.", n) if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]
        self.daemon.stop()
        given_up = lambda n: [os.remove(ref) for ref in glob.glob(os.path.join(self.daemon.state, "snapshots", "*", "refs", "lares", "snapshots", "*")) if pathlib.Path(ref).read_text().strip() == calls[n]["snapshot"]]
        self.assertEqual(calls[0]["snapshot"], calls[0]["snapshotAfter"])
        self.assertEqual(len(given_up(0)), 1)
        c = self.start()
        plan = c.call("session/rewind", sessionId=s, turnId=1, dryRun=True)
        self.assertEqual(([x["path"] for x in plan["changes"]], plan.get("notDone", [])), (["cmd", "new"], []))
        self.daemon.stop()
        self.assertEqual(len(given_up(1)), 1)
        c = self.start()
        done = c.call("session/rewind", sessionId=s, turnId=1)
        self.assertEqual([x["path"] for x in done["changes"]], ["new"])
        self.assertEqual([x.get("path") for x in done["notDone"]], [""])
        self.assertRegex(done["notDone"][0]["why"], "^what a call of bash changed is not known: there is no snapshot")

    def test_a_session_at_work_is_not_rewound(self):
        c = self.start("hm</think>One.", {"text": "hm</think>Two.", "gate": (gate := self.gate())})
        s = self.session(c)
        self.turn(c, s, "One.", 1)
        self.prompt(c, s, "Two.", id="p2")
        for method, params in (("session/rewind", {"turnId": 1}), ("session/unrewind", {}), ("session/fork", {})):
            with self.assertRaises(Refused) as e:
                c.call(method, sessionId=s, **params)
            self.assertEqual(e.exception.kind, "busy")
        self.open_gate(gate)
        c.until("turn/ended", turnId=2)

    def test_tests_that_begin_as_a_turn_ends_are_waited_for(self):
        begun, finished = (os.path.join(self.root, name) for name in ("begun", "finished"))
        for _ in range(3):  # they may begin only when its end is on the disk
            c, ends = self.start("hm</think>Done."), self.connect()
            s = self.session(c, noSandbox=True)
            self.prompt(c, s, "Go.")
            asks = self.connect()
            with concurrent.futures.ThreadPoolExecutor() as beside:
                while not os.path.exists(begun):  # refused while the turn runs
                    tests = beside.submit(asks.call, "session/test", sessionId=s, command=f"touch {begun}; sleep 1; touch {finished}")
                    while not os.path.exists(begun) and not tests.done():
                        time.sleep(0.01)
                    if not os.path.exists(begun):
                        self.assertRaises(Refused, tests.result)
                ends.call("server/shutdown", when="idle")
                self.daemon.process.wait(30)
            self.assertTrue(os.path.exists(finished))
            self.daemon.stop()
            os.remove(begun), os.remove(finished)

    def test_no_turn_begins_while_it_goes_back_whoever_forks_it_meanwhile(self):
        os.makedirs(os.path.join(self.root, "many"))
        for n in range(200):
            self.write(f"many/{n}", f"{n}\n")  # going back takes longer than forking
        c = self.start(self.create("new"), "hm</think>One.", "hm</think>Two.")
        s = self.session(c)
        self.turn(c, s, "One.", 1)
        goes = self.connect()
        going = goes.send("session/rewind", sessionId=s, turnId=1)
        c.call("session/fork", sessionId=s, beforeTurn=1)
        self.prompt(c, s, "Two.", id="p2")
        self.assertEqual([x["path"] for x in goes.answer(going)["changes"]], ["new"])
        c.until("turn/ended", turnId=2)
        events = [e["method"] for e in c.call("session/history", sessionId=s)["events"]]
        self.assertLess(events.index("session/rewound"), len(events) - events[::-1].index("turn/started"))

    def test_a_title_is_one_short_line_wherever_it_comes_from(self):
        c = self.start("hm</think>One.")
        long = "\n  so " + "long " * 30_000 + "\nand more"
        s = c.call("session/create", root=self.root, title=long)
        fork = c.call("session/fork", sessionId=s["sessionId"], title=long)
        for made in (s, fork):
            self.assertRegex(made["title"], r"\Aso [long ]{0,77}\Z")
        self.assertEqual(c.call("session/fork", sessionId=s["sessionId"], title=" \n")["title"], s["title"])

    def test_a_fork_knows_what_the_other_knew(self):
        c = self.start("hm</think>One.", "hm</think>Two.", "hm</think>Fork.")
        s = self.session(c, temperature=0.25)
        self.turn(c, s, "One.", 1)
        tokens = c.call("session/get", sessionId=s)["contextTokens"]
        self.turn(c, s, "Two.", 2)
        fork = c.call("session/fork", sessionId=s, beforeTurn=2, title="Another way")
        self.assertEqual((fork["title"], fork["contextTokens"], fork["settings"]["temperature"]), ("Another way", tokens, 0.25))
        whole = c.call("session/fork", sessionId=s)
        self.assertEqual(whole["contextTokens"], c.call("session/get", sessionId=s)["contextTokens"])
        c.call("session/subscribe", sessionId=fork["sessionId"])
        self.prompt(c, fork["sessionId"], "Go on.", id="f1")
        ended = c.until("turn/ended", sessionId=fork["sessionId"])[-1]["params"]
        self.assertEqual(ended["reason"], "end_turn")
        self.assertEqual(c.call("session/get", sessionId=s)["nTurns"], 2)
        self.daemon.kill()
        c = self.start()
        self.assertGreater(c.call("session/get", sessionId=fork["sessionId"])["contextTokens"], tokens)
        with self.assertRaises(Refused):
            c.call("session/fork", sessionId=s, beforeTurn=9)

    def test_several_fork_it_at_once(self):
        c = self.start("hm</think>One.", {"text": "hm</think>Other.", "gate": (gate := self.gate())})
        s, other = self.session(c), self.session(c)
        self.turn(c, s, "One.", 1)
        tokens = c.call("session/get", sessionId=s)["contextTokens"]
        self.prompt(c, other, "Other.", id="o1")
        c.until("session/state", sessionId=other, state="prefill")  # the engine is busy: it takes the first a while
        asked, answers = [c.send("session/fork", sessionId=s) for _ in range(3)], {}
        while len(answers) < len(asked):
            if (message := c.read()).get("id") not in asked:
                continue
            answers[message["id"]] = message
            if len(answers) == len(asked) - 1:
                self.open_gate(gate)
        self.assertEqual([answers[n].get("result", answers[n]).get("contextTokens") for n in asked], [tokens] * 3)

    def test_a_fork_knows_the_first_steps_of_a_turn(self):
        look = lambda name: "hm</think>" + call("str_replace_editor", command="view", path=os.path.join(self.root, name))
        with open(os.path.join(self.root, "b.txt"), "w", encoding="utf-8") as f:
            f.write("second\n")
        c = self.start("hm</think>Zero.", look("a.txt"), look("b.txt"), "hm</think>Done.", "hm</think>Fork.")
        s = self.session(c)
        self.turn(c, s, "Zero.", 1)
        self.prompt(c, s, "Look.", id="p2")
        contexts = [m["params"]["usage"]["context"] for m in c.until("turn/ended", turnId=2) if m["method"] == "turn/step"][-3:]
        self.assertEqual(len(contexts), 3)
        first_line = {1: "alpha", 2: "second"}
        for step in (1, 2, 3):
            fork = c.call("session/fork", sessionId=s, beforeTurn=2, afterStep=step)
            self.assertEqual(fork["contextTokens"], contexts[step - 1])
            with open(os.path.join(self.daemon.state, "sessions", fork["sessionId"] + ".journal"), "rb") as f:
                results = f.read().rsplit(b'"results":', 1)[1]
            self.assertTrue(results.startswith(f'["     1  {first_line[step]}\\n"]'.encode() if step < 3 else b"[]"), results[:80])
        self.assertEqual(contexts[2], c.call("session/get", sessionId=s)["contextTokens"])
        for wrong, why in ((dict(beforeTurn=2, afterStep=4), "it has 3"), (dict(afterStep=1), "of which turn")):
            with self.assertRaisesRegex(Refused, why):
                c.call("session/fork", sessionId=s, **wrong)
        fork = c.call("session/fork", sessionId=s, beforeTurn=2, afterStep=1)
        c.call("session/subscribe", sessionId=fork["sessionId"])
        self.prompt(c, fork["sessionId"], "Go on.", id="f1")
        ended = c.until("turn/ended", sessionId=fork["sessionId"])[-1]["params"]
        self.assertEqual(ended["reason"], "end_turn")


if __name__ == "__main__":
    main()
